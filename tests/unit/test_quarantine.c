#include "base/mem.h"
#include "expect.h"
#include "mem_disk.h"
#include "quarantine/quarantine.h"

#include <stdio.h>
#include <stdlib.h>

TestSuite(quarantine, .timeout = 300);

#define QID  UINT64_C(0x12ab)
#define FILE QUARANTINE_FOLDER "/00000000000012ab"
#define MIB  ((size_t)1024 * 1024)

static struct quarantine *opened(struct disk *d, uint64_t limit_bytes)
{
    struct err err = { 0 };
    struct quarantine *q = quarantine_open(d, limit_bytes, &err);
    cr_assert(q != NULL, "%s", err.text);
    return q;
}

/* Each at another position, as messages of one queue are. */
static struct quarantine_message message(const char *body)
{
    static uint64_t position = 99;
    return (struct quarantine_message){ .when_ms = 1700000000000,
                                        .epoch = 7,
                                        .position = position++,
                                        .pid = 5,
                                        .seq = 6,
                                        .persistent = true,
                                        .exchange = slice_str("ex"),
                                        .key = slice_str("key"),
                                        .props = slice_of("\x10\x00\x02", 3),
                                        .body = slice_str(body) };
}

static uint64_t add_to(struct quarantine *q, uint64_t qid, const char *body)
{
    struct err err = { 0 };
    struct quarantine_message m = message(body);
    struct quarantine_added done;
    cr_assert(quarantine_add(q, qid, slice_str("/"), slice_str("tasks"), &m, 1, &done, &err), "%s",
              err.text);
    cr_expect(done.added == 1);
    return done.dropped;
}

static void drop(struct quarantine *q, uint64_t id, uint64_t expected)
{
    struct err err = { 0 };
    uint64_t count;
    cr_assert(quarantine_drop(q, QID, &id, 1, &count, &err), "%s", err.text);
    cr_expect(count == expected, "%llu went", (unsigned long long)count);
}

struct seen {
    char text[4096]; /* "id:first octet of the body " of each */
    size_t most;
    size_t count;
};

static bool on_message(const struct quarantine_message *m, void *arg)
{
    struct seen *s = arg;
    size_t len = strlen(s->text);
    (void)snprintf(s->text + len, sizeof s->text - len, "%llu:%c ", (unsigned long long)m->id,
                   m->body.len != 0 ? m->body.ptr[0] : '-');
    cr_expect(m->epoch - 6 <= 1 && m->position >= 99 && m->persistent && m->pid == 5 &&
              m->seq == 6);
    cr_expect(m->when_ms == 1700000000000 && slice_is(m->exchange, "ex"));
    cr_expect(slice_is(m->key, "key") && m->props.len == 3);
    return ++s->count != s->most;
}

static void expect_messages(struct quarantine *q, uint64_t qid, const char *expected)
{
    struct err err = { 0 };
    struct seen s = { .most = SIZE_MAX };
    cr_assert(quarantine_read(q, qid, 0, on_message, &s, &err), "%s", err.text);
    cr_expect_str_eq(s.text, expected);
}

static void on_queue(const struct quarantine_queue *queue, void *arg)
{
    struct quarantine_queue *out = arg;
    cr_expect(slice_is(queue->vhost, "/") && slice_is(queue->name, "tasks"));
    out->qid = queue->qid;
    out->messages += queue->messages;
    out->bytes += queue->bytes;
    out->first_ms = queue->first_ms;
}

static uint64_t messages_of(struct quarantine *q)
{
    struct quarantine_queue all = { 0 };
    quarantine_list(q, on_queue, &all);
    return all.messages;
}

