/*
 * meta: the broker's metadata, as a state machine over immutable versions (core).
 *
 * The cluster's nodes (meta_node.h), vhosts, exchanges, queues and bindings, users (meta_user.h)
 * and policies (meta_policy.h) live in one version at a time. Only the control thread makes
 * versions: it applies commands (meta_apply) and shows the outcome of one or many of them at once
 * (meta_publish). Any thread may read the current version (meta_current) and what hangs off it,
 * without locks, until it next lets its epoch pass; what a new version has replaced goes to the
 * `retire` function that was given to meta_new.
 *
 * Applying is deterministic: no clock, no chance, no order that depends on addresses or on hash
 * seeds. Two metas that were given the same commands have the same ids, answers and digest. In a
 * cluster the commands come as entries of its log, which say who asked: see meta_entry.h.
 *
 * Whatever can be answered without a change (a declare of what is there, a passive declare, a
 * refusal) is found by meta_check on a version, on any thread, so that only real changes travel to
 * the control thread. meta_apply runs the same check again.
 *
 * Refusals are an AMQP reply code and RabbitMQ's words, without the "NOT_FOUND - " in front and
 * not yet cut to a short string: the channel does both. Commands that no AMQP client can send (on
 * users, vhosts, policies, parameters) are refused with the HTTP status that fits: 400, 404, 409.
 */
#ifndef WARREN_META_H
#define WARREN_META_H

#include "base/pmap.h"
#include "base/slice.h"
#include "base/text.h"
#include "cluster/meta_node.h"
#include "cluster/meta_placement.h"
#include "cluster/meta_policy.h"
#include "cluster/meta_user.h"

#include <stdbool.h>

#define META_NAME_MAX 255u /* octets: names and routing keys are short strings */
#define META_TEXT_MAX 1024u

enum meta_exchange_type {
    META_DIRECT,
    META_FANOUT,
    META_TOPIC,
    META_HEADERS,
    META_CONSISTENT_HASH,
};

/* By what a consistent-hash exchange tells messages apart. */
enum meta_hash_on { META_HASH_ON_KEY, META_HASH_ON_HEADER, META_HASH_ON_PROPERTY };

/* ---- what a version holds ---------------------------------------------------------------------
 *
 * Queues, bindings and an exchange's definition never change while they exist: a pointer to one is
 * good in every version that has it. A vhost and an exchange are replaced when what they hold
 * changes: look them up again in each version. */

struct meta_queue {
    uint64_t qid; /* rising; never used again: a queue declared anew is another one */
    uint64_t vhost_id;
    uint64_t owner; /* connection whose exclusive queue this is; 0 if shared */
    uint64_t epoch; /* index of the entry that declared it; see meta_queue_epoch */
    uint32_t shard; /* where it is on this node, whatever the node is to it */
    uint32_t args_bytes;
    uint16_t node; /* where it was declared; where it lives is for meta_queue_master to say */
    uint8_t name_bytes;
    bool durable;
    bool auto_delete;
    uint8_t bytes[]; /* name, arguments */
};

static inline struct slice meta_queue_name(const struct meta_queue *q)
{
    return slice_of(q->bytes, q->name_bytes);
}

/* The arguments it was declared with, as a field table without its length; see amqp_table.h. */
static inline struct slice meta_queue_args(const struct meta_queue *q)
{
    return slice_of(q->bytes + q->name_bytes, q->args_bytes);
}

bool meta_queue_is_quorum(const struct meta_queue *q);

struct meta_exchange_def {
    uint64_t xid; /* from the same numbers as qid */
    uint64_t vhost_id;
    enum meta_exchange_type type;
    bool durable;
    bool auto_delete;
    bool internal;
    uint8_t name_bytes;
    uint32_t args_bytes;
    struct slice alternate; /* the argument of that name; ptr NULL: none. See meta_exchange */
    enum meta_hash_on hash_on;
    struct slice hash_name; /* of the header or property, in args */
    uint8_t bytes[];        /* name, arguments */
};

static inline struct slice meta_exchange_name(const struct meta_exchange_def *d)
{
    return slice_of(d->bytes, d->name_bytes);
}

static inline struct slice meta_exchange_args(const struct meta_exchange_def *d)
{
    return slice_of(d->bytes + d->name_bytes, d->args_bytes);
}

struct topic_node;
struct topic_kinds;

/* Where its bindings are depends on the type: by_key for direct, topic for topic, all for the
 * others. meta_bindings_from lists them whatever the type. */
