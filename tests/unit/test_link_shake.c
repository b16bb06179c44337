/* The handshake of links, without a network: two cores that are shown each other's octets. */
#include "expect.h"
#include "link/link_shake.h"

#define COOKIE "a secret of more than twenty octets"

/* One end, and what it has said. */
struct side {
    struct link_shake shake;
    struct link_about self;
    struct link_shake_setup setup;
    uint8_t nonce[LINK_NONCE_BYTES];
    uint8_t exporter[LINK_EXPORTER_BYTES];
    uint8_t said[4096];
    size_t said_len;
    size_t heard; /* of what the other said */
    enum link_refusal verdict;
};

static struct side caller, answerer;

static void prepare(struct side *s, enum link_role role, const char *name, uint16_t node)
{
    *s = (struct side){ .setup = { .role = role, .class = LINK_CONTROL } };
    memset(s->nonce, role == LINK_CALLER ? 0xC1 : 0xA2, sizeof s->nonce);
    memset(s->exporter, 0xE3, sizeof s->exporter);
    memset(s->self.id.cluster, 7, sizeof s->self.id.cluster);
    s->self.boot = (uint64_t)role * 1000;
    s->self.id.node = node;
    s->self.id.inc = 3;
    strcpy(s->self.id.name, name);
    s->self.received = 10u + (uint64_t)role;
    s->setup.cookie = slice_str(COOKIE);
    s->setup.exporter = s->exporter;
    s->setup.nonce = s->nonce;
    s->setup.self = &s->self;
}

static void set_up(void)
{
    prepare(&caller, LINK_CALLER, "rabbit@a", 1);
    prepare(&answerer, LINK_ANSWERER, "rabbit@b", 2);
    caller.self.shard = 5;
    caller.self.dialler = 77;
    caller.self.session = 8;
    caller.self.resumes = true;
}

static void note(struct side *s, const struct link_shake_out *out)
{
    cr_assert(s->said_len + out->len <= sizeof s->said);
    memcpy(s->said + s->said_len, out->octets, out->len);
    s->said_len += out->len;
}

static void begin(struct side *s)
{
    struct link_shake_out out;
    link_shake_start(&s->shake, &s->setup, &out);
    note(s, &out);
}

/* Show `to` up to `octets` more of what `from` said; true when something was taken. */
static bool show(struct side *to, struct side *from, size_t octets)
{
    struct link_shake_out out;
    struct slice in = slice_of(from->said + to->heard, from->said_len - to->heard);
    size_t taken = link_shake_take(&to->shake, slice_head(in, octets), &out);
    to->heard += taken;
    note(to, &out);
    if (to->shake.state == LINK_SHAKE_JUDGING) {
        link_shake_answer(&to->shake, to->verdict, &to->self, &out);
        note(to, &out);
    }
    return taken != 0;
}

/* Each octet alone: what is not whole is shown again with one more. */
static void talk(void)
{
    begin(&caller);
    begin(&answerer);
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t n = 1; n <= caller.said_len - answerer.heard; n++)
            moved = show(&answerer, &caller, n) || moved;
        for (size_t n = 1; n <= answerer.said_len - caller.heard; n++)
            moved = show(&caller, &answerer, n) || moved;
    }
}

static void expect_end(const struct side *s, enum link_refusal why, bool by_peer)
{
    cr_expect(eq(int, s->shake.state, LINK_SHAKE_REFUSED));
    cr_expect(eq(int, s->shake.refusal, why));
    cr_expect(eq(int, s->shake.by_peer, by_peer));
}

static void expect_reason(const struct side *s, const char *text)
{
    char room[512];
    expect_text(link_shake_reason(&s->shake, room, sizeof room), text);
}

TestSuite(link_shake, .init = set_up);

