/*
 * link_shake: how two programs of one cluster show each other, at the start of a connection, that
 * they know the cookie, which version they speak, who they are and what they want (core).
 *
 *     caller -> answerer   hello    "WRNH" 4 | length 2 | least version 2 | highest 2 | role 1
 *                                   | class 1 | nonce 32
 *     answerer -> caller   hello    the same
 *     caller -> answerer   proof    length 2 | mac 32 | about
 *     answerer -> caller   verdict  length 2 | code 1 | mac 32 | about
 *
 *     about   boot 8 | cluster 16 | node 2 | inc 4 | shard 2 | dialler 8 | session 4 | resumes 1
 *             | received 8 | wanted node 2 | name (length 1) | wanted name (length 1)
 *
 * A length counts the whole message; what follows the fields that are known here is of a later
 * version, and is passed over. A mac is HMAC-SHA256 with the cookie over a word for the side that
 * speaks, both hellos, the octets that both ends of this TLS session derive from it (RFC 8446,
 * 7.5), the code and the about: so it is good for this session alone, in this direction, and a
 * relay in the middle is of no use. The caller proves itself first, and before it has done so it
 * is told nothing but the version: a code LINK_REFUSED_COOKIE or _VERSION has a mac of zeros and no
 * about. Every other verdict is proven, and says who gives it.
 *
 * Pure: it reads and makes octets. Who moves them is the driver's matter.
 */
#ifndef WARREN_LINK_SHAKE_H
#define WARREN_LINK_SHAKE_H

#include "base/attr.h"
#include "base/slice.h"
#include "io/hmac.h"
#include "link/link.h"

#define LINK_VERSION_LEAST  2u /* of the cluster protocol, that this program speaks */
#define LINK_VERSION_MOST   3u /* REMOTE_LEAVING */
#define LINK_NONCE_BYTES    ((size_t)32)
#define LINK_EXPORTER_BYTES ((size_t)32)
#define LINK_EXPORTER       "EXPORTER-warren-link"
#define LINK_HELLO_BYTES    ((size_t)44) /* of version 1 */
#define LINK_HELLO_MAX      ((size_t)256)
#define LINK_PROOF_MAX      ((size_t)1024) /* and of a verdict */

/* What a side says about itself once it has proven itself. */
struct link_about {
    uint64_t boot; /* random, of the process */
    struct link_identity id;
    uint16_t shard;
    uint64_t dialler;                /* random, of the caller's struct link */
    uint32_t session;                /* its number there */
    bool resumes;                    /* a session that both know */
    uint64_t received;               /* octets of its frames, so far */
    uint16_t wanted_node;            /* 0: any */
    char wanted_name[LINK_NAME_MAX]; /* "": any */
};

enum link_role { LINK_CALLER = 1, LINK_ANSWERER = 2 };

enum link_shake_state {
    LINK_SHAKE_HELLO,   /* awaits the other's hello */
    LINK_SHAKE_PROOF,   /* (answerer) the caller's proof */
    LINK_SHAKE_JUDGING, /* (answerer) link_shake_answer */
    LINK_SHAKE_VERDICT, /* (caller) the answerer's verdict */
    LINK_SHAKE_DONE,    /* `peer` and `version` are known */
    LINK_SHAKE_REFUSED, /* `refusal`, `by_peer` */
    LINK_SHAKE_BAD,     /* what came is no handshake: `why` */
};

struct link_shake {
    enum link_role role;
    enum link_shake_state state;
    enum link_class class;
    struct slice cookie; /* borrowed */
    uint8_t exporter[LINK_EXPORTER_BYTES];
    uint16_t least, most; /* versions of ours */
    uint16_t peer_least, peer_most;
    uint16_t version;
    uint8_t caller_hello[LINK_HELLO_MAX];
    size_t caller_hello_len;
    uint8_t answerer_hello[LINK_HELLO_MAX];
    size_t answerer_hello_len;
    struct link_about self;
    struct link_about peer; /* its name is printable */
    bool peer_is_known;
    enum link_refusal refusal;
    bool by_peer;
    const char *why;
};

/* What to send, after each call. */
struct link_shake_out {
    uint8_t octets[LINK_PROOF_MAX];
    size_t len;
};

struct link_shake_setup {
    enum link_role role;
    enum link_class class;
    struct slice cookie;
    const uint8_t *exporter; /* LINK_EXPORTER_BYTES */
    const uint8_t *nonce;    /* LINK_NONCE_BYTES, random */
    const struct link_about *self;
    uint16_t least, most; /* 0: LINK_VERSION_... */
};

void link_shake_start(struct link_shake *s, const struct link_shake_setup *setup,
                      struct link_shake_out *out);

/* Take the next message off `in`; how many octets it had, 0: it is not whole yet (or it is nobody's
 * turn). Look at `state` after each. */
size_t link_shake_take(struct link_shake *s, struct slice in, struct link_shake_out *out);

/* While JUDGING. `self` says what the caller is to know (received, of a session that is resumed).
 */
void link_shake_answer(struct link_shake *s, enum link_refusal refusal,
                       const struct link_about *self, struct link_shake_out *out);

/* Why it was refused, with both sides' words for it, for people. Returns `room`. */
const char *link_shake_reason(const struct link_shake *s, char *room, size_t room_bytes);

#endif
