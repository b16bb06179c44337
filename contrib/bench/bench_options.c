#include "bench_options.h"

#include "base/check.h"
#include "base/units.h"
#include "bench_body.h"

#include <stdio.h>
#include <stdlib.h>

enum kind {
    FLAG,
    COUNT,    /* uint32_t */
    NUMBER,   /* uint64_t */
    DURATION, /* uint64_t, ms; a bare number is seconds */
    SIZE,     /* uint64_t, octets */
    TEXT,     /* const char * */
    SPECIAL   /* has a function of its own */
};

typedef bool (*take_fn)(struct bench_options *o, const char *value, struct err *err);

struct option {
    const char *name;
    const char *arg; /* what --help calls the value; NULL for a flag */
    enum kind kind;
    size_t offset;
    uint64_t min;
    uint64_t max;
    take_fn take;
    const char *help;
};

static bool take_hosts(struct bench_options *o, const char *value, struct err *err);
static bool take_order(struct bench_options *o, const char *value, struct err *err);
static bool take_sizes(struct bench_options *o, const char *value, struct err *err);
static bool take_acks(struct bench_options *o, const char *value, struct err *err);
static bool take_exchange(struct bench_options *o, const char *value, struct err *err);
static bool take_queue_arg(struct bench_options *o, const char *value, struct err *err);
static bool take_pids(struct bench_options *o, const char *value, struct err *err);
static bool take_tolerate(struct bench_options *o, const char *value, struct err *err);

#define AT(member) offsetof(struct bench_options, member)
#define DAY_MS     UINT64_C(86400000)

