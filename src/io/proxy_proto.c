#include "io/proxy_proto.h"

#include "base/check.h"
#include "base/text.h"
#include "base/units.h"
#include "io/hmac.h"

#include <stdio.h>

#define V2_HEAD_BYTES ((size_t)16)
#define V2_VERSION    0x20u
#define V2_LOCAL      0x20u
#define V2_PROXY      0x21u
#define V2_UNSPEC     0x00u
#define V2_TCP4       0x11u
#define V2_TCP6       0x21u
#define V2_UNIX       0x31u
#define V2_UNIX_BYTES ((size_t)216)
#define PROOF_BYTES   (PROXY_NONCE_BYTES + HMAC_BYTES)

/* Parts of PP2_TYPE_SSL. */
#define SSL_VERSION     0x21u
#define SSL_CN          0x22u
#define SSL_CIPHER      0x23u

#define TLS_BYTES_MAX   (5 + 3 * 3 + 2 * PROXY_WORD_MAX + PROXY_NAME_MAX)
#define NAMES_BYTES_MAX (1 + 8 + PROXY_PLACE_BYTES + 3 * (2 + PROXY_NAME_MAX))

_Static_assert(PROXY_V2_BUILD_MAX >= V2_HEAD_BYTES + V2_UNIX_BYTES + 3 + PROOF_BYTES + 3 +
                                         TLS_BYTES_MAX + 3 + HMAC_BYTES + NAMES_BYTES_MAX,
               "all of it fits");

static const char v1_start[] = "PROXY ";
static const uint8_t v2_start[12] = { 0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                      0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A };
static const char proof_label[] = "warren-proxy-address";
static const char names_label[] = "warren-proxy-names";

/* ---- version 1: a line of text -------------------------------------------------------------- */

/* The next word; words are parted by one blank. False when there is none. */
static bool next_word(struct slice *line, struct slice *word)
{
    if (line->ptr == NULL)
        return false;
    const uint8_t *blank = line->len != 0 ? memchr(line->ptr, ' ', line->len) : NULL;
    *word = blank != NULL ? slice_head(*line, (size_t)(blank - line->ptr)) : *line;
    *line = blank != NULL ? (struct slice){ blank + 1, line->len - word->len - 1 }
                          : (struct slice){ NULL, 0 };
    return word->len != 0;
}

