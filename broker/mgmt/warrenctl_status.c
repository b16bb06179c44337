#include "mgmt/warrenctl_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GB 1e9

static void heading(const char *text)
{
    printf("\n\033[1m%s\033[0m\n\n", text);
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "";
}

static uint64_t number_of(const json_t *o, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(o, name));
}

static void print_items(const json_t *list)
{
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) printf(" * %s\n", json_string_value(item));
}

static void print_lines_or_none(const json_t *list)
{
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item) puts(json_string_value(item));
    if (json_array_size(list) == 0)
        puts("(none)");
}

void warrenctl_alarm_text(const json_t *alarm, struct text *out)
{
    bool is_memory = strcmp(text_of(alarm, "resource"), "memory") == 0;
    text_put(out, "%s alarm on node %s", is_memory ? "Memory" : "Free disk space",
             text_of(alarm, "node"));
}

static void print_alarms(const json_t *alarms)
{
    size_t index;
    json_t *item;
    heading("Alarms");
    json_array_foreach(alarms, index, item)
    {
        char room[320];
        struct text t = text_over(room, sizeof room);
        warrenctl_alarm_text(item, &t);
        puts(room);
    }
    if (json_array_size(alarms) == 0)
        puts("(none)");
}

/* 0.1384, and 0.0 rather than 0.0000: as Elixir rounds. */
static void print_gb(uint64_t bytes)
{
    char room[32];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "%.4f", (double)bytes / GB);
    while (t.len > 3 && room[t.len - 1] == '0' && room[t.len - 2] != '.')
        room[--t.len] = '\0';
    fputs(room, stdout);
}

/* ---- status ---- */

static void print_runtime(const json_t *o)
{
    puts("\033[1mRuntime\033[0m\n");
    printf("OS PID: %" PRIu64 "\n", number_of(o, "pid"));
    printf("OS: %s\n", text_of(o, "os"));
    printf("Uptime (seconds): %" PRIu64 "\n", number_of(o, "uptime"));
    printf("Is under maintenance?: %s\n",
           json_is_true(json_object_get(o, "is_under_maintenance")) ? "true" : "false");
    printf("Warren version: %s\n", text_of(o, "product_version"));
    printf("Node name: %s\n", text_of(o, "node"));
    printf("Crypto library: %s\n", text_of(o, "crypto_lib_version"));
    printf("Threads: %" PRIu64 "\n", number_of(o, "threads"));
}

void warrenctl_print_memory(const json_t *memory)
{
    static const char *const parts[] = { "messages", "other" };
    uint64_t total = number_of(json_object_get(memory, "total"), "rss");
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        uint64_t bytes = number_of(memory, parts[i]);
        printf("%s: ", parts[i]);
        print_gb(bytes);
        printf(" gb (%.2f %%)\n", total != 0 ? 100.0 * (double)bytes / (double)total : 0.0);
    }
}

static void print_memory(const json_t *o)
{
    const json_t *m = json_object_get(o, "memory");
    const json_t *setting = json_object_get(o, "vm_memory_high_watermark_setting");
    uint64_t total = number_of(json_object_get(m, "total"), "rss");
    heading("Memory");
    fputs("Total memory used: ", stdout);
    print_gb(total);
    printf(" gb\nCalculation strategy: %s\n", text_of(m, "strategy"));
    fputs("Memory high watermark setting: ", stdout);
    if (json_object_get(setting, "relative") != NULL) {
        printf("%g of available memory", json_number_value(json_object_get(setting, "relative")));
    } else {
        print_gb(number_of(setting, "absolute"));
        fputs(" gb", stdout);
    }
    fputs(", computed to: ", stdout);
    print_gb(number_of(o, "vm_memory_high_watermark_limit"));
    fputs(" gb\n\n", stdout);
    warrenctl_print_memory(m);
}

static void print_disk(const json_t *o)
{
    heading("Free Disk Space");
    fputs("Low free disk space watermark: ", stdout);
    print_gb(number_of(o, "disk_free_limit"));
    fputs(" gb\nFree disk space: ", stdout);
    print_gb(number_of(o, "disk_free"));
    fputs(" gb\n", stdout);
}

/* ---- the journal ---- */

static void print_bytes(const char *name, const json_t *o, const char *key)
{
    printf("%s: ", name);
    print_gb(number_of(o, key));
    puts(" gb");
}

static void print_count(const char *name, const json_t *o, const char *key)
{
    printf("%s: %" PRIu64 "\n", name, number_of(o, key));
}

/* "16.384 ms", "32 us" */
static void put_us(struct text *t, uint64_t us)
{
    if (us < 1000)
        text_put(t, "%" PRIu64 " us", us);
    else
        text_put(t, "%.1f ms", (double)us / 1e3);
}

