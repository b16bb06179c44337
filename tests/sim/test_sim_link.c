/*
 * Sessions of links over connections that break at any octet: two sides send each other frames of
 * both priorities, acknowledge when they like, and lose what was under way; each notices in its own
 * time. Every frame must come once and in order, whatever happened, until a session ends as a
 * whole. What moves the octets is the simulation; what is sent, kept, counted and said again is the
 * code under test (link_flow), and so are the rules that are broken on purpose (link_mutation.h).
 */
#include "base/mem.h"
#include "base/rng.h"
#include "base/wire.h"
#include "expect.h"
#include "link/link_flow.h"
#include "link/link_mutation.h"

#include <inttypes.h>
#include <stdlib.h>

#define STEPS          3000
#define SEEDS          400u
#define MUTATION_SEEDS 2000u /* at most: most are found at once */
#define PIPE_MAX       ((size_t)256 * 1024)
#define WAITING_MAX    ((size_t)128 * 1024)
#define BODY_MAX       9000u /* some are held by reference */

/* Octets of one connection that are under way in one direction. */
struct pipe {
    uint8_t octets[PIPE_MAX];
    size_t len;
    size_t shown; /* so many have arrived */
};

struct side {
    struct link_flow flow;
    bool connected; /* believes so */
    uint32_t session;
    uint64_t sent[LINK_LANES]; /* frames of this session */
    uint64_t got[LINK_LANES];
};

/*
 * `caller` dials and asks to resume; `answerer` answers. The pipes are of the present connection;
 * what the answerer has not taken from an old one is gone when it answers over a new one.
 */
struct net {
    struct rng rng;
    struct side caller, answerer;
    struct pipe there, back; /* to the answerer, to the caller */
    bool stands;
    bool asked; /* a dial is under way ... */
    bool asks_to_resume;
    uint64_t asked_heard; /* ... and says so */
    bool answered;
    uint64_t answered_heard;
    bool answered_yes;
    bool heals;
    const char *wrong;
};

static enum link_mutation mutation = LINK_MUTATION_COUNT;

bool link_mutation_is_on(enum link_mutation m)
{
    return m == mutation;
}

static const char *const mutations[] = {
#define X(name, text) text,
    LINK_MUTATIONS(X)
#undef X
};

/* ---- sending ---- */

static bool put(struct pipe *p, const uint8_t *octets, size_t len)
{
    if (len > PIPE_MAX - p->len)
        return false;
    memcpy(p->octets + p->len, octets, len);
    p->len += len;
    return true;
}

static void send_frame(struct net *n, struct side *s)
{
    if (link_flow_waiting(&s->flow) + link_flow_unacked(&s->flow) > WAITING_MAX)
        return;
    unsigned lane = rng_chance(&n->rng, 300) ? LINK_URGENT : LINK_BULKY;
    uint8_t head[8];
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u64(&w, s->sent[lane]++);
    size_t len = rng_chance(&n->rng, 200) ? (size_t)rng_below(&n->rng, BODY_MAX)
                                          : (size_t)rng_below(&n->rng, 100);
    struct buf *body = buf_new(len + 1);
    memset(body->data, 0x5A, len);
    body->len_bytes = (uint32_t)len;
    link_flow_append(&s->flow, (enum link_priority)lane, (uint8_t)(LINK_TYPE_LEAST + lane),
                     slice_of(head, sizeof head), body, buf_slice(body));
    buf_unref(&body);
}

/* Octets given to a connection that is gone are lost with it. */
static void pump(struct net *n, struct side *s, struct pipe *p)
{
    struct link_piece piece;
    if (!s->connected || PIPE_MAX - p->len < 128 * 1024 || !link_flow_next(&s->flow, &piece))
        return;
    if (n->stands && !put(p, piece.at, piece.len))
        n->wrong = "the pipe is too small";
    buf_unref(&piece.block);
}

