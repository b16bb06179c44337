#include "base/mem.h"
#include "expect.h"
#include "io_kit.h"
#include "mem_disk.h"
#include "model/message.h"
#include "seg_kit.h"
#include "store/journal.h"
#include "store/large.h"
#include "store/loader.h"

#include <stdio.h>

TestSuite(loader, .timeout = 300);

#define QID 3u
#define SEG 9u

struct world {
    struct disk *disk;
    struct segs *segs;
    struct loop *loop;
    struct loader *loader;
    struct seg_kit kit;
    size_t back;
};

struct asked {
    struct load load;
    struct world *world;
};

static void on_back(struct mail *mail)
{
    struct asked *a = CONTAINER_OF(mail, struct asked, load.mail);
    a->world->back++;
}

static void world_init(struct world *w)
{
    *w = (struct world){ .disk = mem_disk_new(), .segs = segs_new(), .loop = kit_loop_new() };
    w->loader = loader_new(&(struct loader_setup){ w->disk, w->segs, NULL, w->loop, 2, "node" });
    seg_kit_init(&w->kit, SEG, 0);
    segs_add(w->segs, SEG, SEG_INDEXED, w->kit.header.bytes);
}

static void world_fini(struct world *w)
{
    cr_expect(eq(u32, atomic_load(&segs_get(w->segs, SEG)->readers), 0));
    loader_stop(w->loader);
    while (loop_settle(w->loop))
        ;
    loader_free(&w->loader);
    loop_free(&w->loop);
    segs_free(&w->segs);
    seg_kit_fini(&w->kit);
    disk_free(&w->disk);
}

static void ask(struct world *w, struct asked *a)
{
    a->world = w;
    a->load.mail.fn = on_back;
    a->load.reply_to = w->loop;
    a->load.qid = QID;
    load_hold(&a->load, w->segs);
    loader_take(w->loader, &a->load);
}

static void ask_run(struct world *w, struct asked *a, uint64_t first, uint64_t last)
{
    *a = (struct asked){ .load = { .seg = SEG, .first = first, .last = last } };
    ask(w, a);
}

static void until(struct world *w, size_t back)
{
    kit_until_count(w->loop, &w->back, back);
}

static bool is_right(const struct load_item *it, uint64_t body_bytes)
{
    return it->message != NULL && it->message->body_bytes == body_bytes &&
           slice_is(message_exchange(it->message), "x") && slice_is(message_key(it->message), "k");
}

Test(loader, reads_a_run_in_order)
{
    struct world w;
    struct asked a;
    world_init(&w);
    for (uint64_t i = 0; i < 40; i++) {
        seg_kit_msg(&w.kit, 0, QID, i, 10 + i);
        seg_kit_msg(&w.kit, 0, QID + 1, i, 500);
    }
    seg_kit_end(&w.kit);
    seg_kit_save(&w.kit, w.disk);
    ask_run(&w, &a, 5, 30);
    until(&w, 1);
    cr_expect(a.load.is_all);
    cr_assert(eq(sz, a.load.count, 26));
    for (size_t i = 0; i < 26; i++) {
        cr_expect(eq(u64, a.load.items[i].qseq, 5 + i));
        cr_expect(is_right(&a.load.items[i], 15 + i), "item %zu", i);
        cr_expect(a.load.items[i].message->persistent);
    }
    load_fini(&a.load);
    world_fini(&w);
}

