/*
 * remote_client_inner: what remote_client.c and remote_client_end.c remember of what was said. Not
 * for anybody else.
 */
#ifndef WARREN_REMOTE_CLIENT_INNER_H
#define WARREN_REMOTE_CLIENT_INNER_H

#include "remote/remote_client.h"

/* Who is charged for what is sent again: nobody is told that it is taken. */
#define REMOTE_PAID UINT64_MAX

/* Of one publish, or of some in a row that cost the same. */
struct remote_charge {
    uint64_t connection; /* 0: nobody's */
    uint64_t octets;     /* a copy */
    uint64_t copies;
};

/* A publish that somebody waits for. */
struct remote_awaited {
    struct port_channel_ref from;
    uint64_t number;
    uint32_t copies; /* 0: answered */
};

/* One that is large, or stands behind such a one: others leave before it. */
struct remote_unsent {
    uint64_t mark;
    struct remote_awaited awaited;
};

/* A question under way. */
struct remote_asked {
    uint32_t token;
    struct port_request *request; /* NULL: whether a channel takes replies */
    struct port_channel_ref from;
    uint64_t said; /* before it */
};

/* A consumer at a queue over there. */
struct remote_subscriber {
    uint64_t id;
    uint64_t qid;
    struct port_channel_ref channel;
};

/* A queue over there that has consumers here. */
struct remote_consumed {
    uint64_t qid;
    uint32_t consumers;
};

/* Answers of one channel in a row are told as one. */
struct remote_told {
    struct port_channel_ref from;
    uint64_t first;
    uint32_t count;
    uint32_t copies;
    bool ok;
};

void remote_client_init_life(struct remote_client *c);
void remote_client_free_all(struct idmap *m);
void remote_client_add_told(struct remote_client *c, struct remote_told *t,
                            const struct remote_awaited *a);
void remote_client_tell(struct remote_client *c, struct remote_told *t);

#endif
