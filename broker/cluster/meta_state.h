/*
 * meta_state: what the files of the metadata state machine share. Not for others: see meta.h.
 *
 * All changes are made to the draft, a version that nobody reads yet. What the draft no longer
 * needs is collected and handed to retire when the next version has been published, because until
 * then readers may still come to it.
 */
#ifndef WARREN_META_STATE_H
#define WARREN_META_STATE_H

#include "base/pattern.h"
#include "base/shown.h"
#include "base/text.h"
#include "cluster/meta.h"
#include "cluster/meta_entry.h"
#include "model/topic.h"

struct meta_kinds {
    struct pmap_kind vhosts_by_name;
    struct pmap_kind vhosts;
    struct pmap_kind exchanges;    /* of a vhost, by name */
    struct pmap_kind queue_names;  /* of a vhost, by name */
    struct pmap_kind queues;       /* by qid */
    struct pmap_kind bindings;     /* by all that makes one, see meta_binding_id */
    struct pmap_kind by_key;       /* bindings and sets, by routing key */
    struct pmap_kind destinations; /* bindings and sets, by destination */
    struct pmap_kind owners;
    struct pmap_kind homes;
    struct pmap_kind placed;            /* by qid */
    struct pmap_kind cohorts;           /* by number */
    struct pmap_kind records;           /* by struct meta_record */
    struct pmap_kind users;             /* by name */
    struct pmap_kind permissions;       /* of a vhost, by user */
    struct pmap_kind topic_permissions; /* of a vhost, by struct meta_pair */
    struct pmap_kind policies;          /* of a vhost, by name */
    struct pmap_kind parameters;        /* by struct meta_pair */
    struct topic_kinds topic;
};

/* The exclusive queues of a connection. */
struct meta_owner {
    uint64_t tag;
    uint64_t conn;
    struct pmap queues; /* by qid */
};

/* The queues that live on a node: those that have no record of their own, and how many of the
 * others there are. */
struct meta_home {
    uint64_t tag;
    struct pmap lasting; /* the durable ones, by qid */
    struct pmap passing; /* the others */
    uint64_t masters;    /* placed queues that it is the master of... */
    uint64_t mirrors;    /* ...or a mirror of... */
    uint64_t in_sync;    /* ...that is in sync */
    uint16_t node;
};

/* By rising node; replaced when one of them changes. */
struct meta_origins {
    uint64_t tag;
    size_t count;
    struct meta_origin list[];
};

struct meta {
    struct shown current;
    const struct meta_version *published; /* what `current` shows */
    struct meta_version draft;
    struct pmap_edit edit;
    struct meta_kinds kinds;
    uint64_t exchange_count;
    uint64_t binding_count;
    uint64_t policy_count;
    uint64_t pattern_count; /* compiled ones that live */
    bool is_changed;        /* since the last publication */
    bool is_another;        /* the same, of the node that we are: no change of the draft */
    bool routes_changed;    /* the same, of what decides where messages go */
    bool queues_changed;    /* the same, of the queues at the end of such a way alone */
    bool rights_changed;    /* the same, of what users may do */
    bool replays;           /* exchanges whose last binding goes stay */
    uint32_t shard_count;
    uint16_t self;
    uint16_t origin; /* of the command that is being applied; 0: nobody's */
    void (*retire)(void *arg, void *ptr, void (*free_fn)(void *ptr));
    void (*retire_garbage)(void *arg, struct meta_garbage *garbage);
    void (*retire_state)(void *arg, struct meta *state);
    void *retire_arg;
    struct meta_garbage *garbage; /* what retire gets next, or NULL */
    struct meta *replaced;        /* ... and retire_state, or NULL */
};

/* ---- keys ---- */

/* What is known by two names together. */
struct meta_pair {
    struct slice first;
    struct slice second;
};

uint64_t meta_hash_pair(const struct pmap_kind *kind, const struct meta_pair *pair);

struct meta_binding_id {
    uint64_t source; /* xid */
    uint64_t destination;
    struct slice key;
    struct slice args; /* in the order of their names */
};