static const struct option options[] = {
    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Connecting" },
    { "host", "H[:P],...", SPECIAL, 0, 0, 0, take_hosts,
      "where to connect; several are used as --hosts-order says (127.0.0.1:5672)" },
    { "hosts-order", "HOW", SPECIAL, 0, 0, 0, take_order,
      "round-robin: each connection begins at the next one; first: all at the first and go on "
      "when it fails (round-robin)" },
    { "user", "NAME", TEXT, AT(user), 0, 0, NULL, "who logs in (guest)" },
    { "password", "WORD", TEXT, AT(password), 0, 0, NULL, "(guest)" },
    { "vhost", "NAME", TEXT, AT(vhost), 0, 0, NULL, "virtual host (/)" },
    { "tls", NULL, FLAG, AT(tls), 0, 0, NULL, "speak TLS" },
    { "tls-ca", "FILE", TEXT, AT(tls_ca), 0, 0, NULL, "trust these and not the system's" },
    { "tls-insecure", NULL, FLAG, AT(tls_insecure), 0, 0, NULL, "do not verify the server" },
    { "frame-max", "OCTETS", COUNT, AT(frame_max), 4096, 1048576, NULL,
      "the largest frame to agree to (131072)" },
    { "heartbeat", "SECONDS", COUNT, AT(heartbeat_s), 0, 65535, NULL,
      "as often, or as often as the server wants; 0: as the server wants (60)" },
    { "connect-timeout", "TIME", DURATION, AT(connect_timeout_ms), 1, DAY_MS, NULL,
      "until the connection is open (30s)" },
    { "reconnect", NULL, FLAG, AT(reconnect), 0, 0, NULL,
      "connect again when a connection fails, and resend what was not confirmed" },
    { "backoff-min", "TIME", DURATION, AT(backoff_min_ms), 1, DAY_MS, NULL,
      "pause before the first try to reconnect; it doubles with each (50ms)" },
    { "backoff-max", "TIME", DURATION, AT(backoff_max_ms), 1, DAY_MS, NULL, "... up to this (5s)" },
    { "give-up", "TIME", DURATION, AT(give_up_ms), 1, DAY_MS, NULL,
      "fail when a connection could not be made again for so long (60s)" },

    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Load" },
    { "publishers", "N", COUNT, AT(publishers), 0, 100000, NULL, "connections that publish (1)" },
    { "consumers", "N", COUNT, AT(consumers), 0, 100000, NULL,
      "connections that consume, each from one queue in turn (1)" },
    { "queues", "N", COUNT, AT(queues), 1, 100000, NULL, "(1)" },
    { "threads", "N", COUNT, AT(threads), 1, BENCH_THREADS_MAX, NULL,
      "half of them for the publishers, half for the consumers; 1 for both (2)" },
    { "size", "OCTETS,...", SPECIAL, 0, 0, 0, take_sizes,
      "of the bodies, at least 16; several are taken in turn (16)" },
    { "rate", "N", NUMBER, AT(rate), 0, 100000000, NULL,
      "messages a second of each publisher, evenly spaced; latency is then counted from the "
      "moment a message was due; 0: as fast as it goes (0)" },
    { "persistent", NULL, FLAG, AT(persistent), 0, 0, NULL, "delivery mode 2" },
    { "mandatory", NULL, FLAG, AT(mandatory), 0, 0, NULL, "count what is returned" },
    { "confirm", "N", COUNT, AT(confirm), 0, 1u << 22, NULL,
      "publisher confirms, at most N messages unconfirmed; 0: no confirms (0)" },
    { "ack", "HOW", SPECIAL, 0, 0, 0, take_acks,
      "none; each; or a number N: one acknowledgement for N messages (none)" },
    { "acks-kept", NULL, FLAG, AT(acks_kept), 0, 0, NULL,
      "what was acknowledged must not come again once messages that followed it are confirmed; "
      "needs --confirm, --ack, --prefetch, --persistent and --durable" },
    { "prefetch", "N", COUNT, AT(prefetch), 0, 65535, NULL, "0: no limit (0)" },
    { "verify", NULL, FLAG, AT(verify), 0, 0, NULL, "compare every octet of the bodies" },

    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Routing" },
    { "exchange", "TYPE", SPECIAL, 0, 0, 0, take_exchange,
      "default, direct, fanout, topic or headers (default)" },
    { "fan-out", "N", COUNT, AT(fan_out), 1, 100000, NULL,
      "queues that each message goes to; a fanout exchange: all (1)" },
    { "bindings", "N", COUNT, AT(bindings), 1, 100000, NULL,
      "bindings of each queue; all but those for --fan-out match nothing (1)" },
    { "spread", NULL, FLAG, AT(spread), 0, 0, NULL,
      "each publisher takes all keys in turn, not just one" },
    { "queue-name", "NAME", TEXT, AT(queue_name), 0, 0, NULL,
      "the queues are NAME, or NAME-0, NAME-1, ... (warren-bench-RUN)" },
    { "queue-arg", "KEY=VALUE", SPECIAL, 0, 0, 0, take_queue_arg,
      "argument of the queues; numbers and true/false are sent as such; may be repeated" },
    { "durable", NULL, FLAG, AT(durable), 0, 0, NULL, "queues and exchange" },
    { "no-declare", NULL, FLAG, AT(no_declare), 0, 0, NULL, "use what is there" },
    { "keep", NULL, FLAG, AT(keep), 0, 0, NULL, "do not delete queues and exchange at the end" },

    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Measuring" },
    { "warm-up", "TIME", DURATION, AT(warm_up_ms), 0, DAY_MS, NULL,
      "before the measured part (1s)" },
    { "duration", "TIME", DURATION, AT(duration_ms), 1, 30 * DAY_MS, NULL,
      "of the measured part (10s)" },
    { "messages", "N", NUMBER, AT(messages), 0, BENCH_BODY_SEQUENCE_MAX, NULL,
      "end when each publisher has sent N (no warm-up then); 0: by time (0)" },
    { "interval", "TIME", DURATION, AT(interval_ms), 0, DAY_MS, NULL,
      "a line so often; 0: none (1s)" },
    { "drain", "TIME", DURATION, AT(drain_ms), 1, DAY_MS, NULL,
      "at the end, wait for what is missing until nothing has come for so long (5s)" },
    { "ids-memory", "SIZE", SIZE, AT(ids_bytes), 65536, UINT64_C(1) << 40, NULL,
      "for the ids of messages that came out of order (512M)" },
    { "pid", "PID,...", SPECIAL, 0, 0, 0, take_pids,
      "processes of the server: report their CPU time and memory" },

    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Modes idle, churn and declare" },
    { "connections", "N", COUNT, AT(connections), 1, 1000000, NULL,
      "idle: how many to hold for --duration (1000)" },
    { "channels", "N", COUNT, AT(channels), 0, 2047, NULL, "idle: open on each of them (0)" },
    { "connecting", "N", COUNT, AT(connecting), 1, 100000, NULL,
      "how many connections may be under way at once (64)" },
    { "clients", "N", COUNT, AT(clients), 1, 100000, NULL, "churn, declare: at once (8)" },
    { "window", "N", COUNT, AT(window), 1, 2047, NULL,
      "declare: requests under way for each client, on a channel each (1)" },
    { "count", "N", NUMBER, AT(count), 0, UINT64_C(1) << 40, NULL,
      "declare: end when N queues are declared (no warm-up then); 0: by time (0)" },
    { "auto-delete", NULL, FLAG, AT(auto_delete), 0, 0, NULL, "declare: queues of that kind" },
    { "delete", NULL, FLAG, AT(delete_each), 0, 0, NULL,
      "declare: delete each as soon as it is there, and time that too" },

    { NULL, NULL, FLAG, 0, 0, 0, NULL, "Output" },
    { "json", NULL, FLAG, AT(json), 0, 0, NULL, "one JSON object on stdout" },
    { "quiet", NULL, FLAG, AT(quiet), 0, 0, NULL, "no line each --interval" },
    { "tolerate", "WHAT,...", SPECIAL, 0, 0, 0, take_tolerate,
      "lost, duplicated, reordered, acked-again: exit 0 all the same" },
    { "help", NULL, FLAG, AT(help), 0, 0, NULL, "this text" },
    { "version", NULL, FLAG, AT(version), 0, 0, NULL, "print it and exit" },
};