static void print_latency(const json_t *syncs)
{
    size_t index;
    json_t *item;
    uint64_t all = number_of(syncs, "count"), so_far = 0;
    json_array_foreach(json_object_get(syncs, "latency"), index, item)
    {
        char room[64];
        struct text t = text_over(room, sizeof room);
        so_far += number_of(item, "count");
        if (json_is_null(json_object_get(item, "up_to_us")))
            text_str(&t, "any time");
        else
            put_us(&t, number_of(item, "up_to_us"));
        printf("  up to %-10s %10" PRIu64 "  %6.2f %%\n", room, number_of(item, "count"),
               100.0 * (double)so_far / (double)all);
    }
}

static void print_syncs(const json_t *syncs)
{
    char mean[64], most[64];
    struct text a = text_over(mean, sizeof mean), b = text_over(most, sizeof most);
    uint64_t count = number_of(syncs, "count");
    put_us(&a, count != 0 ? number_of(syncs, "sum_us") / count : 0);
    put_us(&b, number_of(syncs, "max_us"));
    printf("Syncs: %" PRIu64 ", of them slow: %" PRIu64 "; mean %s, longest %s\n", count,
           number_of(syncs, "slow"), mean, most);
    print_latency(syncs);
}

static void print_recovery(const json_t *r)
{
    if (json_is_null(r)) {
        puts("Last recovery: none, the data folder was new");
        return;
    }
    printf("Last recovery: %" PRIu64 " messages in %.1f s; the journal %s\n",
           number_of(r, "messages"), (double)number_of(r, "took_ms") / 1e3,
           json_is_true(json_object_get(r, "closed_in_order"))
               ? "had been closed in order"
               : "had not been closed (a kill or a crash)");
    if (number_of(r, "damages") != 0)
        printf("Lost data was found in %" PRIu64 " places: see the log, and warren-broker "
               "--check-store\n",
               number_of(r, "damages"));
}

void warrenctl_print_journal(const json_t *o)
{
    if (json_is_null(o)) {
        puts("(none)");
        return;
    }
    printf("State: %s, sync: %s\n", text_of(o, "state"), text_of(o, "sync"));
    printf("Segments: %" PRIu64 ", spare: %" PRIu64 "\n", number_of(o, "segments"),
           number_of(o, "spare_segments"));
    print_bytes("Size", o, "bytes");
    print_bytes("Alive", o, "bytes_alive");
    print_bytes("Dead", o, "bytes_dead");
    print_count("Messages", o, "messages");
    printf("Large messages: %" PRIu64 ", in files of ", number_of(o, "large_files"));
    print_gb(number_of(o, "large_bytes"));
    printf(" gb\nPaged out: %" PRIu64 " messages, bodies of ", number_of(o, "messages_paged_out"));
    print_gb(number_of(o, "message_bytes_paged_out"));
    printf(" gb\nWaiting to be written: %" PRIu64 " bytes\n", number_of(o, "backlog_bytes"));
    printf("Written since the start: %" PRIu64 " records, %" PRIu64 " groups, ",
           number_of(o, "records_written"), number_of(o, "groups_written"));
    print_gb(number_of(o, "bytes_written"));
    puts(" gb");
    printf("Segments evacuated: %" PRIu64 ", recycled: %" PRIu64 "\n",
           number_of(o, "segments_evacuated"), number_of(o, "segments_recycled"));
    print_syncs(json_object_get(o, "syncs"));
    print_recovery(json_object_get(o, "recovery"));
    if (number_of(o, "messages_lost") != 0)
        print_count("Messages that could not be read back", o, "messages_lost");
}

static void print_totals(const json_t *o)
{
    const json_t *t = json_object_get(o, "totals");
    heading("Totals");
    printf("Connection count: %" PRIu64 "\n", number_of(t, "connection_count"));
    printf("Queue count: %" PRIu64 "\n", number_of(t, "queue_count"));
    printf("Virtual host count: %" PRIu64 "\n", number_of(t, "virtual_host_count"));
}

static void print_listeners(const json_t *list, bool with_node)
{
    size_t index;
    json_t *l;
    json_array_foreach(list, index, l)
    {
        if (with_node)
            printf("Node: %s, interface: %s", text_of(l, "node"), text_of(l, "interface"));
        else
            printf("Interface: %s", text_of(l, "interface"));
        printf(", port: %" PRIu64 ", protocol: %s, purpose: %s\n", number_of(l, "port"),
               text_of(l, "protocol"), text_of(l, "purpose"));
    }
}

void warrenctl_print_listeners(const json_t *list)
{
    print_listeners(list, false);
}

