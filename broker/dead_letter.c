#include "dead_letter.h"

#include "amqp/amqp_props.h"
#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/text.h"
#include "broker.h"
#include "io/clock.h"
#include "model/death.h"
#include "model/exchange.h"
#include "port.h"
#include "remote/remote.h"
#include "store/segs.h"

#define LETTERS_A_TURN    1024u
#define LOOK_BACK         64u       /* letters, for one that has a place only now */
#define DEATHS_WITH_ALARM 4u        /* without anybody's doing; see multiplies */
#define KEYS_MAX          64u       /* keys in header CC that are looked at */
#define KEY_BYTES_MAX     UINT8_MAX /* of a routing key; arguments and policies may say more */

struct dead_letter {
    struct message *message; /* NULL: its letter is on its way */
    struct hosted *from;     /* stays while it has letters */
    enum queue_death why;
    struct dead_from stood;
    uint64_t body_bytes;
    TAILQ_ENTRY(dead_letter) entry;
};

TAILQ_HEAD(dead_letter_list, dead_letter);

struct dead_letters {
    struct shard *shard;
    struct dead_letter_list waiting;
    struct dead_letter_list away; /* with the post */
    size_t away_count;
    struct dead_post *post;
    struct loop_task task;
    struct route_out route;
};

static void on_turn(void *arg);
static void on_done(void *arg, void *letter, bool ok);
static void on_go_on(void *arg);

struct dead_letters *dead_letters_new(struct shard *s)
{
    static const struct dead_post_ops ops = { on_done, on_go_on };
    struct dead_letters *dl = mem_zalloc(sizeof *dl);
    dl->shard = s;
    TAILQ_INIT(&dl->waiting);
    TAILQ_INIT(&dl->away);
    dl->post = dead_post_new(s, &ops, dl);
    loop_task_init(&dl->task, on_turn, dl);
    route_out_init(&dl->route);
    return dl;
}

static struct dead_letter *take_next(struct dead_letters *dl)
{
    struct dead_letter *l = TAILQ_FIRST(&dl->waiting);
    if (l != NULL)
        TAILQ_REMOVE(&dl->waiting, l, entry);
    return l;
}

static void free_letter(struct dead_letters *dl, struct dead_letter *l)
{
    if (l->message != NULL)
        shard_message_drop(dl->shard, &l->message);
    if (--l->from->letters == 0)
        hosted_on_last_letter(dl->shard);
    mem_free(l);
}

void dead_letters_free(struct dead_letters **letters)
{
    struct dead_letters *dl = *letters;
    *letters = NULL;
    struct dead_letter *l;
    dead_post_free(&dl->post);
    TAILQ_CONCAT(&dl->waiting, &dl->away, entry);
    while ((l = take_next(dl)) != NULL)
        free_letter(dl, l);
    loop_task_cancel(dl->shard->loop, &dl->task);
    route_out_fini(&dl->route);
    mem_free(dl);
}

/* From now on nobody is to be told that it is done with. */
static void stays(struct dead_letter *l)
{
    l->stood.place = (struct place){ 0, 0 };
    l->stood.is_led = false;
}

/* Its letter is written wherever it went, or goes nowhere. */
static void settle(struct dead_letters *dl, struct dead_letter *l)
{
    if (place_is_none(l->stood.place) && !l->stood.is_led)
        return;
    ledger_settle(dl->shard->ledger, l->from, l->stood.qseq, l->stood.qseq);
    if (!place_is_none(l->stood.place))
        ledger_leave_one(dl->shard->ledger, l->stood.place, l->body_bytes);
    stays(l);
}

static void settle_of(struct dead_letters *dl, const struct dead_letter_list *list,
                      const struct hosted *h)
{
    struct dead_letter *l;
    TAILQ_FOREACH (l, list, entry)
        if (l->from == h)
            settle(dl, l);
}

void dead_letters_settle(struct dead_letters *dl, const struct hosted *h)
{
    settle_of(dl, &dl->waiting, h);
    settle_of(dl, &dl->away, h);
}

static void done(struct dead_letters *dl, struct dead_letter *l)
{
    settle(dl, l);
    free_letter(dl, l);
}

static void on_done(void *arg, void *letter, bool ok)
{
    struct dead_letters *dl = arg;
    struct dead_letter *l = letter;
    if (!ok)
        stays(l);
    TAILQ_REMOVE(&dl->away, l, entry);
    dl->away_count--;
    done(dl, l);
}

void dead_letters_on_published(struct dead_letters *dl, uint64_t number, enum dead_fate fate)
{
    dead_post_on_published(dl->post, number, fate);
}

