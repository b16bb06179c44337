#include "io/nonces.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/lock.h"

#include <string.h>

#define NONE UINT32_MAX

struct used {
    uint64_t until_ms;
    uint32_t next; /* of its bucket */
    uint8_t nonce[NONCE_BYTES];
};

/* All are kept equally long, so the ring of them is in order of their end, the first at `head`. */
struct nonces {
    struct lock lock;
    uint64_t seed;
    uint64_t kept_ms;
    uint32_t most;
    uint32_t head;
    uint32_t count;
    struct used *ring;
    uint32_t *buckets; /* as many as there is room for */
};

struct nonces *nonces_new(uint32_t most, uint64_t kept_ms, uint64_t seed)
{
    CHECK(most > 0 && most < NONE);
    struct nonces *n = mem_zalloc(sizeof *n);
    lock_init(&n->lock);
    n->seed = seed;
    n->kept_ms = kept_ms;
    n->most = most;
    n->ring = mem_array(most, sizeof *n->ring);
    n->buckets = mem_array(most, sizeof *n->buckets);
    for (uint32_t i = 0; i < most; i++)
        n->buckets[i] = NONE;
    return n;
}

void nonces_free(struct nonces **nonces)
{
    struct nonces *n = *nonces;
    *nonces = NULL;
    if (n == NULL)
        return;
    lock_fini(&n->lock);
    mem_free(n->ring);
    mem_free(n->buckets);
    mem_free(n);
}

static uint32_t *bucket_of(struct nonces *n, const uint8_t *nonce)
{
    return &n->buckets[hash_bytes(slice_of(nonce, NONCE_BYTES), n->seed) % n->most];
}

static void forget_first(struct nonces *n)
{
    const struct used *u = &n->ring[n->head];
    uint32_t *at = bucket_of(n, u->nonce);
    while (*at != n->head) {
        CHECK(*at != NONE);
        at = &n->ring[*at].next;
    }
    *at = u->next;
    n->head = (n->head + 1) % n->most;
    n->count--;
}

static bool is_used(struct nonces *n, const uint8_t *nonce)
{
    uint32_t at = *bucket_of(n, nonce);
    while (at != NONE && memcmp(n->ring[at].nonce, nonce, NONCE_BYTES) != 0)
        at = n->ring[at].next;
    return at != NONE;
}

static void remember(struct nonces *n, const uint8_t *nonce, uint64_t now_ms)
{
    uint32_t at = (uint32_t)(((uint64_t)n->head + n->count) % n->most);
    uint32_t *bucket = bucket_of(n, nonce);
    n->ring[at] = (struct used){ .until_ms = now_ms + n->kept_ms, .next = *bucket };
    memcpy(n->ring[at].nonce, nonce, NONCE_BYTES);
    *bucket = at;
    n->count++;
}

enum nonce_verdict nonces_take(struct nonces *n, const uint8_t nonce[NONCE_BYTES], uint64_t now_ms)
{
    enum nonce_verdict verdict = NONCE_TAKEN;
    lock_take(&n->lock);
    /* Two for each that comes: so the work is bounded, and the table empties faster than it fills.
     */
    for (unsigned i = 0; i < 2 && n->count != 0 && n->ring[n->head].until_ms <= now_ms; i++)
        forget_first(n);
    if (is_used(n, nonce))
        verdict = NONCE_USED;
    else if (n->count == n->most)
        verdict = NONCE_NO_ROOM;
    else
        remember(n, nonce, now_ms);
    lock_give(&n->lock);
    return verdict;
}
