/*
 * mgmt_call: one request to the management API, from its arrival to its one answer.
 *
 * Whoever handles a call answers it exactly once, now or later, from the management's loop; the
 * answer ends the call and frees it. It knows who asks and what he may, what the path names, and
 * what the body says. Refusals are RabbitMQ's: {"error": ..., "reason": ...}.
 */
#ifndef WARREN_MGMT_CALL_H
#define WARREN_MGMT_CALL_H

#include "base/attr.h"
#include "client/auth.h"
#include "cluster/meta.h"
#include "io/http.h"
#include "mgmt/mgmt_list.h"

#include <jansson.h>

#define MGMT_SEGMENTS_MAX 12u
#define MGMT_ARGS_MAX     6u

struct mgmt_http;
struct mgmt_call;

typedef void (*mgmt_fn)(struct mgmt_call *c);

/* What somebody needs to be to be served; each of these includes the ones before. */
enum mgmt_level {
    MGMT_OPEN,        /* no login, as with RabbitMQ's prometheus plugin */
    MGMT_MANAGEMENT,  /* any of the four tags */
    MGMT_POLICYMAKER, /* or administrator */
    MGMT_MONITORING,  /* or administrator */
    MGMT_ADMINISTRATOR
};

enum mgmt_tag {
    MGMT_TAG_MANAGEMENT = 1,
    MGMT_TAG_POLICYMAKER = 2,
    MGMT_TAG_MONITORING = 4,
    MGMT_TAG_ADMINISTRATOR = 8,
};

/* One line of what is served. A segment ":vhost" must be a vhost that the user may enter, any other
 * that begins with a colon is taken as it comes; all are the call's args, in order. */
struct mgmt_route {
    const char *path;
    enum http_method method;
    mgmt_fn fn;
    enum mgmt_level level;
    const char *help; /* NULL: not worth a line on the page */
};

/* Who asks. */
struct mgmt_user {
    char name[META_NAME_MAX + 1];
    size_t name_len;
    unsigned tags;    /* MGMT_TAG_... */
    bool is_operator; /* the CLI, proven by the cookie or the socket: every right, and no user */
};
void mgmt_user_operator(struct mgmt_user *out);
/* With the tags that he has now; false: there is none of that name. */
MUST_CHECK bool mgmt_user_named(struct mgmt_user *out, const struct meta_version *v,
                                struct slice name);

struct mgmt_call {
    struct mgmt_http *m;
    struct http_request *r;
    const struct mgmt_route *route;
    struct mgmt_user user;
    struct auth_wait login;
    char *path; /* decoded, each segment terminated */
    struct slice segments[MGMT_SEGMENTS_MAX];
    unsigned segment_count;
    struct slice args[MGMT_ARGS_MAX];
    unsigned arg_count;
    uint64_t vhost_id; /* of the path's vhost, 0: it names none */
    struct mgmt_list list;
    json_t *body;      /* NULL: not read yet */
    bool sees_all;     /* monitors are shown every vhost */
    bool is_local;     /* another node asks what this one has: nobody else is to be asked */
    bool is_html;      /* refusals are escaped */
    uint64_t number;   /* for whoever handles it */
    struct slice word; /* likewise, pointing into the path or the body */
    void *data;        /* likewise; freed with mem_free */
};

/* Held from here on. NULL: the path cannot be read, and is answered. */
MUST_CHECK struct mgmt_call *mgmt_call_new(struct mgmt_http *m, struct http_request *r);

/* ---- answers: each ends the call ---- */

