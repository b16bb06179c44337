#include "mgmt/mgmt_store.h"

#include "alarms.h"
#include "broker.h"
#include "live.h"
#include "mgmt/mgmt_json.h"
#include "stats/hist.h"

/* ---- alarms ---- */

static void put_alarm(json_t *list, const char *node, const char *resource)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "node", node, "resource", resource));
}

static void put_alarms(json_t *list, const char *node, unsigned alarms)
{
    if ((alarms & BROKER_ALARM_MEMORY) != 0)
        put_alarm(list, node, "memory");
    if ((alarms & BROKER_ALARM_DISK) != 0)
        put_alarm(list, node, "disk");
}

json_t *mgmt_alarms(const struct broker *b, const char *node)
{
    json_t *list = json_array();
    put_alarms(list, node, broker_alarms(b));
    return list;
}

json_t *mgmt_cluster_alarms(const struct broker *b, const char *node)
{
    json_t *list = mgmt_alarms(b, node);
    struct alarm others[ALARMS_MAX];
    size_t count = alarms_elsewhere(b, others);
    for (size_t i = 0; i < count; i++) {
        const struct meta_node *n = meta_node_get(broker_meta(b), others[i].node);
        char room[META_NAME_MAX + 1];
        struct text name = text_over(room, sizeof room);
        if (n == NULL)
            continue; /* it has just been removed, and its alarm goes */
        text_slice(&name, n->name);
        put_alarms(list, room, others[i].what);
    }
    return list;
}

/* ---- how long syncs take ---- */

#define BUCKET_FIRST_US 16u /* bucket n: up to this times 2 to the nth */

/* 2 to the nth is what a double holds exactly, so these are what they say. */
#define BOUND(n) (16e-6 * (double)(1u << (n)))
const double mgmt_store_sync_bounds[JOURNAL_LATENCY_BUCKETS - 1] = {
    BOUND(0),  BOUND(1),  BOUND(2),  BOUND(3),  BOUND(4),  BOUND(5),  BOUND(6),  BOUND(7),
    BOUND(8),  BOUND(9),  BOUND(10), BOUND(11), BOUND(12), BOUND(13), BOUND(14), BOUND(15),
    BOUND(16), BOUND(17), BOUND(18), BOUND(19), BOUND(20), BOUND(21), BOUND(22),
};

void mgmt_store_sync_hist(const struct store_stats *s, struct hist *out)
{
    /* Values from the middle of each bucket; the sum is known better. */
    for (unsigned i = 0; i < JOURNAL_LATENCY_BUCKETS; i++)
        hist_record_many(out, ((uint64_t)BUCKET_FIRST_US * 3 / 4) << i, s->journal.sync_us[i]);
    atomic_store_explicit(&out->sum, s->journal.sync_us_sum, memory_order_relaxed);
    atomic_store_explicit(&out->max, s->journal.sync_us_max, memory_order_relaxed);
}

/* Those that have something in them; "up_to_us" is null for the last one, which has no bound. */
static json_t *latency(const struct journal_stats *j)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < JOURNAL_LATENCY_BUCKETS; i++) {
        if (j->sync_us[i] == 0)
            continue;
        json_t *o = json_object();
        if (i + 1 < JOURNAL_LATENCY_BUCKETS)
            json_out_put_u64(o, "up_to_us", (uint64_t)BUCKET_FIRST_US << i);
        else
            json_out_put(o, "up_to_us", json_null());
        json_out_put_u64(o, "count", j->sync_us[i]);
        json_array_append_new(list, o);
    }
    return list;
}

/* ---- the journal ---- */

static const char *state_of(const struct store_stats *s)
{
    if ((s->alarms & STORE_FAILED) != 0)
        return "failed";
    return (s->alarms & (STORE_JOURNAL_SHORT | STORE_LARGE_WAITS)) != 0 ? "disk full" : "running";
}

static json_t *syncs(const struct journal_stats *j)
{
    json_t *o = json_object();
    json_out_put_u64(o, "count", j->syncs);
    json_out_put_u64(o, "slow", j->slow_syncs);
    json_out_put_u64(o, "sum_us", j->sync_us_sum);
    json_out_put_u64(o, "max_us", j->sync_us_max);
    json_out_put(o, "latency", latency(j));
    return o;
}