void bench_options_init(struct bench_options *o)
{
    *o = (struct bench_options){
        .mode = BENCH_RUN,
        .hosts = { { "127.0.0.1", 0 } },
        .hosts_count = 1,
        .user = "guest",
        .password = "guest",
        .vhost = "/",
        .frame_max = 131072,
        .heartbeat_s = 60,
        .connect_timeout_ms = 30000,
        .backoff_min_ms = 50,
        .backoff_max_ms = 5000,
        .give_up_ms = 60000,
        .publishers = 1,
        .consumers = 1,
        .queues = 1,
        .threads = 2,
        .sizes = { BENCH_BODY_MIN },
        .sizes_count = 1,
        .fan_out = 1,
        .bindings = 1,
        .warm_up_ms = 1000,
        .duration_ms = 10000,
        .interval_ms = 1000,
        .drain_ms = 5000,
        .ids_bytes = UINT64_C(512) << 20,
        .connections = 1000,
        .connecting = 64,
        .clients = 8,
        .window = 1,
    };
}

/* ---- values -------------------------------------------------------------------------------------
 */

/* The part of *list before the first comma; *list moves on, and is NULL after the last. */
static struct slice next_of(const char **list)
{
    const char *at = *list;
    const char *comma = strchr(at, ',');
    *list = comma != NULL ? comma + 1 : NULL;
    return slice_of(at, comma != NULL ? (size_t)(comma - at) : strlen(at));
}

/* "name", "name:port", "[v6]:port", or a v6 address alone: *name, and in *port what is behind the
 * colon (nothing there: empty). */