/* The value is taken. */
void mgmt_reply(struct mgmt_call *c, int status, json_t *value);
void mgmt_reply_octets(struct mgmt_call *c, int status, const char *type, struct slice body);
void mgmt_reply_empty(struct mgmt_call *c, int status);
/* One object, or those of its columns that are asked for. */
void mgmt_reply_object(struct mgmt_call *c, json_t *object);
/* What the query leaves of an array of objects; for short ones, see mgmt_listing for others. */
void mgmt_reply_list(struct mgmt_call *c, json_t *all);
void mgmt_refuse(struct mgmt_call *c, int status, const char *error, const char *reason);
void mgmt_bad_request(struct mgmt_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void mgmt_not_found(struct mgmt_call *c);
void mgmt_refuse_access(struct mgmt_call *c, const char *reason); /* 401 not_authorised */
/* As RabbitMQ does with what its own broker says to its management. */
void mgmt_refuse_meta(struct mgmt_call *c, const struct meta_refusal *why);

/* For answers in pieces: the reply was ended by the caller. */
void mgmt_call_end(struct mgmt_call *c);

/* ---- other nodes ---- */

/* Whom a call asks beside this node: NULL for one that came from another node. */
struct mgmt_peers *mgmt_call_peers(const struct mgmt_call *c);

/* Have another node answer it, in the name of the same user. Ends the call, later. */
void mgmt_forward(struct mgmt_call *c, uint16_t node);

/* What concerns the messages of a queue is its node's to answer. True: the call was forwarded, or
 * refused because that node is not there. */
MUST_CHECK bool mgmt_forwarded_home(struct mgmt_call *c, const struct meta_queue *q);

/* ---- what is asked ---- */

static inline struct slice mgmt_arg(const struct mgmt_call *c, unsigned n)
{
    return n < c->arg_count ? c->args[n] : slice_of(NULL, 0);
}

/* The metadata as of this turn, and the vhost of the path; NULL: it went meanwhile. */
const struct meta_version *mgmt_meta(const struct mgmt_call *c);
const struct meta_vhost *mgmt_vhost(const struct mgmt_call *c);

/* May the user look at (or work in) this vhost? Who has permissions in it; where `sees_all` is set,
 * it is shown to administrators and monitors too, as RabbitMQ does. */
bool mgmt_may_enter(const struct mgmt_call *c, const struct meta_vhost *vh);
bool mgmt_sees(const struct mgmt_call *c, const struct meta_vhost *vh);
bool mgmt_has_tag(const struct mgmt_call *c, enum mgmt_level level);

/* The vhosts that the user sees, or the path's alone, in the order of their names: until the next
 * turn. The caller's to free by mem_free. */
const struct meta_vhost **mgmt_vhosts(const struct mgmt_call *c, size_t *count);

/* What the query asks of a list, into c->list; false: refused, and the call is over. */
MUST_CHECK bool mgmt_read_list(struct mgmt_call *c);
bool mgmt_query_is(const struct mgmt_call *c, const char *name, const char *value);

/* The body, which is a JSON object, or nothing at all, which is an empty one. False: refused, and
 * the call is over. */
MUST_CHECK bool mgmt_read_body(struct mgmt_call *c);
/* And with these members, a list that ends in NULL; RabbitMQ names those that are missing. */
MUST_CHECK bool mgmt_read_body_with(struct mgmt_call *c, const char *const *names);

/* A member of the body: false when it is of another type, which is refused, and the call is over.
 * What is absent, or null, leaves *out as it was. */
MUST_CHECK bool mgmt_member_bool(struct mgmt_call *c, const char *name, bool *out);
MUST_CHECK bool mgmt_member_text(struct mgmt_call *c, const char *name, struct slice *out);
MUST_CHECK bool mgmt_member_i64(struct mgmt_call *c, const char *name, int64_t *out);
/* An object as a field table; *table is the caller's to free by mem_free. */
MUST_CHECK bool mgmt_member_table(struct mgmt_call *c, const char *name, uint8_t **table,
                                  struct slice *out);

/* ---- changes of the metadata ---- */

/* It is done, in the version that is shown now. `id` is what the command made or found. */
typedef void (*mgmt_changed_fn)(struct mgmt_call *c, uint64_t id);

/* Carry out, then answer: with `status` and nothing else, or as `then` says. A refusal is answered
 * by mgmt_refuse_meta. The command is copied. */
void mgmt_change(struct mgmt_call *c, const struct meta_cmd *cmd, int status);
void mgmt_change_then(struct mgmt_call *c, const struct meta_cmd *cmd, mgmt_changed_fn then);

#endif
