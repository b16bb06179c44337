#include "link/link_shake.h"

#include "base/check.h"
#include "base/text.h"
#include "base/wire.h"

#include <string.h>

static const char magic[4] = { 'W', 'R', 'N', 'H' };

#define HELLO_HEAD    ((size_t)6) /* magic and length */
#define LENGTH_BYTES  ((size_t)2)
#define VERDICT_LEAST (LENGTH_BYTES + 1 + HMAC_BYTES)
#define PROOF_LEAST   (LENGTH_BYTES + HMAC_BYTES)

_Static_assert(LINK_HELLO_BYTES == 4 + 2 + 2 + 2 + 1 + 1 + LINK_NONCE_BYTES, "as drawn");
/* Two names of 255 octets and all that is fixed. */
_Static_assert(VERDICT_LEAST + 60 + 2 * 256 <= LINK_PROOF_MAX, "a verdict fits");

/* ---- ends ---- */

static void bad(struct link_shake *s, const char *why)
{
    s->state = LINK_SHAKE_BAD;
    s->why = why;
}

static void refuse(struct link_shake *s, enum link_refusal why, bool by_peer)
{
    s->state = LINK_SHAKE_REFUSED;
    s->refusal = why;
    s->by_peer = by_peer;
}

/* ---- about ---- */

static void put_about(struct wire_out *w, const struct link_about *a)
{
    wire_put_u64(w, a->boot);
    wire_put_bytes(w, slice_of(a->id.cluster, LINK_CLUSTER_BYTES));
    wire_put_u16(w, a->id.node);
    wire_put_u32(w, a->id.inc);
    wire_put_u16(w, a->shard);
    wire_put_u64(w, a->dialler);
    wire_put_u32(w, a->session);
    wire_put_u8(w, a->resumes);
    wire_put_u64(w, a->received);
    wire_put_u16(w, a->wanted_node);
    wire_put_shortstr(w, slice_str(a->id.name));
    wire_put_shortstr(w, slice_str(a->wanted_name));
}

/* Names come into logs and are compared: nothing but what can be printed. */
static bool take_name(struct slice name, char room[LINK_NAME_MAX])
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= 0x20 || name.ptr[i] == 0x7F)
            return false;
    _Static_assert(LINK_NAME_MAX > UINT8_MAX, "a short string and its end fit");
    memset(room, 0, LINK_NAME_MAX);
    if (name.len != 0)
        memcpy(room, name.ptr, name.len);
    return true;
}

static bool read_about(struct slice in, struct link_about *a)
{
    struct wire w = wire_over(in);
    *a = (struct link_about){ .boot = wire_u64(&w) };
    struct slice cluster = wire_take(&w, LINK_CLUSTER_BYTES);
    a->id.node = wire_u16(&w);
    a->id.inc = wire_u32(&w);
    a->shard = wire_u16(&w);
    a->dialler = wire_u64(&w);
    a->session = wire_u32(&w);
    a->resumes = wire_u8(&w) != 0;
    a->received = wire_u64(&w);
    a->wanted_node = wire_u16(&w);
    struct slice name = wire_shortstr(&w);
    struct slice wanted = wire_shortstr(&w);
    if (w.ran_out)
        return false;
    memcpy(a->id.cluster, cluster.ptr, LINK_CLUSTER_BYTES);
    return take_name(name, a->id.name) && take_name(wanted, a->wanted_name);
}

/* ---- proof ---- */

static void mac_of(const struct link_shake *s, enum link_role speaker, uint8_t code,
                   struct slice about, uint8_t out[HMAC_BYTES])
{
    const struct slice parts[] = {
        slice_str(speaker == LINK_CALLER ? "warren link caller" : "warren link answerer"),
        slice_of(s->caller_hello, s->caller_hello_len),
        slice_of(s->answerer_hello, s->answerer_hello_len),
        slice_of(s->exporter, sizeof s->exporter),
        slice_of(&code, 1),
        about,
    };
    hmac_sha256(s->cookie, parts, ARRAY_COUNT(parts), out);
}

static bool is_proven(const struct link_shake *s, enum link_role speaker, uint8_t code,
                      struct slice about, struct slice mac)
{
    uint8_t wanted[HMAC_BYTES];
    mac_of(s, speaker, code, about, wanted);
    return hmac_eq(wanted, mac.ptr);
}

/* ---- hello ---- */