Test(quarantine, what_is_added_is_there_after_a_start)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    (void)add_to(q, QID, "b");
    (void)add_to(q, QID, "");
    (void)add_to(q, QID + 1, "other");
    expect_messages(q, QID, "1:a 2:b 3:- ");
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    expect_messages(q, QID, "1:a 2:b 3:- ");
    expect_messages(q, QID + 1, "4:o ");
    cr_expect(messages_of(q) == 4);
    (void)add_to(q, QID, "d");
    expect_messages(q, QID, "1:a 2:b 3:- 5:d ");
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, reading_begins_and_ends_where_one_wants)
{
    struct err err = { 0 };
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    for (unsigned i = 0; i < 6; i++)
        (void)add_to(q, QID, "x");
    struct seen s = { .most = 2 };
    cr_assert(quarantine_read(q, QID, 3, on_message, &s, &err));
    cr_expect_str_eq(s.text, "3:x 4:x ");
    expect_messages(q, QID + 5, ""); /* a queue that has nothing there */
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, what_is_dropped_stays_away_and_the_last_one_takes_the_file_along)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    (void)add_to(q, QID, "b");
    drop(q, 1, 1);
    drop(q, 1, 0);
    drop(q, 77, 0);
    expect_messages(q, QID, "2:b ");
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    expect_messages(q, QID, "2:b ");
    drop(q, 2, 1);
    cr_expect(not(mem_disk_has(d, FILE)));
    cr_expect(messages_of(q) == 0);
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, a_file_that_is_mostly_dropped_is_written_anew)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    char *large = mem_zalloc(MIB + 1);
    memset(large, 'l', MIB);
    size_t len;
    for (unsigned i = 0; i < 3; i++)
        (void)add_to(q, QID, large);
    (void)add_to(q, QID, "small");
    drop(q, 1, 1);
    cr_assert(mem_disk_bytes(d, FILE, &len) != NULL && len > 3 * MIB);
    drop(q, 3, 1);
    cr_assert(mem_disk_bytes(d, FILE, &len) != NULL && len < 2 * MIB);
    expect_messages(q, QID, "2:l 4:s ");
    (void)add_to(q, QID, "next");
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    expect_messages(q, QID, "2:l 4:s 5:n ");
    mem_free(large);
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, beyond_its_limit_the_eldest_go_and_that_is_told)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, 2 * MIB);
    char *large = mem_zalloc(MIB + 1);
    memset(large, 'l', MIB);
    cr_expect(add_to(q, QID, "a") == 0);
    cr_expect(add_to(q, QID, large) == 0);
    cr_expect(add_to(q, QID, large) == 2);
    expect_messages(q, QID, "3:l ");
    mem_free(large);
    quarantine_free(&q);
    disk_free(&d);
}

/* Cut at each octet: the whole ones are there, and what comes then goes on behind them. */
Test(quarantine, a_torn_end_is_cut)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    size_t first, all;
    cr_assert(mem_disk_bytes(d, FILE, &first) != NULL);
    (void)add_to(q, QID, "b");
    cr_assert(mem_disk_bytes(d, FILE, &all) != NULL);
    quarantine_free(&q);
    for (size_t len = first; len < all; len++) {
        struct disk *torn = mem_disk_copy(d);
        mem_disk_resize(torn, FILE, len);
        q = opened(torn, QUARANTINE_LIMIT_BYTES);
        expect_messages(q, QID, "1:a ");
        (void)add_to(q, QID, "c");
        quarantine_free(&q);
        q = opened(torn, QUARANTINE_LIMIT_BYTES);
        expect_messages(q, QID, "1:a 2:c ");
        cr_expect(not(mem_disk_has(torn, FILE ".damaged")));
        quarantine_free(&q);
        disk_free(&torn);
    }
    disk_free(&d);
}

Test(quarantine, damage_is_put_aside_and_what_is_before_it_goes_on)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    size_t first, len;
    cr_assert(mem_disk_bytes(d, FILE, &first) != NULL);
    (void)add_to(q, QID, "b");
    (void)add_to(q, QID, "c");
    quarantine_free(&q);
    mem_disk_bytes(d, FILE, &len)[first + 20] ^= 1;
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    expect_messages(q, QID, "1:a ");
    cr_expect(mem_disk_has(d, FILE ".damaged"));
    (void)add_to(q, QID, "d");
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    expect_messages(q, QID, "1:a 2:d ");
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, damage_that_appears_while_it_runs_is_told)
{
    struct err err = { 0 };
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    size_t len;
    uint8_t *octets = mem_disk_bytes(d, FILE, &len);
    octets[len - 1] ^= 1;
    struct seen s = { .most = SIZE_MAX };
    cr_expect(not(quarantine_read(q, QID, 0, on_message, &s, &err)));
    cr_expect(s.count == 0 && err.code == ERR_IO);
    quarantine_free(&q);
    disk_free(&d);
}

Test(quarantine, a_newer_format_is_refused)
{
    struct err err = { 0 };
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    quarantine_free(&q);
    size_t len;
    mem_disk_bytes(d, FILE, &len)[11] = 2;
    cr_expect(quarantine_open(d, QUARANTINE_LIMIT_BYTES, &err) == NULL);
    disk_free(&d);
}