struct meta_exchange {
    const struct meta_exchange_def *def;
    uint64_t tag; /* private: the edit that made this copy */
    uint64_t binding_count;
    struct slice alternate; /* name of the alternate exchange, by argument or by policy; ptr NULL:
                               none */
    union {
        struct pmap by_key;             /* a binding, or a set of them, by routing key */
        struct pmap all;                /* struct meta_binding */
        const struct topic_node *topic; /* NULL: no binding */
    };
};

struct meta_binding {
    bool is_set; /* false: see meta_binding_set */
    bool to_exchange;
    uint8_t key_bytes;
    uint32_t args_bytes;
    const struct meta_exchange_def *source;
    union {
        const struct meta_queue *queue;
        const struct meta_exchange_def *exchange; /* if to_exchange */
    };
    uint8_t bytes[]; /* routing key, arguments in the order of their names */
};

static inline struct slice meta_binding_key(const struct meta_binding *b)
{
    return slice_of(b->bytes, b->key_bytes);
}

static inline struct slice meta_binding_args(const struct meta_binding *b)
{
    return slice_of(b->bytes + b->key_bytes, b->args_bytes);
}

static inline struct slice meta_binding_to_name(const struct meta_binding *b)
{
    return b->to_exchange ? meta_exchange_name(b->exchange) : meta_queue_name(b->queue);
}

/* Two or more bindings of one routing key, or of one destination. Where there is one alone, it
 * stands in the map itself; both begin with `is_set`. */
struct meta_binding_set {
    bool is_set; /* true */
    uint8_t key_bytes;
    uint64_t tag;         /* private */
    uint64_t id;          /* the destination's, in `destinations` */
    struct pmap bindings; /* struct meta_binding */
    uint8_t key[];        /* in `by_key` */
};

static inline bool meta_is_set(const void *binding_or_set)
{
    return *(const bool *)binding_or_set;
}

struct meta_vhost {
    uint64_t vhost_id;
    uint64_t tag;                  /* private */
    struct pmap exchanges;         /* struct meta_exchange by name */
    struct pmap queues;            /* struct meta_queue by name */
    struct pmap permissions;       /* struct meta_permission by user */
    struct pmap topic_permissions; /* struct meta_topic_permission by user and exchange */
    struct pmap policies;          /* struct meta_policy by name */
    struct pmap operator_policies; /* the same */
    struct pmap parameters;        /* struct meta_parameter by component and name */
    const struct meta_policy_order *policy_order;   /* NULL: there is none */
    const struct meta_policy_order *operator_order; /* the same */
    const void *words;                              /* private: where the slices point to */
    struct slice description;
    struct slice tags;               /* between commas */
    struct slice default_queue_type; /* empty: classic */
    bool tracing;
    int64_t max_connections; /* META_NO_LIMIT */
    int64_t max_queues;
    uint8_t name_bytes;
    uint8_t name[];
};

static inline struct slice meta_vhost_name(const struct meta_vhost *vh)
{
    return slice_of(vh->name, vh->name_bytes);
}

struct meta_kinds;

struct meta_version {
    uint64_t number; /* rises with each publication */
    uint64_t routes; /* rises when what an exchange with a name routes to may have changed, and when
                        a queue goes: what is cached by it holds no dead queue */
    uint64_t leads;  /* the same, but for what a proxy knows without being told: masters that move,
                        and queues that nothing leads to */
    uint64_t rights; /* rises when what a user is or may do may have changed */
    const struct meta_kinds *kinds;
    struct pmap vhosts_by_name;
    struct pmap vhosts;            /* by id */
    struct pmap queues;            /* by qid */
    struct pmap destinations;      /* a binding, or a set of them, by the id of their destination */
    struct pmap owners;            /* private: exclusive queues by connection */
    struct pmap homes;             /* private: queues by node */
    struct pmap placed;            /* private: those with a record of their own, by qid */
    struct pmap cohorts;           /* private: by number */
    struct pmap records;           /* private: cohorts by what they say, see meta_cohort.h */
    struct pmap users;             /* struct meta_user by name */
    struct pmap global_parameters; /* struct meta_parameter by name */
    const struct meta_node_list *nodes; /* private: see meta_node.h; NULL: there are none */
    const struct meta_origins *origins; /* private: see meta_entry.h */
    uint64_t index;                     /* of the last entry that was applied */
    uint64_t last_id;                   /* that was given, to whatever has one */
    uint64_t things;                    /* private: sum of the digests of all that is in the maps */
    uint32_t unserved;                  /* private: nodes that are not up */
    uint32_t damaged;                   /* private: cohorts whose queues are damaged */
    uint32_t last_cohort;               /* private: number that was given */
    bool is_frozen;                     /* who stops in an orderly way stays in sync */
    uint16_t last_node;                 /* number that was given */
    uint16_t self; /* of a published version: the node we are, see meta_setup */
    uint8_t cluster_id[META_CLUSTER_ID_BYTES]; /* all 0: it has none yet */
};