Test(link_shake, both_know_each_other_in_the_end)
{
    talk();
    cr_assert(eq(int, caller.shake.state, LINK_SHAKE_DONE));
    cr_assert(eq(int, answerer.shake.state, LINK_SHAKE_DONE));
    expect_text(caller.shake.peer.id.name, "rabbit@b");
    expect_text(answerer.shake.peer.id.name, "rabbit@a");
    cr_expect(eq(int, caller.shake.peer.id.node, 2));
    cr_expect(eq(int, answerer.shake.peer.id.inc, 3));
    cr_expect(eq(int, answerer.shake.peer.shard, 5));
    cr_expect(eq(u64, answerer.shake.peer.dialler, 77));
    cr_expect(eq(u32, answerer.shake.peer.session, 8));
    cr_expect(answerer.shake.peer.resumes);
    cr_expect(eq(u64, answerer.shake.peer.received, 11));
    cr_expect(eq(u64, caller.shake.peer.received, 12));
    cr_expect(eq(int, caller.shake.version, LINK_VERSION_MOST));
}

/* What an unproven caller gets is the version and a nonce. */
Test(link_shake, another_cookie_is_told_apart_and_nothing_else_is_told)
{
    caller.setup.cookie = slice_str(COOKIE "!");
    talk();
    expect_end(&answerer, LINK_REFUSED_COOKIE, false);
    expect_end(&caller, LINK_REFUSED_COOKIE, true);
    expect_reason(&caller, "it has another cookie");
    cr_expect(eq(sz, answerer.said_len, LINK_HELLO_BYTES + 2 + 1 + HMAC_BYTES));
    for (size_t i = answerer.said_len - HMAC_BYTES; i < answerer.said_len; i++)
        cr_expect(eq(int, answerer.said[i], 0));
    cr_expect(not(answerer.shake.peer_is_known));
}

Test(link_shake, one_bit_of_the_cookie_is_enough)
{
    char other[] = COOKIE;
    for (size_t i = 0; i < sizeof other - 1; i++) {
        set_up();
        other[i] ^= 1;
        caller.setup.cookie = slice_str(other);
        talk();
        expect_end(&answerer, LINK_REFUSED_COOKIE, false);
        other[i] ^= 1;
    }
}

/* A relay in the middle has two TLS sessions, from which nobody derives the same octets. */
Test(link_shake, another_tls_session_is_another_cookie)
{
    caller.exporter[31] ^= 1;
    talk();
    expect_end(&answerer, LINK_REFUSED_COOKIE, false);
}

/* An impostor without the cookie says yes. */
Test(link_shake, an_answerer_that_cannot_prove_itself_is_refused)
{
    begin(&caller);
    begin(&answerer);
    (void)show(&answerer, &caller, SIZE_MAX);
    (void)show(&caller, &answerer, SIZE_MAX);
    answerer.shake.cookie = slice_str("guessed");
    answerer.shake.state = LINK_SHAKE_JUDGING;
    struct link_shake_out out;
    link_shake_answer(&answerer.shake, LINK_REFUSED_NONE, &answerer.self, &out);
    note(&answerer, &out);
    (void)show(&caller, &answerer, SIZE_MAX);
    expect_end(&caller, LINK_REFUSED_COOKIE, false);
    cr_expect(not(caller.shake.peer_is_known));
}

/* Wherever an octet is changed, nobody who heard it is content. */
Test(link_shake, no_changed_octet_passes)
{
    talk();
    size_t caller_said = caller.said_len, answerer_said = answerer.said_len;
    for (size_t i = 0; i < caller_said + answerer_said; i++) {
        set_up();
        begin(&caller);
        begin(&answerer);
        struct side *liar = i < caller_said ? &caller : &answerer;
        size_t at = i < caller_said ? i : i - caller_said;
        bool changed = false;
        for (bool moved = true; moved;) {
            if (!changed && liar->said_len > at) {
                liar->said[at] ^= 0x55;
                changed = true;
            }
            moved = show(&answerer, &caller, SIZE_MAX);
            if (!changed && liar->said_len > at) {
                liar->said[at] ^= 0x55;
                changed = true;
            }
            moved = show(&caller, &answerer, SIZE_MAX) || moved;
        }
        cr_assert(changed);
        cr_expect(caller.shake.state != LINK_SHAKE_DONE, "octet %zu", i);
    }
}

