/*
 * promise: what a shard has to say once the journal is durable up to somewhere: confirms, the
 * answers to commits.
 *
 * Promises wait in the order in which they were appended, one line for each shard that appended,
 * since the LSNs of one shard rise. Publishes of one channel in one turn are one promise. When the
 * journal's thread has made more durable, it posts one mail to each shard whose first promise that
 * concerns; nothing is looked at that is not due. On the shard's thread but what says otherwise.
 */
#ifndef WARREN_PROMISE_H
#define WARREN_PROMISE_H

#include "port.h"

struct journal;
struct promises;

struct promises *promises_new(struct shard *s, uint32_t shard_count);
void promises_free(struct promises **p);

/* Before anything is promised; the journal is borrowed. */
void promises_start(struct promises *p, const struct journal *journal);

/* The line of those whose LSN another one gave, late: of large messages. */
#define PROMISE_LATE UINT32_MAX

/* Once everything up to `lsn` is durable, channel_on_durable tells the channel that its publish of
 * this number is. The record was appended by the shard `appender`. */
void promise_publish(struct promises *p, uint32_t appender, uint64_t lsn,
                     const struct port_channel_ref *to, uint64_t number);

/* The same, and the mail is posted to the shard. */
void promise_mail(struct promises *p, uint64_t lsn, struct mail *mail);

/* The journal is closed, or has failed: mails that wait are posted all the same. */
void promises_stop(struct promises *p);

/* So that promises_on_durable looks at this shard when anything more is written, whatever waits:
 * for connections that are held because the disk is behind. */
void promises_watch(struct promises *p);

/* The same until everything up to `lsn` is durable, and each time mirrored_durable is told how far
 * it is. */
void promises_follow(struct promises *p, uint64_t lsn);

/* More is durable. The journal's thread. */
void promises_on_durable(struct promises *p);

/* How many wait. */
uint64_t promises_waiting(const struct promises *p);

#endif