static bool read_port(struct slice word, uint16_t *port)
{
    uint64_t number;
    if (word.len > 5 || (word.len > 1 && word.ptr[0] == '0') || !units_u64(word, &number) ||
        number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

static bool read_address(struct slice word, bool is_v6, uint16_t port, struct sock_addr *out)
{
    char room[64];
    struct text ip = text_over(room, sizeof room);
    text_slice(&ip, word);
    /* sock_addr_ip takes "*" for any address; a sender has one. */
    bool is_literal = memchr(word.ptr, is_v6 ? ':' : '.', word.len) != NULL;
    return is_literal && !ip.cut && strlen(room) == word.len && sock_addr_ip(room, port, out) &&
           sock_addr_is_v6(out) == is_v6;
}

static bool read_v1(struct slice line, struct proxy_header *out)
{
    struct slice family, words[4];
    uint16_t ports[2];
    if (!next_word(&line, &family))
        return false;
    if (slice_is(family, "UNKNOWN"))
        return true; /* whatever follows is to be ignored */
    bool is_v6 = slice_is(family, "TCP6");
    if (!is_v6 && !slice_is(family, "TCP4"))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (!next_word(&line, &words[i]))
            return false;
    out->has_addresses = true;
    return line.ptr == NULL && read_port(words[2], &ports[0]) && read_port(words[3], &ports[1]) &&
           read_address(words[0], is_v6, ports[0], &out->client) &&
           read_address(words[1], is_v6, ports[1], &out->server);
}

static enum proxy_cut cut_v1(struct slice in, struct proxy_header *out, size_t *len)
{
    struct slice line = slice_head(in, PROXY_V1_MAX);
    const uint8_t *end = memchr(line.ptr, '\r', line.len);
    if (end == NULL)
        return in.len < PROXY_V1_MAX ? PROXY_CUT_MORE : PROXY_CUT_BAD;
    size_t n = (size_t)(end - line.ptr);
    if (n + 1 == line.len)
        return line.len < PROXY_V1_MAX ? PROXY_CUT_MORE : PROXY_CUT_BAD;
    line.len = n;
    if (end[1] != '\n' || !read_v1(slice_from(line, strlen(v1_start)), out))
        return PROXY_CUT_BAD;
    out->version = 1;
    *len = n + 2;
    return PROXY_CUT_HEADER;
}

/* ---- version 2: a block --------------------------------------------------------------------- */

static bool read_ip(struct slice octets, uint16_t port, struct sock_addr *out)
{
    char room[64];
    struct text ip = text_over(room, sizeof room);
    for (size_t i = 0; i < octets.len; i += octets.len == 4 ? 1 : 2) {
        if (octets.len == 4)
            text_put(&ip, "%s%u", i != 0 ? "." : "", octets.ptr[i]);
        else
            text_put(&ip, "%s%x", i != 0 ? ":" : "", octets.ptr[i] << 8 | octets.ptr[i + 1]);
    }
    return sock_addr_ip(room, port, out);
}

static bool read_block(struct slice block, struct proxy_header *out)
{
    struct wire w = wire_over(block);
    size_t octets = block.len == 12 ? 4 : 16;
    struct slice client = wire_take(&w, octets), server = wire_take(&w, octets);
    uint16_t client_port = wire_u16(&w), server_port = wire_u16(&w);
    CHECK(!w.ran_out && wire_left(&w) == 0);
    out->has_addresses = true;
    return read_ip(client, client_port, &out->client) && read_ip(server, server_port, &out->server);
}

/* How long the addresses of that family and protocol are; false when it is not one that is
 * defined. */
static bool block_len_of(uint8_t family, size_t *len)
{
    switch (family) {
    case V2_UNSPEC:
        *len = 0;
        return true;
    case V2_TCP4:
    case V2_TCP4 + 1: /* UDP */
        *len = 12;
        return true;
    case V2_TCP6:
    case V2_TCP6 + 1:
        *len = 36;
        return true;
    case V2_UNIX:
    case V2_UNIX + 1: /* datagram */
        *len = V2_UNIX_BYTES;
        return true;
    default:
        return false;
    }
}

static bool read_proof(struct slice value, struct proxy_header *out)
{
    if (out->proof.len != 0 || value.len != PROOF_BYTES)
        return false;
    out->proof = value;
    return true;
}

static bool read_tls_part(uint8_t type, struct slice value, struct proxy_tls *out)
{
    switch (type) {
    case SSL_VERSION:
        out->version = value;
        return value.len <= PROXY_WORD_MAX;
    case SSL_CIPHER:
        out->cipher = value;
        return value.len <= PROXY_WORD_MAX;
    case SSL_CN:
        /* Others do not leave out what is too long for us. */
        out->common_name = value.len <= PROXY_NAME_MAX ? value : (struct slice){ NULL, 0 };
        return true;
    default:
        return true;
    }
}

static bool read_tls(struct slice value, struct proxy_header *out)
{
    struct wire w = wire_over(value);
    if (out->tls_octets.len != 0)
        return false;
    out->tls_octets = value;
    out->tls.used = wire_u8(&w);
    out->tls.verify = wire_u32(&w);
    bool ok = !w.ran_out;
    while (ok && wire_left(&w) != 0) {
        uint8_t type = wire_u8(&w);
        struct slice part = wire_take(&w, wire_u16(&w));
        ok = !w.ran_out && read_tls_part(type, part, &out->tls);
    }
    return ok;
}

static bool read_names(struct slice value, struct proxy_header *out)
{
    struct wire w = wire_over(value);
    struct slice *names[] = { &out->names.subject, &out->names.common_name, &out->names.dns_name };
    if (out->names_octets.len != 0)
        return false;
    out->names_octets = value;
    (void)wire_take(&w, HMAC_BYTES);
    bool is_known = wire_u8(&w) == PROXY_NAMES_VERSION;
    out->names.at_ms = wire_u64(&w);
    struct slice place = wire_take(&w, PROXY_PLACE_BYTES);
    if (place.len == PROXY_PLACE_BYTES)
        memcpy(out->names.place, place.ptr, place.len);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        *names[i] = wire_take(&w, wire_u16(&w));
    return is_known && !w.ran_out && wire_left(&w) == 0;
}

static bool read_tlv(uint8_t type, struct slice value, struct proxy_header *out)
{
    switch (type) {
    case PROXY_TLV_PROOF:
        return read_proof(value, out);
    case PROXY_TLV_TLS:
        return read_tls(value, out);
    case PROXY_TLV_NAMES:
        return read_names(value, out);
    default:
        return true; /* others' TLVs are none of our business */
    }
}

static bool read_tlvs(struct wire *w, struct proxy_header *out)
{
    while (wire_left(w) != 0) {
        uint8_t type = wire_u8(w);
        struct slice value = wire_take(w, wire_u16(w));
        if (w->ran_out || !read_tlv(type, value, out))
            return false;
    }
    return true;
}

static bool read_v2(uint8_t command, uint8_t family, struct slice rest, struct proxy_header *out)
{
    struct wire w = wire_over(rest);
    size_t block_len;
    out->version = 2;
    if (command == V2_LOCAL)
        return true; /* family and addresses are to be ignored */
    if (command != V2_PROXY || !block_len_of(family, &block_len))
        return false;
    if (family == V2_UNSPEC)
        return true; /* nobody knows what follows */
    out->address_block = wire_take(&w, block_len);
    if (w.ran_out || !read_tlvs(&w, out))
        return false;
    return (family != V2_TCP4 && family != V2_TCP6) || read_block(out->address_block, out);
}

static enum proxy_cut cut_v2(struct slice in, struct proxy_header *out, size_t *len)
{
    struct wire w = wire_over(slice_from(in, sizeof v2_start));
    uint8_t command = wire_u8(&w);
    if (!w.ran_out && (command & 0xF0) != V2_VERSION)
        return PROXY_CUT_BAD;
    uint8_t family = wire_u8(&w);
    uint16_t rest_len = wire_u16(&w);
    if (w.ran_out)
        return PROXY_CUT_MORE;
    /* Judged before it is waited for. */
    if (V2_HEAD_BYTES + rest_len > PROXY_V2_MAX)
        return PROXY_CUT_BAD;
    struct slice rest = wire_take(&w, rest_len);
    if (w.ran_out)
        return PROXY_CUT_MORE;
    if (!read_v2(command, family, rest, out))
        return PROXY_CUT_BAD;
    *len = V2_HEAD_BYTES + rest_len;
    return PROXY_CUT_HEADER;
}

enum proxy_cut proxy_proto_cut(struct slice in, struct proxy_header *out, size_t *len)
{
    struct slice v1 = slice_of(v1_start, strlen(v1_start));
    struct slice v2 = slice_of(v2_start, sizeof v2_start);
    *out = (struct proxy_header){ .version = 0 };
    if (slice_eq(slice_head(in, v1.len), slice_head(v1, in.len)))
        return in.len < v1.len ? PROXY_CUT_MORE : cut_v1(in, out, len);
    if (slice_eq(slice_head(in, v2.len), slice_head(v2, in.len)))
        return in.len < v2.len ? PROXY_CUT_MORE : cut_v2(in, out, len);
    return PROXY_CUT_BAD;
}

/* ---- proof ---------------------------------------------------------------------------------- */

static void prove(struct slice cookie, struct slice nonce, struct slice address_block,
                  uint8_t mac[HMAC_BYTES])
{
    const struct slice parts[] = { slice_str(proof_label), nonce, address_block };
    hmac_sha256(cookie, parts, ARRAY_COUNT(parts), mac);
}

bool proxy_proto_is_proven(const struct proxy_header *h, struct slice cookie)
{
    if (h->proof.len != PROOF_BYTES || cookie.len == 0)
        return false;
    uint8_t mac[HMAC_BYTES];
    prove(cookie, slice_head(h->proof, PROXY_NONCE_BYTES), h->address_block, mac);
    return hmac_eq(mac, h->proof.ptr + PROXY_NONCE_BYTES);
}

/* Lengths come first: where one part ends and the next one begins is proven, too. */
static void prove_names(struct slice cookie, struct slice nonce, struct slice address_block,
                        struct slice tls, struct slice names, uint8_t mac[HMAC_BYTES])
{
    uint8_t room[4];
    struct wire_out lengths = wire_out_over(room, sizeof room);
    wire_put_u16(&lengths, (uint16_t)address_block.len);
    wire_put_u16(&lengths, (uint16_t)tls.len);
    const struct slice parts[] = {
        slice_str(names_label), wire_out_slice(&lengths), nonce, address_block, tls, names
    };
    hmac_sha256(cookie, parts, ARRAY_COUNT(parts), mac);
}

bool proxy_proto_names_are_proven(const struct proxy_header *h, struct slice cookie)
{
    if (h->names_octets.len <= HMAC_BYTES || h->proof.len != PROOF_BYTES || cookie.len == 0)
        return false;
    uint8_t mac[HMAC_BYTES];
    prove_names(cookie, slice_head(h->proof, PROXY_NONCE_BYTES), h->address_block, h->tls_octets,
                slice_from(h->names_octets, HMAC_BYTES), mac);
    return hmac_eq(mac, h->names_octets.ptr);
}

const uint8_t *proxy_proto_nonce(const struct proxy_header *h)
{
    CHECK(h->proof.len == PROOF_BYTES);
    return h->proof.ptr;
}

/* ---- building ------------------------------------------------------------------------------- */

/* Both addresses in one family: *octets is 4 or 16, or 0 when one of them is not IP. */
struct both {
    size_t octets;
    uint8_t client[16], server[16];
};

static void widen(struct slice octets, size_t to, uint8_t out[16])
{
    static const uint8_t v4_mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    if (octets.len == to) {
        memcpy(out, octets.ptr, to);
        return;
    }
    memcpy(out, v4_mapped, sizeof v4_mapped);
    memcpy(out + sizeof v4_mapped, octets.ptr, 4);
}

void proxy_proto_place(const struct sock_addr *a, uint8_t place[PROXY_PLACE_BYTES])
{
    struct slice octets = a != NULL ? sock_addr_octets(a) : slice_of(NULL, 0);
    memset(place, 0, PROXY_PLACE_BYTES);
    if (octets.len == 0)
        return;
    widen(octets, 16, place);
    place[16] = (uint8_t)(sock_addr_port(a) >> 8);
    place[17] = (uint8_t)sock_addr_port(a);
}

static struct both both_of(const struct sock_addr *client, const struct sock_addr *server)
{
    struct both b = { .octets = 0 };
    struct slice c = sock_addr_octets(client), s = sock_addr_octets(server);
    if (c.len == 0 || s.len == 0)
        return b;
    b.octets = c.len > s.len ? c.len : s.len;
    widen(c, b.octets, b.client);
    widen(s, b.octets, b.server);
    return b;
}

static void put_text(struct wire_out *w, const char *text)
{
    wire_put_bytes(w, slice_str(text));
}

void proxy_proto_put_v1(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server)
{
    struct both b = both_of(client, server);
    struct sock_addr c, s;
    char line[PROXY_V1_MAX + 1], client_room[SOCK_ADDR_TEXT_MAX], server_room[SOCK_ADDR_TEXT_MAX];
    if (b.octets == 0) {
        put_text(w, "PROXY UNKNOWN\r\n");
        return;
    }
    CHECK(read_ip(slice_of(b.client, b.octets), sock_addr_port(client), &c) &&
          read_ip(slice_of(b.server, b.octets), sock_addr_port(server), &s));
    int n = snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", b.octets == 4 ? '4' : '6',
                     sock_addr_host(&c, client_room), sock_addr_host(&s, server_room),
                     sock_addr_port(&c), sock_addr_port(&s));
    CHECK(n > 0 && (size_t)n < sizeof line);
    put_text(w, line);
}

static void put_v2_head(struct wire_out *w, uint8_t command, uint8_t family, size_t rest_len)
{
    wire_put_bytes(w, slice_of(v2_start, sizeof v2_start));
    wire_put_u8(w, command);
    wire_put_u8(w, family);
    wire_put_u16(w, (uint16_t)rest_len);
}

void proxy_proto_put_v2_local(struct wire_out *w)
{
    put_v2_head(w, V2_LOCAL, V2_UNSPEC, 0);
}

static void put_proof(struct wire_out *w, struct slice cookie, struct slice nonce,
                      struct slice address_block)
{
    uint8_t mac[HMAC_BYTES];
    prove(cookie, nonce, address_block, mac);
    wire_put_u8(w, PROXY_TLV_PROOF);
    wire_put_u16(w, PROOF_BYTES);
    wire_put_bytes(w, nonce);
    wire_put_bytes(w, slice_of(mac, sizeof mac));
}

static void put_part(struct wire_out *w, uint8_t type, struct slice value, size_t most)
{
    if (value.len == 0 || value.len > most)
        return;
    wire_put_u8(w, type);
    wire_put_u16(w, (uint16_t)value.len);
    wire_put_bytes(w, value);
}

static void put_tls(struct wire_out *w, const struct proxy_tls *tls)
{
    wire_put_u8(w, (uint8_t)tls->used);
    wire_put_u32(w, tls->verify);
    put_part(w, SSL_VERSION, tls->version, PROXY_WORD_MAX);
    put_part(w, SSL_CN, tls->common_name, PROXY_NAME_MAX);
    put_part(w, SSL_CIPHER, tls->cipher, PROXY_WORD_MAX);
}

static void put_names(struct wire_out *w, const struct proxy_names *names)
{
    const struct slice all[] = { names->subject, names->common_name, names->dns_name };
    wire_put_u8(w, PROXY_NAMES_VERSION);
    wire_put_u64(w, names->at_ms);
    wire_put_bytes(w, slice_of(names->place, sizeof names->place));
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        bool fits = all[i].len <= PROXY_NAME_MAX;
        wire_put_u16(w, fits ? (uint16_t)all[i].len : 0);
        if (fits)
            wire_put_bytes(w, all[i]);
    }
}

