#include "leg_map_inner.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "leg_settle.h"
#include "question.h"

#include <string.h>

/* ---- state ----------------------------------------------------------------------------------- */

struct leg_map *leg_map_new(unsigned pending, uint16_t prefetch)
{
    struct leg_map *m = mem_zalloc(sizeof *m);
    m->leg_count = 1;
    m->present = 1u << LEG_MAP_MAIN;
    m->pending = pending;
    m->prefetch = prefetch;
    leg_tags_init(&m->tags);
    leg_consumers_init(&m->consumers);
    return m;
}

void leg_map_free(struct leg_map **map)
{
    struct leg_map *m = *map;
    *map = NULL;
    if (m == NULL)
        return;
    leg_consumers_fini(&m->consumers);
    leg_tags_fini(&m->tags);
    mem_free(m);
}

bool leg_map_is_fixed(const struct leg_map *m)
{
    return m->is_fixed;
}

bool leg_map_is_split(const struct leg_map *m)
{
    return m->leg_count > 1;
}

unsigned leg_map_count(const struct leg_map *m)
{
    return m->leg_count;
}

/* ---- what the client says -------------------------------------------------------------------- */

static void pass(struct leg_map_said *out, unsigned to)
{
    out->verdict = LEG_MAP_PASS;
    out->to = to;
}

static void say(struct leg_map_said *out, unsigned to, const struct amqp_method *method)
{
    out->verdict = LEG_MAP_SAY;
    out->to = to;
    out->method = *method;
}

static void refuse(struct leg_map_said *out, enum amqp_reply_code code, const char *what,
                   uint64_t n)
{
    struct text t = text_over(out->text, sizeof out->text);
    out->verdict = LEG_MAP_REFUSE;
    out->code = code;
    text_put(&t, "%s %llu", what, (unsigned long long)n);
}

/* The question goes to these legs. */
static void ask(struct leg_map *m, uint32_t id, unsigned legs, bool quietly)
{
    CHECK(m->asked == 0 && m->leg_count > 1 && legs != 0);
    m->asked = id;
    m->asked_legs = legs;
    m->asked_quietly = quietly;
}

static void ask_all(struct leg_map *m, uint32_t id, struct leg_map_said *out)
{
    out->verdict = LEG_MAP_ALL;
    out->to = LEG_MAP_TO_ALL;
    ask(m, id, m->present, false);
}

static void add_settle(struct leg_map_said *out, const struct leg_settle *s, struct leg_tag of)
{
    struct leg_map_settle *to = &out->settle[out->settle_count++];
    to->leg = of.leg;
    to->method = leg_settle_method(s, of.tag);
}

/* All up to the client's `upto`: for each leg up to the last that the client means, since it may
 * not have seen what the leg has sent behind that. */
static void settle_many(struct leg_map *m, const struct leg_settle *s, uint64_t upto,
                        struct leg_map_said *out)
{
    uint64_t last[LEG_MAP_LEGS_MAX];
    leg_tags_settle_upto(&m->tags, upto, last);
    for (unsigned i = 0; i < m->leg_count; i++) {
        if (last[i] != 0)
            add_settle(out, s, (struct leg_tag){ i, last[i] });
    }
}

static void settle(struct leg_map *m, struct slice payload, struct leg_map_said *out)
{
    struct leg_settle s;
    if (!leg_settle_read(payload, &s)) {
        pass(out, LEG_MAP_MAIN);
        return;
    }
    bool all = s.multiple && s.tag == 0;
    out->verdict = LEG_MAP_SETTLE;
    if (!all && !leg_tags_has(&m->tags, s.tag))
        refuse(out, AMQP_PRECONDITION_FAILED, "unknown delivery tag", s.tag);
    else if (s.multiple)
        settle_many(m, &s, all ? m->tags.last : s.tag, out);
    else
        add_settle(out, &s, leg_tags_settle(&m->tags, s.tag));
}

