/*
 * bench-link: how much goes through a link.
 *
 * usage: bench-link [SECONDS [BYTES]]
 *
 * Two nodes, a loop and a thread each; one dials the other over loopback, with everything that a
 * bulk link has: TLS, and sessions that can be resumed. First the dialler sends frames of BYTES
 * (1024) one way as long as there is room; then lone frames are echoed. Printed: frames and octets
 * a second, the processor time that a frame takes of each thread, and round trips.
 */
#include "base/check.h"
#include "base/mem.h"
#include "io/sock.h"
#include "link/link_door.h"
#include "stats/hist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COOKIE     "a secret of more than twenty octets"
#define BULK       16u
#define ECHO       17u
#define ECHOES     2000u
#define FILL_BATCH 64u

struct bench {
    struct loop *near, *far;
    struct link_node *near_node, *far_node;
    struct link_door *door;
    struct link_hall *hall;
    struct link *out, *in;
    struct loop_task fill;
    uint64_t run_ns;
    uint64_t begun_ns, near_cpu_ns, far_cpu_ns; /* when it began; then how much it took */
    uint64_t echo_ns;
    uint64_t sent, got, echoes;
    size_t bytes;
    uint8_t *body;
    struct hist trips;
    bool is_over;
};

static uint64_t ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void must(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "bench-link: %s\n", err->text);
    exit(1);
}

/* ---- the far side ---- */

static void on_far_frame(struct link *l, const struct link_frame *f, void *arg)
{
    struct bench *b = arg;
    if (b->got++ == 0)
        b->far_cpu_ns = ns_of(CLOCK_THREAD_CPUTIME_ID);
    if (f->type != ECHO)
        return;
    if (b->echoes++ == 0)
        b->far_cpu_ns = ns_of(CLOCK_THREAD_CPUTIME_ID) - b->far_cpu_ns;
    (void)link_send(l, LINK_URGENT, ECHO, f->payload, NULL, slice_of(NULL, 0));
}

static void on_far_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)l, (void)why, (void)err;
    struct bench *b = arg;
    link_free(&b->in);
}

static const struct link_handlers far_handlers = { .on_frame = on_far_frame,
                                                   .on_lost = on_far_lost };

static void on_link(struct link *l, const struct link_peer *peer, void *arg)
{
    (void)peer;
    struct bench *b = arg;
    b->in = l;
    link_set_owner(l, &far_handlers, b);
}

static const struct link_hall_handlers hall_handlers = { .on_link = on_link };

/* ---- the near side ---- */

static void send_echo(struct bench *b)
{
    b->echo_ns = ns_of(CLOCK_MONOTONIC);
    (void)link_send(b->out, LINK_URGENT, ECHO, slice_str("?"), NULL, slice_of(NULL, 0));
}

/* The first echo comes when everything before it has been taken. */
static void fill(void *arg)
{
    struct bench *b = arg;
    uint64_t now = ns_of(CLOCK_MONOTONIC);
    if (now - b->begun_ns > b->run_ns) {
        send_echo(b);
        return;
    }
    while (!link_is_full(b->out))
        for (unsigned i = 0; i < FILL_BATCH; i++, b->sent++)
            (void)link_send(b->out, LINK_BULKY, BULK, slice_of(b->body, 16), NULL,
                            slice_of(b->body + 16, b->bytes - 16));
}

static void on_up(struct link *l, void *arg)
{
    (void)l;
    struct bench *b = arg;
    b->begun_ns = ns_of(CLOCK_MONOTONIC);
    b->near_cpu_ns = ns_of(CLOCK_THREAD_CPUTIME_ID);
    fill(b);
}

static void on_room(struct link *l, void *arg)
{
    (void)l;
    fill(arg);
}

static void print_bulk(const struct bench *b, uint64_t took_ns)
{
    double s = (double)took_ns / 1e9, frames = (double)b->sent;
    printf("%zu octets: %.0f frames/s, %.2f GB/s; processor time of a frame: sender %.0f ns, "
           "receiver %.0f ns\n",
           b->bytes, frames / s, frames * (double)b->bytes / s / 1e9,
           (double)b->near_cpu_ns / frames, (double)b->far_cpu_ns / frames);
}