/* ---- reading: any thread, on a version it may hold ---------------------------------------------
 */

const struct meta_vhost *meta_vhost_find(const struct meta_version *v, struct slice name);
const struct meta_vhost *meta_vhost_get(const struct meta_version *v, uint64_t vhost_id);
const struct meta_exchange *meta_exchange_find(const struct meta_version *v,
                                               const struct meta_vhost *vh, struct slice name);
const struct meta_queue *meta_queue_find(const struct meta_version *v, const struct meta_vhost *vh,
                                         struct slice name);
const struct meta_queue *meta_queue_get(const struct meta_version *v, uint64_t qid);

/* For routing: the binding, or the set of them, of a direct exchange for a routing key, or NULL;
 * and how the words of a topic exchange's patterns are looked up. */
const void *meta_by_key(const struct meta_version *v, const struct meta_exchange *x,
                        struct slice key);
const struct topic_kinds *meta_topic_kinds(const struct meta_version *v);

const char *meta_exchange_type_name(enum meta_exchange_type type);

/* All bindings of a source exchange, or to a destination (a qid or xid), in no useful order, until
 * `each` says false; then false too. */
typedef bool (*meta_binding_fn)(void *arg, const struct meta_binding *b);
bool meta_bindings_from(const struct meta_exchange *x, meta_binding_fn each, void *arg);
bool meta_bindings_to(const struct meta_version *v, uint64_t id, meta_binding_fn each, void *arg);

/* ---- commands ---------------------------------------------------------------------------------
 */

enum meta_op {
    META_VHOST_ADD,
    META_VHOST_DELETE, /* with all it holds */
    META_EXCHANGE_DECLARE,
    META_EXCHANGE_DELETE,
    META_QUEUE_DECLARE,
    META_QUEUE_DELETE,
    META_BIND,
    META_UNBIND,
    META_OWNER_GONE,
    META_VHOST_PUT,          /* `name`, `vhost`: make it or change its properties */
    META_VHOST_LIMITS_PUT,   /* `limits` */
    META_VHOST_LIMITS_CLEAR, /* `limits` */
    META_USER_PUT,           /* `name`, `user` */
    META_USER_DELETE,        /* `name`; with its permissions */
    META_USER_LIMITS_PUT,    /* `name`, `limits` */
    META_USER_LIMITS_CLEAR,  /* `name`, `limits` */
    META_PERMISSION_PUT,     /* `permission` */
    META_PERMISSION_CLEAR,
    META_TOPIC_PERMISSION_PUT, /* `topic_permission` */
    META_TOPIC_PERMISSION_CLEAR,
    META_POLICY_PUT, /* `name`, `policy` */
    META_POLICY_CLEAR,
    META_PARAMETER_PUT, /* `name`, `parameter` */
    META_PARAMETER_CLEAR,
    META_GLOBAL_PARAMETER_PUT, /* `name`, `parameter` without component */
    META_GLOBAL_PARAMETER_CLEAR,
    META_ISR_CHANGE,    /* `isr_change`; these are for placements, see meta_placement.h */
    META_PAIR_LAG,      /* `pair_lag` */
    META_MASTER_MOVE,   /* `master_move` */
    META_REPLICAS_SET,  /* `replicas_set` */
    META_FORCE_PROMOTE, /* `qid`, `force_promote` */
    META_NODE_DAMAGED,  /* `node_damaged` */
    META_CLUSTER_FREEZE,
    META_CLUSTER_THAW,
    META_CLUSTER_FORM, /* `name`: META_CLUSTER_ID_BYTES octets; once. Ids that are given from then
                          on are above `qid`, so that no two clusters give the same */
    META_NODE_ADD,     /* `name`, `node`; these are for the cluster itself, see meta_node.h */
    META_NODE_REMOVE,
    META_NODE_UP,
    META_NODE_DOWN,
    META_NODE_STOPPED,
    META_NODE_DRAIN,
    META_NODE_UNWELL,
    META_NODE_WELL,
    META_NODE_TYPE,
    META_KEPT_NODE, /* these are for meta_replay alone: what a snapshot says of the whole state */
    META_KEPT_ORIGIN,
    META_KEPT_QUEUE,
    META_KEPT_PLACEMENT,
    META_KEPT_STATE,
};