/* ---- versions ---- */

static void speak(struct side *s, uint16_t least, uint16_t most)
{
    s->setup.least = least;
    s->setup.most = most;
}

Test(link_shake, the_highest_version_of_both_is_spoken)
{
    speak(&caller, 1, 5);
    speak(&answerer, 3, 9);
    talk();
    cr_expect(eq(int, caller.shake.version, 5));
    cr_expect(eq(int, answerer.shake.version, 5));
}

Test(link_shake, versions_that_do_not_meet_are_named_on_both_sides)
{
    speak(&caller, 1, 2);
    speak(&answerer, 3, 3);
    talk();
    expect_end(&caller, LINK_REFUSED_VERSION, false);
    expect_end(&answerer, LINK_REFUSED_VERSION, false);
    expect_reason(&caller, "no version of the cluster protocol is spoken by both: it speaks 3, "
                           "and we 1 to 2");
    expect_reason(&answerer, "no version of the cluster protocol is spoken by both: it speaks 1 "
                             "to 2, and we 3");
}

/* A later version may say more in each of its messages. */
Test(link_shake, a_longer_hello_is_understood)
{
    struct link_shake_out out;
    uint8_t hello[LINK_HELLO_BYTES + 20] = { 0 };
    begin(&answerer);
    begin(&caller);
    memcpy(hello, caller.said, LINK_HELLO_BYTES);
    hello[5] += 20;
    for (size_t n = 0; n < sizeof hello; n++)
        cr_expect(eq(sz, link_shake_take(&answerer.shake, slice_of(hello, n), &out), 0));
    cr_expect(eq(sz, link_shake_take(&answerer.shake, slice_of(hello, sizeof hello), &out),
                 sizeof hello));
    cr_expect(eq(int, answerer.shake.state, LINK_SHAKE_PROOF));
}

/* ---- who is who ---- */

static void expect_both(enum link_refusal why)
{
    talk();
    expect_end(&answerer, why, false);
    expect_end(&caller, why, true);
}

Test(link_shake, another_cluster_is_refused)
{
    memset(caller.self.id.cluster, 8, LINK_CLUSTER_BYTES);
    expect_both(LINK_REFUSED_CLUSTER);
    expect_reason(&caller, "it is of another cluster: ours is 08080808, and its is 07070707");
    expect_reason(&answerer, "it is of another cluster: ours is 07070707, and its is 08080808");
}

static void of_class(enum link_class class)
{
    set_up();
    caller.setup.class = answerer.setup.class = class;
}

Test(link_shake, who_has_no_cluster_yet_may_ask_and_listen)
{
    static const struct {
        enum link_class class;
        uint8_t cluster;
        bool passes;
    } cases[] = {
        { LINK_CONTROL, 0, false }, { LINK_BULK, 0, false }, { LINK_ASK, 0, true },
        { LINK_FEED, 0, true },     { LINK_CTL, 0, true },   { LINK_ASK, 8, true },
        { LINK_FEED, 8, false },    { LINK_CTL, 8, true },   { LINK_CONTROL, 7, true },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        of_class(cases[i].class);
        memset(caller.self.id.cluster, cases[i].cluster, LINK_CLUSTER_BYTES);
        talk();
        cr_expect(eq(int, caller.shake.state == LINK_SHAKE_DONE, cases[i].passes), "case %zu", i);
    }
}

Test(link_shake, another_node_than_was_called_refuses)
{
    strcpy(caller.self.wanted_name, "rabbit@c");
    expect_both(LINK_REFUSED_NAME);
    expect_reason(&caller, "the node that was called is not the one that answers: rabbit@c (node "
                           "0) was called, and rabbit@b (node 2) answers");
    set_up();
    caller.self.wanted_node = 3;
    expect_both(LINK_REFUSED_NAME);
    set_up();
    caller.self.wanted_node = 2;
    strcpy(caller.self.wanted_name, "rabbit@b");
    talk();
    cr_expect(eq(int, caller.shake.state, LINK_SHAKE_DONE));
}

