#include "remote/remote_wire.h"

#include "base/mem.h"
#include "base/rng.h"
#include "expect.h"
#include "remote/remote_inbox.h"
#include "remote/remote_outbox.h"

#define X(name, octet, fields) REMOTE_##name,
static const enum remote_op ops[] = { REMOTE_OPS(X) };
#undef X

static const uint8_t no_props[] = { 0, 0 };

static struct message *message(size_t body_bytes)
{
    uint8_t *body = mem_zalloc(body_bytes + 1);
    for (size_t i = 0; i < body_bytes; i++)
        body[i] = (uint8_t)(i * 7 + i / 251);
    struct message *m =
        message_new(slice_str("amq.topic"), slice_str("a.b"), slice_of(no_props, sizeof no_props),
                    slice_of(body, body_bytes), true);
    mem_free(body);
    return m;
}

static bool has_content(enum remote_op op)
{
    return op == REMOTE_PUBLISH || op == REMOTE_DELIVER || op == REMOTE_ANSWER ||
           op == REMOTE_REPLY;
}

static struct remote_record sample(enum remote_op op, const struct message *m, uint8_t *list)
{
    struct wire_out w = wire_out_over(list, 64);
    if (op == REMOTE_PUBLISH) {
        wire_put_u64(&w, 77);
        wire_put_u64(&w, UINT64_MAX);
    } else if (op == REMOTE_SETTLE || op == REMOTE_TOOK || op == REMOTE_SENT_BACK ||
               op == REMOTE_CONFIRM || op == REMOTE_NACK) {
        wire_put_u64(&w, 12);
        wire_put_u32(&w, 3);
    }
    struct remote_record r = { .op = op,
                               .kind = 1,
                               .verdict = 2,
                               .token = 0x01020304,
                               .qid = 5,
                               .consumer = 6,
                               .tag = 7,
                               .count = 8,
                               .number = 9,
                               .signed_number = (uint64_t)-10,
                               .channel = { 11, 12, 13 },
                               .list = wire_out_slice(&w) };
    memset(r.secret, 0xAB, sizeof r.secret);
    if (op == REMOTE_BEGIN || op == REMOTE_PART)
        r.bytes = slice_str("octets");
    if (has_content(op))
        r.message = m;
    return r;
}

/* Every record is read as it was written, and no prefix of it is a record. */
Test(remote_wire, what_was_written_is_read)
{
    struct message *m = message(100);
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        uint8_t list[64], room[1024], again[1024];
        struct remote_record r = sample(ops[i], m, list), out;
        struct wire_out w = wire_out_over(room, remote_size(&r));
        remote_put(&w, &r);
        cr_assert(not(w.overflow), "record %d", (int)ops[i]);
        for (size_t n = 0; n < wire_out_len(&w); n++) {
            struct wire in = wire_over(slice_of(room, n));
            cr_expect(not(remote_take(&in, &out)), "record %d of %zu octets", (int)ops[i], n);
        }
        struct wire in = wire_over(wire_out_slice(&w));
        cr_assert(remote_take(&in, &out), "record %d", (int)ops[i]);
        cr_expect(eq(sz, wire_left(&in), 0));
        struct message *copy = has_content(ops[i]) ? remote_message(&out) : NULL;
        out.message = copy;
        struct wire_out back = wire_out_over(again, sizeof again);
        remote_put(&back, &out);
        cr_expect(slice_eq(wire_out_slice(&back), wire_out_slice(&w)), "record %d", (int)ops[i]);
        if (copy != NULL) {
            cr_expect(copy->persistent);
            message_unref(&copy);
        }
    }
    message_unref(&m);
}

Test(remote_wire, an_answer_may_bring_no_message)
{
    uint8_t room[256];
    struct remote_record r = { .op = REMOTE_ANSWER, .flags = REMOTE_UNUSED, .token = 3 }, out;
    struct wire_out w = wire_out_over(room, sizeof room);
    remote_put(&w, &r);
    struct wire in = wire_over(wire_out_slice(&w));
    cr_assert(remote_take(&in, &out));
    cr_expect(not(out.has_content));
    cr_expect(eq(int, out.flags &REMOTE_UNUSED, REMOTE_UNUSED));
}