/* A command borrows its slices. Names are as the client gave them, less CR and LF (see
 * meta_strip_name). Argument tables are raw field tables without their length, already found well
 * formed by the codec. `conn` is the connection that asks, never 0 for a client. */
struct meta_cmd {
    enum meta_op op;
    uint64_t vhost_id; /* of what lies in a vhost, VHOST_LIMITS included */
    uint64_t conn;
    struct slice name; /* of what is added, declared or deleted */
    uint64_t qid;      /* QUEUE_DELETE: this queue and no later one of its name; 0: by name */
    union {
        struct {
            struct slice type; /* by name */
            struct slice args;
            bool passive, durable, auto_delete, internal;
        } exchange_declare;
        struct {
            bool if_unused;
        } exchange_delete;
        struct {
            struct slice args;
            bool passive, durable, auto_delete, exclusive;
            bool server_named; /* the name was made by us and may begin with "amq." */
        } queue_declare;
        struct {
            struct slice source;
            struct slice destination;
            struct slice key;
            struct slice args;
            bool to_exchange;
        } bind; /* BIND and UNBIND */
        struct {
            struct slice description, tags, default_queue_type;
            bool has_description, has_tags, has_default_queue_type, has_tracing; /* else: as is */
            bool tracing;
        } vhost;
        struct {
            struct slice definition; /* PUT: a JSON object of numbers by limit */
            bool merge;              /* PUT: leave what it does not name (a user's: always) */
            struct slice limit;      /* CLEAR: this one; empty: all */
        } limits;
        struct {
            struct slice hash;   /* with its salt */
            struct slice tags;   /* between commas */
            struct slice limits; /* a JSON object, merged */
            enum meta_hashing hashing;
            bool has_hash, has_tags, has_limits; /* else: as is */
            bool must_be_new, must_exist;
        } user;
        struct {
            struct slice user, configure, write, read;
        } permission;
        struct {
            struct slice user, exchange, write, read;
            bool every_exchange; /* CLEAR: all of that user in the vhost */
        } topic_permission;
        struct {
            struct slice pattern;
            struct slice definition; /* a JSON object */
            struct slice apply_to;   /* "queues", "exchanges" or "all"; empty: all */
            int64_t priority;
            bool is_operator;
        } policy;
        struct {
            struct slice component;
            struct slice value; /* JSON */
        } parameter;
        struct {
            uint16_t node;            /* but for ADD */
            uint32_t inc;             /* UP, DOWN, STOPPED, DRAIN, UNWELL, WELL */
            enum meta_node_type type; /* ADD, TYPE */
            uint64_t place;           /* ADD */
            struct slice cluster_address, amqp_address, management_address; /* ADD, UP; short */
            enum meta_node_state state; /* KEPT, which has all the others too but lost_data */
            uint64_t since;             /* KEPT */
            uint16_t mirrors;           /* UP: shards that can hold replicas; 0: it can hold none */
            bool lost_data; /* UP, with a new incarnation: not all that it had is there any more */
        } node;
        struct {
            struct slice items; /* see meta_items.h */
        } isr_change;
        struct {
            struct slice items;
        } master_move;
        struct {
            struct slice
                nodes; /* all of them, in any order: who is there already keeps its place */
            struct slice items;      /* the queues that are to have them */
            bool always_on_failure;  /* promote somebody, in sync or not */
            bool always_on_shutdown; /* the same */
        } replicas_set;
        struct {
            uint16_t master, mirror;
            uint32_t master_inc, mirror_inc;
        } pair_lag;
        struct {
            uint16_t node;
            uint32_t inc;
            struct slice items; /* queues, see meta_items.h; none: all that have a placement */
        } node_damaged;
        struct {
            uint16_t node;
            uint64_t epoch; /* as whoever asks has seen it; 0: any */
        } force_promote;
        struct { /* `name`, `vhost_id`, `qid`, `conn`: its owner */
            struct slice args;
            bool durable, auto_delete;
            uint16_t node;
            uint64_t epoch;
        } kept_queue;
        struct { /* `qid`, which KEPT_QUEUE has said before */
            struct slice replicas;
            uint64_t epoch, ver;
            bool is_damaged, always_on_failure, always_on_shutdown;
        } kept_placement;
        struct { /* `qid`: the number of its last operation */
            uint16_t node;
            uint32_t inc;
        } kept_origin;
        struct { /* `name`: the cluster's id; `qid`: the last id that was given */
            uint64_t index;
            uint16_t last_node;
            bool is_frozen;
        } kept_state;
    };
};

