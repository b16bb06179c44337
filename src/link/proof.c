#include "link/proof.h"

#include "base/check.h"
#include "io/random.h"

#include <string.h>

#define VERSION     1u
#define HEAD_BYTES  ((size_t)8)
#define NONCE_BYTES ((size_t)32)

static const uint8_t magic[4] = { 'W', 'R', 'N', 'L' };

_Static_assert(HEAD_BYTES + NONCE_BYTES == PROOF_HELLO_BYTES, "a hello is head and nonce");

void proof_hello_make(uint8_t out[PROOF_HELLO_BYTES], enum proof_role role)
{
    memcpy(out, magic, sizeof magic);
    out[4] = VERSION;
    out[5] = (uint8_t)role;
    out[6] = 0;
    out[7] = (uint8_t)PROOF_HELLO_BYTES;
    random_octets(out + HEAD_BYTES, NONCE_BYTES);
}

bool proof_hello_may_be(struct slice in)
{
    size_t seen = in.len < sizeof magic ? in.len : sizeof magic;
    return seen == 0 || memcmp(in.ptr, magic, seen) == 0;
}

bool proof_hello_take(uint8_t out[PROOF_HELLO_BYTES], struct slice in, enum proof_role role,
                      struct err *err)
{
    CHECK(in.len == PROOF_HELLO_BYTES);
    if (!proof_hello_may_be(in))
        return err_set(err, ERR_PROTOCOL, "the other side is no Warren program");
    if (in.ptr[4] != VERSION || in.ptr[6] != 0 || in.ptr[7] != PROOF_HELLO_BYTES)
        return err_set(err, ERR_PROTOCOL,
                       "the other side speaks version %u of the cluster protocol, and this "
                       "program version %u",
                       (unsigned)in.ptr[4], VERSION);
    if (in.ptr[5] != role)
        return err_set(err, ERR_PROTOCOL, "the other side is of role %u, and %u was expected",
                       (unsigned)in.ptr[5], (unsigned)role);
    memcpy(out, in.ptr, PROOF_HELLO_BYTES);
    return true;
}

static void mac_of(const struct proof *p, const char *side, struct slice cookie,
                   uint8_t out[HMAC_BYTES])
{
    const struct slice parts[] = { slice_str(side), slice_of(p->caller, sizeof p->caller),
                                   slice_of(p->answerer, sizeof p->answerer) };
    hmac_sha256(cookie, parts, ARRAY_COUNT(parts), out);
}

void proof_caller_mac(const struct proof *p, struct slice cookie, uint8_t out[HMAC_BYTES])
{
    mac_of(p, "warren caller", cookie, out);
}

bool proof_caller_knows(const struct proof *p, struct slice cookie, struct slice mac)
{
    CHECK(mac.len == HMAC_BYTES);
    uint8_t wanted[HMAC_BYTES];
    proof_caller_mac(p, cookie, wanted);
    return hmac_eq(wanted, mac.ptr);
}

void proof_verdict_make(const struct proof *p, struct slice cookie, bool accepted,
                        uint8_t out[PROOF_VERDICT_BYTES])
{
    memset(out, 0, PROOF_VERDICT_BYTES);
    out[0] = accepted;
    if (accepted)
        mac_of(p, "warren answerer", cookie, out + 1);
}

enum proof_verdict proof_verdict_read(const struct proof *p, struct slice cookie,
                                      struct slice verdict)
{
    CHECK(verdict.len == PROOF_VERDICT_BYTES);
    if (verdict.ptr[0] == 0)
        return PROOF_REFUSED;
    uint8_t wanted[HMAC_BYTES];
    mac_of(p, "warren answerer", cookie, wanted);
    return verdict.ptr[0] == 1 && hmac_eq(wanted, verdict.ptr + 1) ? PROOF_ACCEPTED : PROOF_FALSE;
}
