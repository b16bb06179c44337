/*
 * ctl_lister: one kind of thing that warrenctl can list: its columns, and how rows come about. For
 * ctl alone; see ctl_list.c.
 */
#ifndef WARREN_CTL_LISTER_H
#define WARREN_CTL_LISTER_H

#include "mgmt/ctl_inner.h"
#include "mgmt/ctl_row.h"

#define CTL_COLUMNS_MAX 64u

/* Of queues: by where they are. */
enum ctl_which {
    CTL_ALL,
    CTL_LOCAL, /* mastered by this node */
    CTL_ONLINE,
    CTL_OFFLINE, /* durable, and their node is away */
};

struct ctl_list {
    struct ctl *ctl;
    const struct ctl_lister *how;
    uint64_t number;
    uint64_t vhost_id; /* 0: of all */
    enum ctl_which which;
    unsigned columns[CTL_COLUMNS_MAX]; /* indexes of how->columns */
    unsigned column_count;
    uint64_t *ids; /* of the rows, or NULL */
    size_t count;
    size_t at;                    /* the next */
    struct http_request *request; /* NULL: nobody waits for a piece */
    struct loop_timer idle;
    LIST_ENTRY(ctl_list) entry;
};

struct ctl_lister {
    const char *what;
    const char *const *columns;
    unsigned column_count;
    /* Find the ids; NULL: there are none, and the first piece is everything. */
    void (*begin)(struct ctl_list *l);
    /* Make rows, now or later, and call ctl_list_reply or ctl_list_refuse. */
    void (*piece)(struct ctl_list *l);
};

extern const struct ctl_lister ctl_lister_queues, ctl_lister_exchanges, ctl_lister_bindings,
    ctl_lister_connections, ctl_lister_channels, ctl_lister_consumers;

/* Room for the rows of a piece. */
struct text ctl_list_rows(void);
/* The ids of the next piece's rows. */
const uint64_t *ctl_list_next(struct ctl_list *l, size_t *count);

/* Each answers the request; the list may be gone then. `rows` is taken. */
void ctl_list_reply(struct ctl_list *l, struct text *rows);
void ctl_list_refuse(struct ctl_list *l, const char *code, const char *detail);

#define CTL_PID_MAX 320u
/* "<rabbit1@host.1700000000.17.0>": as RabbitMQ writes what lives where. Empty for `id` 0. */
void ctl_pid_of_queue(const struct ctl *c, const struct meta_queue *q, struct text *out);
void ctl_pid_of_replica(const struct ctl *c, const struct meta_queue *q, uint16_t node,
                        struct text *out);
void ctl_pid_of_connection(const struct ctl *c, uint64_t id, struct text *out);
void ctl_pid_of_channel(const struct ctl *c, uint64_t id, unsigned channel, struct text *out);

/* The connection that such a text means, or 0. */
uint64_t ctl_connection_of_pid(const struct ctl *c, struct slice pid);

#endif
