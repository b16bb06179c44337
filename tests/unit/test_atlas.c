/* proxy/atlas: what workers read of where queues are, while it changes. */
#include "atlas.h"

#include "base/shared.h"
#include "expect.h"

#include <pthread.h>
#include <stdio.h>

enum { KEY = 77 };

static struct epoch *epoch;
static struct location_table *table;
static struct atlas *atlas;

static void set_up(void)
{
    epoch = epoch_new();
    table = location_new();
    atlas = atlas_new(epoch);
}

static void tear_down(void)
{
    atlas_retire(&atlas);
    epoch_free(&epoch);
    location_free(&table);
}

TestSuite(atlas, .init = set_up, .fini = tear_down, .timeout = 300);

static struct slice name_of(unsigned i, char room[32])
{
    (void)snprintf(room, 32, "queue %u", i);
    return slice_str(room);
}

static void put(unsigned queue, uint64_t ver, uint16_t node, unsigned flags)
{
    char room[32];
    cr_assert(location_put(
        table, &(struct location){ location_hash(KEY, slice_str("/"), name_of(queue, room)), ver,
                                   node, (uint8_t)flags }));
}

static void put_node(uint16_t node, bool is_up, uint64_t ver, uint64_t swept)
{
    cr_assert(location_put_node(table, &(struct location_node){ node, is_up, ver, swept }));
}

static void follow(void)
{
    atlas_follow(atlas, table, KEY);
}

static enum atlas_word find(unsigned queue, uint16_t *node)
{
    char room[32];
    return atlas_find(atlas, slice_str("/"), name_of(queue, room), node, NULL);
}

Test(atlas, knows_nothing_at_first)
{
    uint16_t node;
    cr_expect(find(1, &node) == ATLAS_UNKNOWN);
    cr_expect(eq(u64, atlas_count(atlas), 0));
    follow();
    cr_expect(find(1, &node) == ATLAS_UNKNOWN);
}

Test(atlas, follows_what_is_put_moved_and_taken_away)
{
    uint16_t node = 0;
    put_node(1, true, 1, 0);
    put_node(2, true, 1, 0);
    for (unsigned i = 0; i < 10000; i++)
        put(i, i + 2, (uint16_t)(1 + i % 2), 0);
    follow();
    cr_expect(eq(u64, atlas_count(atlas), 10000));
    for (unsigned i = 0; i < 10000; i++) {
        cr_assert(find(i, &node) == ATLAS_UP, "queue %u", i);
        cr_assert(eq(u32, node, 1 + i % 2));
    }
    uint64_t moves = atlas_moves(atlas), news = atlas_news(atlas);
    put(20000, 20001, 2, 0); /* a new one is news, and moves nobody */
    follow();
    cr_expect(eq(u64, atlas_moves(atlas), moves));
    cr_expect(eq(u64, atlas_news(atlas), news + 1));
    follow(); /* nothing has changed */
    cr_expect(eq(u64, atlas_news(atlas), news + 1));

    put(4, 20002, 2, 0);
    put(6, 20003, 0, LOCATION_GONE);
    follow();
    cr_expect(eq(u64, atlas_moves(atlas), moves + 1), "one that is gone is nowhere else");
    cr_expect(find(4, &node) == ATLAS_UP && node == 2);
    cr_expect(find(6, &node) == ATLAS_UNKNOWN);
    cr_expect(eq(u64, atlas_count(atlas), 10000));

    struct atlas_master masters[4];
    cr_assert(eq(sz, atlas_masters(atlas, masters, 4), 2));
    cr_expect(masters[0].node == 1 && masters[0].is_up && masters[0].queues == 4998);
    cr_expect(masters[1].node == 2 && masters[1].is_up && masters[1].queues == 5002);
}

Test(atlas, one_word_about_a_node_moves_all_that_is_there)
{
    uint16_t node;
    put_node(1, true, 1, 0);
    put(1, 2, 1, LOCATION_TRANSIENT);
    put(2, 3, 1, 0);
    put(3, 4, 9, 0); /* of a node that nobody has spoken of */
    follow();
    cr_expect(find(3, &node) == ATLAS_DOWN && node == 9);
    uint64_t moves = atlas_moves(atlas);
    put_node(1, false, 5, 5);
    follow();
    cr_expect(lt(u64, moves, atlas_moves(atlas)));
    cr_expect(find(1, &node) == ATLAS_UNKNOWN, "it went with its node");
    cr_expect(find(2, &node) == ATLAS_DOWN && node == 1, "durable: it waits");
    put_node(1, true, 6, 5);
    follow();
    cr_expect(find(2, &node) == ATLAS_UP);
    cr_expect(find(1, &node) == ATLAS_UNKNOWN);
}

Test(atlas, forgets_what_another_cluster_had)
{
    uint16_t node;
    put_node(1, true, 1, 0);
    put(1, 2, 1, 0);
    follow();
    cr_expect(find(1, &node) == ATLAS_UP);
    uint64_t moves = atlas_moves(atlas);
    location_clear(table);
    atlas_follow(atlas, table, KEY + 1);
    cr_expect(find(1, &node) == ATLAS_UNKNOWN);
    cr_expect(eq(u64, atlas_count(atlas), 0));
    cr_expect(lt(u64, moves, atlas_moves(atlas)));
}

/* Readers in their turns, while every queue moves to and fro: each sees one of both, never
 * anything else. */
enum { QUEUES = 512, ROUNDS = 300, READERS = 2 };

static struct shared is_over, reads;

static void *read_all(void *arg)
{
    struct epoch_reader *reader = arg;
    uint64_t count = 0;
    while (shared_get(&is_over) == 0) {
        epoch_online(epoch, reader);
        for (unsigned i = 0; i < QUEUES; i++, count++) {
            uint16_t node = 0;
            cr_assert(find(i, &node) == ATLAS_UP && (node == 1 || node == 2));
        }
        epoch_offline(reader);
    }
    (void)shared_add(&reads, count);
    return NULL;
}

Test(atlas, is_read_while_it_changes)
{
    pthread_t threads[READERS];
    struct epoch_reader *readers[READERS];
    uint64_t ver = 2;
    put_node(1, true, 1, 0);
    put_node(2, true, 1, 0);
    for (unsigned i = 0; i < QUEUES; i++)
        put(i, ver, 1, 0);
    follow();
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = epoch_join(epoch);
        cr_assert(pthread_create(&threads[i], NULL, read_all, readers[i]) == 0);
    }
    for (unsigned r = 0; r < ROUNDS; r++) {
        ver++;
        for (unsigned i = 0; i < QUEUES; i++)
            put(i, ver, (uint16_t)(1 + (r + i) % 2), 0);
        follow();
        epoch_reclaim(epoch);
    }
    shared_set(&is_over, 1);
    for (unsigned i = 0; i < READERS; i++) {
        cr_assert(pthread_join(threads[i], NULL) == 0);
        epoch_leave(epoch, &readers[i]);
    }
    cr_expect(lt(u64, 0, shared_get(&reads)));
    uint16_t node;
    cr_expect(find(0, &node) == ATLAS_UP && node == 1 + (ROUNDS - 1) % 2);
}
