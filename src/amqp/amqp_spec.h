/*
 * amqp_spec: AMQP 0-9-1 and RabbitMQ's extensions to it, as tables for the preprocessor.
 *
 * Structs, codecs, names in logs and the fuzz dictionary are made from these lists; nothing else
 * in the tree repeats a number of the protocol. To add a method is to add a line to AMQP_METHODS
 * and a list of its fields.
 *
 * AMQP_BASIC_ACK is the method's number and AMQP_BASIC_ACK(F) the list of its fields: a macro with
 * arguments is only meant where a parenthesis follows.
 */
#ifndef WARREN_AMQP_SPEC_H
#define WARREN_AMQP_SPEC_H

#include <stdint.h>

/* What a client says first (4.2.2), and what a server answers to anything else. */
#define AMQP_PROTOCOL_HEADER     "AMQP\0\0\x09\x01"
#define AMQP_PROTOCOL_HEADER_LEN 8u

#define AMQP_FRAME_END           0xCEu

/* Frame types (4.2.3). */
#define AMQP_FRAME_TYPES(X)                                                                        \
    X(METHOD, 1)                                                                                   \
    X(HEADER, 2)                                                                                   \
    X(BODY, 3)                                                                                     \
    X(HEARTBEAT, 8)

enum amqp_frame_type {
#define X(name, number) AMQP_FRAME_##name = (number),
    AMQP_FRAME_TYPES(X)
#undef X
};

/*
 * Reply codes (1.1): X(NAME, code, what it closes). The text sent along is "NAME - explanation",
 * see amqp_reply_text.
 */
#define AMQP_REPLY_CODES(X)                                                                        \
    X(REPLY_SUCCESS, 200, NOTHING)                                                                 \
    X(CONTENT_TOO_LARGE, 311, CHANNEL)                                                             \
    X(NO_ROUTE, 312, CHANNEL)                                                                      \
    X(NO_CONSUMERS, 313, CHANNEL)                                                                  \
    X(CONNECTION_FORCED, 320, CONNECTION)                                                          \
    X(INVALID_PATH, 402, CONNECTION)                                                               \
    X(ACCESS_REFUSED, 403, CHANNEL)                                                                \
    X(NOT_FOUND, 404, CHANNEL)                                                                     \
    X(RESOURCE_LOCKED, 405, CHANNEL)                                                               \
    X(PRECONDITION_FAILED, 406, CHANNEL)                                                           \
    X(FRAME_ERROR, 501, CONNECTION)                                                                \
    X(SYNTAX_ERROR, 502, CONNECTION)                                                               \
    X(COMMAND_INVALID, 503, CONNECTION)                                                            \
    X(CHANNEL_ERROR, 504, CONNECTION)                                                              \
    X(UNEXPECTED_FRAME, 505, CONNECTION)                                                           \
    X(RESOURCE_ERROR, 506, CONNECTION)                                                             \
    X(NOT_ALLOWED, 530, CONNECTION)                                                                \
    X(NOT_IMPLEMENTED, 540, CONNECTION)                                                            \
    X(INTERNAL_ERROR, 541, CONNECTION)

enum amqp_reply_code {
#define X(name, code, closes) AMQP_##name = (code),
    AMQP_REPLY_CODES(X)
#undef X
};

/* Who may send a method. */
enum amqp_sender {
    AMQP_SENT_BY_CLIENT = 1,
    AMQP_SENT_BY_SERVER = 2,
    AMQP_SENT_BY_BOTH = 3,
};

/*
 * X(NAME, name, class, method, text, sender). Among RabbitMQ's additions: connection.blocked and
 * update-secret, exchange.bind, basic.nack and credit, confirm.select. exchange.unbind-ok is 51.
 */