static bool place_one(const struct dead_letter_list *list, const struct hosted *h,
                      const struct dead_from *stood)
{
    unsigned n = 0;
    struct dead_letter *l;
    TAILQ_FOREACH_REVERSE(l, list, dead_letter_list, entry)
    {
        if (l->from == h && l->stood.qseq == stood->qseq && place_is_none(l->stood.place)) {
            l->stood.place = stood->place;
            return true;
        }
        if (++n == LOOK_BACK)
            break;
    }
    return false;
}

bool dead_letters_placed(struct dead_letters *dl, const struct hosted *h,
                         const struct dead_from *stood)
{
    return place_one(&dl->waiting, h, stood) || place_one(&dl->away, h, stood);
}

static void list_one(const struct dead_letter *l, const struct hosted *h, uint64_t *out,
                     size_t *count)
{
    if (l->from == h && !place_is_none(l->stood.place))
        out[(*count)++] = l->stood.qseq;
}

bool dead_letters_list(const struct dead_letters *dl, const struct hosted *h, uint64_t *out,
                       size_t max, size_t *count)
{
    size_t looked = dl->away_count;
    const struct dead_letter *l;
    *count = 0;
    if (looked > max)
        return false;
    TAILQ_FOREACH (l, &dl->waiting, entry) {
        if (++looked > max)
            return false;
        list_one(l, h, out, count);
    }
    TAILQ_FOREACH (l, &dl->away, entry)
        list_one(l, h, out, count);
    return true;
}

/* ---- publishing -------------------------------------------------------------------------------
 */

static const char *reason(enum queue_death why)
{
    switch (why) {
    case QUEUE_REJECTED:
        return "rejected";
    case QUEUE_EXPIRED:
        return "expired";
    case QUEUE_MAXLEN:
        return "maxlen";
    case QUEUE_DELIVERY_LIMIT:
        return "delivery_limit";
    }
    UNREACHABLE("death");
}

/* Once for each queue: it would be told of every message. */
static void tell_of_cycle(struct hosted *h, const struct meta_queue *to)
{
    if (h->cycle_told)
        return;
    h->cycle_told = true;
    struct slice name = meta_queue_name(to);
    char id[32];
    struct text t = text_over(id, sizeof id);
    text_put(&t, "%llu", (unsigned long long)h->queue.qid);
    log_warn("dead_letter", id,
             "message dropped, dead-letter queues form a cycle; not reported again; "
             "from='%.*s' to='%.*s'",
             SLICE_ARG(h->name), SLICE_ARG(name));
}

/* Queues that dead-letter to each other through a fanout make of one message as many as there are
 * ways through them: a dozen of full ones, hundreds of millions. No publisher can be stopped for
 * that, so when memory is short those that have come far go no further. */
static bool multiplies(const struct dead_letters *dl, const struct message *m, enum queue_death why)
{
    return why != QUEUE_REJECTED && dl->route.count > 1 && broker_has_alarm(dl->shard->broker) &&
           death_count(m) >= DEATHS_WITH_ALARM;
}

static void tell_of_many(const struct dead_letters *dl, struct hosted *h)
{
    if (h->cycle_told)
        return;
    h->cycle_told = true;
    char id[32];
    struct text t = text_over(id, sizeof id);
    text_put(&t, "%llu", (unsigned long long)h->queue.qid);
    log_warn("dead_letter", id,
             "message dropped, dead-letter queues multiply it and memory is short; not reported "
             "again; from='%.*s' to=%zu queues",
             SLICE_ARG(h->name), dl->route.count);
}

static size_t read_keys(struct slice headers, struct slice *keys)
{
    struct amqp_field f;
    size_t n = 0;
    if (!amqp_table_find(headers, "CC", &f) || f.type != AMQP_FIELD_ARRAY)
        return 0;
    struct amqp_table_iter it = amqp_array_iter_init(f.bytes);
    while (n < KEYS_MAX && amqp_table_iter_next(&it, &f)) {
        if (f.type == AMQP_FIELD_LONGSTR)
            keys[n++] = f.bytes;
    }
    return n;
}

static bool route(struct dead_letters *dl, const struct meta_version *v, uint64_t vhost_id,
                  const struct message *m)
{
    struct slice keys[KEYS_MAX];
    struct amqp_props_brief props;
    struct meta_refusal why;
    if (!amqp_props_peek(message_props(m), &props))
        return false;
    struct route_in in = { .vhost_id = vhost_id,
                           .exchange = message_exchange(m),
                           .key = message_key(m),
                           .more_keys = keys,
                           .more_count = read_keys(props.headers, keys),
                           .headers = props.headers,
                           .props = message_props(m),
                           .to_internal = true };
    return exchange_route(v, &in, &dl->route, &why);
}

