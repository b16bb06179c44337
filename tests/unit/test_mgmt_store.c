#include "mgmt/mgmt_store.h"
#include "stats/hist.h"

#include <criterion/criterion.h>
#include <string.h>

static struct hist hist;

/* Whatever the histogram's own steps are, a bound shows what the journal counted up to it. */
Test(mgmt_store, shows_syncs_by_the_journals_bounds)
{
    struct store_stats s;
    memset(&s, 0, sizeof s);
    uint64_t all = 0;
    for (unsigned i = 0; i < JOURNAL_LATENCY_BUCKETS; i++)
        all += s.journal.sync_us[i] = i + 1;
    s.journal.syncs = all;
    s.journal.sync_us_sum = 123456;
    s.journal.sync_us_max = 99999;
    mgmt_store_sync_hist(&s, &hist);
    cr_expect_eq(hist_count(&hist), all);
    cr_expect_eq(hist_sum(&hist), 123456);
    cr_expect_eq(hist_max(&hist), 99999);

    uint64_t so_far = 0;
    for (unsigned i = 0; i < JOURNAL_LATENCY_BUCKETS - 1; i++) {
        so_far += i + 1;
        cr_expect_eq(hist_count_to(&hist, (uint64_t)(mgmt_store_sync_bounds[i] * 1e6 + 0.5)),
                     so_far, "up to %g s", mgmt_store_sync_bounds[i]);
        cr_expect_eq((uint64_t)(mgmt_store_sync_bounds[i] * 1e6 + 0.5), UINT64_C(16) << i);
    }
}