#define AMQP_METHODS(X)                                                                            \
    X(CONNECTION_START, connection_start, 10, 10, "connection.start", SERVER)                      \
    X(CONNECTION_START_OK, connection_start_ok, 10, 11, "connection.start-ok", CLIENT)             \
    X(CONNECTION_SECURE, connection_secure, 10, 20, "connection.secure", SERVER)                   \
    X(CONNECTION_SECURE_OK, connection_secure_ok, 10, 21, "connection.secure-ok", CLIENT)          \
    X(CONNECTION_TUNE, connection_tune, 10, 30, "connection.tune", SERVER)                         \
    X(CONNECTION_TUNE_OK, connection_tune_ok, 10, 31, "connection.tune-ok", CLIENT)                \
    X(CONNECTION_OPEN, connection_open, 10, 40, "connection.open", CLIENT)                         \
    X(CONNECTION_OPEN_OK, connection_open_ok, 10, 41, "connection.open-ok", SERVER)                \
    X(CONNECTION_CLOSE, connection_close, 10, 50, "connection.close", BOTH)                        \
    X(CONNECTION_CLOSE_OK, connection_close_ok, 10, 51, "connection.close-ok", BOTH)               \
    X(CONNECTION_BLOCKED, connection_blocked, 10, 60, "connection.blocked", SERVER)                \
    X(CONNECTION_UNBLOCKED, connection_unblocked, 10, 61, "connection.unblocked", SERVER)          \
    X(CONNECTION_UPDATE_SECRET, connection_update_secret, 10, 70, "connection.update-secret",      \
      CLIENT)                                                                                      \
    X(CONNECTION_UPDATE_SECRET_OK, connection_update_secret_ok, 10, 71,                            \
      "connection.update-secret-ok", SERVER)                                                       \
    X(CHANNEL_OPEN, channel_open, 20, 10, "channel.open", CLIENT)                                  \
    X(CHANNEL_OPEN_OK, channel_open_ok, 20, 11, "channel.open-ok", SERVER)                         \
    X(CHANNEL_FLOW, channel_flow, 20, 20, "channel.flow", BOTH)                                    \
    X(CHANNEL_FLOW_OK, channel_flow_ok, 20, 21, "channel.flow-ok", BOTH)                           \
    X(CHANNEL_CLOSE, channel_close, 20, 40, "channel.close", BOTH)                                 \
    X(CHANNEL_CLOSE_OK, channel_close_ok, 20, 41, "channel.close-ok", BOTH)                        \
    X(ACCESS_REQUEST, access_request, 30, 10, "access.request", CLIENT)                            \
    X(ACCESS_REQUEST_OK, access_request_ok, 30, 11, "access.request-ok", SERVER)                   \
    X(EXCHANGE_DECLARE, exchange_declare, 40, 10, "exchange.declare", CLIENT)                      \
    X(EXCHANGE_DECLARE_OK, exchange_declare_ok, 40, 11, "exchange.declare-ok", SERVER)             \
    X(EXCHANGE_DELETE, exchange_delete, 40, 20, "exchange.delete", CLIENT)                         \
    X(EXCHANGE_DELETE_OK, exchange_delete_ok, 40, 21, "exchange.delete-ok", SERVER)                \
    X(EXCHANGE_BIND, exchange_bind, 40, 30, "exchange.bind", CLIENT)                               \
    X(EXCHANGE_BIND_OK, exchange_bind_ok, 40, 31, "exchange.bind-ok", SERVER)                      \
    X(EXCHANGE_UNBIND, exchange_unbind, 40, 40, "exchange.unbind", CLIENT)                         \
    X(EXCHANGE_UNBIND_OK, exchange_unbind_ok, 40, 51, "exchange.unbind-ok", SERVER)                \
    X(QUEUE_DECLARE, queue_declare, 50, 10, "queue.declare", CLIENT)                               \
    X(QUEUE_DECLARE_OK, queue_declare_ok, 50, 11, "queue.declare-ok", SERVER)                      \
    X(QUEUE_BIND, queue_bind, 50, 20, "queue.bind", CLIENT)                                        \
    X(QUEUE_BIND_OK, queue_bind_ok, 50, 21, "queue.bind-ok", SERVER)                               \
    X(QUEUE_PURGE, queue_purge, 50, 30, "queue.purge", CLIENT)                                     \
    X(QUEUE_PURGE_OK, queue_purge_ok, 50, 31, "queue.purge-ok", SERVER)                            \
    X(QUEUE_DELETE, queue_delete, 50, 40, "queue.delete", CLIENT)                                  \
    X(QUEUE_DELETE_OK, queue_delete_ok, 50, 41, "queue.delete-ok", SERVER)                         \
    X(QUEUE_UNBIND, queue_unbind, 50, 50, "queue.unbind", CLIENT)                                  \
    X(QUEUE_UNBIND_OK, queue_unbind_ok, 50, 51, "queue.unbind-ok", SERVER)                         \
    X(BASIC_QOS, basic_qos, 60, 10, "basic.qos", CLIENT)                                           \
    X(BASIC_QOS_OK, basic_qos_ok, 60, 11, "basic.qos-ok", SERVER)                                  \
    X(BASIC_CONSUME, basic_consume, 60, 20, "basic.consume", CLIENT)                               \
    X(BASIC_CONSUME_OK, basic_consume_ok, 60, 21, "basic.consume-ok", SERVER)                      \
    X(BASIC_CANCEL, basic_cancel, 60, 30, "basic.cancel", BOTH)                                    \
    X(BASIC_CANCEL_OK, basic_cancel_ok, 60, 31, "basic.cancel-ok", BOTH)                           \
    X(BASIC_PUBLISH, basic_publish, 60, 40, "basic.publish", CLIENT)                               \
    X(BASIC_RETURN, basic_return, 60, 50, "basic.return", SERVER)                                  \
    X(BASIC_DELIVER, basic_deliver, 60, 60, "basic.deliver", SERVER)                               \
    X(BASIC_GET, basic_get, 60, 70, "basic.get", CLIENT)                                           \
    X(BASIC_GET_OK, basic_get_ok, 60, 71, "basic.get-ok", SERVER)                                  \
    X(BASIC_GET_EMPTY, basic_get_empty, 60, 72, "basic.get-empty", SERVER)                         \
    X(BASIC_ACK, basic_ack, 60, 80, "basic.ack", BOTH)                                             \
    X(BASIC_REJECT, basic_reject, 60, 90, "basic.reject", CLIENT)                                  \
    X(BASIC_RECOVER_ASYNC, basic_recover_async, 60, 100, "basic.recover-async", CLIENT)            \
    X(BASIC_RECOVER, basic_recover, 60, 110, "basic.recover", CLIENT)                              \
    X(BASIC_RECOVER_OK, basic_recover_ok, 60, 111, "basic.recover-ok", SERVER)                     \
    X(BASIC_NACK, basic_nack, 60, 120, "basic.nack", BOTH)                                         \
    X(BASIC_CREDIT, basic_credit, 60, 200, "basic.credit", CLIENT)                                 \
    X(BASIC_CREDIT_OK, basic_credit_ok, 60, 201, "basic.credit-ok", SERVER)                        \
    X(BASIC_CREDIT_DRAINED, basic_credit_drained, 60, 202, "basic.credit-drained", SERVER)         \
    X(CONFIRM_SELECT, confirm_select, 85, 10, "confirm.select", CLIENT)                            \
    X(CONFIRM_SELECT_OK, confirm_select_ok, 85, 11, "confirm.select-ok", SERVER)                   \
    X(TX_SELECT, tx_select, 90, 10, "tx.select", CLIENT)                                           \
    X(TX_SELECT_OK, tx_select_ok, 90, 11, "tx.select-ok", SERVER)                                  \
    X(TX_COMMIT, tx_commit, 90, 20, "tx.commit", CLIENT)                                           \
    X(TX_COMMIT_OK, tx_commit_ok, 90, 21, "tx.commit-ok", SERVER)                                  \
    X(TX_ROLLBACK, tx_rollback, 90, 30, "tx.rollback", CLIENT)                                     \
    X(TX_ROLLBACK_OK, tx_rollback_ok, 90, 31, "tx.rollback-ok", SERVER)