/* With one leg the broker judges, and its numbers are the client's. */
static void follow_settlement(struct leg_map *m, struct slice payload)
{
    struct leg_settle s;
    uint64_t last[LEG_MAP_LEGS_MAX];
    if (!leg_settle_read(payload, &s))
        return;
    bool all = s.multiple && s.tag == 0;
    if (!all && !leg_tags_has(&m->tags, s.tag))
        return;
    if (s.multiple)
        leg_tags_settle_upto(&m->tags, all ? m->tags.last : s.tag, last);
    else
        (void)leg_tags_settle(&m->tags, s.tag);
}

/* Which leg a consume goes to. A tag that is taken goes to who has it, to be refused there. */
static void consume(struct leg_map *m, struct slice fields, unsigned wish, struct leg_map_said *out)
{
    struct amqp_method method = { .id = AMQP_BASIC_CONSUME };
    struct amqp_basic_consume *q = &method.basic_consume;
    if (amqp_basic_consume_decode(fields, q) != AMQP_DECODE_OK) {
        pass(out, LEG_MAP_MAIN);
        return;
    }
    const struct leg_consumer *same =
        q->consumer_tag.len != 0 ? leg_consumers_find(&m->consumers, q->consumer_tag) : NULL;
    unsigned to = same != NULL && same->leg != LEG_CONSUMERS_ASTRAY ? same->leg : wish;
    bool split = m->leg_count > 1;
    if (same != NULL && same->is_going) {
        out->verdict = LEG_MAP_WAIT;
        return;
    }
    if (m->consumers.count == LEG_MAP_CONSUMERS_MAX) {
        m->is_fixed = !split;
        pass(out, to);
        if (split)
            refuse(out, AMQP_RESOURCE_ERROR, "more consumers on a channel than",
                   LEG_MAP_CONSUMERS_MAX);
        return;
    }
    bool blind = q->nowait && q->consumer_tag.len == 0; /* its name would never be known */
    if (same == NULL)
        leg_consumers_add(&m->consumers, to, q, m->prefetch)->slot =
            (uint16_t)leg_tags_take_slot(&m->tags);
    pass(out, to);
    if (!split) {
        m->is_fixed |= blind;
        m->pending += !q->nowait;
        return;
    }
    if (blind) {
        q->nowait = false;
        say(out, to, &method);
    }
    if (!q->nowait)
        ask(m, AMQP_BASIC_CONSUME, 1u << to, blind);
}

/* One without an answer does not tell when the last delivery has come, which matters while there
 * are consumers with acks and without. */
static void cancel(struct leg_map *m, struct slice fields, struct leg_map_said *out)
{
    struct amqp_method method = { .id = AMQP_BASIC_CANCEL };
    struct amqp_basic_cancel *q = &method.basic_cancel;
    if (amqp_basic_cancel_decode(fields, q) != AMQP_DECODE_OK) {
        pass(out, LEG_MAP_MAIN);
        return;
    }
    struct leg_consumer *c = leg_consumers_find(&m->consumers, q->consumer_tag);
    bool quietly = q->nowait;
    if (c != NULL && c->leg == LEG_CONSUMERS_ASTRAY) {
        leg_map_drop_consumer(m, c);
        out->verdict = quietly ? LEG_MAP_NOTHING : LEG_MAP_CANCELLED;
        out->method = method;
        return;
    }
    unsigned to = c != NULL ? c->leg : LEG_MAP_MAIN;
    if (leg_map_is_taking_off(m, to)) { /* whose answers must not be taken for each other */
        out->verdict = LEG_MAP_WAIT;
        return;
    }
    pass(out, to);
    if (m->leg_count == 1) {
        m->pending += !quietly;
        if (quietly) {
            leg_map_drop_consumer(m, c);
            m->is_fixed |= m->consumers.had_ack && m->consumers.had_no_ack;
        }
        return;
    }
    if (quietly) {
        q->nowait = false;
        say(out, to, &method);
    }
    ask(m, AMQP_BASIC_CANCEL, 1u << to, quietly);
}

static void get(struct leg_map *m, struct slice fields, unsigned wish, struct leg_map_said *out)
{
    struct amqp_basic_get q;
    pass(out, LEG_MAP_MAIN);
    if (amqp_basic_get_decode(fields, &q) != AMQP_DECODE_OK)
        return;
    if (m->gets_count == GETS_MAX) { /* with one leg: such a hurry is not followed */
        m->is_fixed = true;
        return;
    }
    m->gets |= (uint64_t)!q.no_ack << m->gets_count++;
    if (m->leg_count == 1) {
        m->pending++;
        return;
    }
    pass(out, wish);
    ask(m, AMQP_BASIC_GET, 1u << wish, false);
}

