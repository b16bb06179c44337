/*
 * method_out: the few methods that the proxy itself says, written into a stream.
 */
#ifndef WARREN_METHOD_OUT_H
#define WARREN_METHOD_OUT_H

#include "amqp/amqp_frame.h"
#include "io/stream.h"

/* A method of ours on a channel. Its fields must fit STREAM_RESERVE_MAX. */
void method_out(struct stream *s, uint16_t channel, const struct amqp_method *m);

void method_out_heartbeat(struct stream *s);

/* connection.close, or channel.close on another channel than 0. `cause` is the method that caused
 * it, or 0. A text that is too long for AMQP is cut. */
void method_out_close(struct stream *s, uint16_t channel, uint16_t code, struct slice text,
                      uint32_t cause);

/* A method without fields, such as close-ok. */
void method_out_bare(struct stream *s, uint16_t channel, enum amqp_method_id id);

#endif