static json_t *recovery(const struct store_recovery *r)
{
    if (r->at_ms == 0)
        return json_null();
    json_t *o = json_object();
    json_out_put_u64(o, "at", r->at_ms / 1000u);
    json_out_put_u64(o, "took_ms", r->took_ms);
    json_out_put_u64(o, "bytes_read", r->read_bytes);
    json_out_put_u64(o, "records", r->records);
    json_out_put_u64(o, "messages", r->messages);
    json_out_put_u64(o, "damages", r->damages);
    json_out_put_u64(o, "torn_bytes", r->torn_bytes);
    json_out_put_bool(o, "closed_in_order", r->is_clean);
    return o;
}

static void put_files(json_t *o, const struct store_stats *s)
{
    json_out_put_u64(o, "bytes", s->segs.bytes);
    json_out_put_u64(o, "bytes_alive", s->segs.alive_bytes);
    json_out_put_u64(o, "bytes_dead", s->dead_bytes);
    json_out_put_u64(o, "segments", s->segs.count);
    json_out_put_u64(o, "spare_segments", s->journal.spares);
    json_out_put_u64(o, "messages", s->segs.alive_count);
    json_out_put_u64(o, "large_files", s->large_files);
    json_out_put_u64(o, "large_bytes", s->large_bytes);
    json_out_put_u64(o, "disk_free", s->disk_free_bytes);
    json_out_put_u64(o, "disk_free_limit", s->disk_limit_bytes);
    json_out_put_u64(o, "disk_total", s->disk_total_bytes);
}

static void put_work(json_t *o, const struct store_stats *s)
{
    json_out_put_u64(o, "records_written", s->journal.records);
    json_out_put_u64(o, "bytes_written", s->journal.bytes);
    json_out_put_u64(o, "groups_written", s->journal.batches);
    json_out_put_u64(o, "backlog_bytes", s->backlog_bytes);
    json_out_put_u64(o, "waits_for_segments", s->journal.waits);
    json_out_put_u64(o, "segments_evacuated", s->evacuated_segs);
    json_out_put_u64(o, "bytes_evacuated", s->evacuated_bytes);
    json_out_put_u64(o, "segments_recycled", s->recycled_segs);
    json_out_put_u64(o, "segments_indexed", s->indexed_segs);
    json_out_put_u64(o, "messages_read_back", s->loaded_messages);
    json_out_put_u64(o, "bytes_read_back", s->loaded_bytes);
    json_out_put_u64(o, "messages_lost", s->lost_messages);
}

json_t *mgmt_store_journal(const struct broker *b, const struct mgmt_totals *totals)
{
    static const char *const promises[] = { [BROKER_SYNC_ALWAYS] = "always",
                                            [BROKER_SYNC_INTERVAL] = "interval",
                                            [BROKER_SYNC_NONE] = "none" };
    struct store_stats s;
    if (!broker_store_stats(b, &s))
        return json_null();
    const struct broker_conf *conf = broker_live(b)->conf;
    json_t *o = json_object();
    json_out_put_str(o, "state", state_of(&s));
    json_out_put_str(o, "sync", promises[conf->store.sync]);
    put_files(o, &s);
    put_work(o, &s);
    json_out_put(o, "syncs", syncs(&s.journal));
    json_out_put_u64(o, "messages_paged_out", totals->paged_out);
    json_out_put_u64(o, "message_bytes_paged_out", totals->paged_out_bytes);
    json_out_put(o, "recovery", recovery(&s.recovery));
    return o;
}

/* ---- a node ---- */

static double average_ms(uint64_t us, uint64_t count)
{
    return count != 0 ? (double)us / (double)count / 1e3 : 0;
}

void mgmt_store_put_io(json_t *node, const struct broker *b)
{
    struct store_stats s;
    (void)broker_store_stats(b, &s); /* zeros, where nothing is on disk */
    json_out_put_u64(node, "io_read_count", s.loads);
    json_out_put_u64(node, "io_read_bytes", s.loaded_bytes);
    json_out_put_u64(node, "io_write_count", s.journal.batches);
    json_out_put_u64(node, "io_write_bytes", s.journal.bytes);
    json_out_put_u64(node, "io_sync_count", s.journal.syncs);
    json_out_put(node, "io_sync_avg_time",
                 json_real(average_ms(s.journal.sync_us_sum, s.journal.syncs)));
    json_out_put_u64(node, "msg_store_read_count", s.loaded_messages);
    json_out_put_u64(node, "msg_store_write_count", s.journal.records);
}
