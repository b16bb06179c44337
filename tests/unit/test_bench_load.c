#include "bench_load.h"

#include "amqp/amqp_frame.h"
#include "amqp/amqp_props.h"
#include "base/mem.h"
#include "expect.h"
#include "io_kit.h"

#include <stdio.h>

#define RUN    7u
#define IN_MAX ((size_t)1 << 20)
#define NOW_US UINT64_C(123456789)

/* What a publisher writes, read at the other end of a connection. */
struct rig {
    struct loop *loop;
    struct stream *stream;
    int other;
    struct bench_options o;
    struct bench_plan plan;
    struct bench_load load;
    uint8_t *in;
    size_t taken;
    struct buf *filler;
};

static void on_data(struct stream *s, void *arg)
{
    (void)s;
    (void)arg;
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    (void)s;
    (void)why;
    (void)arg;
}

static const struct stream_handlers handlers = { .on_data = on_data, .on_closed = on_closed };

static struct rig r;

static void begin(void)
{
    r = (struct rig){ .loop = kit_loop_new() };
    bench_options_init(&r.o);
    r.in = mem_alloc(IN_MAX);
    r.filler = bench_filler_new();
}

static void make(uint32_t publisher, uint32_t frame_max)
{
    bench_plan_init(&r.plan, &r.o, RUN);
    bench_load_init(&r.load, &r.plan, publisher, frame_max);
}

static void connect_on_loop(void *arg)
{
    (void)arg;
    int ends[2];
    kit_tcp_pair(ends);
    r.other = ends[1];
    r.stream = stream_new(r.loop, ends[0], &handlers, NULL);
}

static void end(void)
{
    stream_free(&r.stream);
    bench_load_fini(&r.load);
    buf_unref(&r.filler);
    mem_free(r.in);
    loop_free(&r.loop);
}

TestSuite(bench_load, .init = begin, .fini = end);

struct order {
    uint64_t n;
    uint32_t count;
    const struct bench_pace *pace;
    bool again;
    bool done;
};

static void write_on_loop(void *arg)
{
    struct order *order = arg;
    if (r.stream == NULL)
        connect_on_loop(NULL);
    if (order->again)
        bench_load_write_again(&r.load, r.stream, order->n, NOW_US, NOW_US - 50);
    else
        bench_load_write(&r.load, r.stream, order->n, order->count, NOW_US, order->pace);
    order->done = true;
}

static bool is_sent(void *arg)
{
    struct order *order = arg;
    return order->done && stream_pending(r.stream) == 0;
}

/* Write them, and read them at the other end: behind what was read before, r.taken octets. */
static struct slice exchange(struct order order)
{
    struct loop_timer timer;
    uint64_t before = r.stream != NULL ? stream_totals(r.stream).out_bytes : 0;
    loop_timer_init(&timer, r.loop, write_on_loop, &order);
    loop_timer_start(&timer, 0);
    kit_until(r.loop, is_sent, &order);
    loop_timer_fini(&timer);
    size_t len = (size_t)(stream_totals(r.stream).out_bytes - before);
    cr_assert(le(sz, len, IN_MAX));
    cr_assert(eq(sz, kit_recv(r.other, r.in, len), len));
    return slice_of(r.in, len);
}

struct message {
    char key[256];
    bool persistent;
    uint64_t size;
    struct bench_body ids;
    unsigned body_frames;
};

static struct amqp_frame cut(struct slice *in)
{
    struct amqp_frame f;
    cr_assert(eq(int, (int)amqp_frame_cut(*in, r.load.frame_max, &f), AMQP_CUT_FRAME));
    *in = slice_from(*in, amqp_frame_len(&f));
    cr_assert(eq(int, f.channel, 1));
    return f;
}

/* Take one message off, and look at every octet of it. */
static struct message take(struct slice *in)
{
    struct message m = { 0 };
    struct amqp_method method;
    struct amqp_header header;
    struct amqp_props props;
    struct amqp_frame f = cut(in);
    cr_assert(eq(int, (int)amqp_method_decode(f.payload, &method), AMQP_DECODE_OK));
    cr_assert(eq(u32, method.id, AMQP_BASIC_PUBLISH));
    snprintf(m.key, sizeof m.key, "%.*s", SLICE_ARG(method.basic_publish.routing_key));
    f = cut(in);
    cr_assert(eq(int, (int)f.type, AMQP_FRAME_HEADER));
    cr_assert(amqp_header_decode(f.payload, &header) && amqp_props_decode(header.props, &props));
    m.persistent = props.delivery_mode == AMQP_DELIVERY_PERSISTENT;
    m.size = header.body_size;
    for (uint64_t done = 0; done < m.size; done += f.payload.len) {
        f = cut(in);
        cr_assert(eq(int, (int)f.type, AMQP_FRAME_BODY));
        if (done == 0)
            cr_assert(bench_body_read(f.payload.ptr, (size_t)m.size, &m.ids));
        size_t ids = m.size < BENCH_BODY_INTENDED_MIN ? BENCH_BODY_MIN : BENCH_BODY_INTENDED_MIN;
        size_t skip = done < ids ? ids - done : 0;
        cr_assert(bench_filler_matches(r.filler, done + skip, slice_from(f.payload, skip)));
        m.body_frames++;
    }
    return m;
}