static void split_host(struct slice text, struct slice *name, struct slice *port)
{
    *name = text;
    *port = (struct slice){ NULL, 0 };
    const uint8_t *end = text.ptr + text.len;
    const uint8_t *close =
        text.len != 0 && text.ptr[0] == '[' ? memchr(text.ptr, ']', text.len) : NULL;
    const uint8_t *from = close != NULL ? close : text.ptr;
    const uint8_t *colon = memchr(from, ':', (size_t)(end - from));
    if (close != NULL)
        *name = slice_of(text.ptr + 1, (size_t)(close - text.ptr) - 1);
    if (colon == NULL || memchr(colon + 1, ':', (size_t)(end - colon) - 1) != NULL)
        return;
    if (close == NULL)
        *name = slice_of(text.ptr, (size_t)(colon - text.ptr));
    *port = slice_of(colon + 1, (size_t)(end - colon) - 1);
}

static bool take_host(struct slice text, struct bench_host *out, struct err *err)
{
    struct slice name, port_text;
    split_host(text, &name, &port_text);
    uint64_t port = 0; /* the protocol's, see judge */
    if (port_text.ptr != NULL && (!units_u64(port_text, &port) || port == 0 || port > UINT16_MAX))
        return err_set(err, ERR_USAGE, "--host %.*s: bad port", SLICE_ARG(text));
    if (name.len == 0 || name.len >= sizeof out->name)
        return err_set(err, ERR_USAGE, "--host %.*s: bad name", SLICE_ARG(text));
    memcpy(out->name, name.ptr, name.len);
    out->name[name.len] = '\0';
    out->port = (uint16_t)port;
    return true;
}

static bool take_hosts(struct bench_options *o, const char *value, struct err *err)
{
    o->hosts_count = 0;
    while (value != NULL) {
        struct slice one = next_of(&value);
        if (o->hosts_count == BENCH_HOSTS_MAX)
            return err_set(err, ERR_USAGE, "--host: more than %u", BENCH_HOSTS_MAX);
        if (!take_host(one, &o->hosts[o->hosts_count++], err))
            return false;
    }
    return true;
}

static bool take_order(struct bench_options *o, const char *value, struct err *err)
{
    if (strcmp(value, "round-robin") == 0)
        o->host_order = BENCH_ROUND_ROBIN;
    else if (strcmp(value, "first") == 0)
        o->host_order = BENCH_FIRST;
    else
        return err_set(err, ERR_USAGE, "--hosts-order %s: round-robin or first", value);
    return true;
}

static bool take_sizes(struct bench_options *o, const char *value, struct err *err)
{
    o->sizes_count = 0;
    while (value != NULL) {
        struct slice one = next_of(&value);
        uint64_t size;
        if (!units_size_bytes(one, &size))
            return err_set(err, ERR_USAGE, "--size %.*s: not a size", SLICE_ARG(one));
        if (size < BENCH_BODY_MIN || size > UINT64_C(1) << 40)
            return err_set(err, ERR_USAGE, "--size %.*s: at least %u octets, for the ids",
                           SLICE_ARG(one), BENCH_BODY_MIN);
        if (o->sizes_count == BENCH_SIZES_MAX)
            return err_set(err, ERR_USAGE, "--size: more than %u", BENCH_SIZES_MAX);
        o->sizes[o->sizes_count++] = size;
    }
    return true;
}

static bool take_acks(struct bench_options *o, const char *value, struct err *err)
{
    uint64_t n = 0;
    if (strcmp(value, "each") == 0)
        n = 1;
    else if (strcmp(value, "none") != 0 &&
             (!units_u64(slice_str(value), &n) || n == 0 || n > UINT16_MAX))
        return err_set(err, ERR_USAGE, "--ack %s: none, each or a number up to 65535", value);
    o->ack_every = (uint32_t)n;
    return true;
}

static const char *const exchange_names[] = {
    [BENCH_EXCHANGE_DEFAULT] = "",        [BENCH_EXCHANGE_DIRECT] = "direct",
    [BENCH_EXCHANGE_FANOUT] = "fanout",   [BENCH_EXCHANGE_TOPIC] = "topic",
    [BENCH_EXCHANGE_HEADERS] = "headers",
};

const char *bench_exchange_name(enum bench_exchange e)
{
    return exchange_names[e];
}

