/*
 * amqp_content: puts messages together from the frames of many channels.
 *
 * A method that carries content, its header and its bodies arrive in order on a channel, and those
 * of other channels may come in between (4.2.6). What is incomplete is kept here; a message that
 * fits one body frame is handed on without a copy of its body. One thread.
 */
#ifndef WARREN_AMQP_CONTENT_H
#define WARREN_AMQP_CONTENT_H

#include "amqp/amqp_frame.h"
#include "amqp/amqp_props.h"

#include <sys/queue.h>

struct amqp_content {
    LIST_ENTRY(amqp_content) entry;
    uint16_t channel;
    struct amqp_method method; /* slices point into method_octets */
    uint8_t *method_octets;
    bool has_header;
    uint8_t *props_octets;
    struct slice props;
    uint8_t *body; /* NULL until a part of it has to be kept */
    size_t body_len;
    size_t body_size;
};

/* Those that are incomplete. */
struct amqp_contents {
    LIST_HEAD(amqp_content_list, amqp_content) list;
    size_t message_max_bytes;
};

void amqp_contents_init(struct amqp_contents *cs, size_t message_max_bytes);
void amqp_contents_fini(struct amqp_contents *cs);

/* Forget what is incomplete on a channel, because it closed. */
void amqp_contents_drop(struct amqp_contents *cs, uint16_t channel);

/* A method with content begins one; `payload` is its frame's, and decodes. NULL when it was in
 * order, else what is wrong. */
MUST_CHECK const char *amqp_contents_begin(struct amqp_contents *cs, uint16_t channel,
                                           struct slice payload);

/* Is a message incomplete on this channel? Then only header and body frames may come. */
bool amqp_contents_is_open(const struct amqp_contents *cs, uint16_t channel);

/* A header or body frame. NULL when it was in order, else what is wrong; *done is set when the
 * message is complete with it, with *body to go with it: both are good until amqp_content_free,
 * the body also only as long as the frame. */
MUST_CHECK const char *amqp_contents_add(struct amqp_contents *cs, const struct amqp_frame *f,
                                         struct amqp_content **done, struct slice *body);

/* A complete one, handed out by amqp_contents_add. *c becomes NULL. */
void amqp_content_free(struct amqp_content **c);

#endif