struct meta_refusal {
    uint16_t code; /* AMQP reply code, 0 for none */
    char text[META_TEXT_MAX];
};

enum meta_verdict {
    META_REFUSED, /* see refusal */
    META_DONE,    /* nothing to change (or, from meta_apply, the change is made) */
    META_CHANGE,  /* from meta_check only: hand it to the control thread */
};

enum meta_effect_kind {
    META_QUEUE_CREATED,
    META_QUEUE_DELETED,
    META_POLICIES_CHANGED, /* of a vhost: what its queues are set to is to be asked again */
    META_VHOST_DELETED,    /* who is connected to it is to be sent away */
    META_USER_DELETED,     /* the same */
    META_NODE_LOST,     /* what was under way to that node, and what was consumed there, is lost */
    META_NODES_CHANGED, /* there are other nodes, or they are in other states */
    META_QUEUE_PLACED,  /* its placement is another, or its ver alone: look at it again */
    META_COHORT_PLACED, /* that of all queues of `cohort` is: see meta_cohort_each. One that has
                           left it meanwhile has a PLACED of its own behind this one */
};

/* What became of a placement. */
enum meta_placed_how {
    META_HOW_MASTER = 1,   /* another master, or another epoch of the same one */
    META_HOW_IN_SYNC = 2,  /* another in-sync set, or damage */
    META_HOW_REPLICAS = 4, /* other replicas */
    META_HOW_FORCED = 8,   /* with a master that was not in sync: what it lacks is lost */
};

struct meta_effect {
    enum meta_effect_kind kind;
    uint64_t index;         /* of the entry, see meta_apply_entry; 0: of none */
    uint16_t node;          /* QUEUE_..., COHORT_PLACED: the master; NODE_LOST */
    uint16_t node_was;      /* ..._PLACED: the master before */
    uint8_t how;            /* ..._PLACED: enum meta_placed_how */
    enum meta_role was, is; /* QUEUE_..., COHORT_PLACED: of this node */
    uint32_t shard;         /* QUEUE_...: the queue's; the others are for all shards */
    uint32_t cohort;        /* COHORT_PLACED; QUEUE_CREATED, _DELETED: its own, or 0 */
    uint64_t count;         /* COHORT_PLACED: of queues */
    uint64_t qid;
    uint64_t vhost_id;              /* POLICIES_CHANGED, VHOST_DELETED */
    uint64_t user_id;               /* USER_DELETED */
    const struct meta_queue *queue; /* QUEUE_...: a deleted one's is good until the publication */
    struct slice name;              /* of a vhost or user that goes: borrowed from the command */
};

/* What came of a command. Init once, use for many. */
struct meta_result {
    enum meta_verdict verdict;
    struct meta_refusal refusal;
    const struct meta_queue *queue; /* QUEUE_DECLARE: the queue that is there now; QUEUE_DELETE,
                                       from meta_check: the one to go */
    uint64_t id;                    /* id of what was made or found: vhost, exchange, queue, user */
    struct meta_effect *effects;    /* of meta_apply, in order; good until the next use */
    size_t effect_count;
    size_t effect_cap;
};

void meta_result_init(struct meta_result *r);
void meta_result_fini(struct meta_result *r);

/* What would become of the command on this version. Any thread. */
enum meta_verdict meta_check(const struct meta_version *v, const struct meta_cmd *cmd,
                             struct meta_result *out);

/* May this connection use the queue (consume, get, purge, delete, bind)? 405 if another one has it
 * for itself alone. */
MUST_CHECK bool meta_queue_is_open_to(const struct meta_version *v, const struct meta_queue *q,
                                      uint64_t conn, struct meta_refusal *why);

/* Refusals with RabbitMQ's words: 404 "no queue 'q' in vhost '/'" and the like. Always false. */
bool meta_no_queue(const struct meta_vhost *vh, struct slice name, struct meta_refusal *why);
bool meta_no_exchange(const struct meta_vhost *vh, struct slice name, struct meta_refusal *why);