/* Whatever fails, and when: nothing that was kept is lost, and a later try finds room behind it. */
Test(quarantine, what_could_not_be_written_is_not_there)
{
    for (unsigned op = MEM_DISK_OPEN; op < MEM_DISK_OPS; op++) {
        for (unsigned after = 0; after < 4; after++) {
            struct err err = { 0 };
            struct disk *d = mem_disk_new();
            struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
            (void)add_to(q, QID, "a");
            struct quarantine_message m[] = { message("b"), message("c") };
            struct quarantine_added done;
            mem_disk_fail(d, (enum mem_disk_op)op, after, ERR_LIMIT, true);
            bool is_kept =
                quarantine_add(q, QID, slice_str("/"), slice_str("tasks"), m, 2, &done, &err);
            mem_disk_fail(d, (enum mem_disk_op)op, 0, ERR_NONE, false);
            expect_messages(q, QID, is_kept ? "1:a 2:b 3:c " : "1:a ");
            (void)add_to(q, QID, "d");
            quarantine_free(&q);
            q = opened(d, QUARANTINE_LIMIT_BYTES);
            expect_messages(q, QID, is_kept ? "1:a 2:b 3:c 4:d " : "1:a 2:d ");
            cr_expect(not(mem_disk_has(d, FILE ".damaged")));
            quarantine_free(&q);
            disk_free(&d);
        }
    }
}

/* Of a file that is written anew, at whatever moment. */
Test(quarantine, a_crash_while_a_file_is_written_anew_loses_nothing)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    (void)add_to(q, QID, "a");
    quarantine_free(&q);
    size_t len;
    struct slice octets = { mem_disk_bytes(d, FILE, &len), 0 };
    octets.len = len;
    struct disk *before = mem_disk_copy(d), *after = mem_disk_new();
    mem_disk_put(before, FILE ".new", slice_head(octets, 30));
    mem_disk_put(after, FILE ".new", octets);
    struct disk *both[] = { before, after };
    for (unsigned i = 0; i < 2; i++) {
        q = opened(both[i], QUARANTINE_LIMIT_BYTES);
        expect_messages(q, QID, "1:a ");
        cr_expect(not(mem_disk_has(both[i], FILE ".new")));
        quarantine_free(&q);
        disk_free(&both[i]);
    }
    disk_free(&d);
}

static uint64_t added(struct quarantine *q, const struct quarantine_message *m, size_t count)
{
    struct err err = { 0 };
    struct quarantine_added done;
    cr_assert(quarantine_add(q, QID, slice_str("/"), slice_str("tasks"), m, count, &done, &err),
              "%s", err.text);
    return done.added;
}

/* What is cut short is said again from its beginning, also after a start, and wherever it is. */
Test(quarantine, a_message_is_not_added_twice)
{
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    struct quarantine_message m[] = { message("a"), message("b"), message("c"), message("d") };
    cr_expect(added(q, m, 2) == 2);
    cr_expect(added(q, m, 3) == 1);
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    cr_expect(added(q, m, 4) == 1);
    cr_expect(added(q, &m[1], 2) == 0);
    expect_messages(q, QID, "1:a 2:b 3:c 4:d ");
    drop(q, 2, 1);
    cr_expect(added(q, m, 4) == 0, "what somebody dropped does not come again");
    m[0].epoch--;
    cr_expect(added(q, m, 1) == 1, "the position of another epoch is another message");
    expect_messages(q, QID, "1:a 3:c 4:d 5:a ");
    quarantine_free(&q);
    disk_free(&d);
}

static void on_number(const struct quarantine_queue *queue, void *arg)
{
    uint64_t *out = arg;
    *out = queue->number;
}

Test(quarantine, all_of_a_queue_go_and_its_next_file_is_another_one)
{
    struct err err = { 0 };
    struct disk *d = mem_disk_new();
    struct quarantine *q = opened(d, QUARANTINE_LIMIT_BYTES);
    uint64_t count = 0, first = 0, again = 0, second = 0;
    cr_assert(quarantine_drop_all(q, QID, &count, &err) && count == 0, "there is none");
    (void)add_to(q, QID, "a");
    (void)add_to(q, QID, "b");
    (void)add_to(q, QID, "c");
    drop(q, 2, 1);
    quarantine_list(q, on_number, &first);
    quarantine_free(&q);
    q = opened(d, QUARANTINE_LIMIT_BYTES);
    quarantine_list(q, on_number, &again);
    cr_expect(first == again && first != 0);
    cr_assert(quarantine_drop_all(q, QID, &count, &err), "%s", err.text);
    cr_expect(count == 2 && messages_of(q) == 0);
    cr_expect(not(mem_disk_has(d, FILE)));
    (void)add_to(q, QID, "d");
    quarantine_list(q, on_number, &second);
    cr_expect(second != first);
    quarantine_free(&q);
    disk_free(&d);
}