static void say_hello(struct link_shake *s, const uint8_t *nonce, struct link_shake_out *out)
{
    bool calls = s->role == LINK_CALLER;
    uint8_t *hello = calls ? s->caller_hello : s->answerer_hello;
    struct wire_out w = wire_out_over(hello, LINK_HELLO_MAX);
    wire_put_bytes(&w, slice_of(magic, sizeof magic));
    wire_put_u16(&w, (uint16_t)LINK_HELLO_BYTES);
    wire_put_u16(&w, s->least);
    wire_put_u16(&w, s->most);
    wire_put_u8(&w, (uint8_t)s->role);
    wire_put_u8(&w, (uint8_t)s->class);
    wire_put_bytes(&w, slice_of(nonce, LINK_NONCE_BYTES));
    CHECK(!w.overflow && wire_out_len(&w) == LINK_HELLO_BYTES);
    *(calls ? &s->caller_hello_len : &s->answerer_hello_len) = LINK_HELLO_BYTES;
    memcpy(out->octets, hello, LINK_HELLO_BYTES);
    out->len = LINK_HELLO_BYTES;
}

void link_shake_start(struct link_shake *s, const struct link_shake_setup *setup,
                      struct link_shake_out *out)
{
    *s = (struct link_shake){ .role = setup->role,
                              .class = setup->class,
                              .cookie = setup->cookie,
                              .least = setup->least != 0 ? setup->least : LINK_VERSION_LEAST,
                              .most = setup->most != 0 ? setup->most : LINK_VERSION_MOST,
                              .self = *setup->self };
    memcpy(s->exporter, setup->exporter, sizeof s->exporter);
    out->len = 0;
    /* The answerer's is made now, too, and said when the caller has spoken. */
    say_hello(s, setup->nonce, out);
    if (s->role == LINK_ANSWERER)
        out->len = 0;
}

/* Judged octet by octet: what is no hello is not waited for. The length of a whole one, or 0. */
static size_t cut_hello(struct link_shake *s, struct slice in)
{
    size_t seen = in.len < sizeof magic ? in.len : sizeof magic;
    if (seen != 0 && memcmp(in.ptr, magic, seen) != 0) {
        bad(s, "it is no Warren program");
        return 0;
    }
    if (in.len < HELLO_HEAD)
        return 0;
    struct wire w = wire_over(slice_from(in, sizeof magic));
    size_t len = wire_u16(&w);
    if (len < LINK_HELLO_BYTES || len > LINK_HELLO_MAX) {
        bad(s, "its hello has an impossible length");
        return 0;
    }
    return in.len < len ? 0 : len;
}

static void read_hello(struct link_shake *s, struct slice hello)
{
    bool calls = s->role == LINK_CALLER;
    memcpy(calls ? s->answerer_hello : s->caller_hello, hello.ptr, hello.len);
    *(calls ? &s->answerer_hello_len : &s->caller_hello_len) = hello.len;
    struct wire w = wire_over(slice_from(hello, HELLO_HEAD));
    s->peer_least = wire_u16(&w);
    s->peer_most = wire_u16(&w);
    uint8_t role = wire_u8(&w);
    uint8_t class = wire_u8(&w);
    if (role != (calls ? LINK_ANSWERER : LINK_CALLER))
        bad(s, "it is at the wrong end of the connection");
    else if (class != (uint8_t)s->class)
        bad(s, "it speaks of another kind of link");
    else if (s->peer_least > s->peer_most)
        bad(s, "its versions make no sense");
    else
        s->version = s->peer_most < s->most ? s->peer_most : s->most;
}

static bool has_version(const struct link_shake *s)
{
    return s->version >= s->least && s->version >= s->peer_least;
}

/* ---- caller ---- */

static void say_proof(struct link_shake *s, struct link_shake_out *out)
{
    struct wire_out w = wire_out_over(out->octets, sizeof out->octets);
    wire_put_u16(&w, 0);
    uint8_t *mac = wire_out_room(&w, HMAC_BYTES);
    const uint8_t *about = w.at;
    put_about(&w, &s->self);
    CHECK(!w.overflow);
    out->len = wire_out_len(&w);
    mac_of(s, LINK_CALLER, 0, slice_of(about, (size_t)(w.at - about)), mac);
    w = wire_out_over(out->octets, LENGTH_BYTES);
    wire_put_u16(&w, (uint16_t)out->len);
}

static void on_answerer_hello(struct link_shake *s, struct link_shake_out *out)
{
    if (!has_version(s)) {
        refuse(s, LINK_REFUSED_VERSION, false);
        return;
    }
    s->state = LINK_SHAKE_VERDICT;
    say_proof(s, out);
}