Test(bench_load, stamps_messages_in_order_over_many_blocks)
{
    make(0, 131072);
    uint64_t n = 0;
    while (n < 3u * r.load.count) {
        struct slice in = exchange((struct order){ .n = n, .count = 700 });
        for (unsigned i = 0; i < 700; i++) {
            struct message m = take(&in);
            cr_assert(eq(u64, m.size, 16));
            cr_assert(eq(u64, m.ids.sequence, n + i));
            cr_assert(eq(u64, m.ids.time_us, NOW_US));
            cr_assert(eq(u16, m.ids.run, RUN));
            cr_assert_not(m.ids.resent);
            cr_assert_not(m.persistent);
        }
        cr_assert(eq(sz, in.len, 0));
        n += 700;
    }
}

Test(bench_load, takes_sizes_and_flows_in_turn)
{
    const uint64_t sizes[] = { 16, 100, 30 };
    memcpy(r.o.sizes, sizes, sizeof sizes);
    r.o.sizes_count = 3;
    r.o.queues = 2;
    r.o.spread = true;
    r.o.persistent = true;
    make(1, 131072);
    cr_expect(eq(u32, r.load.count % 6, 0));
    struct slice in = exchange((struct order){ .n = 0, .count = 60 });
    for (uint64_t n = 0; n < 60; n++) {
        char key[256];
        struct text t = text_over(key, sizeof key);
        struct message m = take(&in);
        bench_plan_key(&r.plan, (uint32_t)(n % 2), &t);
        expect_text(m.key, key);
        cr_assert(eq(u64, m.size, sizes[n % 3]));
        cr_assert(eq(u32, m.ids.flow, 2 + n % 2));
        cr_assert(eq(u64, m.ids.sequence, n / 2));
        cr_assert(eq(u64, m.ids.intended_us, NOW_US));
        cr_assert(m.persistent);
    }
}

Test(bench_load, tells_when_paced_messages_were_due)
{
    struct bench_pace pace;
    const uint64_t sizes[] = { 16, 24 };
    memcpy(r.o.sizes, sizes, sizeof sizes);
    r.o.sizes_count = 2;
    make(0, 131072);
    bench_pace_init(&pace, NOW_US - 5000, 1000, 0, 1);
    struct slice in = exchange((struct order){ .n = 0, .count = 4, .pace = &pace });
    for (uint64_t n = 0; n < 4; n++) {
        struct message m = take(&in);
        cr_expect(eq(u64, m.ids.intended_us, NOW_US - 5000 + 1000 * n));
        cr_expect(eq(u64, m.ids.time_us, n % 2 == 1 ? NOW_US : m.ids.intended_us));
    }
}

/* Larger than a frame, at the edges of one. */
Test(bench_load, splits_large_bodies_into_frames)
{
    const struct {
        uint64_t size;
        unsigned frames;
    } cases[] = { { 4088, 1 }, { 4089, 2 }, { 8176, 2 }, { 8177, 3 }, { 200000, 49 } };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        r.o.sizes[0] = cases[i].size;
        make(0, 4096);
        struct slice in = exchange((struct order){ .n = 0, .count = 1 });
        struct message m = take(&in);
        cr_expect(eq(u64, m.size, cases[i].size));
        cr_expect(eq(u32, m.body_frames, cases[i].frames), "%lu octets", cases[i].size);
        cr_expect(eq(u64, m.ids.sequence, 0));
        cr_expect(eq(sz, in.len, 0));
        bench_load_fini(&r.load);
    }
    make(0, 4096);
}

Test(bench_load, marks_what_it_sends_again)
{
    r.o.sizes[0] = 1000;
    make(0, 131072);
    struct slice in = exchange((struct order){ .n = 12345, .again = true });
    struct message m = take(&in);
    cr_expect(m.ids.resent);
    cr_expect(eq(u64, m.ids.sequence, 12345));
    cr_expect(eq(u64, m.ids.time_us, NOW_US));
    cr_expect(eq(u64, m.ids.intended_us, NOW_US - 50));
    cr_expect(eq(u64, m.size, 1000));
}