Test(remote_wire, names_that_are_none_are_refused)
{
    struct message *m = message(10);
    uint8_t room[256];
    struct remote_record r = { .op = REMOTE_DELIVER, .message = m }, out;
    struct wire_out w = wire_out_over(room, sizeof room);
    remote_put(&w, &r);
    /* op, flags, consumer, tag, position, three lengths; then the exchange's length */
    size_t at = 1 + 1 + 8 + 8 + 8 + 10;
    cr_assert(eq(u8, room[at], 9));
    room[at] = 200;
    struct wire in = wire_over(wire_out_slice(&w));
    cr_expect(not(remote_take(&in, &out)));
    message_unref(&m);
}

Test(remote_wire, lists_end)
{
    uint8_t room[24];
    struct wire_out w = wire_out_over(room, sizeof room);
    for (uint64_t i = 1; i <= 3; i++)
        wire_put_u64(&w, i);
    struct slice list = wire_out_slice(&w);
    uint64_t qid;
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert(remote_next_qid(&list, &qid));
        cr_expect(eq(u64, qid, i));
    }
    cr_expect(not(remote_next_qid(&list, &qid)));
}

/* ---- outbox to inbox --------------------------------------------------------------------------
 */

#define FRAMES_MAX 4096u

/* A pipe whose frames are taken when the test says so. */
struct pipe {
    struct buf *frames[FRAMES_MAX];
    bool more[FRAMES_MAX];
    unsigned first, count;
    bool full;
    bool soon;
    struct remote_outbox out;
    struct remote_inbox in;
    int64_t counted;
};

static void on_send(void *arg, struct buf *block, struct slice bytes, bool more)
{
    struct pipe *p = arg;
    cr_assert(p->count < FRAMES_MAX);
    cr_assert(not(p->full));
    (void)block;
    p->more[p->count] = more;
    p->frames[p->count++] = buf_copy(bytes);
}

static bool is_full(void *arg)
{
    return ((struct pipe *)arg)->full;
}

static void on_soon(void *arg)
{
    ((struct pipe *)arg)->soon = true;
}

static void on_drop(void *arg, struct message **m)
{
    (void)arg;
    message_unref(m);
}

static void on_count(void *arg, int64_t octets)
{
    ((struct pipe *)arg)->counted += octets;
}

static struct pipe *open_pipe(void)
{
    struct pipe *p = mem_zalloc(sizeof *p);
    remote_outbox_init(&p->out, &(struct remote_pipe){ on_send, is_full, on_soon, on_drop, p });
    remote_inbox_init(&p->in, on_count, p);
    return p;
}

static void close_pipe(struct pipe *p)
{
    remote_outbox_reset(&p->out);
    remote_inbox_reset(&p->in);
    cr_expect(eq(i64, p->counted, 0));
    for (; p->first < p->count; p->first++)
        buf_unref(&p->frames[p->first]);
    mem_free(p);
}

struct got {
    unsigned count;
    uint64_t tags[2048];
    uint64_t body_bytes[2048];
};

/* All frames that are there; what is owed is told at once. */
static void take_all(struct pipe *p, struct got *got)
{
    while (p->first < p->count) {
        struct buf *b = p->frames[p->first++];
        struct wire w = wire_over(buf_slice(b));
        struct remote_record r;
        enum remote_next next;
        while ((next = remote_inbox_next(&p->in, &w, &r)) == REMOTE_RECORD) {
            got->tags[got->count] = r.tag;
            struct message *m = r.has_content ? remote_message(&r) : NULL;
            got->body_bytes[got->count++] = m != NULL ? m->body_bytes : 0;
            if (m != NULL)
                message_unref(&m);
        }
        cr_assert(eq(int, next, REMOTE_END));
        buf_unref(&b);
        uint32_t owed = remote_inbox_owes(&p->in);
        if (owed != 0)
            remote_outbox_on_parts_taken(&p->out, owed);
        remote_outbox_flush(&p->out);
    }
    p->first = p->count = 0;
}

static void put(struct pipe *p, uint64_t channel, uint64_t tag, size_t body_bytes)
{
    struct message *m = message(body_bytes);
    remote_outbox_put(&p->out, channel,
                      &(struct remote_record){ .op = REMOTE_DELIVER, .tag = tag, .message = m });
    message_unref(&m);
}