static bool take_exchange(struct bench_options *o, const char *value, struct err *err)
{
    const char *wanted = strcmp(value, "default") == 0 ? "" : value;
    for (unsigned i = 0; i < ARRAY_COUNT(exchange_names); i++) {
        if (strcmp(wanted, exchange_names[i]) == 0) {
            o->exchange = (enum bench_exchange)i;
            return true;
        }
    }
    return err_set(err, ERR_USAGE, "--exchange %s: default, direct, fanout, topic or headers",
                   value);
}

static bool take_queue_arg(struct bench_options *o, const char *value, struct err *err)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value || equals - value > UINT8_MAX)
        return err_set(err, ERR_USAGE, "--queue-arg %s: KEY=VALUE", value);
    if (o->queue_args_count == BENCH_QUEUE_ARGS_MAX)
        return err_set(err, ERR_USAGE, "--queue-arg: more than %u", BENCH_QUEUE_ARGS_MAX);
    o->queue_args[o->queue_args_count++] = value;
    return true;
}

static bool take_pids(struct bench_options *o, const char *value, struct err *err)
{
    while (value != NULL) {
        struct slice one = next_of(&value);
        uint64_t pid;
        if (!units_u64(one, &pid) || pid == 0 || pid > INT32_MAX)
            return err_set(err, ERR_USAGE, "--pid %.*s: not a process id", SLICE_ARG(one));
        if (o->pids_count == BENCH_PIDS_MAX)
            return err_set(err, ERR_USAGE, "--pid: more than %u", BENCH_PIDS_MAX);
        o->pids[o->pids_count++] = (uint32_t)pid;
    }
    return true;
}

static bool take_tolerate(struct bench_options *o, const char *value, struct err *err)
{
    while (value != NULL) {
        struct slice one = next_of(&value);
        if (slice_is(one, "lost"))
            o->tolerate |= BENCH_LOST;
        else if (slice_is(one, "duplicated"))
            o->tolerate |= BENCH_DUPLICATED;
        else if (slice_is(one, "reordered"))
            o->tolerate |= BENCH_REORDERED;
        else if (slice_is(one, "acked-again"))
            o->tolerate |= BENCH_ACKED_AGAIN;
        else
            return err_set(err, ERR_USAGE,
                           "--tolerate %.*s: lost, duplicated, reordered or acked-again",
                           SLICE_ARG(one));
    }
    return true;
}

/* ---- parsing ------------------------------------------------------------------------------------
 */

static bool take_number(struct bench_options *o, const struct option *opt, const char *value,
                        struct err *err)
{
    struct slice text = slice_str(value);
    uint64_t n = 0;
    bool ok = opt->kind == DURATION ? units_duration_ms(text, 1000, &n)
              : opt->kind == SIZE   ? units_size_bytes(text, &n)
                                    : units_u64(text, &n);
    if (!ok)
        return err_set(err, ERR_USAGE, "--%s %s: not a %s", opt->name, value,
                       opt->kind == DURATION ? "duration" : "number");
    if (n < opt->min || n > opt->max)
        return err_set(err, ERR_USAGE, "--%s %s: must be %llu to %llu%s", opt->name, value,
                       (unsigned long long)opt->min, (unsigned long long)opt->max,
                       opt->kind == DURATION ? " ms" : "");
    uint8_t *at = (uint8_t *)o + opt->offset;
    uint32_t narrow = (uint32_t)n;
    if (opt->kind == COUNT)
        memcpy(at, &narrow, sizeof narrow);
    else
        memcpy(at, &n, sizeof n);
    return true;
}

static bool take(struct bench_options *o, const struct option *opt, const char *value,
                 struct err *err)
{
    switch (opt->kind) {
    case FLAG:
        *((bool *)(void *)((uint8_t *)o + opt->offset)) = true;
        return true;
    case TEXT:
        memcpy((uint8_t *)o + opt->offset, &value, sizeof value);
        return true;
    case SPECIAL:
        return opt->take(o, value, err);
    case COUNT:
    case NUMBER:
    case DURATION:
    case SIZE:
        return take_number(o, opt, value, err);
    }
    UNREACHABLE("option kind");
}