static bool is_same_cluster(const struct link_shake *s)
{
    static const uint8_t none[LINK_CLUSTER_BYTES];
    const uint8_t *a = s->self.id.cluster, *b = s->peer.id.cluster;
    bool same = memcmp(a, b, LINK_CLUSTER_BYTES) == 0;
    switch (s->class) {
#define X(name, octet, text, clusters)                                                             \
    case LINK_##name:                                                                              \
        return same || (clusters) == LINK_CLUSTER_ANY ||                                           \
               ((clusters) == LINK_CLUSTER_SAME_OR_NONE &&                                         \
                (memcmp(a, none, sizeof none) == 0 || memcmp(b, none, sizeof none) == 0));
        LINK_CLASSES(X)
#undef X
    case LINK_CLASS_END:
        break;
    }
    UNREACHABLE("link class");
}

/* Is `who` the one that `by` wanted? */
static bool is_wanted(const struct link_about *who, const struct link_about *by)
{
    return (by->wanted_name[0] == '\0' || strcmp(by->wanted_name, who->id.name) == 0) &&
           (by->wanted_node == 0 || by->wanted_node == who->id.node);
}

/* What is wrong with two who both know the cookie? */
static enum link_refusal compare(const struct link_shake *s)
{
    bool calls = s->role == LINK_CALLER;
    if (s->self.boot == s->peer.boot)
        return LINK_REFUSED_SELF;
    if (!is_same_cluster(s))
        return LINK_REFUSED_CLUSTER;
    if (!is_wanted(calls ? &s->peer : &s->self, calls ? &s->self : &s->peer))
        return LINK_REFUSED_NAME;
    return LINK_REFUSED_NONE;
}

static enum link_refusal code_of(uint8_t code)
{
    return code < LINK_REFUSED_COUNT ? (enum link_refusal)code : LINK_REFUSED_BUSY;
}

static void on_verdict(struct link_shake *s, struct slice message)
{
    struct wire w = wire_over(slice_from(message, LENGTH_BYTES));
    uint8_t code = wire_u8(&w);
    struct slice mac = wire_take(&w, HMAC_BYTES);
    struct slice about = wire_rest(&w);
    if (code == LINK_REFUSED_COOKIE || code == LINK_REFUSED_VERSION) {
        refuse(s, (enum link_refusal)code, true);
        return;
    }
    if (!is_proven(s, LINK_ANSWERER, code, about, mac)) {
        refuse(s, LINK_REFUSED_COOKIE, false);
        return;
    }
    if (!read_about(about, &s->peer)) {
        bad(s, "what it says about itself cannot be read");
        return;
    }
    s->peer_is_known = true;
    if (code != LINK_REFUSED_NONE) {
        refuse(s, code_of(code), true);
        return;
    }
    enum link_refusal mine = compare(s);
    if (mine != LINK_REFUSED_NONE)
        refuse(s, mine, false);
    else
        s->state = LINK_SHAKE_DONE;
}

/* ---- answerer ---- */

static void say_verdict(struct link_shake *s, enum link_refusal code, bool proves,
                        struct link_shake_out *out)
{
    struct wire_out w = wire_out_over(out->octets + out->len, sizeof out->octets - out->len);
    wire_put_u16(&w, 0);
    wire_put_u8(&w, (uint8_t)code);
    uint8_t *mac = wire_out_room(&w, HMAC_BYTES);
    memset(mac, 0, HMAC_BYTES);
    const uint8_t *about = w.at;
    if (proves) {
        put_about(&w, &s->self);
        mac_of(s, LINK_ANSWERER, (uint8_t)code, slice_of(about, (size_t)(w.at - about)), mac);
    }
    CHECK(!w.overflow);
    size_t len = wire_out_len(&w);
    w = wire_out_over(out->octets + out->len, LENGTH_BYTES);
    wire_put_u16(&w, (uint16_t)len);
    out->len += len;
}

static void on_caller_hello(struct link_shake *s, struct link_shake_out *out)
{
    memcpy(out->octets, s->answerer_hello, s->answerer_hello_len);
    out->len = s->answerer_hello_len;
    if (has_version(s)) {
        s->state = LINK_SHAKE_PROOF;
        return;
    }
    refuse(s, LINK_REFUSED_VERSION, false);
    say_verdict(s, LINK_REFUSED_VERSION, false, out);
}