static void tell(struct net *n, struct side *s, struct pipe *p)
{
    uint8_t own[LINK_OWN_MAX];
    if (!s->connected || link_flow_is_halfway(&s->flow))
        return;
    uint64_t position = link_flow_tell(&s->flow);
    enum link_own_frame type = rng_chance(&n->rng, 200) ? LINK_FRAME_PING : LINK_FRAME_ACK;
    size_t len = link_frame_own(own, type, position);
    if (n->stands)
        (void)put(p, own, len);
}

/* ---- hearing ---- */

static void hear(struct net *n, struct side *s, uint8_t type, struct slice payload)
{
    struct wire w = wire_over(payload);
    uint64_t number = wire_u64(&w);
    if (type == LINK_FRAME_ACK) {
        if (!link_flow_acked(&s->flow, number))
            n->wrong = "an acknowledgement of what was not said";
        return;
    }
    if (type < LINK_TYPE_LEAST)
        return;
    unsigned lane = type - LINK_TYPE_LEAST;
    if (lane >= LINK_LANES || w.ran_out)
        n->wrong = "a frame that nobody sent";
    else if (number != s->got[lane]++)
        n->wrong = number < s->got[lane] ? "a frame came twice" : "a frame is missing";
    for (struct slice rest = wire_rest(&w); rest.len != 0; rest = slice_from(rest, 1))
        if (rest.ptr[0] != 0x5A)
            n->wrong = "a frame holds what another should";
}

static void deliver(struct net *n, struct side *s, struct pipe *p)
{
    size_t under_way = p->len - p->shown;
    if (!s->connected || under_way == 0)
        return;
    p->shown += 1 + (size_t)rng_below(&n->rng, under_way);
    while (n->wrong == NULL) {
        uint8_t type;
        struct slice payload;
        switch (link_flow_take(&s->flow, slice_of(p->octets, p->shown), &type, &payload)) {
        case LINK_CUT_MORE:
            return;
        case LINK_CUT_BAD:
            n->wrong = "what came is no frame";
            return;
        case LINK_CUT_FRAME:
            break;
        }
        hear(n, s, type, payload);
        size_t octets = LINK_HEAD_BYTES + payload.len;
        memmove(p->octets, p->octets + octets, p->len - octets);
        p->len -= octets;
        p->shown -= octets;
    }
}

/* ---- connections and sessions ---- */

static void forget(struct side *s, uint32_t session)
{
    link_flow_clear(&s->flow);
    s->session = session;
    for (unsigned i = 0; i < LINK_LANES; i++)
        s->sent[i] = s->got[i] = 0;
}

/* The net goes; what was under way may still arrive at who has not noticed. */
static void cut(struct net *n)
{
    n->stands = false;
}

static void dial(struct net *n)
{
    if (n->caller.connected || n->asked || n->answered)
        return;
    n->asked = true;
    n->asks_to_resume = n->caller.session != 0;
    n->asked_heard = n->caller.flow.heard;
}

static void answer(struct net *n)
{
    if (!n->asked)
        return;
    n->asked = false;
    if (rng_chance(&n->rng, 100) && !n->heals)
        return; /* lost on its way */
    n->answered = true;
    n->stands = true;
    n->there.len = n->there.shown = n->back.len = n->back.shown = 0;
    struct side *s = &n->answerer;
    n->answered_yes = !n->asks_to_resume || s->session == n->caller.session;
    if (!n->answered_yes)
        return;
    if (!n->asks_to_resume)
        forget(s, s->session + 1);
    else if (!link_flow_rewind(&s->flow, n->asked_heard))
        n->wrong = "the caller has heard what it was not told";
    n->answered_heard = link_flow_tell(&s->flow);
    s->connected = true;
}

static void conclude(struct net *n)
{
    if (!n->answered)
        return;
    n->answered = false;
    if (!n->stands)
        return; /* broken before the answer came */
    struct side *s = &n->caller;
    if (!n->answered_yes) {
        forget(s, 0);
        return;
    }
    if (!n->asks_to_resume)
        s->session = n->answerer.session; /* what it has sent already is the new session's */
    else if (!link_flow_rewind(&s->flow, n->answered_heard))
        n->wrong = "the answerer has heard what it was not told";
    (void)link_flow_tell(&s->flow);
    s->connected = true;
}