enum amqp_method_id {
#define X(NAME, name, class_no, method_no, text, sender)                                           \
    AMQP_##NAME = ((class_no) << 16 | (method_no)),
    AMQP_METHODS(X)
#undef X
};

/* Class numbers, for content headers and for close methods. */
#define AMQP_CLASS_CONNECTION 10u
#define AMQP_CLASS_BASIC      60u

/* X(method, what answers it): a request that a peer waits for, and each of its answers. */
#define AMQP_ANSWERS(X)                                                                            \
    X(CONNECTION_START, CONNECTION_START_OK)                                                       \
    X(CONNECTION_SECURE, CONNECTION_SECURE_OK)                                                     \
    X(CONNECTION_TUNE, CONNECTION_TUNE_OK)                                                         \
    X(CONNECTION_OPEN, CONNECTION_OPEN_OK)                                                         \
    X(CONNECTION_CLOSE, CONNECTION_CLOSE_OK)                                                       \
    X(CONNECTION_UPDATE_SECRET, CONNECTION_UPDATE_SECRET_OK)                                       \
    X(CHANNEL_OPEN, CHANNEL_OPEN_OK)                                                               \
    X(CHANNEL_FLOW, CHANNEL_FLOW_OK)                                                               \
    X(CHANNEL_CLOSE, CHANNEL_CLOSE_OK)                                                             \
    X(ACCESS_REQUEST, ACCESS_REQUEST_OK)                                                           \
    X(EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK)                                                       \
    X(EXCHANGE_DELETE, EXCHANGE_DELETE_OK)                                                         \
    X(EXCHANGE_BIND, EXCHANGE_BIND_OK)                                                             \
    X(EXCHANGE_UNBIND, EXCHANGE_UNBIND_OK)                                                         \
    X(QUEUE_DECLARE, QUEUE_DECLARE_OK)                                                             \
    X(QUEUE_BIND, QUEUE_BIND_OK)                                                                   \
    X(QUEUE_PURGE, QUEUE_PURGE_OK)                                                                 \
    X(QUEUE_DELETE, QUEUE_DELETE_OK)                                                               \
    X(QUEUE_UNBIND, QUEUE_UNBIND_OK)                                                               \
    X(BASIC_QOS, BASIC_QOS_OK)                                                                     \
    X(BASIC_CONSUME, BASIC_CONSUME_OK)                                                             \
    X(BASIC_CANCEL, BASIC_CANCEL_OK)                                                               \
    X(BASIC_GET, BASIC_GET_OK)                                                                     \
    X(BASIC_GET, BASIC_GET_EMPTY)                                                                  \
    X(BASIC_RECOVER, BASIC_RECOVER_OK)                                                             \
    X(BASIC_CREDIT, BASIC_CREDIT_OK)                                                               \
    X(CONFIRM_SELECT, CONFIRM_SELECT_OK)                                                           \
    X(TX_SELECT, TX_SELECT_OK)                                                                     \
    X(TX_COMMIT, TX_COMMIT_OK)                                                                     \
    X(TX_ROLLBACK, TX_ROLLBACK_OK)

