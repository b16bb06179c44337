/*
 * headers: does a message's header table satisfy the arguments of a binding? As the headers
 * exchange of RabbitMQ 3.10 sees it.
 *
 * x-match: "all" (the default) and "any" pass over every other argument that begins with "x-";
 * "all-with-x" and "any-with-x" do not. A void argument asks for presence alone. Stateless.
 */
#ifndef WARREN_HEADERS_H
#define WARREN_HEADERS_H

#include "amqp/amqp_table.h"

#define HEADERS_FEW 32u

/* A message's headers in the order of their names, made once for all bindings. */
struct headers {
    struct amqp_field *fields;
    size_t count;
    size_t cap;
    struct amqp_field few[HEADERS_FEW];
};

void headers_init(struct headers *h);
void headers_fini(struct headers *h);

/* Take a table, found well formed before; it must outlive the use. */
void headers_read(struct headers *h, struct slice table);

/* `args` are a binding's, already in the order of their names. */
bool headers_match(struct slice args, const struct headers *h);

/* A table's fields in the order of their names; equal names keep their order. `out` has room for
 * table.len octets, all of which are written. */
void headers_sort_table(struct slice table, uint8_t *out);

#endif