uint64_t meta_hash_name(const struct pmap_kind *kind, struct slice name);
uint64_t meta_hash_id(const struct pmap_kind *kind, uint64_t id);
uint64_t meta_hash_binding(const struct pmap_kind *kind, const struct meta_binding_id *id);
struct meta_binding_id meta_binding_id(const struct meta_binding *b);
void meta_kinds_init(struct meta_kinds *k, uint64_t seed);

static inline uint64_t meta_binding_destination(const struct meta_binding *b)
{
    return b->to_exchange ? b->exchange->xid : b->queue->qid;
}

/* ---- copies for writing: of the draft, good until the next publication ---- */

struct meta_vhost *meta_vhost_own(struct meta *m, uint64_t vhost_id);
struct meta_exchange *meta_exchange_own(struct meta *m, const struct meta_exchange_def *def);

/* ---- commands: what would come of one, and, once that is known to be a change, the change: it
 * cannot fail ---- */

#define META_COMMAND(thing)                                                                        \
    enum meta_verdict meta_##thing##_check(const struct meta_version *v,                           \
                                           const struct meta_vhost *vh,                            \
                                           const struct meta_cmd *cmd, struct meta_result *out);   \
    void meta_##thing##_change(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out)

META_COMMAND(exchange);
META_COMMAND(queue);
META_COMMAND(binding);
META_COMMAND(vhost_limits);
META_COMMAND(user);
META_COMMAND(permission);
META_COMMAND(policy);
META_COMMAND(parameter);
META_COMMAND(node);
META_COMMAND(cluster);
META_COMMAND(placing); /* of single queues */
META_COMMAND(fate);    /* of all that a node has to do with */
META_COMMAND(kept);    /* refused, but by meta_keep */

/* For meta_replay: what a snapshot says. DONE, or REFUSED if it cannot be. */
enum meta_verdict meta_keep(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out);

enum meta_verdict meta_vhost_check(const struct meta_version *v, const struct meta_vhost *vh,
                                   const struct meta_cmd *cmd, struct meta_result *out);
void meta_vhost_put(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out);
void meta_vhost_delete(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out);
void meta_owner_gone(struct meta *m, const struct meta_cmd *cmd, struct meta_result *out);

/* A command of m->origin, in the entry m->index. */
enum meta_verdict meta_carry_out(struct meta *m, const struct meta_cmd *cmd,
                                 struct meta_result *out);

/* Has no vhost and no queue this number? */
bool meta_id_is_free(const struct meta *m, uint64_t id);

/* ---- parts of changes ---- */

/* As if it had never been used. */
void meta_result_clear(struct meta_result *r);

void meta_tell(struct meta_result *r, const struct meta_effect *effect);
/* CREATED or DELETED, by the version that has it. */
void meta_tell_queue(struct meta_result *r, enum meta_effect_kind kind,
                     const struct meta_version *v, uint16_t self, const struct meta_queue *q);
void meta_exchange_add(struct meta *m, const struct meta_cmd *cmd);
void meta_exchange_delete(struct meta *m, const struct meta_exchange *x);
void meta_queue_delete(struct meta *m, const struct meta_queue *q, struct meta_result *out);

/* A queue as `head` says it, with a copy of these words. Nothing of its name or number is there. */
const struct meta_queue *meta_queue_put(struct meta *m, const struct meta_queue *head,
                                        struct slice name, struct slice args);

/* All of a set of queues by qid, the oldest first. `queues` is a copy of the map. */
void meta_queues_delete(struct meta *m, const struct pmap *queues, struct meta_result *out);

/* Exchanges that are not durable, with all their bindings. */
void meta_transient_exchanges_delete(struct meta *m);

/* ---- nodes ---- */

/* A queue has come to its node, or leaves it. */
void meta_home_add(struct meta *m, const struct meta_queue *q);
void meta_home_remove(struct meta *m, const struct meta_queue *q);

/* The same when it comes from a cohort, or goes into one. */
void meta_home_enter(struct meta *m, const struct meta_queue *q);
void meta_home_leave(struct meta *m, const struct meta_queue *q);

