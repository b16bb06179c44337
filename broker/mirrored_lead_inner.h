/*
 * mirrored_lead_inner: what the files of mirrored_lead.h share. Not for anybody else.
 */
#ifndef WARREN_MIRRORED_LEAD_INNER_H
#define WARREN_MIRRORED_LEAD_INNER_H

#include "base/idmap.h"
#include "hosted.h"
#include "mirrored_lead.h"
#include "store/record.h"

/* Queues that one entry of the metadata has given to this node, from one other. */
struct lead_start {
    uint64_t key; /* in mirrored_leads.starts */
    uint64_t epoch;
    uint16_t earlier;
    bool is_asked; /* the control thread is */
    bool is_again; /* and its answer may be too late already */
    struct shard *shard;
    struct loop_timer timer;
    TAILQ_HEAD(, mirrored_lead) queues;
};

/* Of each queue that is mastered here: mirrored_queue.own. */
struct mirrored_lead {
    struct hosted *hosted;
    struct lead_start *start; /* it waits for that */
    uint16_t *members;        /* whose grants it needs */
    uint16_t member_count;
    bool is_stale;     /* they may be others */
    bool is_paused;    /* to be told when it may be served again */
    bool is_starting;  /* it may be served: who waits is to be told in this turn or the next */
    bool is_noted;     /* something was settled that no fence has asked for: up to noted_pos */
    bool has_too_few;  /* in sync: publishes wait */
    bool wants_marks;  /* a mirror has not heard of them */
    bool asks;         /* mirrors are to have what may be shown: the answer is awaited */
    bool is_pressed;   /* ... by a client */
    bool is_asking;    /* that is to be asked at the turn's end */
    bool owes_durable; /* somebody waits for what was not asked for yet to be on disk */
    uint64_t noted_pos;
    TAILQ_ENTRY(mirrored_lead) start_entry;
    TAILQ_ENTRY(mirrored_lead) open_entry;
    TAILQ_ENTRY(mirrored_lead) paused_entry;
    TAILQ_ENTRY(mirrored_lead) noted_entry;
    TAILQ_ENTRY(mirrored_lead) ask_entry;
    TAILQ_ENTRY(mirrored_lead) few_entry;
};

TAILQ_HEAD(lead_list, mirrored_lead);

/* Who waits for one of the queues of a message. */
struct lead_waiter {
    uint64_t number; /* 0: nobody does */
    struct mirror_token token;
    bool is_durable;
};

/* A message as mirror_master_message passes it on. */
struct lead_message {
    struct message *message;
    unsigned flags;
    struct msg_producer producer;
    const struct msg_target *targets;
};

/* Of a large message: what is to be done when its file is written. */
struct lead_large {
    uint32_t count;
    uint32_t cap;
    struct lead_large_one {
        uint64_t pos;
        uint64_t qid;
        uint64_t role;
        struct lead_waiter waiter;
    } * items;
};

/* The message that is being given to queues: those whose mirrors are to be told of it. */
struct lead_gather {
    struct message *message; /* a reference; NULL: there is none */
    struct lead_large *large;
    unsigned flags;
    struct msg_producer producer;
    unsigned count;
    struct msg_target targets[MSG_TARGETS_MAX];
    struct mirror_queue *queues[MSG_TARGETS_MAX];
    struct lead_waiter waiters[MSG_TARGETS_MAX];
};

struct lead_wave;
struct lead_confirms;

struct mirrored_leads {
    struct shard *shard;
    bool is_stopped;
    bool is_opening; /* what waited is being published */
    struct lead_gather gather;
    struct idmap starts; /* struct lead_start */
    struct lead_list starting, paused, noted, few, asking;
    struct loop_task open_task; /* for those that are starting */
    struct loop_task tell_task; /* confirms */
    struct loop_task ask_task;  /* for those that are asking */
    struct loop_timer few_timer;
    struct lead_confirms **confirms; /* for each shard */
    TAILQ_HEAD(, lead_wave) waves;
    struct msg_target chosen[MSG_TARGETS_MAX];
    uint8_t room[RECORD_MSG_ROOM(MSG_TARGETS_MAX)]; /* for a record */
};

static inline struct mirrored_leads *leads_of(const struct shard *s)
{
    return s->mirrored->leads;
}

/* ---- tokens of mirror_master_await ---- */

enum lead_token {
    LEAD_TOKEN_PUBLISH, /* a: connection, b: incarnation and number of the channel */
    LEAD_TOKEN_LETTER,  /* a: the shard that sent it */
    LEAD_TOKEN_FENCE,   /* a: struct lead_wave */
    LEAD_TOKEN_SHOW,
};

#define LEAD_TOKEN_SHIFT 48u

/* mirrored_say.c: mirror_master_written_late was called. */
void lead_written_late(struct shard *s, uint64_t lsn);
/* mirrored_fence.c */
void lead_noted(struct mirrored_leads *l, struct mirrored_lead *own, uint64_t pos);
void lead_fence_answered(struct mirrored_leads *l, struct lead_wave *w, uint32_t count,
                         bool is_safe);
void lead_show_answered(struct mirrored_leads *l, const struct mirror_confirm *c, bool is_safe);
void lead_ask(void *arg);
/* mirrored_lead.c */
MUST_CHECK bool lead_accepts(struct hosted *h);
/* The metadata says that this node is to master it, though it does not yet. */
MUST_CHECK bool lead_will_be(const struct hosted *h);
/* What waits for it goes on, in this turn or the next. It may be served. */
void lead_open_soon(struct mirrored_leads *l, struct mirrored_lead *own);
/* What is paused may go on. */
void lead_resume(struct mirrored_leads *l);
/* mirrored_publish.c */
void lead_answer(void *arg, const struct mirror_confirm *c, bool is_safe);
void lead_tell(void *arg);

#endif