Test(loader, reads_no_more_than_a_load_may)
{
    struct world w;
    struct asked a;
    world_init(&w);
    for (uint64_t i = 0; i < 300; i++)
        seg_kit_msg(&w.kit, 0, QID, i, 1);
    seg_kit_end(&w.kit);
    seg_kit_save(&w.kit, w.disk);
    ask_run(&w, &a, 0, UINT64_MAX);
    until(&w, 1);
    cr_expect(eq(sz, a.load.count, LOAD_COUNT_MAX));
    cr_expect(a.load.is_all == false);
    load_fini(&a.load);
    ask_run(&w, &a, LOAD_COUNT_MAX, UINT64_MAX);
    until(&w, 2);
    cr_expect(eq(sz, a.load.count, 300 - LOAD_COUNT_MAX));
    cr_expect(a.load.is_all);
    load_fini(&a.load);
    a = (struct asked){ .load = {
                            .seg = SEG, .first = 0, .last = UINT64_MAX, .only_index = true } };
    ask(&w, &a);
    until(&w, 3);
    cr_expect(eq(sz, a.load.count, 300));
    cr_expect(a.load.is_all);
    cr_expect(eq(u32, a.load.lost_count, 0));
    cr_expect(a.load.items[0].message == NULL && a.load.items[299].is_persistent);
    load_fini(&a.load);
    world_fini(&w);
}

static void ask_items(struct world *w, struct asked *a, const struct place *at,
                      const uint64_t *qseqs, size_t count, uint64_t body_bytes)
{
    *a = (struct asked){ .load = { .count = count } };
    a->load.items = mem_array(count, sizeof *a->load.items);
    for (size_t i = 0; i < count; i++) {
        a->load.items[i].qseq = qseqs[i];
        a->load.items[i].place = at[i];
        a->load.items[i].body_bytes = body_bytes;
    }
    ask(w, a);
}

/* In any order, of several segments, with a wrong idea of how long they are. */
Test(loader, reads_messages_at_their_places)
{
    struct world w;
    struct asked a;
    struct seg_kit other;
    struct place at[60];
    uint64_t qseqs[60];
    world_init(&w);
    seg_kit_init(&other, SEG + 1, 0);
    segs_add(w.segs, SEG + 1, SEG_SEALED, other.header.bytes);
    for (size_t i = 0; i < 60; i++) {
        size_t n = (i * 7) % 60;
        qseqs[n] = 100 + n;
        at[n] = seg_kit_msg(i % 3 == 0 ? &other : &w.kit, n % 2 == 0 ? MSG_EXPIRES : 0, QID,
                            100 + n, n == 33 ? 20000 : n);
    }
    seg_kit_save(&w.kit, w.disk);
    seg_kit_save(&other, w.disk);
    ask_items(&w, &a, at, qseqs, 60, 30);
    until(&w, 1);
    cr_expect(eq(u32, a.load.lost_count, 0), "%s", a.load.why);
    for (size_t i = 0; i < 60; i++) {
        cr_expect(is_right(&a.load.items[i], i == 33 ? 20000 : i), "item %zu", i);
        cr_expect(eq(u64, a.load.items[i].expires_ms, i % 2 == 0 ? 1700000000000 + 100 + i : 0));
    }
    load_fini(&a.load);
    cr_expect(eq(u32, atomic_load(&segs_get(w.segs, SEG + 1)->readers), 0));
    seg_kit_fini(&other);
    world_fini(&w);
}

/* The damaged one alone. */
Test(loader, loses_what_is_damaged_and_nothing_else)
{
    struct world w;
    struct asked a;
    struct place at[10];
    uint64_t qseqs[10];
    world_init(&w);
    for (size_t i = 0; i < 10; i++) {
        qseqs[i] = i;
        at[i] = seg_kit_msg(&w.kit, 0, QID, i, 100);
    }
    seg_kit_end(&w.kit);
    for (size_t bit = 0; bit < 120; bit++) {
        uint8_t *octet = w.kit.bytes + at[4].offset + bit;
        *octet ^= 0x10;
        seg_kit_save(&w.kit, w.disk);
        ask_items(&w, &a, at, qseqs, 10, 100);
        until(&w, 2 * bit + 1);
        cr_expect(eq(u32, a.load.lost_count, 1), "octet %zu", bit);
        for (size_t i = 0; i < 10; i++)
            cr_expect(is_right(&a.load.items[i], 100) == (i != 4));
        load_fini(&a.load);
        /* As a run: there is no index, and none can be made. */
        ask_run(&w, &a, 0, 9);
        until(&w, 2 * bit + 2);
        cr_expect(a.load.is_all && a.load.is_lost == false);
        cr_expect(eq(sz, a.load.count, 9), "octet %zu", bit);
        for (size_t i = 0; i < a.load.count; i++)
            cr_expect(is_right(&a.load.items[i], 100));
        load_fini(&a.load);
        *octet ^= 0x10;
        loader_forget(w.loader, SEG);
    }
    world_fini(&w);
}