/*
 * The fields of each method, F(kind, name). Kinds: u8 u16 u32 u64; bit, which shares an octet with
 * the bits beside it, the first in the lowest place (4.2.5.2); shortstr, longstr; table, its raw
 * octets without the length; none, for a method without fields, which takes no octet.
 */
#define AMQP_CONNECTION_START(F)                                                                   \
    F(u8, version_major)                                                                           \
    F(u8, version_minor)                                                                           \
    F(table, server_properties)                                                                    \
    F(longstr, mechanisms)                                                                         \
    F(longstr, locales)
#define AMQP_CONNECTION_START_OK(F)                                                                \
    F(table, client_properties)                                                                    \
    F(shortstr, mechanism)                                                                         \
    F(longstr, response)                                                                           \
    F(shortstr, locale)
#define AMQP_CONNECTION_SECURE(F)    F(longstr, challenge)
#define AMQP_CONNECTION_SECURE_OK(F) F(longstr, response)
#define AMQP_CONNECTION_TUNE(F)                                                                    \
    F(u16, channel_max)                                                                            \
    F(u32, frame_max)                                                                              \
    F(u16, heartbeat)
#define AMQP_CONNECTION_TUNE_OK(F)                                                                 \
    F(u16, channel_max)                                                                            \
    F(u32, frame_max)                                                                              \
    F(u16, heartbeat)
