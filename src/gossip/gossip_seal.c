#include "gossip/gossip_seal.h"

#include "base/check.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "io/aead.h"
#include "io/hmac.h"

#include <openssl/crypto.h>

#define MAGIC       0x5747u /* "WG" */
#define VERSION     1u
#define HEAD_BYTES  ((size_t)28)
#define GENERATION  0u /* of the key: room for a change of it in a later version */
#define WINDOW_BITS 1024u

_Static_assert(HEAD_BYTES + AEAD_TAG_BYTES == GOSSIP_SEAL_BYTES, "the seal is head and tag");

struct sender {
    uint64_t id, boot;
    uint64_t next; /* the highest counter seen, and one more */
    uint64_t floor;
    uint64_t seen[WINDOW_BITS / 64]; /* bit n % WINDOW_BITS: counter n, of the last WINDOW_BITS */
    struct aead *key;
};

struct gossip_seal {
    uint64_t id, boot;
    uint64_t counter;
    uint8_t key[HMAC_BYTES]; /* the cluster's */
    struct aead *own;
    struct idmap senders;
};

/* ---- keys -------------------------------------------------------------------------------------
 */

static void cluster_key(const struct gossip_seal_setup *setup, uint8_t out[HMAC_BYTES])
{
    uint8_t purpose[7] = { 'g', 'o', 's', 's', 'i', 'p', GENERATION };
    hkdf_sha256(setup->cookie, slice_of(setup->cluster, GOSSIP_CLUSTER_BYTES),
                slice_of(purpose, sizeof purpose), out);
}

static struct aead *sender_key(const struct gossip_seal *s, uint64_t id, uint64_t boot)
{
    uint8_t purpose[22], bytes[HMAC_BYTES];
    struct wire_out w = wire_out_over(purpose, sizeof purpose);
    wire_put_bytes(&w, slice_str("sender"));
    wire_put_u64(&w, id);
    wire_put_u64(&w, boot);
    CHECK(!w.overflow);
    hkdf_sha256(slice_of(s->key, sizeof s->key), slice_of(NULL, 0), wire_out_slice(&w), bytes);
    struct aead *a = aead_new(bytes);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return a;
}