static void put_proven_names(struct wire_out *w, const struct proxy_names *names,
                             struct slice cookie, struct slice nonce, struct slice address_block,
                             struct slice tls)
{
    uint8_t mac[HMAC_BYTES], room[NAMES_BYTES_MAX];
    struct wire_out octets = wire_out_over(room, sizeof room);
    put_names(&octets, names);
    prove_names(cookie, nonce, address_block, tls, wire_out_slice(&octets), mac);
    wire_put_u8(w, PROXY_TLV_NAMES);
    wire_put_u16(w, (uint16_t)(HMAC_BYTES + wire_out_len(&octets)));
    wire_put_bytes(w, slice_of(mac, sizeof mac));
    wire_put_bytes(w, wire_out_slice(&octets));
}

static void put_block(struct wire_out *w, const struct both *b, const struct sock_addr *client,
                      const struct sock_addr *server)
{
    wire_put_bytes(w, slice_of(b->client, b->octets));
    wire_put_bytes(w, slice_of(b->server, b->octets));
    wire_put_u16(w, sock_addr_port(client));
    wire_put_u16(w, sock_addr_port(server));
}

/* Of unix sockets, without their names. */
static void put_no_paths(struct wire_out *w)
{
    static const uint8_t paths[V2_UNIX_BYTES];
    wire_put_bytes(w, slice_of(paths, sizeof paths));
}

