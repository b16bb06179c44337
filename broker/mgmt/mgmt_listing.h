/*
 * mgmt_listing: a list that may be long: filtered, sorted, cut into pages, and sent in pieces.
 *
 * It holds numbers of rows and, when it is sorted by a column, one key a row; the objects exist
 * for a piece at a time. A piece is made in one turn of the management's loop, and the next one
 * only when the client has taken most of what came before.
 */
#ifndef WARREN_MGMT_LISTING_H
#define WARREN_MGMT_LISTING_H

#include "mgmt/mgmt_call.h"

#define MGMT_PIECE_ROWS 256u

struct mgmt_listing;

/* What is listed; embedded in the struct of who knows it. Rows have numbers from 0, and stand in
 * the order in which they are shown when nobody asks for another. */
struct mgmt_source {
    uint32_t count;
    /* The row's name for a filter, called before the first turn is over; NULL: "name" of what
     * render makes. */
    struct slice (*name)(struct mgmt_source *s, uint32_t row);
    /* Find out about `count` rows, then call mgmt_listing_fetched; NULL: nothing need be asked. */
    void (*fetch)(struct mgmt_source *s, struct mgmt_listing *l, const uint32_t *rows,
                  uint32_t count);
    /* The nth of the rows that were fetched last. A new object, or NULL when it is gone. */
    json_t *(*render)(struct mgmt_source *s, uint32_t row, uint32_t nth);
    void (*free)(struct mgmt_source *s);
};

/* Answers the call; takes the source. c->list says what is wanted. */
void mgmt_listing_start(struct mgmt_call *c, struct mgmt_source *s);
void mgmt_listing_fetched(struct mgmt_listing *l);
struct mgmt_call *mgmt_listing_call(const struct mgmt_listing *l);

#endif
