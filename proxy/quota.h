/*
 * quota: how many connections and channels each source address, user and vhost has at a frontend,
 * how fast new connections and messages come, and the bounds that the configuration sets to that.
 *
 * A bound refuses, or, in alarm-only mode, is counted and logged while everybody is let in: so one
 * can see whom a number would hit before it does. What is published is not refused but slowed down:
 * it takes its place in a line, and whoever sent it waits for that place before he goes on. Counts
 * outlast a reload; bounds are the configuration's with which a session began. Any thread.
 */
#ifndef WARREN_QUOTA_H
#define WARREN_QUOTA_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_KINDS(X)                                                                             \
    X(SOURCE, "source") /* the client's address, without its port */                               \
    X(USER, "user")                                                                                \
    X(VHOST, "vhost")

enum quota_kind {
#define X(name, word) QUOTA_##name,
    QUOTA_KINDS(X)
#undef X
        QUOTA_KIND_COUNT
};

#define QUOTA_MATTERS(X)                                                                           \
    X(CONNECTIONS, "connections")                                                                  \
    X(CHANNELS, "channels")                                                                        \
    X(RATE, "rate")         /* of new connections */                                               \
    X(MESSAGES, "messages") /* published */                                                        \
    X(BYTES, "bytes")       /* from clients */

enum quota_matter {
#define X(name, word) QUOTA_##name,
    QUOTA_MATTERS(X)
#undef X
        QUOTA_MATTER_COUNT
};

/* At most so many in that time, and as many at once after a rest; 0: no bound. */
struct quota_pace {
    uint64_t count;
    uint64_t ms;
};

/* 0: no bound. */
struct quota_bounds {
    uint64_t connections;
    uint64_t channels;
    struct quota_pace rate; /* of new connections */
    struct quota_pace messages;
    struct quota_pace bytes;
};

/* Of one kind: two lines may be given, one for alarm alone. */
struct quota_limits {
    struct quota_bounds refuse;
    struct quota_bounds alarm;
};

struct quota;

/* What one name has, for as long as somebody holds it. */
struct quota_entry;

/* What is to be told, once the counts are taken. */
struct quota_verdict {
    bool ok;
    bool alarm; /* a bound of alarm-only mode is passed */
    enum quota_matter matter;
    uint64_t bound;
};

struct quota *quota_new(uint64_t seed);
void quota_free(struct quota **q);

/* One connection more of that name; *entry is the caller's until quota_leave. NULL in *entry when
 * it is refused. */
struct quota_verdict quota_enter(struct quota *q, enum quota_kind kind, struct slice name,
                                 const struct quota_limits *limits, uint64_t now_ms,
                                 struct quota_entry **entry);

/* It goes; all its channels have been closed. NULL is allowed. */
void quota_leave(struct quota *q, struct quota_entry **entry);

/* One channel more, which counts whatever the verdict is; and one less, NULL is allowed. */
struct quota_verdict quota_open(struct quota *q, struct quota_entry *entry,
                                const struct quota_limits *limits);
void quota_close(struct quota *q, struct quota_entry *entry);

/* So many messages or bytes more, which count whatever the verdict is, and may be 0. *wait_ms is
 * after how long the next one is on time; the verdict is of alarms alone. */
struct quota_verdict quota_spend(struct quota *q, struct quota_entry *entry,
                                 const struct quota_limits *limits, enum quota_matter matter,
                                 uint64_t count, uint64_t now_ms, uint64_t *wait_ms);

/* Somebody is kept waiting for it. */
void quota_slowed(struct quota *q, enum quota_kind kind, enum quota_matter matter);

/* A line for each name that has a connection, up to `most`; how many were left out. `slowed` is
 * after how long the next message of that name would be on time. */
unsigned quota_show(struct quota *q, const char *frontend, unsigned most, uint64_t now_ms,
                    struct text *out);

/* How often a bound was met; of messages and bytes, how often a client was held for it. */
uint64_t quota_refused(const struct quota *q, enum quota_kind kind, enum quota_matter matter);
uint64_t quota_alarmed(const struct quota *q, enum quota_kind kind, enum quota_matter matter);

const char *quota_kind_word(enum quota_kind kind);
const char *quota_matter_word(enum quota_matter matter);

#endif
