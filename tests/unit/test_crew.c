#include "io/crew.h"

#include "expect.h"

#include <stdatomic.h>

#define PARTS 1000u

static atomic_uint done[PARTS];

static void work(size_t index, void *arg)
{
    atomic_fetch_add(&done[index], 1);
    atomic_fetch_add((atomic_uint *)arg, 1);
}

Test(crew, does_each_part_once_whatever_the_number_of_threads)
{
    for (unsigned threads = 0; threads <= 5; threads++) {
        atomic_uint all = 0;
        crew_run(threads, PARTS, work, &all);
        cr_expect(eq(u32, all, PARTS));
        for (unsigned i = 0; i < PARTS; i++)
            cr_assert(eq(u32, done[i], threads + 1));
    }
}

Test(crew, has_nothing_to_do_for_no_parts)
{
    atomic_uint all = 0;
    crew_run(4, 0, work, &all);
    cr_expect(eq(u32, all, 0));
    crew_run(4, 1, work, &all);
    cr_expect(eq(u32, all, 1));
}
