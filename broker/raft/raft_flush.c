/* What the disk has of the log, and what it gets.
 *
 * Writes are numbered and become durable in order. As long as as many are on their way as may be,
 * what is new gathers and goes with the next: a slow disk makes larger groups. */
#include "base/check.h"
#include "base/mem.h"
#include "raft/raft_inner.h"

#define WRITE_BYTES_MAX (8u << 20) /* of entries; one entry may be more */

uint64_t raft_durable(const struct raft *r)
{
    /* A received snapshot replaces what is there: until it has, nothing can be counted on. */
    if (r->is_install_new && !MUTATION(RAFT_INSTALL_BEFORE_DURABLE))
        return 0;
    uint64_t last = r->disk_last;
    if (r->cut_from != 0 && r->cut_from <= last)
        last = r->cut_from - 1;
    for (uint32_t i = 0; i < r->writing_count; i++)
        if (r->writing[i].cut <= last)
            last = r->writing[i].cut - 1;
    if (MUTATION(RAFT_INSTALL_BEFORE_DURABLE) && last < r->log.base)
        last = r->log.base;
    return last;
}

bool raft_flush_hard_is_durable(const struct raft *r)
{
    return !r->is_hard_new && r->written >= r->hard_number;
}

void raft_flush_cut(struct raft *r, uint64_t from)
{
    if (r->handed < from)
        return; /* the disk never heard of them */
    if (r->cut_from == 0 || r->cut_from > from)
        r->cut_from = from;
    r->handed = from - 1;
}

void raft_flush_written(struct raft *r, uint64_t number)
{
    CHECK(number <= r->number);
    uint32_t done = 0;
    while (done < r->writing_count && r->writing[done].number <= number)
        done++;
    if (done == 0)
        return;
    r->disk_last = r->writing[done - 1].last;
    r->written = number;
    r->writing_count -= done;
    for (uint32_t i = 0; i < r->writing_count; i++)
        r->writing[i] = r->writing[i + done];
}

static size_t entries_for_one_write(const struct raft *r)
{
    size_t bytes = 0, count = 0;
    while (r->handed + count < r->log.last) {
        bytes += raft_entry_cost(raft_log_at(&r->log, r->handed + count + 1));
        if (bytes > WRITE_BYTES_MAX && count != 0)
            break;
        count++;
    }
    return count;
}

static bool has_news(const struct raft *r)
{
    return r->is_hard_new || r->is_install_new || r->cut_from != 0 || r->handed < r->log.last;
}

static void write_once(struct raft *r)
{
    struct raft_write *w = mem_zalloc(sizeof *w);
    w->number = ++r->number;
    w->has_hard = r->is_hard_new;
    w->hard = r->hard;
    w->has_install = r->is_install_new;
    if (w->has_install) {
        w->install = r->install;
        r->install_number = w->number;
    }
    w->truncate_from = r->cut_from;
    w->count = entries_for_one_write(r);
    w->entries = raft_log_copy(&r->log, r->handed + 1, w->count);
    r->handed += w->count;
    if (w->has_hard)
        r->hard_number = w->number;
    uint64_t cut = UINT64_MAX;
    if (w->has_install)
        cut = 1;
    else if (w->truncate_from != 0)
        cut = w->truncate_from;
    r->writing[r->writing_count++] = (struct raft_writing){ w->number, r->handed, cut, r->now_us };
    r->is_hard_new = r->is_install_new = false;
    r->cut_from = 0;
    raft_emit(r, RAFT_DO_WRITE)->write = w;
}

void raft_flush(struct raft *r)
{
    while (has_news(r) && r->writing_count < r->setup.writes_max)
        write_once(r);
}