#define AMQP_CONNECTION_OPEN(F)                                                                    \
    F(shortstr, virtual_host)                                                                      \
    F(shortstr, capabilities)                                                                      \
    F(bit, insist)
#define AMQP_CONNECTION_OPEN_OK(F) F(shortstr, known_hosts)
#define AMQP_CONNECTION_CLOSE(F)                                                                   \
    F(u16, reply_code)                                                                             \
    F(shortstr, reply_text)                                                                        \
    F(u16, class_id)                                                                               \
    F(u16, method_id)
#define AMQP_CONNECTION_CLOSE_OK(F)  F(none, none)
#define AMQP_CONNECTION_BLOCKED(F)   F(shortstr, reason)
#define AMQP_CONNECTION_UNBLOCKED(F) F(none, none)
#define AMQP_CONNECTION_UPDATE_SECRET(F)                                                           \
    F(longstr, new_secret)                                                                         \
    F(shortstr, reason)
#define AMQP_CONNECTION_UPDATE_SECRET_OK(F) F(none, none)

#define AMQP_CHANNEL_OPEN(F)                F(shortstr, out_of_band)
#define AMQP_CHANNEL_OPEN_OK(F)             F(longstr, channel_id)
#define AMQP_CHANNEL_FLOW(F)                F(bit, active)
#define AMQP_CHANNEL_FLOW_OK(F)             F(bit, active)
#define AMQP_CHANNEL_CLOSE(F)                                                                      \
    F(u16, reply_code)                                                                             \
    F(shortstr, reply_text)                                                                        \
    F(u16, class_id)                                                                               \
    F(u16, method_id)
#define AMQP_CHANNEL_CLOSE_OK(F) F(none, none)

#define AMQP_ACCESS_REQUEST(F)                                                                     \
    F(shortstr, realm)                                                                             \
    F(bit, exclusive)                                                                              \
    F(bit, passive)                                                                                \
    F(bit, active)                                                                                 \
    F(bit, write)                                                                                  \
    F(bit, read)
#define AMQP_ACCESS_REQUEST_OK(F) F(u16, ticket)

#define AMQP_EXCHANGE_DECLARE(F)                                                                   \
    F(u16, ticket)                                                                                 \
    F(shortstr, exchange)                                                                          \
    F(shortstr, type)                                                                              \
    F(bit, passive)                                                                                \
    F(bit, durable)                                                                                \
    F(bit, auto_delete)                                                                            \
    F(bit, internal)                                                                               \
    F(bit, nowait)                                                                                 \
    F(table, arguments)
#define AMQP_EXCHANGE_DECLARE_OK(F) F(none, none)
#define AMQP_EXCHANGE_DELETE(F)                                                                    \
    F(u16, ticket)                                                                                 \
    F(shortstr, exchange)                                                                          \
    F(bit, if_unused)                                                                              \
    F(bit, nowait)
#define AMQP_EXCHANGE_DELETE_OK(F) F(none, none)
#define AMQP_EXCHANGE_BIND(F)                                                                      \
    F(u16, ticket)                                                                                 \
    F(shortstr, destination)                                                                       \
    F(shortstr, source)                                                                            \
    F(shortstr, routing_key)                                                                       \
    F(bit, nowait)                                                                                 \
    F(table, arguments)
