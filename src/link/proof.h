/*
 * proof: how two programs of one cluster show each other, over TCP, that they know the cookie.
 *
 *     caller -> answerer   hello  magic "WRNL" 4 | version 1 | role 1 | length 2 | nonce 32
 *     answerer -> caller   hello  the same, with its own role and nonce
 *     caller -> answerer   mac 32
 *     answerer -> caller   verdict 1 | mac 32           the verdict is 1, or 0: another cookie
 *
 * A mac is HMAC-SHA256 with the cookie over a word for the side that speaks and both hellos: so it
 * is good for this conversation alone, in this direction, between these roles, and the cookie never
 * travels. The caller proves itself first: who only listens around learns nothing to guess from.
 *
 * Pure: it reads and makes octets. Who moves them is the driver's matter.
 */
#ifndef WARREN_PROOF_H
#define WARREN_PROOF_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/hmac.h"

#define PROOF_HELLO_BYTES   ((size_t)40)
#define PROOF_MAC_BYTES     ((size_t)HMAC_BYTES)
#define PROOF_VERDICT_BYTES ((size_t)(1 + HMAC_BYTES))

/* What the side that says it is. */
enum proof_role { PROOF_ROLE_NODE = 1, PROOF_ROLE_CTL = 2 };

/* One conversation, as both sides see it. */
struct proof {
    uint8_t caller[PROOF_HELLO_BYTES];
    uint8_t answerer[PROOF_HELLO_BYTES];
};

/* Our own hello, with a fresh nonce, into `caller` or `answerer`. */
void proof_hello_make(uint8_t out[PROOF_HELLO_BYTES], enum proof_role role);

/* Is this the beginning of a hello? `in` may still be short. */
MUST_CHECK bool proof_hello_may_be(struct slice in);

/* Take the other side's hello (PROOF_HELLO_BYTES octets), which must have that role. */
MUST_CHECK bool proof_hello_take(uint8_t out[PROOF_HELLO_BYTES], struct slice in,
                                 enum proof_role role, struct err *err);

void proof_caller_mac(const struct proof *p, struct slice cookie, uint8_t out[HMAC_BYTES]);
MUST_CHECK bool proof_caller_knows(const struct proof *p, struct slice cookie, struct slice mac);

/* The answerer's last word. */
void proof_verdict_make(const struct proof *p, struct slice cookie, bool accepted,
                        uint8_t out[PROOF_VERDICT_BYTES]);

enum proof_verdict {
    PROOF_ACCEPTED, /* and the answerer knows the cookie */
    PROOF_REFUSED,  /* the answerer has another cookie */
    PROOF_FALSE     /* it says yes and cannot prove that it may */
};
MUST_CHECK enum proof_verdict proof_verdict_read(const struct proof *p, struct slice cookie,
                                                 struct slice verdict);

#endif
