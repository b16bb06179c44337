/*
 * hosted: the queues that live on a shard: how they come and go, and what they need of the world.
 *
 * It gives them the time (one timer a shard), their settings from arguments and policies, the rest
 * of their work in later turns, and their dead messages a way to the exchange these are to be
 * published to (dead_letter.h). What a queue leaves behind when it is deleted is freed in turns
 * too. All on the shard's thread but what says otherwise.
 */
#ifndef WARREN_HOSTED_H
#define WARREN_HOSTED_H

#include "dead_post.h"
#include "io/mailbox.h"
#include "ledger.h"
#include "mirrored.h"
#include "model/queue.h"
#include "mover.h"
#include "pager.h"
#include "shard.h"

struct hosted {
    struct queue queue;
    struct shard *shard;
    uint64_t vhost_id;
    struct queue_settings settings;
    struct slice name; /* of one with a dead-letter exchange: its letters may outlive it */
    uint8_t *names;    /* what the settings' names and its own point into */
    bool auto_delete;
    bool deleting;       /* promised to be deleted: gone for everybody already */
    uint64_t keep_at_ms; /* when that is asked for again, should it not have come about */
    bool will_run;       /* see port_settled */
    bool cycle_told;     /* a cycle of dead letters was logged */
    uint64_t letters; /* dead ones that wait to be published: until then it stays, see hosted.c */
    struct loop_task go_on;
    STAILQ_ENTRY(hosted) run_entry;
    struct ledger_queue book; /* what it writes into the journal */
    struct mail *when_loaded; /* a list of those to be posted then */
    struct pager_queue pager;
    struct mover_queue mover;
    struct mirrored_queue *mirrored; /* NULL: no other node has ever had it */
    struct port_held *held;          /* publishes that wait until it may be served; NULL: none */
};

/* This node is its master: clients use it here. */
static inline bool hosted_leads(const struct hosted *h)
{
    return LIKELY(h->mirrored == NULL) || h->mirrored->state == MIRRORED_MASTER;
}

void hosted_init(struct shard *s);

/* Its connections are gone, its loop has ended. */
void hosted_fini(struct shard *s);

/* The queue, or NULL when it is not here or about to go, or is another node's to serve. */
struct hosted *shard_hosted(struct shard *s, uint64_t qid);
struct queue *shard_queue(struct shard *s, uint64_t qid);

/* The same, whoever masters it. */
struct hosted *shard_kept(struct shard *s, uint64_t qid);

/* A message that died before it had a place has one: true when its dead letter is to come, with
 * which it is settled. */
MUST_CHECK bool hosted_dead_is_placed(struct hosted *h, uint64_t qseq, struct place place);

/* A queue, which may be one that was deleted, has none on their way any more. */
void hosted_on_last_letter(struct shard *s);

/* See dead_letters_list. */
MUST_CHECK bool hosted_list_letters(const struct hosted *h, uint64_t *out, size_t max,
                                    size_t *count);

/* What has become of the dead letter of this number, see dead_post.h. */
void hosted_on_letter_published(struct shard *s, uint64_t number, enum dead_fate fate);

/* Dead letters that waited for other nodes need not any more. */
void hosted_letters_go_on(struct shard *s);

/* SETTLE or RETURNS of it were written into this segment. */
void hosted_note_state(struct hosted *h, uint32_t seg);

/* Post the mail to the shard when messages of the queue have come back into memory, or it goes. */
void hosted_post_when_loaded(struct hosted *h, struct mail *mail);

/* They have. */
void hosted_loaded(struct hosted *h);

/* The queue is to go, and gone for everybody from now on. Whoever calls sees to it that the
 * metadata are changed; without a majority that fails, and is tried again until there is one. */
void hosted_promise(struct hosted *h);

/* Ask the control thread to delete a queue of this node, with nobody waiting for it. */
void shard_delete_queue(struct shard *s, uint64_t qid);

/* What has died and is still on its way to be dead-lettered is settled now: this node masters the
 * queue no more, and what is settled later might be a message that has come again since. */
void hosted_settle_letters(struct hosted *h);

/* Carry out an effect of the metadata on a queue of this shard. Called by the control thread, which
 * posts it. One that is placed is empty and serves nobody until it is reconciled, see mirrored.h.
 */
void shard_post_queue_created(struct shard *s, const struct meta_queue *q, bool is_placed);
void shard_post_queue_deleted(struct shard *s, uint64_t qid);

/* A queue that other nodes have is to be here, too. Nothing of what the journal may have of it
 * counts, if it was not found at the start. */
struct hosted *shard_add_copy(struct shard *s, const struct meta_queue *q);
/* No more: it is freed, in turns. */
void shard_drop_copy(struct hosted *h);

/* What policies say of the queues of a vhost has changed: they get new settings, in turns. */
void shard_policies_changed(struct shard *s, uint64_t vhost_id);

#endif