/* Another queue's record, another position's: the place tells nothing then. */
Test(loader, takes_no_other_message_for_it)
{
    struct world w;
    struct asked a;
    world_init(&w);
    struct place at[] = { seg_kit_msg(&w.kit, 0, QID + 1, 1, 10),
                          seg_kit_msg(&w.kit, 0, QID, 9, 10),
                          seg_kit_settle(&w.kit, QID, 3, 3),
                          { SEG, 60000 },
                          { SEG, 70000 } };
    const uint64_t qseqs[] = { 1, 2, 3, 4, 5 };
    seg_kit_save(&w.kit, w.disk);
    ask_items(&w, &a, at, qseqs, 5, 10);
    until(&w, 1);
    cr_expect(eq(u32, a.load.lost_count, 5));
    cr_expect(a.load.why[0] != '\0');
    load_fini(&a.load);
    world_fini(&w);
}

Test(loader, reads_large_ones_from_their_files)
{
    struct world w;
    struct asked a;
    struct err err = { 0 };
    world_init(&w);
    uint8_t *body = mem_zalloc(LARGE_BODY_LEAST + 5);
    struct message *m = message_new(slice_str("x"), slice_str("k"), slice_of("\0\0", 2),
                                    slice_of(body, LARGE_BODY_LEAST + 5), true);
    cr_assert(w.disk->ops->make_folder(w.disk, LARGE_FOLDER, &err));
    cr_assert(large_write(w.disk, 77, m, &err));
    struct place at[] = { seg_kit_large(&w.kit, 0, QID, 1, 77, LARGE_BODY_LEAST + 5),
                          seg_kit_large(&w.kit, 0, QID, 2, 78, LARGE_BODY_LEAST + 5) };
    const uint64_t qseqs[] = { 1, 2 };
    seg_kit_save(&w.kit, w.disk);
    ask_items(&w, &a, at, qseqs, 2, LARGE_BODY_LEAST + 5);
    until(&w, 1);
    cr_expect(is_right(&a.load.items[0], LARGE_BODY_LEAST + 5));
    cr_expect(eq(u64, message_large_id(a.load.items[0].message), 77));
    cr_expect(eq(u32, a.load.lost_count, 1), "there is no such file");
    load_fini(&a.load);
    message_unref(&m);
    mem_free(body);
    world_fini(&w);
}

/* A file that is not there is lost; one that cannot be opened now is waited for. */
Test(loader, waits_for_files_that_can_be_opened_later)
{
    struct world w;
    struct asked a;
    const uint64_t qseq = 1;
    world_init(&w);
    struct place at = seg_kit_msg(&w.kit, 0, QID, 1, 10);
    ask_items(&w, &a, &at, &qseq, 1, 10);
    until(&w, 1);
    cr_expect(eq(u32, a.load.lost_count, 1));
    load_fini(&a.load);
    seg_kit_save(&w.kit, w.disk);
    mem_disk_fail(w.disk, MEM_DISK_OPEN, 0, ERR_IO, false);
    ask_items(&w, &a, &at, &qseq, 1, 10);
    until(&w, 2);
    cr_expect(eq(u32, a.load.lost_count, 0));
    cr_expect(is_right(&a.load.items[0], 10));
    load_fini(&a.load);
    mem_disk_fail(w.disk, MEM_DISK_READ, 0, ERR_IO, false);
    ask_items(&w, &a, &at, &qseq, 1, 10);
    until(&w, 3);
    load_fini(&a.load);
    world_fini(&w);
}