/* So many placed queues more, or fewer. */
struct meta_tally {
    int64_t masters, mirrors, in_sync;
};
void meta_home_tally(struct meta *m, uint16_t node, const struct meta_tally *more);
const struct meta_home *meta_home_find(const struct meta_version *v, uint16_t node);
void meta_homes_drop(struct meta *m);

/* All of these leave their nodes; what is counted of each is the caller's affair. */
void meta_homes_prune(struct meta *m, bool (*goes)(void *arg, const void *queue), void *arg);

/* Can a queue be declared so: is there a node that it may live on? 506 if there is none. */
MUST_CHECK bool meta_place_check(const struct meta_version *v, const struct meta_vhost *vh,
                                 const struct meta_cmd *cmd, struct meta_refusal *why);

/* Where a queue comes to live that is declared now: it has all but a node. */
uint16_t meta_place(const struct meta *m, const struct meta_queue *q);

/* A queue that was just declared gets its first mirrors: all in sync, since it is empty. */
void meta_mirrors_begin(struct meta *m, const struct meta_queue *q);

/* ---- what befalls nodes: for what has a record of its own ---- */

enum meta_fate_kind {
    META_FATE_DOWN,
    META_FATE_STOPPED,
    META_FATE_ANEW,    /* another process, as `inc` */
    META_FATE_LOST,    /* the same, and it has lost data */
    META_FATE_DAMAGED, /* the process `inc` finds that data are lost */
    META_FATE_REMOVED,
    META_FATE_LAGS,   /* behind `master` */
    META_FATE_UNWELL, /* it gives way to whoever is up */
    META_FATE_THAW,   /* of no node */
};

struct meta_fate {
    enum meta_fate_kind kind;
    uint16_t node;
    uint16_t master;
    uint32_t inc;
};

/* Before the node itself is changed. */
void meta_fate(struct meta *m, const struct meta_fate *f, struct meta_result *out);

/* Is it a node that queues live on, and is it up? */
bool meta_node_is_host(const struct meta_node *n);

/* A copy of it, with its words wherever they are, in the place of the node of its number. */
void meta_node_put(struct meta *m, const struct meta_node *n);
void meta_nodes_drop(struct meta *m);
void meta_origin_set(struct meta *m, const struct meta_origin *o); /* it may be new */
void meta_origin_remove(struct meta *m, uint16_t node);
void meta_origins_drop(struct meta *m);

/* The alternate exchange of an exchange: by its argument, else by the policy that counts. */
struct slice meta_policy_alternate(const struct meta_vhost *vh, const struct meta_exchange_def *d);

/* The permissions of a user who goes, in all vhosts. */
void meta_permissions_delete(struct meta *m, struct slice user);

/* ---- things that consist of words and patterns ---- */

/* Copy a word to *at, move *at behind it, and return the copy. */
struct slice meta_put_word(uint8_t **at, struct slice word);

/* Compile a pattern that is known to be good. Where names are judged by permissions, an empty
 * pattern matches none; elsewhere it matches all. */
void meta_pattern_make(struct meta *m, struct meta_pattern *p, struct slice text,
                       bool is_permission);
void meta_pattern_drop(struct meta *m, const struct meta_pattern *p, uint64_t tag);

/* Refuses with RabbitMQ's words what is no pattern. */
MUST_CHECK bool meta_pattern_check(struct slice text, struct meta_refusal *why);

/* What is wrong with one, as Erlang's {Text,Position} is printed from this column on. */
void meta_pattern_put_error(struct text *t, const struct pattern_error *err, size_t column);

/* Like an edit's retire function: `ptr` is kept until the next publication. */
void meta_collect(void *meta, void *ptr, void (*free_fn)(void *ptr));

/* Take away all bindings that an exchange is the source of. */
void meta_unbind_source(struct meta *m, struct meta_exchange *x);

/* Take away all bindings to a queue or an exchange that goes, and with them the auto-delete
 * exchanges that have none left, and so on. */
void meta_unbind_destination(struct meta *m, uint64_t id);

/* ---- digests: of one thing, whatever else there is ---- */

