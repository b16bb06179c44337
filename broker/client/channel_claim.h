/*
 * channel_claim: what a channel holds of a queue while its consumer is carried to another master.
 *
 * It asks the next master for those messages with the request that subscribes the consumer again
 * (port_request.claims), and its client knows nothing of it: the delivery tags stay. What the
 * client settles before the answer comes is settled behind it; what the next master does not know
 * to be the channel's it has given back to its queue already, and to settle it means nothing: a
 * commit that does so fails. What a transaction has taken, and not committed, is claimed, too.
 * Of one channel; on its shard's thread.
 */
#ifndef WARREN_CHANNEL_CLAIM_H
#define WARREN_CHANNEL_CLAIM_H

#include "client/unacked.h"
#include "port.h"

struct channel;
struct channel_claim;

/* Where an entry stands that is being claimed; no queue is there. */
#define CHANNEL_CLAIMING UINT32_C(0xffff0000)

/* The consumer of that id is another one's from now on. A request with all that it holds, to be
 * filled in. */
struct port_request *channel_claim(struct channel *ch, uint64_t was, uint64_t is);

/* The request is answered; the second and the third: a commit has waited for that
 * (channel_tx_on_published), and all that it settles is told now, or some may come again. */
enum channel_claim_end {
    CHANNEL_CLAIM_QUIET,
    CHANNEL_CLAIM_SETTLED,
    CHANNEL_CLAIM_LOST,
};
enum channel_claim_end channel_claimed(struct channel *ch, const struct port_request *r);

/* One that was being claimed is settled. */
void channel_settle_claimed(struct channel *ch, const struct unacked_entry *e,
                            enum port_settle how);

/* The channel ends, and all that it held is settled. Claims that are not answered yet are its
 * shard's from now on: what was said of them counts when the answer comes (channel_claims_end). */
void channel_claims_leave(struct channel *ch);

/* Its loop has ended. */
void channel_claims_free(struct shard *s);

#endif