Test(link_shake, the_same_process_is_refused)
{
    caller.self.boot = answerer.self.boot;
    expect_both(LINK_REFUSED_SELF);
}

Test(link_shake, the_driver_s_verdict_is_told_and_proven)
{
    for (int v = LINK_REFUSED_NONE + 1; v < LINK_REFUSED_COUNT; v++) {
        if (v == LINK_REFUSED_COOKIE || v == LINK_REFUSED_VERSION)
            continue;
        set_up();
        answerer.verdict = (enum link_refusal)v;
        expect_both((enum link_refusal)v);
        expect_text(caller.shake.peer.id.name, "rabbit@b");
    }
}

/* ---- what is no handshake ---- */

Test(link_shake, what_is_no_hello_is_not_waited_for)
{
    static const char *const others[] = { "G", "AMQP\0\0\x09\x01", "WX", "WRNL" };
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        struct link_shake_out out;
        set_up();
        begin(&answerer);
        (void)link_shake_take(&answerer.shake, slice_str(others[i]), &out);
        cr_expect(eq(int, answerer.shake.state, LINK_SHAKE_BAD), "%s", others[i]);
        cr_expect(eq(sz, out.len, 0));
    }
}

static enum link_shake_state after_hello(size_t at, uint8_t value)
{
    struct link_shake_out out;
    set_up();
    begin(&caller);
    begin(&answerer);
    caller.said[at] = value;
    (void)link_shake_take(&answerer.shake, slice_of(caller.said, caller.said_len), &out);
    return answerer.shake.state;
}

Test(link_shake, a_hello_that_makes_no_sense_is_bad)
{
    cr_expect(eq(int, after_hello(4, 0x40), LINK_SHAKE_BAD)); /* length */
    cr_expect(eq(int, after_hello(5, 43), LINK_SHAKE_BAD));
    cr_expect(eq(int, after_hello(6, 9), LINK_SHAKE_BAD));  /* least above most */
    cr_expect(eq(int, after_hello(10, 2), LINK_SHAKE_BAD)); /* role */
    cr_expect(eq(int, after_hello(11, 3), LINK_SHAKE_BAD)); /* class */
}

Test(link_shake, a_proof_of_an_impossible_length_is_not_waited_for)
{
    static const uint8_t lengths[][2] = { { 0, 0 }, { 0, 33 }, { 4, 1 }, { 0xFF, 0xFF } };
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct link_shake_out out;
        set_up();
        begin(&caller);
        begin(&answerer);
        (void)show(&answerer, &caller, SIZE_MAX);
        (void)link_shake_take(&answerer.shake, slice_of(lengths[i], 2), &out);
        cr_expect(eq(int, answerer.shake.state, LINK_SHAKE_BAD), "%zu", i);
    }
}

/* It would come into our log. */
Test(link_shake, a_name_that_cannot_be_printed_is_bad)
{
    strcpy(caller.self.id.name, "rabbit@a\n");
    talk();
    cr_expect(eq(int, answerer.shake.state, LINK_SHAKE_BAD));
    set_up();
    strcpy(caller.self.wanted_name, "rabbit b");
    talk();
    cr_expect(eq(int, answerer.shake.state, LINK_SHAKE_BAD));
}

Test(link_shake, the_longest_names_fit)
{
    memset(caller.self.id.name, 'a', LINK_NAME_MAX - 1);
    memset(answerer.self.id.name, 'b', LINK_NAME_MAX - 1);
    memcpy(caller.self.wanted_name, answerer.self.id.name, LINK_NAME_MAX);
    talk();
    cr_expect(eq(int, caller.shake.state, LINK_SHAKE_DONE));
    expect_text(answerer.shake.peer.id.name, caller.self.id.name);
}
