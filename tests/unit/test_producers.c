#include "mirror/producers.h"

#include "expect.h"

Test(producers, knows_the_last_number_of_each)
{
    struct producers p = { 0 };
    cr_expect(eq(u64, producers_last(&p, 7), 0));
    producers_saw(&p, 7, 3);
    producers_saw(&p, 5, 9);
    producers_saw(&p, 9, 1);
    producers_saw(&p, 7, 2); /* came late: changes nothing */
    cr_expect(eq(u64, producers_last(&p, 7), 3));
    cr_expect(eq(u64, producers_last(&p, 5), 9));
    cr_expect(eq(u64, producers_last(&p, 9), 1));
    cr_expect(eq(u64, producers_last(&p, 6), 0));
    producers_forget(&p, 6);
    producers_forget(&p, 5);
    cr_expect(eq(u64, producers_last(&p, 5), 0));
    cr_expect(eq(u32, p.count, 2));
    producers_fini(&p);
}

Test(producers, forgets_whom_it_has_not_heard_of_for_longest)
{
    struct producers p = { 0 };
    for (uint64_t pid = 1; pid <= PRODUCERS_MAX; pid++)
        producers_saw(&p, pid, pid);
    producers_saw(&p, 1, 2);
    producers_saw(&p, PRODUCERS_MAX + 1, 1);
    cr_expect(eq(u64, producers_last(&p, 1), 2));
    cr_expect(eq(u64, producers_last(&p, 2), 0));
    cr_expect(eq(u64, producers_last(&p, PRODUCERS_MAX), PRODUCERS_MAX));
    cr_expect(eq(u64, producers_last(&p, PRODUCERS_MAX + 1), 1));
    cr_expect(le(u32, p.count, PRODUCERS_MAX));
    producers_fini(&p);
}

Test(producers, a_copy_stands_alone)
{
    struct producers p = { 0 }, q = { 0 };
    producers_saw(&p, 1, 1);
    producers_copy(&q, &p);
    producers_saw(&p, 1, 2);
    producers_saw(&q, 2, 5);
    cr_expect(eq(u64, producers_last(&q, 1), 1));
    cr_expect(eq(u64, producers_last(&p, 2), 0));
    producers_fini(&p);
    producers_copy(&q, &p);
    cr_expect(eq(u32, q.count, 0));
}

Test(producers, a_path_is_taken_without_gaps_from_its_beginning)
{
    struct producer_path p = { 0 };
    cr_expect(eq(int, producer_path_take(&p, 1, 1), PRODUCER_NEXT));
    cr_expect(eq(int, producer_path_take(&p, 1, 2), PRODUCER_NEXT));
    cr_expect(eq(int, producer_path_take(&p, 1, 4), PRODUCER_BROKEN));
    cr_expect(eq(int, producer_path_take(&p, 1, 3), PRODUCER_BROKEN));
    cr_expect(eq(int, producer_path_take(&p, 2, 2), PRODUCER_BROKEN), "it begins at 1");
    cr_expect(eq(int, producer_path_take(&p, 3, 1), PRODUCER_NEXT));
    cr_expect(eq(int, producer_path_take(&p, 2, 1), PRODUCER_LATE));
    cr_expect(eq(int, producer_path_take(&p, 3, 2), PRODUCER_NEXT));
    producer_path_break(&p);
    cr_expect(eq(int, producer_path_take(&p, 3, 3), PRODUCER_BROKEN));
    cr_expect(eq(int, producer_path_take(&p, 4, 1), PRODUCER_NEXT));
}
