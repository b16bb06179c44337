/*
 * bench-journal: what the journal costs beside the bare disk under it.
 *
 * usage: bench-journal FOLDER [SECONDS [grow]]
 *
 * For one writer that waits for each record: how long from append to durable, beside a bare pwrite
 * and fdatasync of the same octets into a file that was used before. For writers with more under
 * way: records a second, processor time of each, what one append takes. Segments are taken back as
 * soon as they are full, as a broker does whose consumers keep up.
 */
#include "base/check.h"
#include "base/mem.h"
#include "io/clock.h"
#include "io/lock.h"
#include "stats/hist.h"
#include "store/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_BYTES ((uint32_t)16 << 20)

struct bench {
    const char *folder;
    uint64_t run_us;
    struct disk *disk;
    struct segs *segs;
    struct journal *journal;
    struct lock lock;
    struct bell moved; /* more is durable */
    struct bell work;  /* for the keeper */
    bool is_ending;
    bool grows;
    uint32_t sealed_last;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void must(bool ok, const struct err *err)
{
    if (ok)
        return;
    fprintf(stderr, "bench-journal: %s\n", err->text);
    exit(1);
}

/* ---- the journal's surroundings ------------------------------------------------------------- */

static void on_durable(void *arg)
{
    struct bench *b = arg;
    lock_take(&b->lock);
    lock_give(&b->lock);
    bell_ring(&b->moved);
}

static void on_sealed(uint32_t seg, void *arg)
{
    struct bench *b = arg;
    lock_take(&b->lock);
    b->sealed_last = seg;
    lock_give(&b->lock);
    bell_ring(&b->work);
}

static void on_failed(const struct err *err, void *arg)
{
    (void)arg;
    must(false, err);
}

static void keep(void *arg)
{
    struct bench *b = arg;
    struct err err;
    uint32_t next = 1;
    lock_take(&b->lock);
    while (!b->is_ending) {
        uint32_t last = b->sealed_last;
        lock_give(&b->lock);
        for (; !b->grows && next <= last; next++)
            must(journal_recycle(b->journal, next, &err), &err);
        must(journal_prepare(b->journal, &err), &err);
        lock_take(&b->lock);
        if (b->sealed_last == last && !b->is_ending)
            bell_wait(&b->work, &b->lock, 0);
    }
    lock_give(&b->lock);
}

static void wait_durable(struct bench *b, uint64_t lsn)
{
    lock_take(&b->lock);
    while (journal_durable(b->journal) < lsn)
        bell_wait(&b->moved, &b->lock, 0);
    lock_give(&b->lock);
}

/* ---- records -------------------------------------------------------------------------------- */

struct message {
    uint8_t head[RECORD_MSG_ROOM(1)];
    struct slice parts[2];
};

static void make_message(struct message *m, const uint8_t *body, size_t bytes)
{
    struct msg_target target = { 1, 2, 0, 0 };
    size_t n = record_put_msg(m->head, 0, &target, 1, 0, 0, bytes);
    m->parts[0] = slice_of(m->head, n);
    m->parts[1] = slice_of(body, bytes);
}

static uint8_t body[65536];

/* ---- measurements --------------------------------------------------------------------------- */

static void print_times(const char *what, size_t bytes, const struct hist *h)
{
    printf("%-34s %6zu octets   p50 %7.1f us   p99 %7.1f us\n", what, bytes,
           (double)hist_percentile(h, 0.5) / 1e3, (double)hist_percentile(h, 0.99) / 1e3);
}

static void bare(struct bench *b, size_t bytes)
{
    char path[4096];
    struct hist *h = mem_zalloc(sizeof *h);
    snprintf(path, sizeof path, "%s/bare", b->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    for (uint32_t at = 0; at < SEGMENT_BYTES; at += sizeof body)
        CHECK(pwrite(fd, body, sizeof body, at) == sizeof body);
    CHECK(fsync(fd) == 0);
    size_t len = record_padded(bytes + 38) + 40; /* as many octets as the journal writes */
    off_t at = 0;
    for (uint64_t end = clock_mono_us() + b->run_us; clock_mono_us() < end;) {
        uint64_t start = now_ns();
        CHECK(pwrite(fd, body, len, at) == (ssize_t)len && fdatasync(fd) == 0);
        hist_record(h, now_ns() - start);
        at = (at + (off_t)len) % (off_t)(SEGMENT_BYTES - sizeof body);
    }
    close(fd);
    unlink(path);
    print_times("bare pwrite + fdatasync", bytes, h);
    mem_free(h);
}

static void one_at_a_time(struct bench *b, size_t bytes)
{
    struct hist *h = mem_zalloc(sizeof *h);
    struct message m;
    for (uint64_t end = clock_mono_us() + b->run_us; clock_mono_us() < end;) {
        uint64_t lsn, start = now_ns();
        make_message(&m, body, bytes);
        (void)journal_append(b->journal, m.parts, 2, JOURNAL_SOON, &lsn);
        journal_kick(b->journal);
        wait_durable(b, lsn);
        hist_record(h, now_ns() - start);
    }
    print_times("journal, append to durable", bytes, h);
    mem_free(h);
}

/* As a publisher does whose confirms come in groups: half a window at a time. */
static void in_windows(struct bench *b, size_t bytes, unsigned window)
{
    uint64_t lsns[2] = { 0, 0 }, starts[2] = { now_ns(), now_ns() }, count = 0, append_ns = 0;
    struct hist *h = mem_zalloc(sizeof *h);
    uint64_t start = clock_mono_us(), cpu = cpu_us(), end = start + b->run_us;
    struct message m;
    unsigned half = window > 1 ? window / 2 : 1;
    for (unsigned turn = 0; clock_mono_us() < end; turn ^= 1) {
        uint64_t from = now_ns();
        for (unsigned i = 0; i < half; i++) {
            make_message(&m, body, bytes);
            (void)journal_append(b->journal, m.parts, 2, JOURNAL_SOON, &lsns[turn]);
        }
        append_ns += now_ns() - from;
        count += half;
        journal_kick(b->journal);
        starts[turn] = from;
        wait_durable(b, lsns[turn ^ 1]);
        hist_record(h, now_ns() - starts[turn ^ 1]);
    }
    uint64_t us = clock_mono_us() - start;
    printf("journal, window %-5u %5zu octets %9.0f records/s, each %5.2f us of CPU, %4.0f ns of "
           "append; "
           "durable after p50 %6.2f ms p99 %6.2f ms\n",
           window, bytes, (double)count * 1e6 / (double)us,
           (double)(cpu_us() - cpu) / (double)count, (double)append_ns / (double)count,
           (double)hist_percentile(h, 0.5) / 1e6, (double)hist_percentile(h, 0.99) / 1e6);
    mem_free(h);
}

static void print_stats(struct bench *b)
{
    struct journal_stats s;
    journal_stats(b->journal, &s);
    printf("%" PRIu64 " records, %" PRIu64 " batches, %" PRIu64 " syncs (longest %.1f ms), %" PRIu64
           " waits for a segment\n",
           s.records, s.batches, s.syncs, (double)s.sync_us_max / 1e3, s.waits);
}

int main(int argc, char **argv)
{
    struct bench b = { .folder = argc > 1 ? argv[1] : NULL };
    struct err err;
    if (b.folder == NULL) {
        fprintf(stderr, "usage: bench-journal FOLDER [SECONDS [grow]]\n");
        return 2;
    }
    b.run_us = (argc > 2 ? strtoull(argv[2], NULL, 10) : 2) * 1000000;
    b.grows = argc > 3 && strcmp(argv[3], "grow") == 0;
    b.disk = disk_new(b.folder, &err);
    must(b.disk != NULL, &err);
    b.segs = segs_new();
    lock_init(&b.lock);
    bell_init(&b.moved);
    bell_init(&b.work);
    b.journal = journal_new(&(struct journal_setup){ .disk = b.disk,
                                                     .segs = b.segs,
                                                     .segment_bytes = SEGMENT_BYTES,
                                                     .first_seg = 1,
                                                     .spare = 4,
                                                     .reserve = 2,
                                                     .slow_ms = 1000,
                                                     .on_durable = on_durable,
                                                     .on_sealed = on_sealed,
                                                     .on_failed = on_failed,
                                                     .arg = &b },
                            &err);
    must(b.journal != NULL, &err);
    must(journal_prepare(b.journal, &err) && journal_start(b.journal, &err), &err);
    struct thread *keeper = thread_start("keeper", keep, &b, &err);
    must(keeper != NULL, &err);

    static const size_t sizes[] = { 1024, 16 };
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < 2; i++) {
            bare(&b, sizes[i]);
            one_at_a_time(&b, sizes[i]);
        }
    for (size_t i = 0; i < 2; i++) {
        in_windows(&b, sizes[i], 100);
        in_windows(&b, sizes[i], 1000);
        in_windows(&b, sizes[i], 10000);
    }
    print_stats(&b);

    journal_stop(b.journal);
    lock_take(&b.lock);
    b.is_ending = true;
    lock_give(&b.lock);
    bell_ring(&b.work);
    thread_join(&keeper);
    journal_free(&b.journal);
    segs_free(&b.segs);
    disk_free(&b.disk);
    bell_fini(&b.work);
    bell_fini(&b.moved);
    lock_fini(&b.lock);
    return 0;
}