#define AMQP_EXCHANGE_BIND_OK(F)   F(none, none)
#define AMQP_EXCHANGE_UNBIND(F)    AMQP_EXCHANGE_BIND(F)
#define AMQP_EXCHANGE_UNBIND_OK(F) F(none, none)

#define AMQP_QUEUE_DECLARE(F)                                                                      \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(bit, passive)                                                                                \
    F(bit, durable)                                                                                \
    F(bit, exclusive)                                                                              \
    F(bit, auto_delete)                                                                            \
    F(bit, nowait)                                                                                 \
    F(table, arguments)
#define AMQP_QUEUE_DECLARE_OK(F)                                                                   \
    F(shortstr, queue)                                                                             \
    F(u32, message_count)                                                                          \
    F(u32, consumer_count)
#define AMQP_QUEUE_BIND(F)                                                                         \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)                                                                       \
    F(bit, nowait)                                                                                 \
    F(table, arguments)
#define AMQP_QUEUE_BIND_OK(F) F(none, none)
#define AMQP_QUEUE_PURGE(F)                                                                        \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(bit, nowait)
#define AMQP_QUEUE_PURGE_OK(F) F(u32, message_count)
#define AMQP_QUEUE_DELETE(F)                                                                       \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(bit, if_unused)                                                                              \
    F(bit, if_empty)                                                                               \
    F(bit, nowait)
#define AMQP_QUEUE_DELETE_OK(F) F(u32, message_count)
#define AMQP_QUEUE_UNBIND(F)                                                                       \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)                                                                       \
    F(table, arguments)
#define AMQP_QUEUE_UNBIND_OK(F) F(none, none)

#define AMQP_BASIC_QOS(F)                                                                          \
    F(u32, prefetch_size)                                                                          \
    F(u16, prefetch_count)                                                                         \
    F(bit, global)
#define AMQP_BASIC_QOS_OK(F) F(none, none)
#define AMQP_BASIC_CONSUME(F)                                                                      \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(shortstr, consumer_tag)                                                                      \
    F(bit, no_local)                                                                               \
    F(bit, no_ack)                                                                                 \
    F(bit, exclusive)                                                                              \
    F(bit, nowait)                                                                                 \
    F(table, arguments)
#define AMQP_BASIC_CONSUME_OK(F) F(shortstr, consumer_tag)
#define AMQP_BASIC_CANCEL(F)                                                                       \
    F(shortstr, consumer_tag)                                                                      \
    F(bit, nowait)
#define AMQP_BASIC_CANCEL_OK(F) F(shortstr, consumer_tag)
#define AMQP_BASIC_PUBLISH(F)                                                                      \
    F(u16, ticket)                                                                                 \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)                                                                       \
    F(bit, mandatory)                                                                              \
    F(bit, immediate)
#define AMQP_BASIC_RETURN(F)                                                                       \
    F(u16, reply_code)                                                                             \
    F(shortstr, reply_text)                                                                        \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)
#define AMQP_BASIC_DELIVER(F)                                                                      \
    F(shortstr, consumer_tag)                                                                      \
    F(u64, delivery_tag)                                                                           \
    F(bit, redelivered)                                                                            \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)
#define AMQP_BASIC_GET(F)                                                                          \
    F(u16, ticket)                                                                                 \
    F(shortstr, queue)                                                                             \
    F(bit, no_ack)
#define AMQP_BASIC_GET_OK(F)                                                                       \
    F(u64, delivery_tag)                                                                           \
    F(bit, redelivered)                                                                            \
    F(shortstr, exchange)                                                                          \
    F(shortstr, routing_key)                                                                       \
    F(u32, message_count)
#define AMQP_BASIC_GET_EMPTY(F) F(shortstr, cluster_id)
#define AMQP_BASIC_ACK(F)                                                                          \
    F(u64, delivery_tag)                                                                           \
    F(bit, multiple)