static const struct option *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++)
        if (options[i].name != NULL && slice_is(name, options[i].name))
            return &options[i];
    return NULL;
}

/* "--name value", "--name=value" or "--flag"; *at moves to the next argument. */
static bool take_option(struct bench_options *o, int argc, char **argv, int *at, struct err *err)
{
    const char *text = argv[(*at)++] + 2;
    const char *equals = strchr(text, '=');
    struct slice name = slice_of(text, equals != NULL ? (size_t)(equals - text) : strlen(text));
    const struct option *opt = find(name);
    if (opt == NULL)
        return err_set(err, ERR_USAGE, "--%.*s: no such option; see --help", SLICE_ARG(name));
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (opt->kind == FLAG && value != NULL)
        return err_set(err, ERR_USAGE, "--%s takes no value", opt->name);
    if (opt->kind != FLAG && value == NULL) {
        if (*at == argc)
            return err_set(err, ERR_USAGE, "--%s needs %s", opt->name, opt->arg);
        value = argv[(*at)++];
    }
    return take(o, opt, value, err);
}

/* What a broker must keep through its own death, and how to find out that it did. */
static void preset_verify(struct bench_options *o)
{
    o->mode = BENCH_RUN;
    o->is_verify = true;
    o->reconnect = true;
    o->backoff_max_ms = 500;
    o->persistent = true;
    o->durable = true;
    o->confirm = 100;
    o->ack_every = 1;
    o->prefetch = 100;
    o->acks_kept = true;
    o->verify = true;
    o->sizes[0] = 100;
    o->warm_up_ms = 0;
    o->drain_ms = 15000;
}

static bool take_mode(struct bench_options *o, const char *word, struct err *err)
{
    if (strcmp(word, "run") == 0)
        o->mode = BENCH_RUN;
    else if (strcmp(word, "verify") == 0)
        preset_verify(o);
    else if (strcmp(word, "idle") == 0)
        o->mode = BENCH_IDLE;
    else if (strcmp(word, "churn") == 0)
        o->mode = BENCH_CHURN;
    else if (strcmp(word, "declare") == 0)
        o->mode = BENCH_DECLARE;
    else
        return err_set(err, ERR_USAGE,
                       "%s: run, verify, idle, churn or declare, then options; see --help", word);
    return true;
}

bool bench_options_judges_acks(const struct bench_options *o)
{
    return o->acks_kept && o->confirm != 0 && o->ack_every != 0 && o->prefetch != 0 &&
           o->persistent && o->durable;
}

/* What one option alone cannot tell. */
static bool judge(struct bench_options *o, struct err *err)
{
    for (uint32_t i = 0; i < o->hosts_count; i++)
        if (o->hosts[i].port == 0)
            o->hosts[i].port = o->tls ? 5671 : 5672;
    if (o->tls_insecure && !o->tls)
        return err_set(err, ERR_USAGE, "--tls-insecure without --tls");
    if (o->backoff_min_ms > o->backoff_max_ms)
        return err_set(err, ERR_USAGE, "--backoff-min is longer than --backoff-max");
    if (o->mode != BENCH_RUN)
        return true;
    if (o->publishers == 0 && o->consumers == 0)
        return err_set(err, ERR_USAGE, "--publishers 0 and --consumers 0: nothing to do");
    if (o->publishers == 0 && o->queue_name == NULL)
        return err_set(err, ERR_USAGE, "--publishers 0 needs --queue-name");
    if (o->exchange == BENCH_EXCHANGE_DEFAULT && (o->fan_out != 1 || o->bindings != 1))
        return err_set(err, ERR_USAGE, "--fan-out and --bindings need an --exchange");
    if (o->exchange == BENCH_EXCHANGE_FANOUT)
        o->fan_out = o->queues;
    if (o->fan_out > o->queues)
        return err_set(err, ERR_USAGE, "--fan-out is larger than --queues");
    if (o->bindings > 1 && o->bindings < o->fan_out)
        return err_set(err, ERR_USAGE, "--bindings is smaller than --fan-out");
    if (o->acks_kept && !o->is_verify && !bench_options_judges_acks(o))
        return err_set(err, ERR_USAGE,
                       "--acks-kept needs --confirm, --ack, --prefetch, --persistent, --durable");
    if (o->prefetch != 0 && o->ack_every > o->prefetch)
        return err_set(err, ERR_USAGE, "--ack is larger than --prefetch: nothing more would come");
    if ((uint64_t)o->publishers * (o->spread ? o->queues : 1) >= BENCH_BODY_FLOWS_MAX)
        return err_set(err, ERR_USAGE, "too many publishers and keys");
    return true;
}