uint64_t meta_digest_vhost(const struct meta_vhost *vh); /* its properties, not what it holds */
uint64_t meta_digest_exchange(const struct meta_exchange_def *d);
uint64_t meta_digest_queue(const struct meta_queue *q);
uint64_t meta_digest_placed(const struct meta_version *v, const struct meta_queue *q); /* or 0 */
uint64_t meta_digest_binding(const struct meta_binding *b);
uint64_t meta_digest_user(const struct meta_user *u);
uint64_t meta_digest_permission(const struct meta_permission *p);
uint64_t meta_digest_topic_permission(const struct meta_topic_permission *p);
uint64_t meta_digest_policy(const struct meta_policy *p);
uint64_t meta_digest_parameter(const struct meta_parameter *p);

/* ---- the end ---- */

/* Let go of everything, without keeping anything in order on the way. */
void meta_drop_all(struct meta *m);

/* One thing, that nothing refers to any more. */
void meta_vhost_drop(struct meta *m, const struct meta_vhost *vh);
void meta_user_drop(struct meta *m, const struct meta_user *u);
void meta_permission_drop(struct meta *m, const struct meta_permission *p);
void meta_topic_permission_drop(struct meta *m, const struct meta_topic_permission *p);
void meta_policy_drop(struct meta *m, const struct meta_policy *p);
void meta_parameter_drop(struct meta *m, const struct meta_parameter *p);
void meta_policy_order_drop(struct meta *m, const struct meta_policy_order *o);

/* All that a vhost holds of these, and its words. The vhost itself is the caller's. */
void meta_vhost_contents_drop(struct meta *m, struct meta_vhost *vh);
void meta_exchange_drop(struct meta *m, const struct meta_exchange *x);
void meta_queue_drop(struct meta *m, const struct meta_queue *q);
void meta_owner_drop(struct meta *m, const struct meta_owner *o);

/* All bindings of a source, without looking after their destinations; and what then remains there.
 */
void meta_bindings_drop(struct meta *m, struct meta_exchange *x);
void meta_destinations_drop(struct meta *m);

/* The set of the bindings to one destination, without them. */
void meta_destination_drop(struct meta *m, uint64_t id);

/* All queues of a vhost that goes, the oldest first, and their bindings' sets; not the bindings
 * themselves. `queues` is left empty. */
void meta_vhost_queues_drop(struct meta *m, struct pmap *queues, struct meta_result *out);

/* ---- checks ---- */

/* The arguments of a queue that is to be made: of known types and in their bounds. */
MUST_CHECK bool meta_queue_args_check(const struct meta_vhost *vh, const struct meta_cmd *cmd,
                                      struct meta_refusal *why);

/* Those of a queue that is there against those of a declaration. */
MUST_CHECK bool meta_queue_args_same(const struct meta_vhost *vh, const struct meta_queue *q,
                                     struct slice args, struct meta_refusal *why);

/* ---- refusals ---- */

/* Begin a refusal: the text is written to what is returned. */
struct text meta_refuse(struct meta_refusal *why, unsigned code);

/* "queue 'q' in vhost '/'" */
void meta_put_thing(struct text *t, const char *kind, struct slice name,
                    const struct meta_vhost *vh);

/* Octets as an Erlang term has them: "text" with what is not plain escaped, or 1,2,3. */
void meta_put_quoted(struct text *t, struct slice s);

/* 406 "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is
 * 'false'". True if they are the same. */
MUST_CHECK bool meta_same_bool(const char *arg, const char *kind, struct slice name,
                               const struct meta_vhost *vh, bool received, bool current,
                               struct meta_refusal *why);
MUST_CHECK bool meta_same_word(const char *arg, const char *kind, struct slice name,
                               const struct meta_vhost *vh, const char *received,
                               const char *current, struct meta_refusal *why);

/* The same for one argument of two tables. */
MUST_CHECK bool meta_same_arg(const char *arg, const char *kind, struct slice name,
                              const struct meta_vhost *vh, struct slice received,
                              struct slice current, struct meta_refusal *why);

#endif
