/* proxy/leads: where messages to exchanges land, as workers look it up. */
#include "leads.h"

#include <stdio.h>
#include <string.h>

#include "expect.h"

static struct epoch *epoch;
static struct leads *leads;
static unsigned asked;
static bool is_full;

static bool on_ask(void *arg, const struct location_ask *ask, uint64_t now_s)
{
    uint64_t id;
    (void)arg;
    (void)now_s;
    asked++;
    return !is_full && leads_expect(leads, ask, &id);
}

static void set_up(void)
{
    epoch = epoch_new();
    leads = leads_new(epoch, 7, on_ask, NULL);
    asked = 0;
    is_full = false;
}

static void tear_down(void)
{
    leads_retire(&leads);
    epoch_free(&epoch);
}

TestSuite(leads, .init = set_up, .fini = tear_down, .timeout = 300);

static enum leads_word find_at(const char *exchange, const char *key, uint64_t now_s,
                               struct leads_queues *out)
{
    return leads_find(leads, slice_str("/"), slice_str(exchange), slice_str(key), now_s, out);
}

static enum leads_word find(const char *exchange, const char *key, struct leads_queues *out)
{
    return find_at(exchange, key, 1, out);
}

static uint64_t id_of(const char *exchange, const char *key)
{
    uint64_t id;
    (void)leads_expect(
        leads, &(struct location_ask){ 0, slice_str("/"), slice_str(exchange), slice_str(key) },
        &id);
    return id;
}

static bool answer(uint64_t id, bool any_key, uint8_t count, uint64_t first)
{
    struct location_leads l = { .id = id, .any_key = any_key, .count = count };
    for (unsigned i = 0; i < count; i++)
        l.hashes[i] = first + i;
    return leads_answer(leads, &l);
}

static void expect_known(const char *exchange, const char *key, size_t count, uint64_t first)
{
    struct leads_queues q;
    cr_assert(find(exchange, key, &q) == LEADS_KNOWN, "%s %s", exchange, key);
    cr_assert(eq(sz, q.count, count), "%s %s", exchange, key);
    cr_expect(count == 0 || q.hashes[0] == first, "%s %s", exchange, key);
}

Test(leads, asks_once_and_knows_what_was_answered)
{
    struct leads_queues q;
    cr_expect(find("x", "k", &q) == LEADS_ASKED);
    cr_expect(find("x", "k", &q) == LEADS_ASKED);
    cr_expect(eq(u32, asked, 1));
    cr_expect(answer(id_of("x", "k"), false, 2, 10));
    expect_known("x", "k", 2, 10);
    cr_expect(find("x", "l", &q) == LEADS_ASKED, "another key");
    cr_expect(find("y", "k", &q) == LEADS_ASKED, "another exchange");
    cr_expect(answer(id_of("x", "l"), false, 0, 0));
    expect_known("x", "l", 0, 0);
    cr_expect(eq(sz, leads_count(leads), 3));
    cr_expect(eq(u32, asked, 3));
}

Test(leads, what_cannot_be_asked_for_now_is_asked_for_later)
{
    struct leads_queues q;
    is_full = true;
    cr_expect(find("x", "k", &q) == LEADS_LATER);
    cr_expect(eq(sz, leads_count(leads), 0));
    is_full = false;
    cr_expect(find("x", "k", &q) == LEADS_ASKED);
}

/* One entry, whatever the key; and back, when an exchange of that name goes by keys. */
Test(leads, an_answer_for_any_key_is_one_for_all)
{
    struct leads_queues q;
    cr_expect(find("fan", "a", &q) == LEADS_ASKED);
    cr_expect(find("fan", "b", &q) == LEADS_ASKED);
    uint64_t a = id_of("fan", "a"), b = id_of("fan", "b");
    cr_expect(answer(a, true, 1, 5));
    expect_known("fan", "a", 1, 5);
    expect_known("fan", "never asked", 1, 5);
    cr_expect(answer(b, true, 1, 5));
    cr_expect(eq(sz, leads_count(leads), 1));
    cr_expect(answer(a, true, 1, 6) == false, "nobody waits for that any more");
    cr_expect(eq(u32, asked, 2));
}

static void keep_id(void *arg, const struct location_ask *ask, bool any_key,
                    const struct leads_queues *known)
{
    cr_expect(any_key);
    cr_expect(known != NULL);
    cr_expect(slice_is(ask->vhost, "/"));
    cr_expect(slice_is(ask->exchange, "fan"));
    *(uint64_t *)arg = ask->id;
}

Test(leads, an_exchange_that_goes_by_keys_now_is_asked_for_each)
{
    struct leads_queues q;
    uint64_t id = 0;
    cr_expect(find("fan", "a", &q) == LEADS_ASKED);
    cr_expect(answer(id_of("fan", "a"), true, 1, 5));
    leads_each(leads, keep_id, &id);
    cr_expect(answer(id, true, 1, 5) == false, "the same as before");
    cr_expect(answer(id, true, 1, 6));
    expect_known("fan", "z", 1, 6);
    cr_expect(answer(id, false, 1, 6));
    cr_expect(find("fan", "a", &q) == LEADS_ASKED);
    cr_expect(eq(sz, leads_count(leads), 1));
}

/* However many are asked for; and what is looked for stays. */
Test(leads, keeps_so_many_and_those_that_were_looked_for_last)
{
    struct leads_queues q;
    char key[32];
    cr_expect(find("hot", "k", &q) == LEADS_ASKED);
    cr_expect(answer(id_of("hot", "k"), false, 1, 9));
    for (unsigned i = 0; i < 4 * LEADS_MAX; i++) {
        (void)snprintf(key, sizeof key, "%u", i);
        cr_expect(find_at("cold", key, i, &q) != LEADS_KNOWN);
        cr_assert(find_at("hot", "k", i + 1, &q) == LEADS_KNOWN, "after %u", i);
        cr_assert(leads_count(leads) <= LEADS_MAX);
    }
    cr_expect(leads_count(leads) > LEADS_MAX * 3 / 4);
}

static void count_one(void *arg, const struct location_ask *ask, bool any_key,
                      const struct leads_queues *known)
{
    (void)ask;
    (void)any_key;
    (void)known;
    (*(unsigned *)arg)++;
}

Test(leads, sets_are_visited_one_by_one)
{
    struct leads_queues q;
    char key[16];
    unsigned seen = 0;
    size_t said = 0;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        cr_assert(find("x", key, &q) == LEADS_ASKED);
    }
    for (unsigned set = 7; set < 7 + LEADS_SETS; set++)
        said += leads_each_of(leads, set, count_one, &seen);
    cr_expect(eq(sz, said, leads_count(leads)));
    cr_expect(eq(u32, seen, (unsigned)said));
}

Test(leads, nothing_is_known_of_another_cluster)
{
    struct leads_queues q;
    uint64_t news = leads_news(leads);
    cr_expect(find("x", "k", &q) == LEADS_ASKED);
    cr_expect(answer(id_of("x", "k"), false, 1, 9));
    leads_clear(leads);
    cr_expect(find("x", "k", &q) == LEADS_ASKED);
    cr_expect(eq(u32, asked, 2));
    cr_expect(leads_news(leads) > news);
}
