/*
 * bench_options: the command line of warren-bench, from one table that also makes --help.
 *
 * Texts are borrowed from the arguments. What does not go together is refused here, with a message
 * that names the option, so that the rest may rely on it.
 */
#ifndef WARREN_BENCH_OPTIONS_H
#define WARREN_BENCH_OPTIONS_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_HOSTS_MAX      16u
#define BENCH_HOST_TEXT_MAX  256u
#define BENCH_SIZES_MAX      16u
#define BENCH_PIDS_MAX       16u
#define BENCH_QUEUE_ARGS_MAX 16u
#define BENCH_THREADS_MAX    64u

enum bench_mode { BENCH_RUN, BENCH_IDLE, BENCH_CHURN, BENCH_DECLARE };
enum bench_exchange {
    BENCH_EXCHANGE_DEFAULT, /* the nameless one: a key is a queue's name */
    BENCH_EXCHANGE_DIRECT,
    BENCH_EXCHANGE_FANOUT,
    BENCH_EXCHANGE_TOPIC,
    BENCH_EXCHANGE_HEADERS,
};
enum bench_host_order { BENCH_ROUND_ROBIN, BENCH_FIRST };
/* What can be wrong with a run; the last one (also misrouted, or counts that are not exact) is
 * never tolerated. */
enum bench_fault {
    BENCH_LOST = 1,
    BENCH_DUPLICATED = 2,
    BENCH_REORDERED = 4,
    BENCH_ACKED_AGAIN = 8,
    BENCH_CORRUPT = 16,
};

struct bench_host {
    char name[BENCH_HOST_TEXT_MAX];
    uint16_t port;
};

struct bench_options {
    enum bench_mode mode;
    bool is_verify; /* BENCH_RUN under its other name, with the defaults that belong to it */
    bool help;
    bool version;

    struct bench_host hosts[BENCH_HOSTS_MAX];
    uint32_t hosts_count;
    enum bench_host_order host_order;
    const char *user;
    const char *password;
    const char *vhost;
    bool tls;
    const char *tls_ca;
    bool tls_insecure;
    uint32_t frame_max;
    uint32_t heartbeat_s;
    uint64_t connect_timeout_ms;
    bool reconnect;
    uint64_t backoff_min_ms;
    uint64_t backoff_max_ms;
    uint64_t give_up_ms;

    uint32_t publishers;
    uint32_t consumers;
    uint32_t queues;
    uint32_t threads;
    uint64_t sizes[BENCH_SIZES_MAX]; /* octets, taken in turn */
    uint32_t sizes_count;
    uint64_t rate; /* messages a second of each publisher; 0: as fast as it goes */
    bool persistent;
    bool mandatory;
    uint32_t confirm; /* window in messages; 0: no confirms */
    bool spread;
    uint32_t ack_every; /* 0: no acks */
    bool acks_kept;     /* see bench_options_judges_acks */
    uint32_t prefetch;  /* 0: no limit */
    bool verify;

    enum bench_exchange exchange;
    uint32_t fan_out;
    uint32_t bindings;
    const char *queue_name; /* NULL: made from the run's number */
    bool durable;
    bool no_declare;
    bool keep;
    const char *queue_args[BENCH_QUEUE_ARGS_MAX]; /* KEY=VALUE */
    uint32_t queue_args_count;

    uint64_t warm_up_ms;
    uint64_t duration_ms;
    uint64_t messages; /* of each publisher; 0: by time */
    uint64_t interval_ms;
    uint64_t drain_ms;
    uint64_t ids_bytes;

    uint32_t connections;
    uint32_t channels;
    uint32_t connecting;
    uint32_t clients;
    uint32_t window;
    uint64_t count; /* of queues to declare; 0: by time */
    bool auto_delete;
    bool delete_each;

    uint32_t pids[BENCH_PIDS_MAX];
    uint32_t pids_count;
    uint32_t tolerate; /* of enum bench_fault */
    bool json;
    bool quiet;
};

/* The defaults of every option. */
void bench_options_init(struct bench_options *o);

/* argv[0] is the program's name. With help or version asked for, nothing else is judged. */
MUST_CHECK bool bench_options_parse(struct bench_options *o, int argc, char **argv,
                                    struct err *err);

void bench_options_help(struct text *out);

/* To how many queues does a message go? */
uint32_t bench_options_copies(const struct bench_options *o);

/* Acknowledged messages that come again are judged: it was asked for, and there is all that
 * bench_acks.h needs to know what was kept. */
bool bench_options_judges_acks(const struct bench_options *o);

const char *bench_exchange_name(enum bench_exchange e); /* "fanout"; "" for the default one */

#endif