static unsigned present_count(const struct leg_map *m)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++)
        count += leg_map_is_present(m, i);
    return count;
}

static void qos(struct leg_map *m, struct slice fields, struct leg_map_said *out)
{
    struct amqp_method method = { .id = AMQP_BASIC_QOS };
    struct amqp_basic_qos *q = &method.basic_qos;
    bool split = m->leg_count > 1;
    if (amqp_basic_qos_decode(fields, q) != AMQP_DECODE_OK) {
        pass(out, LEG_MAP_MAIN);
        return;
    }
    bool limits_all = q->global && q->prefetch_count != 0;
    if (!q->global)
        m->prefetch = q->prefetch_count;
    m->is_limited = limits_all; /* what is said for consumers lifts it (see the broker's) */
    if (!split) {
        pass(out, LEG_MAP_MAIN);
        m->pending++;
        return;
    }
    ask_all(m, AMQP_BASIC_QOS, out);
    if (!limits_all)
        return;
    unsigned share = q->prefetch_count / present_count(m);
    q->prefetch_count = (uint16_t)(share != 0 ? share : 1);
    say(out, LEG_MAP_TO_ALL, &method);
}

/* Brokers take back what is outstanding, with all that they deliver before they say so. */
static void recover(struct leg_map *m)
{
    leg_tags_forget(&m->tags);
    for (unsigned i = 0; i < m->leg_count; i++)
        m->legs[i].recovers++;
}

static void recover_all(struct leg_map *m, uint32_t id, struct slice fields,
                        struct leg_map_said *out)
{
    struct amqp_basic_recover q;
    bool async = id == AMQP_BASIC_RECOVER_ASYNC;
    bool split = m->leg_count > 1;
    pass(out, LEG_MAP_MAIN);
    struct wire w = wire_over(fields); /* both have the one bit */
    amqp_basic_recover_read(&w, &q);
    if (w.ran_out)
        return;
    if (!split) {
        m->is_fixed |= async; /* nobody says which deliveries came before it */
        m->pending += !async;
        recover(m);
        return;
    }
    recover(m);
    ask_all(m, AMQP_BASIC_RECOVER, out);
    if (async) {
        struct amqp_method method = { .id = AMQP_BASIC_RECOVER };
        method.basic_recover.requeue = q.requeue;
        say(out, LEG_MAP_TO_ALL, &method);
        m->asked_quietly = true;
    }
}

static void credit(struct leg_map *m, struct slice fields, struct leg_map_said *out)
{
    struct wire w = wire_over(fields);
    struct amqp_basic_credit q;
    amqp_basic_credit_read(&w, &q);
    const struct leg_consumer *c =
        w.ran_out ? NULL : leg_consumers_find(&m->consumers, q.consumer_tag);
    unsigned to = c != NULL && c->leg != LEG_CONSUMERS_ASTRAY ? c->leg : LEG_MAP_MAIN;
    pass(out, to);
    if (m->leg_count == 1)
        m->pending++;
    else
        ask(m, AMQP_BASIC_CREDIT, 1u << to, false);
}

/* What is said to all, or to the main leg. */
static void other(struct leg_map *m, uint32_t id, struct slice fields, struct leg_map_said *out)
{
    bool split = m->leg_count > 1;
    bool to_all = id == AMQP_CHANNEL_FLOW || id == AMQP_TX_SELECT || id == AMQP_TX_COMMIT ||
                  id == AMQP_TX_ROLLBACK;
    if (id == AMQP_TX_SELECT) {
        m->has_tx = true;
        m->is_fixed |= !split;
        m->tags.in_tx = true;
    }
    if (id == AMQP_TX_COMMIT ||
        id == AMQP_TX_ROLLBACK) /* each broker does it before what is next */
        leg_tags_end_tx(&m->tags, id == AMQP_TX_COMMIT);
    pass(out, LEG_MAP_MAIN);
    if (!question_waits(id, fields))
        return;
    if (!split)
        m->pending++;
    else if (to_all)
        ask_all(m, id, out);
    else
        ask(m, id, 1u << LEG_MAP_MAIN, false);
}

