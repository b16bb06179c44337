#include "io/random.h"

#include "base/check.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

void random_octets(void *into, size_t octets)
{
    uint8_t *at = into;
    while (octets != 0) {
        ssize_t n = getrandom(at, octets, 0);
        CHECK(n > 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            octets -= (size_t)n;
        }
    }
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_octets(&v, sizeof v);
    return v;
}
