/* io/nonces: none is taken twice, and none forgotten early. */
#include "io/nonces.h"

#include "expect.h"
#include "io/lock.h"

#include <stdatomic.h>
#include <string.h>

TestSuite(nonces, .timeout = 60);

static enum nonce_verdict take(struct nonces *n, uint32_t number, uint64_t now_ms)
{
    uint8_t nonce[NONCE_BYTES] = { 0 };
    memcpy(nonce + 3, &number, sizeof number);
    return nonces_take(n, nonce, now_ms);
}

Test(nonces, takes_each_once_for_as_long_as_it_is_kept)
{
    struct nonces *n = nonces_new(4, 1000, 7);
    cr_expect(eq(int, take(n, 1, 5000), NONCE_TAKEN));
    cr_expect(eq(int, take(n, 1, 5000), NONCE_USED));
    cr_expect(eq(int, take(n, 2, 5500), NONCE_TAKEN));
    cr_expect(eq(int, take(n, 1, 5999), NONCE_USED));
    cr_expect(eq(int, take(n, 1, 6000), NONCE_TAKEN), "its time is over");
    cr_expect(eq(int, take(n, 2, 6000), NONCE_USED));
    nonces_free(&n);
    cr_expect(n == NULL);
    nonces_free(&n);
}

Test(nonces, refuses_when_full_and_forgets_nothing_early)
{
    struct nonces *n = nonces_new(100, 1000, 7);
    for (uint32_t i = 0; i < 100; i++)
        cr_expect(eq(int, take(n, i, 10 * i), NONCE_TAKEN));
    cr_expect(eq(int, take(n, 100, 995), NONCE_NO_ROOM));
    for (uint32_t i = 0; i < 100; i++)
        cr_expect(eq(int, take(n, i, 995), NONCE_USED));
    cr_expect(eq(int, take(n, 100, 1000), NONCE_TAKEN), "the first one's time is over");
    cr_expect(eq(int, take(n, 101, 1000), NONCE_NO_ROOM));
    nonces_free(&n);
}

/* Round and round the ring, with chains of every bucket. */
Test(nonces, remembers_a_second_of_each_thousand)
{
    struct nonces *n = nonces_new(1000, 1000, 7);
    for (uint32_t i = 0; i < 20000; i++) {
        cr_assert(eq(int, take(n, i, i), NONCE_TAKEN));
        if (i >= 999)
            cr_assert(eq(int, take(n, i - 999, i), NONCE_USED));
    }
    nonces_free(&n);
}

static struct nonces *shared_nonces;
static atomic_uint taken;

static void take_all(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < 5000; i++)
        if (take(shared_nonces, i, 1) == NONCE_TAKEN)
            atomic_fetch_add(&taken, 1);
}

Test(nonces, lets_one_thread_alone_have_each)
{
    struct thread *threads[4];
    struct err err;
    shared_nonces = nonces_new(5000, 1000, 7);
    for (unsigned i = 0; i < 4; i++) {
        threads[i] = thread_start("take", take_all, NULL, &err);
        cr_assert(threads[i] != NULL);
    }
    for (unsigned i = 0; i < 4; i++)
        thread_join(&threads[i]);
    cr_expect(eq(uint, atomic_load(&taken), 5000));
    nonces_free(&shared_nonces);
}
