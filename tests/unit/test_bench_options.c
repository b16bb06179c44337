#include "bench_options.h"

#include "bench_body.h"
#include "expect.h"

static struct bench_options o;
static struct err err;

static void begin(void)
{
    bench_options_init(&o);
    err = (struct err){ 0 };
}

TestSuite(bench_options, .init = begin);

#define PARSE(...) parse((const char *[]){ "warren-bench", __VA_ARGS__, NULL })

static bool parse(const char *const *args)
{
    char *argv[32];
    int argc = 0;
    for (; args[argc] != NULL; argc++)
        argv[argc] = (char *)args[argc];
    argv[argc] = NULL;
    return bench_options_parse(&o, argc, argv, &err);
}

static void expect_refused(bool ok, const char *part)
{
    cr_expect_not(ok, "want \"%s\"", part);
    cr_expect(eq(int, (int)err.code, ERR_USAGE));
    cr_expect(strstr(err.text, part) != NULL, "\"%s\" has no \"%s\"", err.text, part);
    begin();
}

Test(bench_options, has_defaults_that_run)
{
    char *argv[] = { (char *)"warren-bench", NULL };
    cr_assert(bench_options_parse(&o, 1, argv, &err), "%s", err.text);
    cr_expect(eq(int, (int)o.mode, BENCH_RUN));
    expect_text(o.hosts[0].name, "127.0.0.1");
    cr_expect(eq(int, o.hosts[0].port, 5672));
    cr_expect(eq(u64, o.sizes[0], BENCH_BODY_MIN));
    cr_expect(eq(u32, o.ack_every, 0));
}

Test(bench_options, takes_values_in_both_forms)
{
    cr_assert(PARSE("idle", "--connections=20", "--duration", "2m", "--json"), "%s", err.text);
    cr_expect(eq(int, (int)o.mode, BENCH_IDLE));
    cr_expect(eq(u32, o.connections, 20));
    cr_expect(eq(u64, o.duration_ms, 120000));
    cr_expect(o.json);
}

Test(bench_options, change_what_verify_begins_with)
{
    cr_assert(PARSE("verify", "--confirm", "7"), "%s", err.text);
    cr_expect(eq(int, (int)o.mode, BENCH_RUN));
    cr_expect(o.is_verify && o.reconnect && o.persistent && o.durable);
    cr_expect(eq(u32, o.ack_every, 1));
    cr_expect(eq(u32, o.confirm, 7));
    cr_expect(bench_options_judges_acks(&o));
    cr_assert(PARSE("verify", "--prefetch", "0"), "%s", err.text);
    cr_expect(not(bench_options_judges_acks(&o)), "nothing tells what was taken");
    begin();
    expect_refused(PARSE("--acks-kept", "--confirm", "7"), "--acks-kept needs");
}

Test(bench_options, understands_hosts)
{
    cr_assert(PARSE("--tls", "--host", "a:1,b,[::1]:99,::2,[fe80::1]"), "%s", err.text);
    const struct {
        const char *name;
        int port;
    } want[] = { { "a", 1 }, { "b", 5671 }, { "::1", 99 }, { "::2", 5671 }, { "fe80::1", 5671 } };
    cr_assert(eq(u32, o.hosts_count, 5));
    for (unsigned i = 0; i < 5; i++) {
        expect_text(o.hosts[i].name, want[i].name);
        cr_expect(eq(int, o.hosts[i].port, want[i].port));
    }
    expect_refused(PARSE("--host", "a:0"), "bad port");
    expect_refused(PARSE("--host", "a:65536"), "bad port");
    expect_refused(PARSE("--host", "a:"), "bad port");
    expect_refused(PARSE("--host", "a,,b"), "bad name");
    expect_refused(PARSE("--host", "[]:5"), "bad name");
}

Test(bench_options, understands_lists_and_words)
{
    cr_assert(PARSE("--size", "16,1k,1M", "--ack", "10", "--exchange", "topic", "--queues", "3",
                    "--fan-out", "2", "--bindings", "4", "--pid", "1,2", "--tolerate",
                    "lost,reordered"),
              "%s", err.text);
    cr_expect(eq(u32, o.sizes_count, 3));
    cr_expect(eq(u64, o.sizes[2], 1048576));
    cr_expect(eq(u32, o.ack_every, 10));
    cr_expect(eq(int, (int)o.exchange, BENCH_EXCHANGE_TOPIC));
    cr_expect(eq(u32, o.pids_count, 2));
    cr_expect(eq(u32, o.tolerate, BENCH_LOST | BENCH_REORDERED));
}

Test(bench_options, takes_a_fanout_for_all_queues)
{
    cr_assert(PARSE("--exchange", "fanout", "--queues", "7"), "%s", err.text);
    cr_expect(eq(u32, bench_options_copies(&o), 7));
}

Test(bench_options, refuses_what_it_does_not_understand)
{
    expect_refused(PARSE("walk"), "run, verify, idle, churn or declare");
    expect_refused(PARSE("run", "idle"), "not an option");
    expect_refused(PARSE("--speed", "9"), "no such option");
    expect_refused(PARSE("--json=yes"), "takes no value");
    expect_refused(PARSE("--size"), "needs");
    expect_refused(PARSE("--size", "15"), "at least 16");
    expect_refused(PARSE("--size", "big"), "not a size");
    expect_refused(PARSE("--publishers", "-1"), "not a number");
    expect_refused(PARSE("--prefetch", "65536"), "0 to 65535");
    expect_refused(PARSE("--duration", "soon"), "not a duration");
    expect_refused(PARSE("--ack", "0"), "--ack");
    expect_refused(PARSE("--exchange", "web"), "--exchange");
    expect_refused(PARSE("--queue-arg", "=1"), "KEY=VALUE");
    expect_refused(PARSE("--pid", "0"), "not a process id");
    expect_refused(PARSE("declare", "--window", "0"), "1 to 2047");
    expect_refused(PARSE("--tolerate", "all"), "--tolerate");
}

Test(bench_options, refuses_what_does_not_go_together)
{
    expect_refused(PARSE("--publishers", "0", "--consumers", "0"), "nothing to do");
    expect_refused(PARSE("--publishers", "0"), "--queue-name");
    expect_refused(PARSE("--fan-out", "2", "--queues", "2"), "need an --exchange");
    expect_refused(PARSE("--exchange", "direct", "--fan-out", "2"), "larger than --queues");
    expect_refused(PARSE("--ack", "20", "--prefetch", "10"), "larger than --prefetch");
    expect_refused(PARSE("--tls-insecure"), "without --tls");
    expect_refused(PARSE("--backoff-min", "10s"), "--backoff-max");
}

/* Asking for help is never refused. */
Test(bench_options, helps_whatever_else_is_said)
{
    cr_expect(PARSE("--publishers", "0", "--consumers", "0", "--help"));
    cr_expect(o.help);
    begin();
    cr_expect(PARSE("-h"));
    cr_expect(o.help);
}

Test(bench_options, shows_help_that_fits_a_terminal)
{
    struct text t;
    text_init(&t, 65536);
    bench_options_help(&t);
    cr_expect_not(t.cut);
    for (const char *line = t.ptr; *line != '\0';) {
        size_t n = strcspn(line, "\n");
        cr_expect(n <= 92, "%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    const char *const some[] = { "--host ", "--confirm ", "--reconnect ", "--tolerate ", "Exit:" };
    for (size_t i = 0; i < ARRAY_COUNT(some); i++)
        cr_expect(strstr(t.ptr, some[i]) != NULL, "%s", some[i]);
    text_fini(&t);
}