static void give_up(struct net *n)
{
    /* Nobody came back in time. */
    if (!n->answerer.connected && n->answerer.session != 0 && !n->answered)
        forget(&n->answerer, n->answerer.session + 1);
}

/* ---- a history ---- */

static void step(struct net *n)
{
    struct side *a = &n->caller, *b = &n->answerer;
    switch (rng_below(&n->rng, n->heals ? 11 : 15)) {
    case 0:
    case 1:
        if (!n->heals)
            send_frame(n, a);
        return;
    case 2:
        if (!n->heals && b->session != 0)
            send_frame(n, b);
        return;
    case 3:
        pump(n, a, &n->there);
        return;
    case 4:
        pump(n, b, &n->back);
        return;
    case 5:
        deliver(n, b, &n->there);
        return;
    case 6:
        deliver(n, a, &n->back);
        return;
    case 7:
        if (rng_chance(&n->rng, 500))
            tell(n, a, &n->there);
        else
            tell(n, b, &n->back);
        return;
    case 8:
        dial(n);
        return;
    case 9:
        answer(n);
        return;
    case 10:
        conclude(n);
        return;
    case 11:
        if (rng_chance(&n->rng, 150))
            cut(n);
        return;
    case 12: /* what is left arrives or not: who notices takes no more */
        if (!n->stands)
            a->connected = false;
        return;
    case 13:
        if (!n->stands)
            b->connected = false;
        return;
    default:
        if (rng_chance(&n->rng, 20))
            give_up(n);
        return;
    }
}

static bool is_quiet(const struct net *n)
{
    const struct side *sides[] = { &n->caller, &n->answerer };
    for (size_t i = 0; i < ARRAY_COUNT(sides); i++)
        if (!sides[i]->connected || link_flow_waiting(&sides[i]->flow) != 0 ||
            link_flow_unacked(&sides[i]->flow) != 0)
            return false;
    return true;
}

/* The net stays whole: what is left to say is said, and known to have been heard. */
static void heal(struct net *n)
{
    n->heals = true;
    if (!n->stands)
        n->caller.connected = n->answerer.connected = false;
    for (int i = 0; i < 100 * STEPS && n->wrong == NULL && !is_quiet(n); i++)
        step(n);
    if (n->wrong == NULL && !is_quiet(n))
        n->wrong = "not everything arrives";
    for (unsigned lane = 0; lane < LINK_LANES && n->wrong == NULL; lane++)
        if (n->caller.sent[lane] != n->answerer.got[lane] ||
            n->answerer.sent[lane] != n->caller.got[lane])
            n->wrong = "frames are missing in the end";
}

static const char *run(struct net *n, uint64_t seed)
{
    memset(n, 0, sizeof *n);
    rng_init(&n->rng, seed);
    link_flow_init(&n->caller.flow, true);
    link_flow_init(&n->answerer.flow, true);
    for (int i = 0; i < STEPS && n->wrong == NULL; i++)
        step(n);
    if (n->wrong == NULL)
        heal(n);
    link_flow_fini(&n->caller.flow);
    link_flow_fini(&n->answerer.flow);
    return n->wrong;
}

Test(sim_link, each_frame_comes_once_and_in_order, .timeout = 3600)
{
    struct net *n = mem_zalloc(sizeof *n);
    const char *more = getenv("SIM_LINK_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        const char *wrong = run(n, seed);
        cr_assert(wrong == NULL, "seed %" PRIu64 ": %s", seed, wrong);
    }
    mem_free(n);
}

Test(sim_link, every_rule_that_is_broken_is_noticed, .timeout = 120)
{
    struct net *n = mem_zalloc(sizeof *n);
    for (unsigned m = 0; m < LINK_MUTATION_COUNT; m++) {
        mutation = (enum link_mutation)m;
        uint64_t seed = 0;
        const char *wrong;
        do
            wrong = run(n, ++seed);
        while (wrong == NULL && seed < MUTATION_SEEDS);
        cr_expect(wrong != NULL, "nobody notices code that %s", mutations[m]);
    }
    mem_free(n);
}