void warrenctl_print_status(const json_t *o)
{
    print_runtime(o);
    heading("Plugins");
    puts("Enabled plugins:\n");
    print_items(json_object_get(o, "active_plugins"));
    heading("Data directory");
    printf("Node data directory: %s\n", text_of(o, "data_directory"));
    heading("Config files");
    print_items(json_object_get(o, "config_files"));
    heading("Log file(s)");
    print_items(json_object_get(o, "log_files"));
    print_alarms(json_object_get(o, "alarms"));
    print_memory(o);
    const json_t *fd = json_object_get(o, "file_descriptors");
    heading("File Descriptors");
    printf("Total: %" PRIu64 ", limit: %" PRIu64 "\n", number_of(fd, "total_used"),
           number_of(fd, "total_limit"));
    printf("Sockets: %" PRIu64 ", limit: %" PRIu64 "\n", number_of(fd, "sockets_used"),
           number_of(fd, "sockets_limit"));
    print_disk(o);
    heading("Journal");
    warrenctl_print_journal(json_object_get(o, "journal"));
    print_totals(o);
    heading("Listeners");
    print_listeners(json_object_get(o, "listeners"), false);
}

/* ---- cluster_status ---- */

/* [rabbit1@host,rabbit2@host] */
static void print_atoms(const json_t *list)
{
    size_t index;
    json_t *item;
    putchar('[');
    json_array_foreach(list, index, item)
        printf("%s%s", index != 0 ? "," : "", json_string_value(item));
    putchar(']');
}

static void print_old_term(const json_t *o)
{
    const json_t *ram = json_object_get(o, "ram_nodes");
    fputs("[{nodes,[{disc,", stdout);
    print_atoms(json_object_get(o, "disk_nodes"));
    if (json_array_size(ram) != 0) {
        fputs("},{ram,", stdout);
        print_atoms(ram);
    }
    fputs("}]},\n {running_nodes,", stdout);
    print_atoms(json_object_get(o, "running_nodes"));
    puts("},\n {partitions,[]}]");
}

static void print_versions(const json_t *versions)
{
    const char *node;
    json_t *v;
    heading("Versions");
    json_object_foreach((json_t *)(uintptr_t)versions, node, v)
        printf("%s: %s %s\n", node, text_of(v, "rabbitmq_name"), text_of(v, "rabbitmq_version"));
}

static void print_maintenance(const json_t *states)
{
    const char *node;
    json_t *v;
    heading("Maintenance status");
    json_object_foreach((json_t *)(uintptr_t)states, node, v)
        printf("Node: %s, status: %s\n", node, json_string_value(v));
}

/* RabbitMQ has none, so there is no word of them where there are none. */
static void print_proxies(const json_t *proxies)
{
    size_t index;
    json_t *p;
    if (json_array_size(proxies) == 0)
        return;
    heading("Proxies");
    json_array_foreach(proxies, index, p) printf("%s: at %s, Warren %s\n", text_of(p, "name"),
                                                 text_of(p, "address"), text_of(p, "version"));
}

/* Nor are there such: they run, and do not keep up. */
static void print_unwell(const json_t *nodes)
{
    if (json_array_size(nodes) == 0)
        return;
    heading("Unwell Nodes");
    print_lines_or_none(nodes);
}

/* Nor does it say why nothing can be declared now. */
static void print_waits_for(const json_t *waits_for)
{
    if (!json_is_string(waits_for))
        return;
    heading("Metadata Cannot Be Changed");
    printf("waits for %s\n", json_string_value(waits_for));
}

void warrenctl_print_cluster(const json_t *o, bool old_only)
{
    if (old_only) {
        print_old_term(o);
        return;
    }
    printf("\033[1mBasics\033[0m\n\nCluster name: %s\n", text_of(o, "cluster_name"));
    heading("Disk Nodes");
    print_lines_or_none(json_object_get(o, "disk_nodes"));
    if (json_array_size(json_object_get(o, "ram_nodes")) != 0) {
        heading("RAM Nodes");
        print_lines_or_none(json_object_get(o, "ram_nodes"));
    }
    heading("Running Nodes");
    print_lines_or_none(json_object_get(o, "running_nodes"));
    print_unwell(json_object_get(o, "unwell_nodes"));
    print_waits_for(json_object_get(o, "waits_for"));
    print_versions(json_object_get(o, "versions"));
    print_proxies(json_object_get(o, "proxies"));
    print_maintenance(json_object_get(o, "maintenance_status"));
    print_alarms(json_object_get(o, "alarms"));
    heading("Network Partitions");
    puts("(none)");
    heading("Listeners");
    const char *node;
    json_t *list;
    json_object_foreach(json_object_get(o, "listeners"), node, list) print_listeners(list, true);
    heading("In short");
    print_old_term(o);
}
