#include "client/reply_to.h"

#include "base/wire.h"

#include <openssl/crypto.h>

#define REF_BYTES 14u

static const char digits[] = "0123456789abcdef";

static uint8_t *put_hex(uint8_t *at, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        *at++ = (uint8_t)digits[bytes[i] >> 4];
        *at++ = (uint8_t)digits[bytes[i] & 15];
    }
    return at;
}

static bool digit(uint8_t c, unsigned *out)
{
    if (c >= '0' && c <= '9')
        *out = c - (unsigned)'0';
    else if (c >= 'a' && c <= 'f')
        *out = c - (unsigned)'a' + 10;
    else
        return false;
    return true;
}

/* One spelling alone is an address: capitals are not. */
static bool take_hex(const uint8_t **at, uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned high;
        unsigned low;
        if (!digit(*(*at)++, &high) || !digit(*(*at)++, &low))
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void reply_to_write(const struct reply_address *a, uint8_t *out)
{
    uint8_t ref[REF_BYTES];
    struct wire_out w = wire_out_over(ref, sizeof ref);
    wire_put_u64(&w, a->channel.connection);
    wire_put_u32(&w, a->channel.incarnation);
    wire_put_u16(&w, a->channel.number);
    memcpy(out, REPLY_TO_NAME ".", sizeof REPLY_TO_NAME);
    out = put_hex(out + sizeof REPLY_TO_NAME, ref, sizeof ref);
    *out++ = '.';
    put_hex(out, a->secret, sizeof a->secret);
}

bool reply_to_read(struct slice name, struct reply_address *out)
{
    if (name.len != REPLY_TO_ADDRESS_BYTES || !slice_starts(name, REPLY_TO_NAME "."))
        return false;
    uint8_t ref[REF_BYTES];
    const uint8_t *at = name.ptr + sizeof REPLY_TO_NAME;
    if (!take_hex(&at, ref, sizeof ref) || *at++ != '.' ||
        !take_hex(&at, out->secret, sizeof out->secret))
        return false;
    struct wire w = wire_over(slice_of(ref, sizeof ref));
    out->channel.connection = wire_u64(&w);
    out->channel.incarnation = wire_u32(&w);
    out->channel.number = wire_u16(&w);
    return true;
}

bool reply_to_same_secret(const struct reply_address *a, const struct reply_address *b)
{
    return CRYPTO_memcmp(a->secret, b->secret, sizeof a->secret) == 0;
}

int reply_to_compare(const struct reply_address *a, const struct reply_address *b)
{
    uint8_t x[REPLY_TO_ADDRESS_BYTES];
    uint8_t y[REPLY_TO_ADDRESS_BYTES];
    reply_to_write(a, x);
    reply_to_write(b, y);
    return memcmp(x, y, sizeof x);
}
