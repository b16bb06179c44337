#include "leads.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/shown.h"

#include <string.h>

/* Immutable once it is shown. */
struct lead {
    uint64_t id;
    bool any_key;
    bool is_known;
    uint8_t vhost_len, exchange_len, key_len;
    uint8_t count;
    uint64_t hashes[]; /* and the names behind them */
};

struct place_of_lead {
    struct shown lead; /* or NULL */
    struct shared used_s;
};

struct leads {
    struct epoch *epoch;
    uint64_t seed;
    leads_ask_fn ask;
    void *arg;
    struct shared news, count;
    struct place_of_lead places[LEADS_SETS][LEADS_WAYS];
};

/* ---- names ------------------------------------------------------------------------------------
 */

static uint64_t id_of_any(const struct leads *l, struct slice vhost, struct slice exchange)
{
    return hash_bytes(exchange, hash_bytes(vhost, l->seed));
}

static uint64_t id_of_key(uint64_t any, struct slice key)
{
    return hash_bytes(key, any + 1);
}

static const uint8_t *names_of(const struct lead *one)
{
    return (const uint8_t *)(one->hashes + one->count);
}

static struct location_ask ask_of(const struct lead *one)
{
    const uint8_t *vhost = names_of(one);
    const uint8_t *exchange = vhost + one->vhost_len;
    return (struct location_ask){ .id = one->id,
                                  .vhost = slice_of(vhost, one->vhost_len),
                                  .exchange = slice_of(exchange, one->exchange_len),
                                  .key = slice_of(exchange + one->exchange_len, one->key_len) };
}

static struct lead *new_lead(const struct location_ask *names, size_t count)
{
    struct lead *one = mem_zalloc(sizeof *one + count * sizeof one->hashes[0] + names->vhost.len +
                                  names->exchange.len + names->key.len);
    CHECK(names->vhost.len <= UINT8_MAX && names->exchange.len <= UINT8_MAX &&
          names->key.len <= UINT8_MAX && count <= LOCATION_LEADS_QUEUES);
    one->vhost_len = (uint8_t)names->vhost.len;
    one->exchange_len = (uint8_t)names->exchange.len;
    one->key_len = (uint8_t)names->key.len;
    one->count = (uint8_t)count;
    struct wire_out w =
        wire_out_over(one->hashes + count, names->vhost.len + names->exchange.len + names->key.len);
    wire_put_bytes(&w, names->vhost);
    wire_put_bytes(&w, names->exchange);
    wire_put_bytes(&w, names->key);
    CHECK(!w.overflow);
    return one;
}

/* ---- places -----------------------------------------------------------------------------------
 */

static struct place_of_lead *set_of(struct leads *l, uint64_t id)
{
    return l->places[id % LEADS_SETS];
}

static const struct lead *lead_at(const struct place_of_lead *p)
{
    return shown_get(&p->lead);
}

static struct place_of_lead *find(struct leads *l, uint64_t id)
{
    struct place_of_lead *set = set_of(l, id);
    for (unsigned i = 0; i < LEADS_WAYS; i++) {
        const struct lead *one = lead_at(&set[i]);
        if (one != NULL && one->id == id)
            return &set[i];
    }
    return NULL;
}

/* A free one, or that of the one that was looked for the longest ago. */
static struct place_of_lead *room_for(struct leads *l, uint64_t id)
{
    struct place_of_lead *set = set_of(l, id), *oldest = set;
    for (unsigned i = 0; i < LEADS_WAYS; i++) {
        if (lead_at(&set[i]) == NULL)
            return &set[i];
        if (shared_get(&set[i].used_s) < shared_get(&oldest->used_s))
            oldest = &set[i];
    }
    return oldest;
}

