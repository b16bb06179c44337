#include "base/mem.h"
#include "io/tls_about.h"
#include "mgmt/mgmt_totals.h"
#include "mgmt/mgmt_wire.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct text out;

static void start(void)
{
    text_init(&out, SIZE_MAX / 2);
}

static void end(void)
{
    text_fini(&out);
}

Test(mgmt_wire, a_question_comes_back, .init = start, .fini = end)
{
    uint64_t ids[] = { 1, UINT64_MAX, 3 };
    struct mgmt_wire_question q = { MGMT_WIRE_TAGS, MGMT_CHANNELS, 3, ids }, back;
    mgmt_wire_put_question(&out, &q);
    cr_assert(mgmt_wire_take_question(text_view(&out), &back));
    cr_expect(eq(int, back.kind, MGMT_WIRE_TAGS));
    cr_expect(eq(int, back.what, MGMT_CHANNELS));
    cr_expect(eq(sz, back.count, 3));
    cr_expect(memcmp(back.ids, ids, sizeof ids) == 0);
    mem_free(back.ids);
}

Test(mgmt_wire, no_prefix_is_a_question, .init = start, .fini = end)
{
    uint64_t ids[] = { 1, 2 };
    struct mgmt_wire_question back;
    mgmt_wire_put_question(&out, &(struct mgmt_wire_question){ MGMT_WIRE_QUEUES, 0, 2, ids });
    struct slice all = text_view(&out);
    for (size_t n = 0; n < all.len; n++)
        cr_expect(not(mgmt_wire_take_question(slice_head(all, n), &back)), "%zu octets", n);
}

Test(mgmt_wire, ids_come_in_groups_and_not_without_end, .init = start, .fini = end)
{
    static uint64_t ids[MGMT_WIRE_IDS_MAX + 1];
    struct mgmt_wire_question back;
    mgmt_wire_put_question(&out, &(struct mgmt_wire_question){ MGMT_WIRE_TAGS, 0, 4, ids });
    cr_expect(not(mgmt_wire_take_question(text_view(&out), &back)));
    text_clear(&out);
    mgmt_wire_put_question(
        &out, &(struct mgmt_wire_question){ MGMT_WIRE_QUEUES, 0, MGMT_WIRE_IDS_MAX + 1, ids });
    cr_expect(not(mgmt_wire_take_question(text_view(&out), &back)));
}

static const struct mgmt_queue a_queue = {
    .found = true,
    .exclusive = true,
    .consumers = 2,
    .ready = UINT64_MAX,
    .unacked = 4,
    .memory_bytes = 5,
    .acked = 6,
    .used_ms = 900,
    .has_timestamp = true,
    .head_timestamp = 7,
    .lone = 8,
    .lone_channel = { .connection = UINT64_MAX, .incarnation = UINT32_MAX, .number = UINT16_MAX },
    .lone_tag_bytes = 3,
    .lone_tag = "tag",
    .lag_count = 2,
    .lags = { { .messages = UINT64_MAX, .node = UINT16_MAX }, { .messages = 3, .node = 4 } },
};

Test(mgmt_wire, queues_come_back_as_they_were_and_as_old, .init = start, .fini = end)
{
    struct mgmt_queue there[2] = { a_queue, { .found = false } },
                      here[2] = { { .qid = 77 }, { 0 } };
    struct mgmt_queue *into[] = { &here[0], &here[1] };
    mgmt_wire_put_queues(&out, there, 2, true, 1000);
    cr_assert(mgmt_wire_take_queues(text_view(&out), into, 2, 5000));
    cr_expect(eq(u64, here[0].qid, 77), "what was asked for stays");
    cr_expect(here[0].found && here[0].exclusive && here[0].has_timestamp);
    cr_expect(eq(u64, here[0].ready, UINT64_MAX));
    cr_expect(eq(u64, here[0].acked, 6));
    cr_expect(eq(u64, here[0].used_ms, 4900), "a hundred milliseconds ago by this clock");
    cr_expect(eq(u64, here[0].lone_channel.connection, UINT64_MAX));
    cr_expect(eq(u32, here[0].lone_channel.incarnation, UINT32_MAX));
    cr_expect(eq(u16, here[0].lone_channel.number, UINT16_MAX));
    cr_expect(slice_is(slice_of(here[0].lone_tag, here[0].lone_tag_bytes), "tag"));
    cr_expect(not(here[1].found));
}