#define AMQP_BASIC_REJECT(F)                                                                       \
    F(u64, delivery_tag)                                                                           \
    F(bit, requeue)
#define AMQP_BASIC_RECOVER_ASYNC(F) F(bit, requeue)
#define AMQP_BASIC_RECOVER(F)       F(bit, requeue)
#define AMQP_BASIC_RECOVER_OK(F)    F(none, none)
#define AMQP_BASIC_NACK(F)                                                                         \
    F(u64, delivery_tag)                                                                           \
    F(bit, multiple)                                                                               \
    F(bit, requeue)
#define AMQP_BASIC_CREDIT(F)                                                                       \
    F(shortstr, consumer_tag)                                                                      \
    F(u32, credit)                                                                                 \
    F(bit, drain)
#define AMQP_BASIC_CREDIT_OK(F) F(u32, available)
#define AMQP_BASIC_CREDIT_DRAINED(F)                                                               \
    F(shortstr, consumer_tag)                                                                      \
    F(u32, credit_drained)

#define AMQP_CONFIRM_SELECT(F)    F(bit, nowait)
#define AMQP_CONFIRM_SELECT_OK(F) F(none, none)

#define AMQP_TX_SELECT(F)         F(none, none)
#define AMQP_TX_SELECT_OK(F)      F(none, none)
#define AMQP_TX_COMMIT(F)         F(none, none)
#define AMQP_TX_COMMIT_OK(F)      F(none, none)
#define AMQP_TX_ROLLBACK(F)       F(none, none)
#define AMQP_TX_ROLLBACK_OK(F)    F(none, none)

/*
 * The properties of class basic (1.8.1) in the order they travel: F(kind, name, bit), where `bit`
 * says which bit of the flags word announces it.
 */
#define AMQP_PROPERTIES(F)                                                                         \
    F(shortstr, content_type, 15)                                                                  \
    F(shortstr, content_encoding, 14)                                                              \
    F(table, headers, 13)                                                                          \
    F(u8, delivery_mode, 12)                                                                       \
    F(u8, priority, 11)                                                                            \
    F(shortstr, correlation_id, 10)                                                                \
    F(shortstr, reply_to, 9)                                                                       \
    F(shortstr, expiration, 8)                                                                     \
    F(shortstr, message_id, 7)                                                                     \
    F(u64, timestamp, 6)                                                                           \
    F(shortstr, type, 5)                                                                           \
    F(shortstr, user_id, 4)                                                                        \
    F(shortstr, app_id, 3)                                                                         \
    F(shortstr, cluster_id, 2)

/* The types of a table's values as RabbitMQ reads them: X(NAME, letter, RabbitMQ's name). */
#define AMQP_FIELD_TYPES(X)                                                                        \
    X(BOOL, 't', "bool")                                                                           \
    X(I8, 'b', "byte")                                                                             \
    X(U8, 'B', "unsignedbyte")                                                                     \
    X(I16, 's', "short")                                                                           \
    X(U16, 'u', "unsignedshort")                                                                   \
    X(I32, 'I', "signedint")                                                                       \
    X(U32, 'i', "unsignedint")                                                                     \
    X(I64, 'l', "long")                                                                            \
    X(FLOAT, 'f', "float")                                                                         \
    X(DOUBLE, 'd', "double")                                                                       \
    X(DECIMAL, 'D', "decimal")                                                                     \
    X(LONGSTR, 'S', "longstr")                                                                     \
    X(ARRAY, 'A', "array")                                                                         \
    X(TIMESTAMP, 'T', "timestamp")                                                                 \
    X(TABLE, 'F', "table")                                                                         \
    X(VOID, 'V', "void")                                                                           \
    X(BINARY, 'x', "binary")

enum amqp_field_type {
#define X(NAME, letter, text) AMQP_FIELD_##NAME = (letter),
    AMQP_FIELD_TYPES(X)
#undef X
};

#endif