/* The same for what a load needs besides: a run's index, the file of a large one. */
Test(loader, loses_nothing_when_few_files_can_be_open)
{
    struct world w;
    struct asked a;
    struct err err = { 0 };
    const uint64_t qseqs[] = { 1, 2 };
    world_init(&w);
    uint8_t *body = mem_zalloc(LARGE_BODY_LEAST);
    struct message *m = message_new(slice_str("x"), slice_str("k"), slice_of("\0\0", 2),
                                    slice_of(body, LARGE_BODY_LEAST), true);
    cr_assert(w.disk->ops->make_folder(w.disk, LARGE_FOLDER, &err));
    cr_assert(large_write(w.disk, 77, m, &err));
    struct place at[] = { seg_kit_msg(&w.kit, 0, QID, 1, 10),
                          seg_kit_large(&w.kit, 0, QID, 2, 77, LARGE_BODY_LEAST) };
    seg_kit_end(&w.kit);
    seg_kit_save(&w.kit, w.disk);
    for (unsigned run = 0; run < 2; run++) {
        mem_disk_fail(w.disk, MEM_DISK_OPEN, 1, ERR_IO, true); /* the segment opens */
        unsigned opens = mem_disk_calls(w.disk, MEM_DISK_OPEN);
        if (run == 0)
            ask_run(&w, &a, 1, 2);
        else
            ask_items(&w, &a, at, qseqs, 2, 10);
        while (mem_disk_calls(w.disk, MEM_DISK_OPEN) < opens + 2)
            kit_turns(w.loop, 1);
        kit_turns(w.loop, 20);
        mem_disk_fail(w.disk, MEM_DISK_OPEN, 0, ERR_NONE, false);
        until(&w, run + 1);
        cr_expect(a.load.is_lost == false);
        cr_expect(eq(u32, a.load.lost_count, 0), "run %u: %s", run, a.load.why);
        cr_assert(eq(sz, a.load.count, 2));
        cr_expect(is_right(&a.load.items[0], 10));
        cr_expect(is_right(&a.load.items[1], LARGE_BODY_LEAST));
        load_fini(&a.load);
        loader_forget(w.loader, SEG);
    }
    message_unref(&m);
    mem_free(body);
    world_fini(&w);
}

/* Whatever waits when it stops comes back, and says that nothing is known. */
Test(loader, gives_back_what_it_has_not_read)
{
    struct world w;
    struct asked a[50];
    const uint64_t qseq = 1;
    world_init(&w);
    struct place at = seg_kit_msg(&w.kit, 0, QID, 1, 10);
    seg_kit_save(&w.kit, w.disk);
    mem_disk_fail(w.disk, MEM_DISK_OPEN, 0, ERR_IO, true);
    for (size_t i = 0; i < 50; i++)
        ask_items(&w, &a[i], &at, &qseq, 1, 10);
    loader_stop(w.loader);
    while (loop_settle(w.loop))
        ;
    cr_expect(eq(sz, w.back, 50));
    for (size_t i = 0; i < 50; i++) {
        cr_expect(a[i].load.is_cancelled);
        load_fini(&a[i].load);
    }
    world_fini(&w);
}

/* Many segments: few stay open. */
Test(loader, keeps_few_files_open)
{
    struct world w;
    static struct asked a[200];
    static struct seg_kit kits[200];
    const uint64_t qseq = 1;
    world_init(&w);
    for (uint32_t i = 0; i < 200; i++) {
        seg_kit_init(&kits[i], 100 + i, 4096);
        segs_add(w.segs, 100 + i, SEG_SEALED, 4096);
        struct place at = seg_kit_msg(&kits[i], 0, QID, 1, 10);
        seg_kit_save(&kits[i], w.disk);
        seg_kit_fini(&kits[i]);
        ask_items(&w, &a[i], &at, &qseq, 1, 10);
    }
    until(&w, 200);
    for (size_t i = 0; i < 200; i++) {
        cr_expect(is_right(&a[i].load.items[0], 10));
        load_fini(&a[i].load);
        loader_forget(w.loader, 100 + (uint32_t)i);
    }
    cr_expect(eq(u64, atomic_load(&loader_stats(w.loader)->messages), 200));
    world_fini(&w);
}