/* `one` may be NULL. */
static void set(struct leads *l, struct place_of_lead *p, const struct lead *one)
{
    const struct lead *was = lead_at(p);
    (void)shared_add(&l->count, (uint64_t)(one != NULL) - (uint64_t)(was != NULL));
    shown_set(&p->lead, one);
    if (was != NULL)
        epoch_retire(l->epoch, (void *)(uintptr_t)was, mem_free);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

static const struct lead *look(struct leads *l, uint64_t id, uint64_t now_s)
{
    struct place_of_lead *set = set_of(l, id);
    for (unsigned i = 0; i < LEADS_WAYS; i++) {
        const struct lead *one = lead_at(&set[i]);
        if (one == NULL || one->id != id)
            continue;
        if (shared_get(&set[i].used_s) < now_s)
            shared_set(&set[i].used_s, now_s);
        return one;
    }
    return NULL;
}

enum leads_word leads_find(struct leads *l, struct slice vhost, struct slice exchange,
                           struct slice key, uint64_t now_s, struct leads_queues *out)
{
    uint64_t any = id_of_any(l, vhost, exchange);
    const struct lead *one = look(l, any, now_s);
    if (one == NULL)
        one = look(l, id_of_key(any, key), now_s);
    *out = (struct leads_queues){ 0, NULL };
    struct location_ask names = { 0, vhost, exchange, key };
    if (one == NULL)
        return l->ask(l->arg, &names, now_s) ? LEADS_ASKED : LEADS_LATER;
    if (!one->is_known)
        return LEADS_ASKED;
    *out = (struct leads_queues){ one->count, one->hashes };
    return LEADS_KNOWN;
}

uint64_t leads_news(const struct leads *l)
{
    return shared_get(&l->news);
}

/* ---- the control loop -------------------------------------------------------------------------
 */

bool leads_expect(struct leads *l, const struct location_ask *names, uint64_t *id)
{
    uint64_t any = id_of_any(l, names->vhost, names->exchange);
    *id = id_of_key(any, names->key);
    if (find(l, any) != NULL || find(l, *id) != NULL)
        return false;
    struct lead *one = new_lead(names, 0);
    one->id = *id;
    struct place_of_lead *room = room_for(l, *id);
    /* Younger than the others until somebody looks. */
    uint64_t last = 0;
    for (unsigned i = 0; i < LEADS_WAYS; i++) {
        uint64_t used_s = shared_get(&set_of(l, *id)[i].used_s);
        last = used_s > last ? used_s : last;
    }
    shared_set(&room->used_s, last);
    set(l, room, one);
    return true;
}

static bool is_same(const struct lead *was, const struct location_leads *now)
{
    return was->is_known && was->count == now->count &&
           memcmp(was->hashes, now->hashes, now->count * sizeof now->hashes[0]) == 0;
}

static struct lead *known(const struct location_ask *names, uint64_t id,
                          const struct location_leads *answer)
{
    struct lead *one = new_lead(names, answer->count);
    one->id = id;
    one->is_known = true;
    one->any_key = answer->any_key;
    memcpy(one->hashes, answer->hashes, answer->count * sizeof one->hashes[0]);
    return one;
}

/* The answer is for another entry than the one that was asked for: the exchange's, or none, since
 * each key is to be asked for again. */
static void move(struct leads *l, struct place_of_lead *from, const struct location_leads *answer)
{
    const struct lead *was = lead_at(from);
    if (answer->any_key) {
        struct location_ask names = ask_of(was);
        uint64_t any = id_of_any(l, names.vhost, names.exchange);
        struct place_of_lead *to = find(l, any);
        struct lead *one = known(&names, any, answer);
        uint64_t used_s = shared_get(&from->used_s);
        if (to == NULL) {
            to = room_for(l, any);
            shared_set(&to->used_s, used_s);
        }
        set(l, to, one);
    }
    if (lead_at(from) == was)
        set(l, from, NULL);
}

bool leads_answer(struct leads *l, const struct location_leads *answer)
{
    struct place_of_lead *p = find(l, answer->id);
    const struct lead *was = p != NULL ? lead_at(p) : NULL;
    if (was == NULL)
        return false;
    struct location_ask names = ask_of(was);
    bool was_any = was->id == id_of_any(l, names.vhost, names.exchange);
    if (was_any != answer->any_key) {
        move(l, p, answer);
        return true;
    }
    if (is_same(was, answer))
        return false;
    set(l, p, known(&names, was->id, answer));
    return true;
}

void leads_tell(struct leads *l)
{
    (void)shared_add(&l->news, 1);
}

void leads_clear(struct leads *l)
{
    for (unsigned i = 0; i < LEADS_SETS; i++)
        for (unsigned k = 0; k < LEADS_WAYS; k++)
            set(l, &l->places[i][k], NULL);
    leads_tell(l);
}

size_t leads_each_of(const struct leads *l, unsigned set, leads_visit_fn fn, void *arg)
{
    size_t count = 0;
    for (unsigned k = 0; k < LEADS_WAYS; k++) {
        const struct lead *one = lead_at(&l->places[set % LEADS_SETS][k]);
        if (one == NULL)
            continue;
        struct location_ask ask = ask_of(one);
        struct leads_queues queues = { one->count, one->hashes };
        fn(arg, &ask, one->any_key, one->is_known ? &queues : NULL);
        count++;
    }
    return count;
}

void leads_each(const struct leads *l, leads_visit_fn fn, void *arg)
{
    for (unsigned i = 0; i < LEADS_SETS; i++)
        (void)leads_each_of(l, i, fn, arg);
}

size_t leads_count(const struct leads *l)
{
    return shared_get(&l->count);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct leads *leads_new(struct epoch *epoch, uint64_t seed, leads_ask_fn fn, void *arg)
{
    struct leads *l = mem_zalloc(sizeof *l);
    l->epoch = epoch;
    l->seed = seed;
    l->ask = fn;
    l->arg = arg;
    return l;
}

static void leads_free(void *leads)
{
    struct leads *l = leads;
    for (unsigned i = 0; i < LEADS_SETS; i++)
        for (unsigned k = 0; k < LEADS_WAYS; k++)
            mem_free((void *)(uintptr_t)lead_at(&l->places[i][k]));
    mem_free(l);
}

void leads_retire(struct leads **l)
{
    if (*l != NULL)
        epoch_retire((*l)->epoch, *l, leads_free);
    *l = NULL;
}
