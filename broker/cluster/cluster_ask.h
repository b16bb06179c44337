/*
 * cluster_ask: what a node that belongs to no cluster asks one that may (links of the class ASK),
 * as octets. No I/O.
 *
 *   WHO      short string: name of who asks
 *   HERE     u8 state   16 octets: cluster   short string: name of who answers
 *   JOIN     short string name   u64 place   u8 type   short strings: the cluster port's address,
 *            AMQP's, the management's
 *   JOINED   16 octets: cluster   u16 number of the new node   then of each other node u16 number,
 *            short strings name and address
 *   REFUSED  u8 whether it is of no use to ask again   long string: why
 */
#ifndef WARREN_CLUSTER_ASK_H
#define WARREN_CLUSTER_ASK_H

#include "base/wire.h"
#include "link/link.h"

enum cluster_ask_type {
    CLUSTER_ASK_WHO = LINK_TYPE_LEAST,
    CLUSTER_ASK_HERE,
    CLUSTER_ASK_JOIN,
    CLUSTER_ASK_JOINED,
    CLUSTER_ASK_REFUSED,
};

enum cluster_here {
    CLUSTER_HERE_FRESH,   /* of no cluster */
    CLUSTER_HERE_WAITING, /* of one, that cannot be changed now */
    CLUSTER_HERE_SERVING, /* of one that can be joined */
};

#define CLUSTER_ASK_BYTES_MAX ((size_t)32 * 1024)

struct cluster_here_frame {
    enum cluster_here state;
    struct slice cluster; /* 16 octets */
    struct slice name;
};

struct cluster_join_frame {
    struct slice name;
    uint64_t place;
    uint8_t type; /* enum meta_node_type */
    struct slice cluster_address, amqp_address, management_address;
};

static inline void cluster_put_here(struct wire_out *w, const struct cluster_here_frame *f)
{
    wire_put_u8(w, (uint8_t)f->state);
    wire_put_bytes(w, f->cluster);
    wire_put_shortstr(w, f->name);
}

MUST_CHECK static inline bool cluster_take_here(struct slice in, struct cluster_here_frame *f)
{
    struct wire w = wire_over(in);
    uint8_t state = wire_u8(&w);
    f->state = (enum cluster_here)state;
    f->cluster = wire_take(&w, 16);
    f->name = wire_shortstr(&w);
    return !w.ran_out && state <= CLUSTER_HERE_SERVING;
}

static inline void cluster_put_join(struct wire_out *w, const struct cluster_join_frame *f)
{
    wire_put_shortstr(w, f->name);
    wire_put_u64(w, f->place);
    wire_put_u8(w, f->type);
    wire_put_shortstr(w, f->cluster_address);
    wire_put_shortstr(w, f->amqp_address);
    wire_put_shortstr(w, f->management_address);
}

MUST_CHECK static inline bool cluster_take_join(struct slice in, struct cluster_join_frame *f)
{
    struct wire w = wire_over(in);
    f->name = wire_shortstr(&w);
    f->place = wire_u64(&w);
    f->type = wire_u8(&w);
    f->cluster_address = wire_shortstr(&w);
    f->amqp_address = wire_shortstr(&w);
    f->management_address = wire_shortstr(&w);
    return !w.ran_out && f->name.len != 0;
}

#endif