static uint8_t family_of(const struct both *b)
{
    if (b->octets == 0)
        return V2_UNIX;
    return b->octets == 4 ? V2_TCP4 : V2_TCP6;
}

static void put_tlvs(struct wire_out *w, struct slice cookie, struct slice nonce,
                     struct slice block, const struct proxy_told *told)
{
    uint8_t room[TLS_BYTES_MAX];
    struct wire_out tls = wire_out_over(room, sizeof room);
    if (cookie.len != 0)
        put_proof(w, cookie, nonce, block);
    if (told->tls != NULL) {
        put_tls(&tls, told->tls);
        put_part(w, PROXY_TLV_TLS, wire_out_slice(&tls), sizeof room);
    }
    if (told->names != NULL && cookie.len != 0)
        put_proven_names(w, told->names, cookie, nonce, block, wire_out_slice(&tls));
}

void proxy_proto_put_v2_told(struct wire_out *w, const struct sock_addr *client,
                             const struct sock_addr *server, struct slice cookie,
                             const uint8_t nonce[PROXY_NONCE_BYTES], const struct proxy_told *told)
{
    struct both b = both_of(client, server);
    /* Only behind addresses is there a place for what we have to say, and were nothing said of
     * names the server would take our own certificate for the client's. */
    bool is_bare = b.octets == 0 && (told->names == NULL || cookie.len == 0);
    if (is_bare) {
        put_v2_head(w, V2_PROXY, V2_UNSPEC, 0);
        return;
    }
    uint8_t block_room[V2_UNIX_BYTES], rest_room[PROXY_V2_BUILD_MAX];
    struct wire_out block = wire_out_over(block_room, sizeof block_room);
    struct wire_out rest = wire_out_over(rest_room, sizeof rest_room);
    if (b.octets != 0)
        put_block(&block, &b, client, server);
    else
        put_no_paths(&block);
    put_tlvs(&rest, cookie, slice_of(nonce, PROXY_NONCE_BYTES), wire_out_slice(&block), told);
    CHECK(!block.overflow && !rest.overflow);
    put_v2_head(w, V2_PROXY, family_of(&b), wire_out_len(&block) + wire_out_len(&rest));
    wire_put_bytes(w, wire_out_slice(&block));
    wire_put_bytes(w, wire_out_slice(&rest));
}

void proxy_proto_put_v2(struct wire_out *w, const struct sock_addr *client,
                        const struct sock_addr *server, struct slice cookie,
                        const uint8_t nonce[PROXY_NONCE_BYTES])
{
    static const struct proxy_told nothing;
    proxy_proto_put_v2_told(w, client, server, cookie, nonce, &nothing);
}
