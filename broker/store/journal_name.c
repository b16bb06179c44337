/*
 * journal_name: what the files of the journal are called.
 */
#include "store/journal.h"

#include <stdio.h>

void journal_seg_name(uint32_t seg, char name[JOURNAL_NAME_MAX])
{
    (void)snprintf(name, JOURNAL_NAME_MAX, JOURNAL_FOLDER "/%08x.seg", seg);
}

void journal_idx_name(uint32_t seg, char name[JOURNAL_NAME_MAX])
{
    (void)snprintf(name, JOURNAL_NAME_MAX, JOURNAL_FOLDER "/%08x.idx", seg);
}

void journal_spare_name(uint32_t seg, char name[JOURNAL_NAME_MAX])
{
    (void)snprintf(name, JOURNAL_NAME_MAX, JOURNAL_FOLDER "/spare-%08x", seg);
}