static void nonce_of(uint64_t counter, uint8_t out[AEAD_NONCE_BYTES])
{
    struct wire_out w = wire_out_over(out, AEAD_NONCE_BYTES);
    wire_put_u32(&w, 0);
    wire_put_u64(&w, counter);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct gossip_seal *gossip_seal_new(const struct gossip_seal_setup *setup)
{
    CHECK(setup->id != 0);
    struct gossip_seal *s = mem_zalloc(sizeof *s);
    s->id = setup->id;
    s->boot = setup->boot;
    s->counter = 1;
    idmap_init(&s->senders);
    cluster_key(setup, s->key);
    s->own = sender_key(s, s->id, s->boot);
    return s;
}

static void sender_free(struct sender *x)
{
    aead_free(&x->key);
    mem_free(x);
}

void gossip_seal_free(struct gossip_seal **s)
{
    if (*s == NULL)
        return;
    for (struct sender *x; (x = idmap_first(&(*s)->senders)) != NULL; sender_free(x))
        (void)idmap_take(&(*s)->senders, x->id);
    idmap_fini(&(*s)->senders);
    aead_free(&(*s)->own);
    OPENSSL_cleanse((*s)->key, sizeof(*s)->key);
    mem_free(*s);
    *s = NULL;
}

/* ---- ours -------------------------------------------------------------------------------------
 */

uint64_t gossip_seal_counter(const struct gossip_seal *s)
{
    return s->counter;
}

size_t gossip_seal_make(struct gossip_seal *s, struct slice payload, uint8_t out[GOSSIP_PACKET_MAX])
{
    CHECK(payload.len <= GOSSIP_PAYLOAD_MAX);
    uint8_t nonce[AEAD_NONCE_BYTES], head[HEAD_BYTES];
    struct wire_out w = wire_out_over(head, sizeof head);
    wire_put_u16(&w, MAGIC);
    wire_put_u8(&w, VERSION);
    wire_put_u8(&w, GENERATION);
    wire_put_u64(&w, s->id);
    wire_put_u64(&w, s->boot);
    wire_put_u64(&w, s->counter);
    CHECK(!w.overflow && wire_out_len(&w) == HEAD_BYTES);
    memcpy(out, head, sizeof head);
    nonce_of(s->counter++, nonce);
    aead_seal(s->own, nonce, slice_of(out, HEAD_BYTES), payload, out + HEAD_BYTES);
    return HEAD_BYTES + payload.len + AEAD_TAG_BYTES;
}

/* ---- others -----------------------------------------------------------------------------------
 */

bool gossip_seal_believes(const struct gossip_seal *s, uint64_t id, uint64_t boot)
{
    const struct sender *x = idmap_get(&s->senders, id);
    return x != NULL && x->boot == boot;
}

void gossip_seal_forget(struct gossip_seal *s, uint64_t id)
{
    struct sender *x = idmap_take(&s->senders, id);
    if (x != NULL)
        sender_free(x);
}

bool gossip_seal_believe(struct gossip_seal *s, uint64_t id, uint64_t boot, uint64_t counter)
{
    CHECK(id != 0);
    if (gossip_seal_believes(s, id, boot))
        return true; /* what was seen of it stays seen */
    gossip_seal_forget(s, id);
    if (s->senders.count >= GOSSIP_SEAL_SENDERS_MAX)
        return false;
    struct sender *x = mem_zalloc(sizeof *x);
    x->id = id;
    x->boot = boot;
    x->next = x->floor = counter;
    x->key = sender_key(s, id, boot);
    idmap_put(&s->senders, id, x);
    return true;
}

static void bit_set(struct sender *x, uint64_t n)
{
    x->seen[n % WINDOW_BITS / 64] |= (uint64_t)1 << n % 64;
}

static void bit_clear(struct sender *x, uint64_t n)
{
    x->seen[n % WINDOW_BITS / 64] &= ~((uint64_t)1 << n % 64);
}

/* Once each; of what lies behind the window nothing is known, so it does not count. */
static bool counts(struct sender *x, uint64_t n)
{
    if (n < x->floor || n == UINT64_MAX)
        return false;
    if (n >= x->next) {
        uint64_t fresh = n - x->next;
        if (fresh >= WINDOW_BITS)
            memset(x->seen, 0, sizeof x->seen);
        for (uint64_t i = x->next; fresh < WINDOW_BITS && i < n; i++)
            bit_clear(x, i);
        x->next = n + 1;
        bit_set(x, n);
        return true;
    }
    if (x->next - n > WINDOW_BITS || (x->seen[n % WINDOW_BITS / 64] >> n % 64 & 1) != 0)
        return false;
    bit_set(x, n);
    return true;
}

enum gossip_opened gossip_seal_open(struct gossip_seal *s, struct slice packet,
                                    uint8_t room[GOSSIP_PAYLOAD_MAX], struct gossip_opening *out)
{
    struct wire w = wire_over(packet);
    bool is_ours = wire_u16(&w) == MAGIC;
    is_ours &= wire_u8(&w) == VERSION;
    is_ours &= wire_u8(&w) == GENERATION;
    uint64_t id = wire_u64(&w);
    uint64_t boot = wire_u64(&w);
    uint64_t counter = wire_u64(&w);
    struct slice sealed = wire_rest(&w);
    if (!is_ours || w.ran_out || packet.len > GOSSIP_PACKET_MAX || sealed.len < AEAD_TAG_BYTES ||
        id == 0 || id == s->id)
        return GOSSIP_OPENED_FOREIGN;

    uint8_t nonce[AEAD_NONCE_BYTES];
    nonce_of(counter, nonce);
    struct slice head = slice_head(packet, HEAD_BYTES);
    struct sender *x = idmap_get(&s->senders, id);
    struct aead *known = x != NULL && x->boot == boot ? x->key : NULL;
    struct aead *a = known != NULL ? known : sender_key(s, id, boot);
    bool ok = aead_open(a, nonce, head, sealed, room);
    if (known == NULL)
        aead_free(&a);
    if (!ok)
        return GOSSIP_OPENED_FALSE;
    *out = (struct gossip_opening){ id, boot, slice_of(room, sealed.len - AEAD_TAG_BYTES) };
    if (known == NULL)
        return GOSSIP_OPENED_STRANGER;
    return counts(x, counter) ? GOSSIP_OPENED : GOSSIP_OPENED_REPLAY;
}