static void on_proof(struct link_shake *s, struct slice message, struct link_shake_out *out)
{
    struct wire w = wire_over(slice_from(message, LENGTH_BYTES));
    struct slice mac = wire_take(&w, HMAC_BYTES);
    struct slice about = wire_rest(&w);
    if (!is_proven(s, LINK_CALLER, 0, about, mac)) {
        refuse(s, LINK_REFUSED_COOKIE, false);
        say_verdict(s, LINK_REFUSED_COOKIE, false, out);
        return;
    }
    if (!read_about(about, &s->peer)) {
        bad(s, "what it says about itself cannot be read");
        return;
    }
    s->peer_is_known = true;
    s->state = LINK_SHAKE_JUDGING;
    enum link_refusal mine = compare(s);
    if (mine != LINK_REFUSED_NONE)
        link_shake_answer(s, mine, &s->self, out);
}

void link_shake_answer(struct link_shake *s, enum link_refusal refusal,
                       const struct link_about *self, struct link_shake_out *out)
{
    CHECK(s->state == LINK_SHAKE_JUDGING);
    CHECK(refusal != LINK_REFUSED_COOKIE && refusal != LINK_REFUSED_VERSION);
    struct link_about said = *self;
    s->self = said;
    out->len = 0;
    say_verdict(s, refusal, true, out);
    if (refusal == LINK_REFUSED_NONE)
        s->state = LINK_SHAKE_DONE;
    else
        refuse(s, refusal, false);
}

/* ---- octets ---- */

/* Of a proof or a verdict; 0: not whole yet. */
static size_t cut_message(struct link_shake *s, struct slice in, size_t least)
{
    if (in.len < LENGTH_BYTES)
        return 0;
    struct wire w = wire_over(in);
    size_t len = wire_u16(&w);
    if (len < least || len > LINK_PROOF_MAX) {
        bad(s, "its proof has an impossible length");
        return 0;
    }
    return in.len < len ? 0 : len;
}

size_t link_shake_take(struct link_shake *s, struct slice in, struct link_shake_out *out)
{
    size_t len = 0;
    out->len = 0;
    switch (s->state) {
    case LINK_SHAKE_HELLO:
        len = cut_hello(s, in);
        if (len == 0)
            return 0;
        read_hello(s, slice_head(in, len));
        if (s->state != LINK_SHAKE_HELLO)
            return len;
        if (s->role == LINK_CALLER)
            on_answerer_hello(s, out);
        else
            on_caller_hello(s, out);
        return len;
    case LINK_SHAKE_PROOF:
        len = cut_message(s, in, PROOF_LEAST);
        if (len != 0)
            on_proof(s, slice_head(in, len), out);
        return len;
    case LINK_SHAKE_VERDICT:
        len = cut_message(s, in, VERDICT_LEAST);
        if (len != 0)
            on_verdict(s, slice_head(in, len));
        return len;
    case LINK_SHAKE_JUDGING:
    case LINK_SHAKE_DONE:
    case LINK_SHAKE_REFUSED:
    case LINK_SHAKE_BAD:
        return 0;
    }
    UNREACHABLE("state of a handshake");
}

/* ---- for people ---- */

static void put_cluster(struct text *t, const uint8_t cluster[LINK_CLUSTER_BYTES])
{
    for (size_t i = 0; i < 4; i++)
        text_put(t, "%02x", cluster[i]);
}

static void put_versions(struct text *t, uint16_t least, uint16_t most)
{
    if (least == most)
        text_put(t, "%u", least);
    else
        text_put(t, "%u to %u", least, most);
}

static void put_details(const struct link_shake *s, struct text *t)
{
    bool calls = s->role == LINK_CALLER;
    const struct link_about *answerer = calls ? &s->peer : &s->self;
    const struct link_about *caller = calls ? &s->self : &s->peer;
    if (s->refusal == LINK_REFUSED_VERSION) {
        text_str(t, ": it speaks ");
        put_versions(t, s->peer_least, s->peer_most);
        text_str(t, ", and we ");
        put_versions(t, s->least, s->most);
    } else if (s->refusal == LINK_REFUSED_CLUSTER) {
        text_str(t, ": ours is ");
        put_cluster(t, s->self.id.cluster);
        text_str(t, ", and its is ");
        put_cluster(t, s->peer.id.cluster);
    } else if (s->refusal == LINK_REFUSED_NAME) {
        text_put(t, ": %s (node %u) was called, and %s (node %u) answers",
                 caller->wanted_name[0] != '\0' ? caller->wanted_name : "any name",
                 caller->wanted_node, answerer->id.name, answerer->id.node);
    }
}

const char *link_shake_reason(const struct link_shake *s, char *room, size_t room_bytes)
{
    struct text t = text_over(room, room_bytes);
    if (s->state == LINK_SHAKE_BAD) {
        text_str(&t, s->why);
        return room;
    }
    text_str(&t, link_refusal_text(s->refusal, s->by_peer));
    put_details(s, &t);
    return room;
}
