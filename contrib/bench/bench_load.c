#include "bench_load.h"

#include "amqp/amqp_frame.h"
#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"

#define CHANNEL        1u
#define HEAD_MAX_BYTES 1024u /* publish, header, a body frame's head: names are short strings */

/* ---- one message --------------------------------------------------------------------------------
 */

uint64_t bench_load_size(const struct bench_load *l, uint64_t n)
{
    const struct bench_options *o = l->plan->options;
    return o->sizes[n % o->sizes_count];
}

/* So much of a body is ids and times. */
static uint32_t ids_of(uint64_t size)
{
    return size >= BENCH_BODY_INTENDED_MIN ? BENCH_BODY_INTENDED_MIN : BENCH_BODY_MIN;
}

static uint32_t flow_of(const struct bench_load *l, uint64_t n)
{
    return l->flow_first + (uint32_t)(n % l->plan->publisher_flows);
}

/* The first body frame takes this much of the body. */
static uint32_t body_frame_max(const struct bench_load *l)
{
    return l->frame_max - AMQP_FRAME_OVERHEAD;
}

static void put_body_head(struct wire_out *w, uint32_t size)
{
    wire_put_u8(w, AMQP_FRAME_BODY);
    wire_put_u16(w, CHANNEL);
    wire_put_u32(w, size);
}

static void put_publish(const struct bench_load *l, struct wire_out *w, uint32_t key)
{
    char room[UINT8_MAX + 1];
    struct text key_text = text_over(room, sizeof room);
    bench_plan_key(l->plan, key, &key_text);
    struct amqp_basic_publish publish = {
        .exchange = slice_str(l->plan->exchange),
        .routing_key = text_view(&key_text),
        .mandatory = l->plan->options->mandatory,
    };
    size_t start = wire_out_len(w);
    amqp_frame_begin(w, AMQP_FRAME_METHOD, CHANNEL);
    amqp_basic_publish_write(w, &publish);
    amqp_frame_end(w, start);
}

static void put_props(const struct bench_load *l, struct wire_out *w, uint32_t key, uint64_t size)
{
    uint8_t headers_room[256];
    struct wire_out headers = wire_out_over(headers_room, sizeof headers_room);
    bench_plan_headers(l->plan, key, &headers);
    struct amqp_props props = { .delivery_mode = AMQP_DELIVERY_PERSISTENT,
                                .headers = wire_out_slice(&headers) };
    if (l->plan->options->persistent)
        props.flags |= AMQP_PROP_delivery_mode;
    if (props.headers.len != 0)
        props.flags |= AMQP_PROP_headers;
    uint8_t props_room[512];
    struct wire_out raw = wire_out_over(props_room, sizeof props_room);
    amqp_props_encode(&raw, &props);
    CHECK(!headers.overflow && !raw.overflow);
    amqp_frame_put_header(w, CHANNEL, size, wire_out_slice(&raw));
}

/* All that comes before the first octet of the body. */
static void put_head(const struct bench_load *l, struct wire_out *w, uint64_t n)
{
    uint32_t key = bench_plan_flow_key(l->plan, flow_of(l, n));
    uint64_t size = bench_load_size(l, n);
    put_publish(l, w, key);
    put_props(l, w, key, size);
    put_body_head(w, size < body_frame_max(l) ? (uint32_t)size : body_frame_max(l));
}

/* ---- the model ----------------------------------------------------------------------------------
 */