/* The name without CR and LF, as RabbitMQ takes names; copied to `room` only if it has any. */
struct slice meta_strip_name(struct slice name, uint8_t room[META_NAME_MAX]);

/* "amq.gen-" and 22 octets of base64url from 16 random octets, not terminated. */
#define META_GEN_NAME_BYTES 30u
void meta_gen_name(const uint8_t chance[16], char name[META_GEN_NAME_BYTES]);

/* ---- writing: the control thread
 * ----------------------------------------------------------------- */

struct meta;

struct meta_garbage;

struct meta_setup {
    uint64_t hash_seed;   /* secret and this node's own: decides nothing that anybody can see */
    uint32_t shard_count; /* at least 1 */
    uint16_t node;        /* the one we are; 0: the first, see meta_set_node */
    /* Called after a publication, on the control thread, for what no new reader can find. */
    void (*retire)(void *arg, void *ptr, void (*free_fn)(void *ptr));
    /* The same for what takes long to free: very many things, and what meta_replace has replaced.
     * Each may be NULL: retire is called. */
    void (*retire_garbage)(void *arg, struct meta_garbage *garbage);
    void (*retire_state)(void *arg, struct meta *state);
    void *retire_arg;
};

/* Empty: not even a vhost. A first version is published. */
struct meta *meta_new(const struct meta_setup *setup);

/* No reader is left. What was retired before is not touched. */
void meta_free(struct meta **meta);

/* In two steps: it is gone, and what it consisted of is left to be freed. Each on any thread. */
struct meta_garbage *meta_take_apart(struct meta **meta);

/* Free that many things of it; *garbage becomes NULL with the last one. */
void meta_garbage_free_some(struct meta_garbage **garbage, size_t most);

/* We are another node from the next publication on: it has joined a cluster, or left one. */
void meta_set_node(struct meta *meta, uint16_t node);

/* DONE or REFUSED. Shown to readers by the next meta_publish. Each is an entry of its own, of
 * nobody in particular. */
enum meta_verdict meta_apply(struct meta *meta, const struct meta_cmd *cmd,
                             struct meta_result *out);

/* Apply once more what outlives the node: commands that lasted, in their order, each with the first
 * id it gave then, and after each an EXCHANGE_DELETE for each of its orphans. Exchanges go by these
 * alone, since bindings that do not last may have kept one: an exchange whose last binding goes
 * stays. What comes out, when nothing else is applied, is what a version holds that is durable.
 * A first id of 0 means the next one. REFUSED also when an id is taken already.
 *
 * Or make the whole state of another meta anew, from commands that say it and the KEPT_... ones, in
 * the place of declarations of nodes and queues; KEPT_STATE is the last. */
enum meta_verdict meta_replay(struct meta *meta, const struct meta_cmd *cmd, uint64_t first_id,
                              struct meta_result *out);

/* The next id is above this one. */
void meta_skip_ids(struct meta *meta, uint64_t id);
uint64_t meta_last_id(const struct meta *meta);

/* Show what was applied since the last time; a no-op if nothing was. Effects must be carried out
 * after it (a shard that is told of a queue must find it). */
void meta_publish(struct meta *meta);

/* The version to read. Any thread. */
const struct meta_version *meta_current(const struct meta *meta);

struct meta_stats {
    uint64_t vhost_count;
    uint64_t exchange_count;
    uint64_t queue_count;
    uint64_t binding_count;
    uint64_t user_count;
    uint64_t policy_count; /* operators' included */
    int64_t bytes;         /* of all of it, without the allocator's own */
    uint64_t blocks;       /* of memory that are in use */
    uint64_t waiting;      /* blocks that go to retire at the next publication */
};

/* What there is now, unpublished changes included. The control thread. */
struct meta_stats meta_stats(const struct meta *meta);

/* A checksum of all that commands decide, equal on all nodes that applied the same ones. It is kept
 * up to date with each change: for nodes to compare at the same index. The control thread, with
 * what is not published yet; or any thread, of a version. */
uint64_t meta_checksum(const struct meta *meta);
uint64_t meta_version_checksum(const struct meta_version *v);

/* The same number, found by looking at everything: for tests, and after a snapshot was read. */
uint64_t meta_checksum_walk(const struct meta *meta);

/* The same with what follows from it: what readers are shown beside. Walks everything too. */
uint64_t meta_digest(const struct meta *meta);

#endif