/* Older nodes would not read them. */
Test(mgmt_wire, lags_of_mirrors_come_back_where_they_were_asked_for, .init = start, .fini = end)
{
    struct mgmt_queue there[2] = { a_queue, { .found = true } },
                      here[2] = { { 0 }, { .lag_count = 1 } };
    struct mgmt_queue *into[] = { &here[0], &here[1] };
    mgmt_wire_put_queues(&out, there, 2, true, 0);
    cr_assert(mgmt_wire_take_queues(text_view(&out), into, 2, 0));
    cr_assert(eq(u32, here[0].lag_count, 2));
    cr_expect(eq(u64, here[0].lags[0].messages, UINT64_MAX));
    cr_expect(eq(u16, here[0].lags[0].node, UINT16_MAX));
    cr_expect(eq(u64, here[0].lags[1].messages, 3));
    cr_expect(eq(u32, here[1].lag_count, 0));
    size_t with = text_view(&out).len;

    text_clear(&out);
    mgmt_wire_put_queues(&out, there, 2, false, 0);
    cr_assert(mgmt_wire_take_queues(text_view(&out), into, 2, 0));
    cr_expect(eq(u32, here[0].lag_count, 0));
    cr_expect(eq(sz, text_view(&out).len, with - 1 - 2 * (4 + 8)), "as ever");
}

/* The first of them are good for a list. */
Test(mgmt_wire, more_lags_than_there_is_room_for_are_passed_over, .init = start, .fini = end)
{
    struct mgmt_queue there = a_queue, here = { 0 };
    struct mgmt_queue *into[] = { &here };
    there.lag_count = MIRRORED_LAGS_MAX;
    mgmt_wire_put_queues(&out, &there, 1, true, 0);
    struct slice all = text_view(&out);
    uint8_t more[4096];
    cr_assert(lt(sz, all.len + 12, sizeof more));
    memcpy(more, all.ptr, all.len);
    memset(more + all.len, 7, 12);
    more[all.len - MIRRORED_LAGS_MAX * 12 - 1]++;
    cr_assert(mgmt_wire_take_queues(slice_of(more, all.len + 12), into, 1, 0));
    cr_expect(eq(u32, here.lag_count, MIRRORED_LAGS_MAX));
}

Test(mgmt_wire, no_prefix_is_a_list_of_queues, .init = start, .fini = end)
{
    struct mgmt_queue here;
    struct mgmt_queue *into[] = { &here };
    mgmt_wire_put_queues(&out, &a_queue, 1, true, 1000);
    struct slice all = text_view(&out);
    for (size_t n = 0; n < all.len; n++)
        cr_expect(not(mgmt_wire_take_queues(slice_head(all, n), into, 1, 0)), "%zu octets", n);
    cr_expect(not(mgmt_wire_take_queues(all, into, 0, 0)), "another number than was asked for");
}

Test(mgmt_wire, tags_and_activities_come_back, .init = start, .fini = end)
{
    struct mgmt_queue q = { .lone_tag_bytes = 0 };
    struct mgmt_queue *queues[] = { &q };
    mgmt_wire_put_tags(&out, &a_queue, 1);
    cr_assert(mgmt_wire_take_tags(text_view(&out), queues, 1));
    cr_expect(slice_is(slice_of(q.lone_tag, q.lone_tag_bytes), "tag"));

    text_clear(&out);
    struct mgmt_consumer there = { .activity = MGMT_WAITING }, c = { .activity = MGMT_UP };
    struct mgmt_consumer *consumers[] = { &c };
    mgmt_wire_put_activities(&out, &there, 1);
    cr_assert(mgmt_wire_take_activities(text_view(&out), consumers, 1));
    cr_expect(eq(int, c.activity, MGMT_WAITING));
}