bool bench_options_parse(struct bench_options *o, int argc, char **argv, struct err *err)
{
    int at = 1;
    if (at < argc && argv[at][0] != '-' && !take_mode(o, argv[at++], err))
        return false;
    while (at < argc) {
        if (strcmp(argv[at], "-h") == 0) {
            o->help = true;
            at++;
        } else if (strncmp(argv[at], "--", 2) != 0) {
            return err_set(err, ERR_USAGE, "%s: not an option; see --help", argv[at]);
        } else if (!take_option(o, argc, argv, &at, err)) {
            return false;
        }
    }
    return o->help || o->version || judge(o, err);
}

uint32_t bench_options_copies(const struct bench_options *o)
{
    return o->exchange == BENCH_EXCHANGE_DEFAULT ? 1 : o->fan_out;
}

/* ---- help ---------------------------------------------------------------------------------------
 */

#define HELP_INDENT 28
#define HELP_WIDTH  92

/* Words of `help` from the column of the texts on. */
static void put_wrapped(struct text *out, const char *help)
{
    size_t column = HELP_INDENT;
    while (*help != '\0') {
        size_t n = strcspn(help, " ");
        if (column != HELP_INDENT && column + 1 + n > HELP_WIDTH) {
            text_put(out, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        }
        if (column != HELP_INDENT) {
            text_char(out, ' ');
            column++;
        }
        text_slice(out, slice_of(help, n));
        column += n;
        help += n + strspn(help + n, " ");
    }
    text_char(out, '\n');
}

void bench_options_help(struct text *out)
{
    text_str(out,
             "usage: warren-bench [run|verify|idle|churn|declare] [OPTION...]\n\n"
             "run    publishers send, consumers receive; rates, latencies, and what was lost,\n"
             "       duplicated or reordered\n"
             "verify the same while servers are killed and come back: --persistent --durable\n"
             "       --confirm 100 --ack each --acks-kept --prefetch 100 --reconnect\n"
             "       --backoff-max 500ms --verify --size 100 --warm-up 0 --drain 15s\n"
             "idle   hold connections and show what they cost the server\n"
             "churn  connect, open a channel, publish one message with a confirm, close; again\n"
             "declare\n"
             "       declare one new queue after the other: rate and latency; deletes them all\n");
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        const struct option *opt = &options[i];
        if (opt->name == NULL) {
            text_put(out, "\n%s\n", opt->help);
            continue;
        }
        char left[64];
        (void)snprintf(left, sizeof left, "  --%s%s%s", opt->name, opt->arg != NULL ? " " : "",
                       opt->arg != NULL ? opt->arg : "");
        text_put(out, "%-*s", HELP_INDENT, left);
        if (strlen(left) >= HELP_INDENT)
            text_put(out, "\n%*s", HELP_INDENT, "");
        put_wrapped(out, opt->help);
    }
    text_str(out, "\nTIME is 500ms, 10s, 5m, ...; SIZE and OCTETS are 16, 1k, 100M, ...\n"
                  "Exit: 0 all well; 1 messages were lost, duplicated or reordered; 64 bad usage;\n"
                  "69 the server could not be reached or ended the run; 70 internal.\n");
}
