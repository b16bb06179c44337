/*
 * connection: one client of a shard, from its first octet to its last.
 *
 * Feeds channel 0 to the handshake machine and all else to the channels, keeps heartbeats, and
 * decides when to stop reading: while an answer is awaited that what follows must not overtake,
 * while memory is short and it publishes, while too much of what it published is on its way to
 * other shards, and while it does not read what it asked for. All on the shard's thread.
 */
#ifndef WARREN_CONNECTION_H
#define WARREN_CONNECTION_H

#include "amqp/amqp_hs_server.h"
#include "client/access.h"
#include "client/auth.h"
#include "client/preamble.h"
#include "cluster/meta.h"
#include "io/stream.h"
#include "shard.h"

#include <sys/queue.h>

struct channel;
struct live;
struct tls_ctx;

TAILQ_HEAD(channel_list, channel);

/* An exchange that the user may write to, of the rights that it was found with. */
struct written_to {
    uint64_t rights;
    uint8_t name_bytes;
    uint8_t name[META_NAME_MAX];
};

/* Other nodes that a connection has dealt with, a bit each: see late_answer.h. */
#define LATE_ANSWER_WORDS 4u

struct connection {
    struct shard *shard;
    uint64_t id;
    struct stream *stream; /* NULL when it is over */
    struct amqp_hs_server hs;
    struct live *live;       /* a reference: the configuration it began with */
    struct sock_addr client; /* as limits and logs see it: a proxy's word counts, see preamble.h */
    struct preamble_name vouched; /* what a proxy says of its certificate */
    uint64_t vhost_id;
    uint8_t *client_properties; /* a table, as the client gave it */
    uint32_t client_properties_bytes;
    char *user;       /* who it says it is; NULL before it said so */
    uint64_t user_id; /* 0 before it logged in */
    struct auth_wait login;
    uint64_t rights; /* of the version that `permission` was looked up in */
    const struct meta_permission *permission;
    struct access_topic_kept topic_kept;
    struct written_to *written_to; /* the last one that a pattern was asked about, or NULL */
    struct channel **channels;     /* by number */
    uint32_t channel_cap;
    uint32_t channel_count;
    uint32_t incarnations;                 /* channels opened so far */
    LIST_HEAD(, late_answer) late_answers; /* empty when zeroed */
    uint64_t nodes_used[LATE_ANSWER_WORDS];
    struct channel_list confirming; /* have confirms to send at the turn's end */
    struct channel_list assembling; /* hold slices of the input */
    struct channel_list hungry;     /* have consumers that wait for room */
    uint64_t forwarded_bytes;       /* published, on their way to queues of other shards */
    uint64_t connected_ms;          /* wall time; 0 before connection.open-ok */
    uint64_t excused_at_ms;         /* silence is counted from here at the earliest */
    unsigned waiting;               /* answers that what follows must not overtake */
    unsigned contents;              /* channels in the middle of a message */
    size_t copies;                  /* this turn, of what was published: one for each queue */
    bool blocked;                   /* memory is short: it is not read from */
    bool held;                      /* the disk is behind: what it publishes waits */
    bool said_blocked;
    bool knows_permission;
    bool in_vhost_tally;
    bool in_user_tally;
    bool owns_queues; /* has declared exclusive ones */
    bool releasing;   /* the peer has closed; waits for what it owned to go */
    bool processing;
    bool ended; /* the client has said its last: it goes when that is worked off */
    bool past_preamble;
    TAILQ_ENTRY(connection) held_entry; /* of its shard's */
    struct loop_task resume;
    struct loop_task turn_end;
    struct loop_timer deadline; /* handshake, then closing */
    struct loop_timer heart;
};

/* A new client on an accepted socket; `tls` may be NULL, then it is plain. `said` is NULL
 * while what a balancer may say first is still to come; else its name is taken. */
void connection_new(struct shard *s, int fd, const struct sock_addr *peer, struct tls_ctx *tls,
                    struct preamble_name *said);

/* No method of ours is longer, as a frame. */
#define CONNECTION_SEND_ROOM 2048u

/* Send a method. */
void connection_send(struct connection *c, uint16_t channel, const struct amqp_method *m);

/* End it from our side: "CODE - text", naming the method at fault (0: none). The caller must not
 * touch its channels afterwards. */
void connection_error(struct connection *c, enum amqp_reply_code code, uint32_t method,
                      const char *fmt, ...) PRINTF_LIKE(4, 5);

/* It cannot be read as a frame of its type: the same, in the words for that. */
void connection_unknown_frame(struct connection *c, const struct amqp_frame *f);

/* One more, or one less, answer is awaited. */
void connection_wait(struct connection *c);
void connection_go_on(struct connection *c);

/* The node serves no clients any more: connection.close with these words; NULL: hang up. */
void connection_stop(struct connection *c, const char *why);

/* connection.close with 320 and these words, or, before it is open, hang up. */
void connection_force_out(struct connection *c, const char *why);

/* Memory is no longer short. (That it became so is noticed at the next publish.) */
void connection_alarm_ended(struct connection *c);

/* The disk has caught up. */
void connection_release(struct connection *c);

/* For log lines: "c281474976710657". */
struct connection_id_text {
    char text[24];
};
struct connection_id_text connection_id_text(const struct connection *c);

struct connection *connection_find(struct shard *s, uint64_t id);

/* A frame that must not exceed this on channels other than 0. */
static inline uint32_t connection_frame_max(const struct connection *c)
{
    return c->hs.limits.frame_max;
}

static inline bool connection_is_open(const struct connection *c)
{
    return c->stream != NULL && c->hs.state == AMQP_HS_SERVER_RUNNING;
}

/* The memory of channels, for channel_open and channel_end. */
struct channel *connection_channel(const struct connection *c, uint16_t number);
void connection_put_channel(struct connection *c, uint16_t number, struct channel *ch);
void connection_take_channel(struct connection *c, uint16_t number);

/* At the end of this turn, look at `confirming`. */
void connection_at_turn_end(struct connection *c);

#endif
