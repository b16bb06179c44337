#include "base/buf.h"

#include "expect.h"

#include <pthread.h>
#include <signal.h>

Test(buf, is_filled_by_its_maker)
{
    struct buf *b = buf_new(4);
    cr_expect(eq(sz, b->cap_bytes, 4));
    cr_expect(eq(sz, buf_slice(b).len, 0));
    memcpy(b->data, "abcd", 4);
    b->len_bytes = 3;
    cr_expect(slice_is(buf_slice(b), "abc"));
    buf_unref(&b);
    cr_expect(b == NULL);
    buf_unref(&b);
}

Test(buf, copies)
{
    struct buf *b = buf_copy(slice_of("a\0b", 3));
    cr_expect(slice_eq(buf_slice(b), slice_of("a\0b", 3)));
    buf_unref(&b);
    b = buf_copy((struct slice){ NULL, 0 });
    cr_expect(eq(sz, b->len_bytes, 0));
    buf_unref(&b);
}

Test(buf, lives_as_long_as_its_last_holder)
{
    struct buf *b = buf_copy(slice_str("body"));
    cr_expect(buf_is_sole(b));
    struct buf *other = buf_ref(b);
    cr_expect(other == b);
    cr_expect(not(buf_is_sole(b)));
    buf_unref(&b);
    cr_expect(buf_is_sole(other));
    cr_expect(slice_is(buf_slice(other), "body"));
    buf_unref(&other);
}

enum { THREADS = 4, ROUNDS = 5000 };

/* Each thread drops what it was given, whichever of them is last frees: ASan and TSan watch. */
static void *drop_all(void *arg)
{
    struct buf **given = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct buf *more = buf_ref(given[i]);
        buf_unref(&given[i]);
        cr_assert(more->data[0] == (uint8_t)i);
        buf_unref(&more);
    }
    return NULL;
}

Test(buf, is_dropped_on_any_thread, .timeout = 300)
{
    static struct buf *given[THREADS][ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t octet = (uint8_t)i;
        struct buf *b = buf_copy(slice_of(&octet, 1));
        for (int t = 0; t < THREADS; t++)
            given[t][i] = buf_ref(b);
        buf_unref(&b);
    }
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        cr_assert(pthread_create(&threads[t], NULL, drop_all, given[t]) == 0);
    for (int t = 0; t < THREADS; t++)
        cr_assert(pthread_join(threads[t], NULL) == 0);
}

Test(buf, aborts_on_a_block_past_its_count, .signal = SIGABRT)
{
    (void)buf_new((size_t)UINT32_MAX + 1);
}
