/*
 * stream_kit: streams for tests: an end that notes what its callbacks told, on one loop that the
 * test runs.
 */
#ifndef WARREN_TESTS_STREAM_KIT_H
#define WARREN_TESTS_STREAM_KIT_H

#include "base/err.h"
#include "io/stream.h"
#include "io_kit.h"

struct end {
    struct stream *s;
    bool opened;
    bool closed;
    bool failed;
    struct err why;
    size_t data_calls;
    size_t room_calls;
    size_t got; /* octets */
    uint64_t sum;
    size_t eat_max;     /* a call of on_data consumes so much at most */
    bool frees_on_data; /* what a callback does to its own stream */
    bool frees_on_close;
    bool pauses_on_data;
    char text[256]; /* the first octets, as a string */
};

extern struct loop *loop;
extern const struct stream_handlers handlers;

void set_up(void); /* makes the loop */
void tear_down(void);

void on_open(struct stream *s, void *arg);
void on_data(struct stream *s, void *arg);
void on_room(struct stream *s, void *arg);

/* Streams are made and used on their loop's thread, while it runs. */
void on_loop(void (*fn)(void *), void *arg);

struct opening {
    struct end *e;
    int fd;
};
void end_open(struct end *e, int fd);
void end_free(struct end *e);

struct writing {
    struct end *e;
    struct slice octets;
    bool is_shared;
};
void do_write(void *arg);
void end_write(struct end *e, const void *octets, size_t len);
void do_finish(void *arg); /* lingers for 30 s */

/* A stream at one end, a plain socket, which the test reads and writes, at the other. */
int half_pair(struct end *e, bool is_small);
/* A stream at each end. */
void both_open(struct end *a, struct end *b, bool is_tcp);

/* Octets without order, the same each time. */
uint8_t *noise(size_t len);
/* Add them to what the end has seen: `sum` depends on each octet and its place. */
void digest(struct end *e, struct slice in);
uint64_t sum_of(const uint8_t *octets, size_t len);

#endif