Test(remote_outbox, what_is_said_in_a_turn_is_one_frame)
{
    struct pipe *p = open_pipe();
    struct got got = { 0 };
    for (uint64_t tag = 1; tag <= 20; tag++)
        put(p, 1, tag, 1000);
    cr_expect(eq(uint, p->count, 0));
    cr_expect(p->soon);
    remote_outbox_flush(&p->out);
    cr_expect(eq(uint, p->count, 1));
    cr_expect(not(p->more[0]));
    take_all(p, &got);
    cr_expect(eq(uint, got.count, 20));
    cr_expect(eq(u64, got.tags[19], 20));
    close_pipe(p);
}

Test(remote_outbox, only_the_last_frame_of_a_turn_says_so)
{
    struct pipe *p = open_pipe();
    for (uint64_t tag = 1; tag <= 200; tag++)
        put(p, 1, tag, 1000);
    remote_outbox_flush(&p->out);
    cr_assert(gt(uint, p->count, 2));
    for (unsigned i = 0; i < p->count; i++)
        cr_expect(eq(int, p->more[i], i + 1 < p->count));
    close_pipe(p);
}

Test(remote_outbox, a_full_pipe_keeps_the_order)
{
    struct pipe *p = open_pipe();
    struct got got = { 0 };
    p->full = true;
    for (uint64_t tag = 1; tag <= 500; tag++) {
        put(p, 1, tag, 1000);
        if (tag % 10 == 0)
            remote_outbox_flush(&p->out);
    }
    cr_expect(eq(uint, p->count, 0));
    cr_expect(gt(sz, p->out.waiting_bytes, 300000));
    p->full = false;
    remote_outbox_on_room(&p->out);
    cr_expect(eq(sz, p->out.waiting_bytes, 0));
    cr_expect(not(p->more[p->count - 1]));
    take_all(p, &got);
    cr_assert(eq(uint, got.count, 500));
    for (unsigned i = 0; i < 500; i++)
        cr_expect(eq(u64, got.tags[i], i + 1));
    close_pipe(p);
}

/* Others' words pass a large one, its own channel's wait behind it. */
Test(remote_outbox, a_large_one_holds_up_only_its_channel)
{
    struct pipe *p = open_pipe();
    struct got got = { 0 };
    put(p, 1, 1, 8u << 20);
    put(p, 1, 2, 10);
    put(p, 2, 3, 10);
    put(p, 1, 4, 3u << 20);
    put(p, 1, 5, 10);
    put(p, 2, 6, 10);
    remote_outbox_flush(&p->out);
    take_all(p, &got);
    cr_assert(eq(uint, got.count, 6));
    const uint64_t order[] = { 3, 6, 1, 2, 4, 5 };
    for (unsigned i = 0; i < 6; i++)
        cr_expect(eq(u64, got.tags[i], order[i]));
    cr_expect(eq(u64, got.body_bytes[2], 8u << 20));
    close_pipe(p);
}

Test(remote_outbox, no_more_parts_are_under_way_than_may_be)
{
    struct pipe *p = open_pipe();
    put(p, 1, 1, 8u << 20);
    put(p, 2, 2, 8u << 20);
    remote_outbox_flush(&p->out);
    size_t bytes = 0;
    for (unsigned i = 0; i < p->count; i++)
        bytes += p->frames[i]->len_bytes;
    cr_expect(lt(sz, bytes, REMOTE_PARTS_BYTES + 4096));
    close_pipe(p);
}

/* More channels have something large to say than there are slots. */
Test(remote_outbox, slots_are_shared)
{
    struct pipe *p = open_pipe();
    struct got got = { 0 };
    for (uint64_t i = 1; i <= 100; i++) {
        put(p, i, 2 * i, 100000 + (size_t)i);
        put(p, i, 2 * i + 1, 1);
    }
    remote_outbox_flush(&p->out);
    take_all(p, &got);
    cr_assert(eq(uint, got.count, 200));
    uint64_t last[101] = { 0 };
    for (unsigned i = 0; i < 200; i++) {
        uint64_t channel = got.tags[i] / 2;
        cr_expect(gt(u64, got.tags[i], last[channel]));
        last[channel] = got.tags[i];
    }
    close_pipe(p);
}

