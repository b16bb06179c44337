#include "stream_kit.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <criterion/criterion.h>

struct loop *loop;

void digest(struct end *e, struct slice in)
{
    for (size_t i = 0; i < in.len; i++) {
        if (e->got < sizeof e->text - 1)
            e->text[e->got] = (char)in.ptr[i];
        e->got++;
        e->sum = e->sum * 31 + in.ptr[i];
    }
}

void on_open(struct stream *s, void *arg)
{
    struct end *e = arg;
    CHECK(e->s == s && !e->opened && !e->closed && loop_is_current(loop));
    e->opened = true;
}

void on_data(struct stream *s, void *arg)
{
    struct end *e = arg;
    CHECK(e->s == s && !e->closed && loop_is_current(loop));
    CHECK(!stream_is_paused(s));
    e->data_calls++;
    struct slice in = slice_head(stream_peek(s), e->eat_max);
    digest(e, in);
    stream_consume(s, in.len);
    if (e->pauses_on_data)
        stream_pause(s);
    if (e->frees_on_data)
        stream_free(&e->s);
}

void on_room(struct stream *s, void *arg)
{
    struct end *e = arg;
    CHECK(e->s == s && !e->closed && !stream_is_full(s));
    e->room_calls++;
}

static void on_closed(struct stream *s, const struct err *why, void *arg)
{
    struct end *e = arg;
    CHECK(e->s == s && !e->closed);
    e->closed = true;
    e->failed = why != NULL;
    if (why != NULL)
        e->why = *why;
    if (e->frees_on_close)
        stream_free(&e->s);
}

const struct stream_handlers handlers = { on_open, on_data, on_room, on_closed };

void set_up(void)
{
    loop = kit_loop_new();
}

void tear_down(void)
{
    loop_free(&loop);
}

struct job {
    struct loop_task task;
    void (*fn)(void *arg);
    void *arg;
};

static void on_job(void *arg)
{
    struct job *j = arg;
    j->fn(j->arg);
    loop_stop(loop);
}

void on_loop(void (*fn)(void *), void *arg)
{
    struct job j = { .fn = fn, .arg = arg };
    loop_task_init(&j.task, on_job, &j);
    loop_again(loop, &j.task);
    loop_run(loop);
}

static void do_open(void *arg)
{
    struct opening *o = arg;
    *o->e = (struct end){ .eat_max = SIZE_MAX };
    o->e->s = stream_new(loop, o->fd, &handlers, o->e);
}

void end_open(struct end *e, int fd)
{
    on_loop(do_open, &(struct opening){ e, fd });
}

static void do_free(void *arg)
{
    struct end *e = arg;
    stream_free(&e->s);
}

void end_free(struct end *e)
{
    on_loop(do_free, e);
}

void do_write(void *arg)
{
    struct writing *w = arg;
    if (!w->is_shared) {
        stream_write(w->e->s, w->octets);
        return;
    }
    struct buf *b = buf_copy(w->octets);
    stream_write_shared(w->e->s, b, buf_slice(b));
    buf_unref(&b); /* the stream has its own reference */
}

void end_write(struct end *e, const void *octets, size_t len)
{
    on_loop(do_write, &(struct writing){ .e = e, .octets = slice_of(octets, len) });
}

int half_pair(struct end *e, bool is_small)
{
    int ends[2];
    kit_socket_pair(ends, is_small);
    end_open(e, ends[0]);
    return ends[1];
}

void both_open(struct end *a, struct end *b, bool is_tcp)
{
    int ends[2];
    if (is_tcp)
        kit_tcp_pair(ends);
    else
        kit_socket_pair(ends, true);
    end_open(a, ends[0]);
    end_open(b, ends[1]);
}

uint8_t *noise(size_t len)
{
    struct rng r;
    uint8_t *octets = mem_alloc(len);
    rng_init(&r, 1);
    for (size_t i = 0; i < len; i++)
        octets[i] = (uint8_t)rng_u64(&r);
    return octets;
}

uint64_t sum_of(const uint8_t *octets, size_t len)
{
    struct end e = { .got = 0 };
    digest(&e, slice_of(octets, len));
    return e.sum;
}

void do_finish(void *arg)
{
    struct end *e = arg;
    stream_finish(&e->s, 30000);
}