/* Some that wait for no answer are made to. */
static bool must_wait(const struct leg_map *m, uint32_t id, struct slice fields)
{
    return m->asked != 0 && (question_waits(id, fields) || id == AMQP_BASIC_CONSUME ||
                             id == AMQP_BASIC_CANCEL || id == AMQP_BASIC_RECOVER_ASYNC);
}

void leg_map_client(struct leg_map *m, struct slice payload, unsigned wish,
                    struct leg_map_said *out)
{
    CHECK(wish < m->leg_count && leg_map_is_present(m, wish));
    uint32_t id = amqp_method_peek(payload);
    struct slice fields = slice_from(payload, 4);
    out->settle_count = 0;
    if (leg_settle_is(id)) {
        if (m->leg_count > 1) {
            settle(m, payload, out);
            return;
        }
        follow_settlement(m, payload);
        pass(out, LEG_MAP_MAIN);
        return;
    }
    if (must_wait(m, id, fields)) {
        out->verdict = LEG_MAP_WAIT;
        return;
    }
    switch (id) {
    case AMQP_BASIC_CONSUME:
        consume(m, fields, wish, out);
        return;
    case AMQP_BASIC_CANCEL:
        cancel(m, fields, out);
        return;
    case AMQP_BASIC_GET:
        get(m, fields, wish, out);
        return;
    case AMQP_BASIC_QOS:
        qos(m, fields, out);
        return;
    case AMQP_BASIC_RECOVER:
    case AMQP_BASIC_RECOVER_ASYNC:
        recover_all(m, id, fields, out);
        return;
    case AMQP_BASIC_CREDIT:
        credit(m, fields, out);
        return;
    default:
        other(m, id, fields, out);
        return;
    }
}

void leg_map_follow(struct leg_map *m, struct slice payload)
{
    CHECK(m->leg_count == 1);
    uint32_t id = amqp_method_peek(payload);
    if (leg_settle_is(id)) {
        follow_settlement(m, payload);
        return;
    }
    struct leg_map_said said;
    leg_map_client(m, payload, LEG_MAP_MAIN, &said);
}

/* ---- what a broker says ---------------------------------------------------------------------- */

static enum leg_map_heard number(struct leg_map *m, unsigned leg, unsigned slot, uint64_t leg_tag,
                                 bool outstanding, uint64_t *tag)
{
    size_t kept_max = m->leg_count == 1 ? LEG_MAP_KEPT_MAX : LEG_MAP_SPLIT_MAX;
    bool is_kept = outstanding && m->legs[leg].recovers == 0;
    if (!leg_tags_push(&m->tags, leg, slot, leg_tag, is_kept, kept_max)) {
        m->is_fixed = m->leg_count == 1;
        return LEG_MAP_BURST;
    }
    *tag = m->tags.last;
    return *tag == leg_tag ? LEG_MAP_HEAR : LEG_MAP_NUMBER;
}

static enum leg_map_heard deliver(struct leg_map *m, unsigned leg, struct slice payload,
                                  uint64_t *tag, size_t *tag_at)
{
    struct wire w = wire_over(slice_from(payload, 4));
    struct slice consumer = wire_shortstr(&w);
    uint64_t leg_tag = wire_u64(&w);
    if (w.ran_out)
        return LEG_MAP_HEAR; /* broken: the client is to judge it */
    *tag_at = 4 + 1 + consumer.len;
    if (!m->consumers.had_ack)
        return number(m, leg, 0, leg_tag, false, tag);
    const struct leg_consumer *c = leg_consumers_seek(&m->consumers, consumer);
    bool with_ack = c == NULL || !c->no_ack; /* of a name that is not known: to be sure, yes */
    return number(m, leg, c != NULL ? c->slot : 0, leg_tag, with_ack, tag);
}

static bool take_get(struct leg_map *m)
{
    bool with_ack = (m->gets & 1) != 0;
    m->gets >>= 1;
    m->gets_count -= m->gets_count != 0;
    return with_ack;
}