static uint32_t period_of(const struct bench_plan *plan)
{
    uint32_t a = plan->publisher_flows, b = plan->options->sizes_count;
    uint32_t x = a, y = b;
    while (y != 0) {
        uint32_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* Lay out message n at the end of `w`; false when it does not fit. */
static bool lay_out(const struct bench_load *l, struct wire_out *w, uint64_t n,
                    struct bench_load_slot *slot)
{
    uint64_t size = bench_load_size(l, n);
    slot->start = (uint32_t)wire_out_len(w);
    put_head(l, w, n);
    slot->id_at = (uint32_t)wire_out_len(w);
    slot->ids = ids_of(size);
    (void)wire_out_room(w, slot->ids);
    for (uint64_t done = slot->ids; done < size;) {
        struct slice piece = bench_filler_range(l->filler, done, size - done);
        wire_put_bytes(w, piece);
        done += piece.len;
    }
    wire_put_u8(w, AMQP_FRAME_END);
    if (w->overflow)
        return false;
    slot->end = (uint32_t)wire_out_len(w);
    return true;
}

/* Fill the model with whole periods; false when not even one fits. */
static bool make_model(struct bench_load *l)
{
    uint32_t period = period_of(l->plan);
    struct wire_out w = wire_out_over(l->model->data, l->model->cap_bytes);
    uint32_t cap = (uint32_t)(BENCH_LOAD_BLOCK_BYTES / BENCH_BODY_MIN);
    l->slots = mem_array(cap, sizeof *l->slots);
    uint32_t n = 0;
    while (n < cap && lay_out(l, &w, n, &l->slots[n]))
        n++;
    l->count = n / period * period;
    if (l->count == 0)
        return false;
    l->model->len_bytes = l->slots[l->count - 1].end;
    l->slots = mem_realloc(l->slots, l->count * sizeof *l->slots);
    return true;
}

static bool fits_frames(const struct bench_load *l)
{
    const struct bench_options *o = l->plan->options;
    for (uint32_t i = 0; i < o->sizes_count; i++)
        if (o->sizes[i] > body_frame_max(l) || o->sizes[i] > BENCH_LOAD_BLOCK_BYTES)
            return false;
    return true;
}

void bench_load_init(struct bench_load *l, const struct bench_plan *plan, uint32_t publisher,
                     uint32_t frame_max)
{
    *l = (struct bench_load){ .plan = plan, .frame_max = frame_max };
    l->flow_first = publisher * plan->publisher_flows;
    l->filler = bench_filler_new();
    l->model = buf_new(BENCH_LOAD_BLOCK_BYTES);
    l->whole = fits_frames(l) && make_model(l);
    if (l->whole)
        l->work = buf_copy(buf_slice(l->model));
}

void bench_load_fini(struct bench_load *l)
{
    for (unsigned i = 0; i < BENCH_LOAD_SPARES; i++)
        buf_unref(&l->spares[i]);
    buf_unref(&l->work);
    buf_unref(&l->model);
    buf_unref(&l->filler);
    mem_free(l->slots);
    *l = (struct bench_load){ 0 };
}

/* ---- writing many -------------------------------------------------------------------------------
 */

/* The copy is used up. Mostly it is sent already and the first to be used again, while it is in
 * the cache; else it joins the spares, and one of those that are sent follows, or a fresh one. */
static void next_block(struct bench_load *l)
{
    l->at = 0;
    if (buf_is_sole(l->work))
        return;
    struct buf *used = l->work;
    struct buf **place = NULL;
    l->work = NULL;
    for (unsigned i = 0; i < BENCH_LOAD_SPARES && l->work == NULL; i++) {
        if (l->spares[i] == NULL) {
            place = &l->spares[i];
        } else if (buf_is_sole(l->spares[i])) {
            place = &l->spares[i];
            l->work = *place;
        }
    }
    if (place != NULL)
        *place = used;
    else
        buf_unref(&used);
    if (l->work == NULL)
        l->work = buf_copy(buf_slice(l->model));
}

/* Stamp `count` messages of the copy in use, all at one time. */
static void stamp(struct bench_load *l, uint64_t n, uint32_t count, uint64_t now_us)
{
    uint32_t flows = l->plan->publisher_flows;
    uint64_t when = bench_body_when(l->plan->run, now_us);
    uint64_t sequence = n / flows;
    uint32_t flow = (uint32_t)(n % flows);
    for (uint32_t i = 0; i < count; i++) {
        const struct bench_load_slot *slot = &l->slots[l->at + i];
        uint8_t *id = l->work->data + slot->id_at;
        bench_body_put_u64(id, when);
        bench_body_put_u64(id + 8, bench_body_which(l->flow_first + flow, sequence, false));
        if (slot->ids == BENCH_BODY_INTENDED_MIN)
            bench_body_put_u64(id + 16, now_us);
        if (++flow == flows) {
            flow = 0;
            sequence++;
        }
    }
}

static struct bench_body body_of(const struct bench_load *l, uint64_t n, uint64_t now_us,
                                 uint64_t due_us)
{
    return (struct bench_body){
        .run = l->plan->run,
        .flow = flow_of(l, n),
        .sequence = n / l->plan->publisher_flows,
        .time_us = now_us,
        .intended_us = due_us,
    };
}

/* The same for messages that were due at different times. */
static void stamp_paced(struct bench_load *l, uint64_t n, uint32_t count, uint64_t now_us,
                        const struct bench_pace *pace)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bench_body b = body_of(l, n + i, now_us, bench_pace_due_us(pace, n + i));
        const struct bench_load_slot *slot = &l->slots[l->at + i];
        bench_body_write(l->work->data + slot->id_at, slot->ids, &b);
    }
}