static struct mgmt_wire_clients some_clients(void)
{
    static uint8_t properties[] = "properties", arguments[] = "arguments";
    static struct tls_about tls = { .protocol = "tlsv1.3", .cipher = "aes_256_gcm" };
    static char user[] = "guest", subject[] = "CN=client";
    static struct mgmt_connection connection;
    static struct mgmt_channel channel = {
        .connection = 5, .number = 1, .confirms = true, .counts = { .published = 9 }
    };
    static struct mgmt_consumer consumer = { .connection = 5,
                                             .channel = 1,
                                             .id = 6,
                                             .qid = 7,
                                             .activity = MGMT_ACTIVE,
                                             .tag_bytes = 4,
                                             .tag = "ctag",
                                             .arguments = arguments,
                                             .arguments_bytes = 9 };
    tls.subject = subject;
    connection = (struct mgmt_connection){ .id = 5,
                                           .user = user,
                                           .mechanism = "PLAIN",
                                           .tls = &tls,
                                           .blocked = true,
                                           .connected_ms = 1700000000000,
                                           .client_properties = properties,
                                           .client_properties_bytes = 10 };
    cr_assert(sock_addr_ip("10.0.0.1", 4711, &connection.client));
    cr_assert(sock_addr_ip("::1", 5672, &connection.local));
    return (struct mgmt_wire_clients){ &connection, 1, &channel, 1, &consumer, 1 };
}

Test(mgmt_wire, clients_come_back, .init = start, .fini = end)
{
    struct mgmt_wire_clients there = some_clients(), back;
    mgmt_wire_put_clients(&out, &there);
    cr_assert(mgmt_wire_take_clients(text_view(&out), &back));
    cr_assert(back.connection_count == 1 && back.channel_count == 1 && back.consumer_count == 1);
    const struct mgmt_connection *k = &back.connections[0];
    cr_expect(sock_addr_eq(&k->client, &there.connections[0].client));
    cr_expect(sock_addr_eq(&k->local, &there.connections[0].local));
    cr_expect(eq(str, k->user, (char *)"guest"));
    cr_expect(eq(str, (char *)k->mechanism, (char *)"PLAIN"));
    cr_expect(eq(str, k->tls->protocol, (char *)"tlsv1.3"));
    cr_expect(eq(str, k->tls->subject, (char *)"CN=client"));
    cr_expect(k->tls->issuer == NULL);
    cr_expect(k->blocked);
    cr_expect(eq(u64, k->connected_ms, 1700000000000));
    cr_expect(slice_is(slice_of(k->client_properties, k->client_properties_bytes), "properties"));
    cr_expect(eq(u64, back.channels[0].counts.published, 9));
    cr_expect(back.channels[0].confirms);
    cr_expect(eq(int, back.consumers[0].activity, MGMT_ACTIVE));
    cr_expect(slice_is(slice_of(back.consumers[0].tag, back.consumers[0].tag_bytes), "ctag"));
    mgmt_wire_free_clients(&back);
}

Test(mgmt_wire, no_prefix_is_a_list_of_clients, .init = start, .fini = end)
{
    struct mgmt_wire_clients there = some_clients(), back;
    mgmt_wire_put_clients(&out, &there);
    struct slice all = text_view(&out);
    for (size_t n = 0; n < all.len; n++)
        cr_expect(not(mgmt_wire_take_clients(slice_head(all, n), &back)), "%zu octets", n);
}

static void add(void *arg, const struct mgmt_totals *one)
{
    mgmt_totals_add(arg, one);
}

Test(mgmt_wire, totals_come_back, .init = start, .fini = end)
{
    struct mgmt_totals there[2] = { { .vhost_id = 1, .queues = 2, .prefetch = 3 },
                                    { .vhost_id = 2, .queues = 40 } };
    struct mgmt_totals sum = { 0 };
    mgmt_totals_put(&out, there, 2);
    struct slice all = text_view(&out);
    for (size_t n = 0; n < all.len; n++)
        cr_expect(not(mgmt_totals_take(slice_head(all, n), add, &sum)), "%zu octets", n);
    cr_assert(mgmt_totals_take(all, add, &sum));
    cr_expect(eq(u64, sum.queues, 42));
    cr_expect(eq(u64, sum.prefetch, 3));
}