void dead_letters_count(struct hosted *h, enum shard_after_death after, enum queue_death why)
{
    atomic_uint_fast64_t *n = &h->shard->dead[h->settings.is_quorum][after][why];
    /* One writer: no locked operation. */
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Those that it has been to are left out. */
static size_t leave_out_cycles(struct dead_letters *dl, struct hosted *h, const struct message *out,
                               enum queue_death why)
{
    size_t count = 0;
    for (size_t i = 0; i < dl->route.count; i++) {
        const struct meta_queue *to = dl->route.queues[i];
        if (why != QUEUE_REJECTED && death_is_cycle(out, meta_queue_name(to)))
            tell_of_cycle(h, to);
        else
            dl->route.queues[count++] = to;
    }
    return count;
}

/* True: on_done follows. */
static bool publish(struct dead_letters *dl, struct dead_letter *l)
{
    struct shard *s = dl->shard;
    struct hosted *h = l->from;
    const struct message *m = l->message;
    enum queue_death why = l->why;
    const struct meta_version *v = broker_meta(s->broker);
    const struct queue_settings *set = &h->settings;
    if (!set->has_dlx || set->dlx.len > META_NAME_MAX) { /* no exchange has such a name */
        dead_letters_count(h, SHARD_DEAD_DROPPED, why);
        return false;
    }
    struct message *out = death_message(
        m, &(struct death){ .reason = reason(why),
                            .queue = h->name,
                            .time_s = clock_wall_ms() / 1000,
                            .to_exchange = set->dlx,
                            .to_key = set->has_dlx_key ? slice_head(set->dlx_key, KEY_BYTES_MAX)
                                                       : message_key(m),
                            .keep_cc = !set->has_dlx_key });
    shard_message_made(s, out);
    bool is_there = route(dl, v, h->vhost_id, out);
    if (is_there && multiplies(dl, out, why)) {
        tell_of_many(dl, h);
        is_there = false;
    }
    dead_letters_count(h, is_there ? SHARD_DEAD_SENT_ON : SHARD_DEAD_DROPPED, why);
    size_t count = is_there ? leave_out_cycles(dl, h, out, why) : 0;
    if (count != 0)
        return dead_post_send(dl->post, &out, dl->route.queues, count,
                              !place_is_none(l->stood.place), l);
    shard_message_drop(s, &out);
    return false;
}

static void publish_letter(struct dead_letters *dl, struct dead_letter *l)
{
    bool is_away = publish(dl, l);
    if (MUTATION(LETTER_NOT_AWAITED))
        settle(dl, l);
    if (!is_away) {
        done(dl, l);
        return;
    }
    shard_message_drop(dl->shard, &l->message);
    TAILQ_INSERT_TAIL(&dl->away, l, entry);
    dl->away_count++;
}

/* Some that wait for other nodes have to go first. */
static bool must_wait(const struct dead_letters *dl)
{
    return UNLIKELY(remote_has_many_letters(dl->shard) || dead_post_is_behind(dl->post));
}

static bool publish_some(struct dead_letters *dl, unsigned most)
{
    struct dead_letter *l;
    for (unsigned n = 0; n < most; n++) {
        if (must_wait(dl) || (l = take_next(dl)) == NULL)
            return true; /* dead_letters_go_on, or dead_letters_add */
        publish_letter(dl, l);
    }
    return TAILQ_EMPTY(&dl->waiting);
}

static void on_turn(void *arg)
{
    struct dead_letters *dl = arg;
    if (!publish_some(dl, LETTERS_A_TURN))
        loop_again(dl->shard->loop, &dl->task);
}

void dead_letters_go_on(struct dead_letters *dl)
{
    if (!TAILQ_EMPTY(&dl->waiting))
        loop_again(dl->shard->loop, &dl->task);
}

static void on_go_on(void *arg)
{
    dead_letters_go_on(arg);
}

void dead_letters_add(struct dead_letters *dl, struct hosted *h, struct message **m,
                      enum queue_death why, const struct dead_from *stood)
{
    struct dead_letter *l = mem_alloc(sizeof *l);
    *l = (struct dead_letter){
        .message = *m, .from = h, .why = why, .stood = *stood, .body_bytes = (*m)->body_bytes
    };
    *m = NULL;
    h->letters++;
    TAILQ_INSERT_TAIL(&dl->waiting, l, entry);
    loop_at_turn_end(dl->shard->loop, &dl->task);
}