static void on_frame(struct link *l, const struct link_frame *f, void *arg)
{
    (void)l, (void)f;
    struct bench *b = arg;
    uint64_t now = ns_of(CLOCK_MONOTONIC);
    if (b->echoes == 1) {
        b->near_cpu_ns = ns_of(CLOCK_THREAD_CPUTIME_ID) - b->near_cpu_ns;
        print_bulk(b, now - b->begun_ns);
    } else {
        hist_record_many(&b->trips, now - b->echo_ns, 1);
    }
    if (b->echoes < ECHOES) {
        send_echo(b);
        return;
    }
    printf("round trip of a lone frame: p50 %.1f us, p99 %.1f us\n",
           (double)hist_percentile(&b->trips, 0.5) / 1e3,
           (double)hist_percentile(&b->trips, 0.99) / 1e3);
    link_free(&b->out);
    loop_stop(b->near);
}

static void on_lost(struct link *l, enum link_loss why, const struct err *err, void *arg)
{
    (void)l, (void)arg;
    fprintf(stderr, "bench-link: lost: %s: %s\n", link_loss_text(why),
            err != NULL ? err->text : "");
    exit(1);
}

static const struct link_handlers near_handlers = {
    .on_up = on_up, .on_frame = on_frame, .on_room = on_room, .on_lost = on_lost
};

/* ---- both ---- */

static struct link_node *make_node(uint16_t number)
{
    struct link_identity id = { .node = number, .inc = 1, .name = "bench" };
    struct err err;
    struct link_node *n = link_node_new(slice_str(COOKIE), &id, &err);
    must(n != NULL, &err);
    return n;
}

static uint16_t open_far(struct bench *b)
{
    struct sock_addr at;
    struct err err;
    CHECK(sock_addr_ip("127.0.0.1", 0, &at));
    b->hall = link_hall_new(
        b->far, b->far_node,
        &(struct link_hall_options){ .class = LINK_BULK, .resume_ms = LINK_RESUME_MS },
        &hall_handlers, b);
    b->door = link_door_new(b->far);
    link_door_serve(b->door, LINK_BULK, &b->hall, 1);
    uint16_t port = link_door_listen(b->door, &at, &err);
    must(port != 0, &err);
    return port;
}

struct opening {
    struct loop_task task;
    struct bench *bench;
    uint16_t port;
};

static void dial(void *arg)
{
    struct opening *o = arg;
    const struct link_options options = {
        .class = LINK_BULK, .host = "127.0.0.1", .port = o->port, .resume_ms = LINK_RESUME_MS
    };
    o->bench->out =
        link_dial(o->bench->near, o->bench->near_node, &options, &near_handlers, o->bench);
}

static void run(struct bench *b)
{
    struct err err;
    b->near = loop_new("near", &err);
    b->far = loop_new("far", &err);
    CHECK(b->near != NULL && b->far != NULL);
    b->near_node = make_node(1);
    b->far_node = make_node(2);
    struct opening o = { .bench = b, .port = open_far(b) };
    loop_task_init(&o.task, dial, &o);
    loop_again(b->near, &o.task);
    must(loop_start(b->far, &err), &err);
    loop_run(b->near);
    while (loop_settle(b->near))
        ;
    loop_free(&b->near);
    loop_stop(b->far);
    loop_join(b->far);
    if (b->in != NULL)
        link_free(&b->in);
    link_door_free(&b->door);
    while (loop_settle(b->far))
        ;
    link_hall_free(&b->hall);
    loop_free(&b->far);
    link_node_free(&b->near_node);
    link_node_free(&b->far_node);
}

int main(int argc, char **argv)
{
    struct bench *b = mem_zalloc(sizeof *b);
    b->run_ns = (argc > 1 ? strtoull(argv[1], NULL, 10) : 3) * 1000000000u;
    b->bytes = argc > 2 ? (size_t)strtoull(argv[2], NULL, 10) : 1024;
    if (b->run_ns == 0 || b->bytes < 16 || b->bytes > LINK_FRAME_MAX) {
        fprintf(stderr, "usage: bench-link [SECONDS [BYTES]]\n");
        return 64;
    }
    b->body = mem_zalloc(b->bytes);
    run(b);
    mem_free(b->body);
    mem_free(b);
    return 0;
}