/* True: the client is to hear it. */
static bool answered(struct leg_map *m, unsigned leg, uint32_t id)
{
    if (m->pending != 0) {
        m->pending--;
        return true;
    }
    if (m->asked == 0 || (m->asked_legs >> leg & 1) == 0)
        return true;
    if (!amqp_method_answers((enum amqp_method_id)id, (enum amqp_method_id)m->asked))
        return true;
    m->asked_legs &= ~(1u << leg);
    if (m->asked_legs != 0)
        return false;
    m->asked = 0;
    return !m->asked_quietly;
}

static void note_consumer(struct leg_map *m, unsigned leg, uint32_t id, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct slice tag = wire_shortstr(&w); /* the first field of all three */
    if (w.ran_out)
        return;
    if (id == AMQP_BASIC_CONSUME_OK)
        leg_consumers_learn_name(&m->consumers, leg, tag);
    else
        leg_map_drop_consumer(m, leg_consumers_find(&m->consumers, tag));
}

/* Is it the answer to a consume that the client has said long ago, elsewhere? */
static bool is_told(struct leg_map *m, uint32_t id, struct slice fields)
{
    if (LIKELY(id != AMQP_BASIC_CONSUME_OK))
        return false;
    struct wire w = wire_over(fields);
    struct slice tag = wire_shortstr(&w);
    struct leg_consumer *c = w.ran_out ? NULL : leg_consumers_find(&m->consumers, tag);
    if (c == NULL || !c->is_told)
        return false;
    c->is_told = false;
    return true;
}

/* Or to a cancel that the client has not said? */
static bool is_taken_off(struct leg_map *m, unsigned leg, uint32_t id, struct slice fields)
{
    if (LIKELY(id != AMQP_BASIC_CANCEL_OK) || !leg_map_is_taking_off(m, leg))
        return false;
    struct wire w = wire_over(fields);
    struct slice tag = wire_shortstr(&w);
    leg_map_taken_off(m, leg, tag);
    return true;
}

enum leg_map_heard leg_map_broker(struct leg_map *m, unsigned leg, struct slice payload,
                                  uint64_t *tag, size_t *tag_at)
{
    CHECK(leg < m->leg_count && leg_map_is_present(m, leg));
    uint32_t id = amqp_method_peek(payload);
    struct slice fields = slice_from(payload, 4);
    if (id == AMQP_BASIC_DELIVER)
        return deliver(m, leg, payload, tag, tag_at);
    if (is_told(m, id, fields) || is_taken_off(m, leg, id, fields))
        return LEG_MAP_SILENCE;
    if (id == AMQP_BASIC_CONSUME_OK || id == AMQP_BASIC_CANCEL_OK || id == AMQP_BASIC_CANCEL)
        note_consumer(m, leg, id, fields);
    if (id == AMQP_BASIC_RECOVER_OK && m->legs[leg].recovers != 0)
        m->legs[leg].recovers--;
    bool is_get = id == AMQP_BASIC_GET_OK || id == AMQP_BASIC_GET_EMPTY;
    bool with_ack = is_get && take_get(m);
    bool heard = !question_is_answer(id) || answered(m, leg, id);
    if (id != AMQP_BASIC_GET_OK)
        return heard ? LEG_MAP_HEAR : LEG_MAP_SILENCE;
    struct wire w = wire_over(fields);
    uint64_t leg_tag = wire_u64(&w);
    *tag_at = 4;
    return w.ran_out ? LEG_MAP_HEAR : number(m, leg, 0, leg_tag, with_ack, tag);
}

/* ---- for tests ------------------------------------------------------------------------------- */

void leg_map_check(const struct leg_map *m)
{
    leg_tags_check(&m->tags);
    leg_consumers_check(&m->consumers);
    for (unsigned i = 0; i < LEG_MAP_LEGS_MAX; i++) {
        CHECK(leg_map_is_present(m, i) || (m->consumers.at[i] == 0 && m->tags.outstanding[i] == 0));
        CHECK(i < m->leg_count || !leg_map_is_present(m, i));
    }
    CHECK((m->asked == 0) == (m->asked_legs == 0) && (m->asked_legs & ~m->present) == 0);
}