/* Content as it came: a body in blocks of any size, properties longer than a frame. */
Test(remote_outbox, octets_are_what_they_were)
{
    struct pipe *p = open_pipe();
    struct rng rng;
    rng_init(&rng, 4);
    struct buf **parts = mem_array(40, sizeof *parts);
    uint64_t body = 0;
    for (unsigned i = 0; i < 40; i++) {
        size_t n = rng_u64(&rng) % 30000;
        parts[i] = buf_new(n + 1);
        for (size_t k = 0; k < n; k++)
            parts[i]->data[k] = (uint8_t)rng_u64(&rng);
        parts[i]->len_bytes = (uint32_t)n;
        body += n;
    }
    uint8_t *props = mem_zalloc(200000);
    for (size_t i = 0; i < 200000; i++)
        props[i] = (uint8_t)i;
    struct message *m = message_new_parts(slice_str("x"), slice_str("key"), slice_of(props, 200000),
                                          parts, 40, body, false);
    remote_outbox_put(&p->out, 9, &(struct remote_record){ .op = REMOTE_DELIVER, .message = m });
    remote_outbox_flush(&p->out);
    struct message *copy = NULL;
    for (; p->first < p->count; p->first++) {
        struct wire w = wire_over(buf_slice(p->frames[p->first]));
        struct remote_record r;
        if (remote_inbox_next(&p->in, &w, &r) == REMOTE_RECORD)
            copy = remote_message(&r);
        uint32_t owed = remote_inbox_owes(&p->in);
        if (owed != 0)
            remote_outbox_on_parts_taken(&p->out, owed);
        remote_outbox_flush(&p->out);
        buf_unref(&p->frames[p->first]);
    }
    cr_assert(copy != NULL);
    cr_expect(slice_eq(message_names(copy), message_names(m)));
    cr_expect(slice_eq(message_props(copy), message_props(m)));
    cr_assert(eq(u32, copy->body_bytes, m->body_bytes));
    uint8_t *a = mem_alloc(body), *b = mem_alloc(body), *at = a;
    for (unsigned i = 0; i < 40; i++) {
        memcpy(at, parts[i]->data, parts[i]->len_bytes);
        at += parts[i]->len_bytes;
    }
    at = b;
    for (uint32_t i = 0; i < message_more(copy)->part_count; i++) {
        struct slice s = buf_slice(message_more(copy)->parts[i]);
        memcpy(at, s.ptr, s.len);
        at += s.len;
    }
    cr_expect(eq(int, memcmp(a, b, body), 0));
    mem_free(a);
    mem_free(b);
    mem_free(props);
    message_unref(&copy);
    message_unref(&m);
    close_pipe(p);
}

static enum remote_next take_record(struct remote_inbox *in, const struct remote_record *r)
{
    static uint8_t room[4096];
    struct wire_out w = wire_out_over(room, sizeof room);
    remote_put(&w, r);
    struct wire frame = wire_over(wire_out_slice(&w));
    struct remote_record out;
    return remote_inbox_next(in, &frame, &out);
}

Test(remote_inbox, parts_that_belong_to_nothing_are_refused)
{
    struct pipe *p = open_pipe();
    struct remote_record part = { .op = REMOTE_PART, .kind = 3, .bytes = slice_str("abc") };
    cr_expect(eq(int, take_record(&p->in, &part), REMOTE_BAD));
    part.kind = 200;
    cr_expect(eq(int, take_record(&p->in, &part), REMOTE_BAD));
    struct remote_record begin = { .op = REMOTE_BEGIN, .kind = 1, .bytes = slice_str("nonsense") };
    cr_expect(eq(int, take_record(&p->in, &begin), REMOTE_BAD));
    close_pipe(p);
}

Test(remote_inbox, more_than_was_announced_is_refused)
{
    struct pipe *p = open_pipe();
    struct message *m = message(100);
    uint8_t room[512];
    struct wire_out w = wire_out_over(room, sizeof room);
    remote_put(&w, &(struct remote_record){
                       .op = REMOTE_DELIVER, .flags = REMOTE_IN_PARTS, .message = m });
    struct remote_record begin = { .op = REMOTE_BEGIN, .kind = 1, .bytes = wire_out_slice(&w) };
    cr_expect(eq(int, take_record(&p->in, &begin), REMOTE_END));
    cr_expect(eq(int, take_record(&p->in, &begin), REMOTE_BAD));
    uint8_t octets[200] = { 0 };
    struct remote_record part = { .op = REMOTE_PART,
                                  .kind = 1,
                                  .bytes = slice_of(octets, sizeof octets) };
    cr_expect(eq(int, take_record(&p->in, &part), REMOTE_BAD));
    message_unref(&m);
    close_pipe(p);
}
