/*
 * gossip_talk: what members say to each other over TCP: who they are, for the first time (so that
 * their packets are believed), whether they are there when packets get lost, and all they know.
 *
 *     GREET   member 8 | boot 8 | packet counter 8 | cluster 16 | 0 1
 *             the first frame each way; a cluster of zeros asks which one it is
 *     SYNC    1: answer with the same, 0 | items (gossip_wire.h)
 *     PING    sequence 4          PONG    the same
 *
 * Links of class LINK_FEED. The one who wants to know dials, and keeps the link for a while. One
 * loop; callbacks come from it, never from inside a call.
 */
#ifndef WARREN_GOSSIP_TALK_H
#define WARREN_GOSSIP_TALK_H

#include "gossip/gossip_book.h"
#include "gossip/gossip_seal.h"
#include "link/link_hall.h"

#define GOSSIP_TALKS_MAX  512u /* dialled, at a time */
#define GOSSIP_FRAME_FEED 32u  /* frames from this type up are of another room: `on_other` */

struct gossip_talks;

struct gossip_greeting {
    uint64_t id, boot, counter;
    uint8_t cluster[GOSSIP_CLUSTER_BYTES];
};

struct gossip_talk_handlers {
    /* Who we are now. */
    void (*greeting)(struct gossip_greeting *out, void *arg);
    /* Somebody is there. False: we do not talk to it. `place` is where we dialled, or NULL. */
    bool (*on_greeting)(const struct gossip_greeting *g, const struct link_peer *peer,
                        const struct gossip_place *place, void *arg);
    /* The next part of what we know, see gossip_sync_write. */
    bool (*write)(size_t *at, struct wire_out *w, void *arg);
    void (*on_items)(uint64_t from, struct slice items, void *arg);
    void (*on_pong)(uint64_t from, uint32_t seq, void *arg);
    /* A link that begins with something else. Takes it; NULL: it is closed. */
    void (*on_other)(struct link **l, const struct link_frame *first, void *arg);
};

struct gossip_talks *gossip_talks_new(struct loop *loop, struct link_node *node,
                                      const struct gossip_talk_handlers *handlers, void *arg);

/* All of them end. The door serves the hall no more; the hall goes with the loop's next mail,
 * behind whatever the door has sent it, and only then may the link node go. */
void gossip_talks_free(struct gossip_talks **t);

/* Where others reach us: for the door of the cluster port. */
struct link_hall *gossip_talks_hall(struct gossip_talks *t);

/* Over the link that there is, or a new one. `seq` 0: only greet. */
void gossip_talks_ping(struct gossip_talks *t, uint64_t id, const struct gossip_place *at,
                       uint32_t seq);
void gossip_talks_sync(struct gossip_talks *t, uint64_t id, const struct gossip_place *at);

/* Who is there? Greets, and compares all. No effect while it is being dialled. */
void gossip_talks_ask(struct gossip_talks *t, const struct gossip_place *at);

/* Say to all again who we are: we have found our cluster. */
void gossip_talks_greet_again(struct gossip_talks *t);

/* Close what nobody has used for a while, or does not come about. Call it about once a second. */
void gossip_talks_tidy(struct gossip_talks *t);

size_t gossip_talks_count(const struct gossip_talks *t);

#endif