/* ---- writing one --------------------------------------------------------------------------------
 */

static void write_filler(struct bench_load *l, struct stream *s, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct slice piece = bench_filler_range(l->filler, from, to - from);
        stream_write_shared(s, l->filler, piece);
        from += piece.len;
    }
}

/* End one body frame and, unless it was the last, begin the next. */
static void write_between(struct stream *s, uint64_t next)
{
    struct wire_out w = wire_out_over(stream_reserve(s, AMQP_FRAME_OVERHEAD), AMQP_FRAME_OVERHEAD);
    wire_put_u8(&w, AMQP_FRAME_END);
    if (next != 0)
        put_body_head(&w, (uint32_t)next);
    stream_commit(s, wire_out_len(&w));
}

static void write_one(struct bench_load *l, struct stream *s, uint64_t n,
                      const struct bench_body *body)
{
    uint64_t size = bench_load_size(l, n);
    uint64_t done = ids_of(size);
    struct wire_out w = wire_out_over(stream_reserve(s, HEAD_MAX_BYTES), HEAD_MAX_BYTES);
    put_head(l, &w, n);
    uint8_t *ids = wire_out_room(&w, (size_t)done);
    CHECK(!w.overflow);
    bench_body_write(ids, (size_t)done, body);
    stream_commit(s, wire_out_len(&w));

    uint64_t frame = body_frame_max(l);
    for (uint64_t start = 0; start < size; start += frame) {
        uint64_t end = size - start < frame ? size : start + frame;
        write_filler(l, s, done, end);
        write_between(s, size - end < frame ? size - end : frame);
        done = end;
    }
}

/* ---- what the publisher calls -------------------------------------------------------------------
 */

static void write_whole(struct bench_load *l, struct stream *s, uint64_t n, uint32_t count,
                        uint64_t now_us, const struct bench_pace *pace)
{
    while (count != 0) {
        CHECK(l->at == n % l->count);
        uint32_t take = count < l->count - l->at ? count : l->count - l->at;
        if (pace != NULL)
            stamp_paced(l, n, take, now_us, pace);
        else
            stamp(l, n, take, now_us);
        uint32_t start = l->slots[l->at].start;
        uint32_t end = l->slots[l->at + take - 1].end;
        stream_write_shared(s, l->work, slice_of(l->work->data + start, end - start));
        l->at += take;
        if (l->at == l->count)
            next_block(l);
        n += take;
        count -= take;
    }
}

void bench_load_write(struct bench_load *l, struct stream *s, uint64_t n, uint32_t count,
                      uint64_t now_us, const struct bench_pace *pace)
{
    if (l->whole) {
        write_whole(l, s, n, count, now_us, pace);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t due_us = pace != NULL ? bench_pace_due_us(pace, n + i) : now_us;
        struct bench_body b = body_of(l, n + i, now_us, due_us);
        write_one(l, s, n + i, &b);
    }
}

void bench_load_write_again(struct bench_load *l, struct stream *s, uint64_t n, uint64_t now_us,
                            uint64_t due_us)
{
    struct bench_body b = body_of(l, n, now_us, due_us);
    b.resent = true;
    write_one(l, s, n, &b);
}
