/*
 * librabbitmq against an AMQP server: librabbitmq_test HOST PORT
 *
 * Publishes with confirms, consumes with prefetch and acks, gets, meets a channel error and a
 * refused login. Says "ok" for each case; the first thing that is not so ends it with status 1.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#define MESSAGES  1000
#define BIG_BYTES (3u << 20)

#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const char *host;
static int port;

static bool is_normal(amqp_rpc_reply_t r)
{
    return r.reply_type == AMQP_RESPONSE_NORMAL;
}

static amqp_rpc_reply_t login(amqp_connection_state_t c, const char *password)
{
    return amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", password);
}

static amqp_connection_state_t connected(void)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *s = amqp_tcp_socket_new(c);
    EXPECT(s != NULL);
    EXPECT(amqp_socket_open(s, host, port) == AMQP_STATUS_OK);
    return c;
}

static amqp_connection_state_t opened(void)
{
    amqp_connection_state_t c = connected();
    EXPECT(is_normal(login(c, "guest")));
    amqp_channel_open(c, 1);
    EXPECT(is_normal(amqp_get_rpc_reply(c)));
    return c;
}

static void finish(amqp_connection_state_t c, const char *what)
{
    EXPECT(is_normal(amqp_connection_close(c, AMQP_REPLY_SUCCESS)));
    EXPECT(amqp_destroy_connection(c) == AMQP_STATUS_OK);
    printf("ok %s\n", what);
}

/* The name stays good as long as the connection. */
static amqp_bytes_t own_queue(amqp_connection_state_t c)
{
    amqp_queue_declare_ok_t *ok =
        amqp_queue_declare(c, 1, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    EXPECT(ok != NULL);
    amqp_bytes_t name = amqp_bytes_malloc_dup(ok->queue);
    EXPECT(name.bytes != NULL);
    return name;
}

static void publish(amqp_connection_state_t c, amqp_bytes_t queue, const void *body, size_t len)
{
    amqp_basic_properties_t props = { 0 };
    props._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    props.content_type = amqp_cstring_bytes("application/octet-stream");
    props.delivery_mode = 2;
    amqp_bytes_t bytes = { .len = len, .bytes = (void *)(size_t)body };
    EXPECT(amqp_basic_publish(c, 1, amqp_empty_bytes, queue, 0, 0, &props, bytes) ==
           AMQP_STATUS_OK);
}

/* Takes the next delivery; the caller destroys it. */
static void consume_one(amqp_connection_state_t c, amqp_envelope_t *e)
{
    struct timeval patience = { .tv_sec = 20 };
    amqp_maybe_release_buffers(c);
    EXPECT(is_normal(amqp_consume_message(c, e, &patience, 0)));
}

static void wait_confirms(amqp_connection_state_t c, uint64_t last)
{
    for (uint64_t seen = 0; seen < last;) {
        amqp_frame_t f;
        EXPECT(amqp_simple_wait_frame(c, &f) == AMQP_STATUS_OK);
        EXPECT(f.frame_type == AMQP_FRAME_METHOD && f.payload.method.id == AMQP_BASIC_ACK_METHOD);
        const amqp_basic_ack_t *ack = f.payload.method.decoded;
        seen = ack->multiple ? ack->delivery_tag : seen + 1;
        amqp_maybe_release_buffers(c);
    }
}

static void test_confirms_and_consuming(void)
{
    amqp_connection_state_t c = opened();
    amqp_bytes_t q = own_queue(c);
    EXPECT(amqp_confirm_select(c, 1) != NULL);
    for (int i = 0; i < MESSAGES; i++)
        publish(c, q, &i, sizeof i);
    wait_confirms(c, MESSAGES);

    EXPECT(amqp_basic_qos(c, 1, 0, 50, 0) != NULL);
    EXPECT(amqp_basic_consume(c, 1, q, amqp_empty_bytes, 0, 0, 0, amqp_empty_table) != NULL);
    for (int i = 0; i < MESSAGES; i++) {
        amqp_envelope_t e;
        consume_one(c, &e);
        EXPECT(e.message.body.len == sizeof i && memcmp(e.message.body.bytes, &i, sizeof i) == 0);
        EXPECT(e.message.properties.delivery_mode == 2 && !e.redelivered);
        EXPECT(amqp_basic_ack(c, 1, e.delivery_tag, 0) == 0);
        amqp_destroy_envelope(&e);
    }
    amqp_bytes_free(q);
    finish(c, "confirms and consuming");
}

static void test_big_body(void)
{
    amqp_connection_state_t c = opened();
    amqp_bytes_t q = own_queue(c);
    unsigned char *body = malloc(BIG_BYTES);
    EXPECT(body != NULL);
    for (size_t i = 0; i < BIG_BYTES; i++)
        body[i] = (unsigned char)(i * 31 >> 3);
    publish(c, q, body, BIG_BYTES);

    EXPECT(is_normal(amqp_basic_get(c, 1, q, 1)));
    amqp_message_t m;
    EXPECT(is_normal(amqp_read_message(c, 1, &m, 0)));
    EXPECT(m.body.len == BIG_BYTES && memcmp(m.body.bytes, body, BIG_BYTES) == 0);
    amqp_destroy_message(&m);
    free(body);
    amqp_bytes_free(q);
    finish(c, "three megabytes");
}

static void test_channel_error(void)
{
    amqp_connection_state_t c = opened();
    EXPECT(amqp_queue_declare(c, 1, amqp_cstring_bytes("no.such.queue"), 1, 0, 0, 0,
                              amqp_empty_table) == NULL);
    amqp_rpc_reply_t r = amqp_get_rpc_reply(c);
    EXPECT(r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
           r.reply.id == AMQP_CHANNEL_CLOSE_METHOD);
    const amqp_channel_close_t *close = r.reply.decoded;
    EXPECT(close->reply_code == AMQP_NOT_FOUND);
    amqp_channel_close_ok_t ok = { 0 };
    EXPECT(amqp_send_method(c, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) == AMQP_STATUS_OK);
    EXPECT(amqp_channel_open(c, 1) != NULL);
    finish(c, "a channel error");
}

static void test_refused_login(void)
{
    amqp_connection_state_t c = connected();
    amqp_rpc_reply_t r = login(c, "wrong");
    EXPECT(r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
           r.reply.id == AMQP_CONNECTION_CLOSE_METHOD);
    const amqp_connection_close_t *close = r.reply.decoded;
    EXPECT(close->reply_code == AMQP_ACCESS_REFUSED);
    EXPECT(amqp_destroy_connection(c) == AMQP_STATUS_OK);
    printf("ok a refused login\n");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
        return 64;
    }
    host = argv[1];
    port = atoi(argv[2]);
    test_confirms_and_consuming();
    test_big_body();
    test_channel_error();
    test_refused_login();
    return 0;
}
