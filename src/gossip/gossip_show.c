/* What gossip knows, for people and for those who measure. */
#include "base/check.h"
#include "base/log.h"
#include "gossip/gossip_inner.h"

uint64_t gossip_net_id(const struct gossip_net *n)
{
    return n->id;
}

bool gossip_net_cluster(const struct gossip_net *n, uint8_t out[GOSSIP_CLUSTER_BYTES])
{
    memcpy(out, n->setup.cluster, GOSSIP_CLUSTER_BYTES);
    return n->core != NULL;
}

size_t gossip_net_count(const struct gossip_net *n)
{
    return n->core != NULL ? gossip_member_count(n->core) : 0;
}

const struct gossip_member *gossip_net_member(const struct gossip_net *n, size_t index)
{
    return gossip_member_at(n->core, index);
}

bool gossip_net_place(const struct gossip_net *n, uint64_t id, char host[GOSSIP_NET_HOST_MAX],
                      uint16_t *port)
{
    _Static_assert(GOSSIP_NET_HOST_MAX == GOSSIP_HOST_MAX, "a place's host fits");
    struct gossip_place at;
    if (!gossip_book_place(n->book, id, &at))
        return false;
    memcpy(host, at.host, sizeof at.host);
    *port = at.port;
    return true;
}

bool gossip_net_info(const struct gossip_member *m, struct gossip_info *out)
{
    return gossip_info_read(m->record, out);
}

void gossip_net_figures(const struct gossip_net *n, struct gossip_net_figures *out)
{
    *out = n->figures;
    if (n->core != NULL)
        gossip_figures(n->core, &out->core);
    out->talks = gossip_talks_count(n->talks);
}

static void name_of(const struct gossip_member *m, char *room, size_t size)
{
    struct gossip_info info;
    struct text t = text_over(room, size);
    if (gossip_info_read(m->record, &info))
        text_escaped(&t, info.name);
    else
        text_put(&t, "%llx", (unsigned long long)m->id);
}

void gossip_net_say_state(struct gossip_net *n, const struct gossip_member *m)
{
    char name[128];
    name_of(m, name, sizeof name);
    if (m->state == GOSSIP_DEAD)
        log_warn("gossip", n->setup.name, "is not heard of any more member=%s", name);
    else
        log_debug("gossip", n->setup.name, "member=%s state=%s incarnation=%llx", name,
                  gossip_state_text(m->state), (unsigned long long)m->inc);
}

/* How long ago we had what it has now: about the time that news takes. */
void gossip_net_note_lag(struct gossip_net *n, const struct gossip_member *m)
{
    if (m != NULL && n->index_us != 0 && m->pulse.meta_index != 0 &&
        m->pulse.meta_index == n->last_pulse.meta_index)
        n->figures.index_lag_us = loop_now_us(n->setup.loop) - n->index_us;
}

static void show_member(const struct gossip_net *n, const struct gossip_member *m, struct text *out)
{
    struct gossip_info info = { .role = GOSSIP_ROLE_BROKER };
    bool has_info = gossip_info_read(m->record, &info);
    uint64_t now = loop_now_us(n->setup.loop);
    char name[256];
    name_of(m, name, sizeof name);
    text_put(out, "%s %s %s%s since=%llus incarnation=%llu.%llu", name,
             has_info ? gossip_role_text(info.role) : "unknown", gossip_state_text(m->state),
             m->id == n->id ? " self" : "",
             (unsigned long long)(now > m->since_us ? (now - m->since_us) / 1000000 : 0),
             (unsigned long long)(m->inc >> 32), (unsigned long long)(m->inc & UINT32_MAX));
    text_str(out, " cluster=");
    text_escaped(out, info.cluster);
    text_str(out, " amqp=");
    text_escaped(out, info.amqp);
    text_str(out, " version=");
    text_escaped(out, info.version);
    text_put(out, " protocol=%u-%u", info.protocol_least, info.protocol_most);
    if (m->pulse.seq != 0)
        text_put(out, " index=%llu digest=%llu:%016llx connections=%u queues=%u memory=%u.%u%%",
                 (unsigned long long)m->pulse.meta_index, (unsigned long long)m->pulse.digest_index,
                 (unsigned long long)m->pulse.digest, m->pulse.load.connections,
                 m->pulse.load.queues, m->pulse.load.memory_permille / 10u,
                 m->pulse.load.memory_permille % 10u);
    text_char(out, '\n');
}

void gossip_net_show(const struct gossip_net *n, struct text *out)
{
    char at[SOCK_ADDR_TEXT_MAX];
    if (n->core == NULL) {
        text_put(out, "at=%s cluster=none members=0\n", sock_addr_text(gossip_net_at(n), at));
        return;
    }
    struct gossip_net_figures f;
    gossip_net_figures(n, &f);
    text_put(out, "at=%s cluster=", sock_addr_text(gossip_net_at(n), at));
    for (size_t i = 0; i < GOSSIP_CLUSTER_BYTES; i++)
        text_put(out, "%02x", n->setup.cluster[i]);
    text_put(out, " members=%zu alive=%zu suspect=%zu dead=%zu left=%zu doubt=%u talks=%zu\n",
             gossip_net_count(n), f.core.members[GOSSIP_ALIVE], f.core.members[GOSSIP_SUSPECT],
             f.core.members[GOSSIP_DEAD], f.core.members[GOSSIP_LEFT], f.core.doubt, f.talks);
    for (size_t i = 0; i < gossip_net_count(n); i++)
        show_member(n, gossip_net_member(n, i), out);
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

static void family(struct text *out, const char *name, const char *type, const char *help)
{
    text_put(out, "# HELP warren_gossip_%s %s\n# TYPE warren_gossip_%s %s\n", name, help, name,
             type);
}

static void sample(struct text *out, const char *name, const char *label, const char *value,
                   uint64_t v)
{
    if (label == NULL)
        text_put(out, "warren_gossip_%s %llu\n", name, (unsigned long long)v);
    else
        text_put(out, "warren_gossip_%s{%s=\"%s\"} %llu\n", name, label, value,
                 (unsigned long long)v);
}

void gossip_net_metrics(const struct gossip_net_figures *f, struct text *out)
{
    static const char *const reasons[GOSSIP_OPENED_COUNT] = { "", "foreign", "false", "stranger",
                                                              "replay" };
    family(out, "members", "gauge", "Members known, by state.");
    for (unsigned s = 0; s < GOSSIP_STATE_COUNT; s++)
        sample(out, "members", "state", gossip_state_text((enum gossip_state)s),
               f->core.members[s]);
    family(out, "packets_total", "counter", "Packets that were sent, and that were believed.");
    sample(out, "packets_total", "direction", "out", f->packets_out);
    sample(out, "packets_total", "direction", "in", f->packets_in);
    family(out, "packets_dropped_total", "counter", "Packets that did not count, by the reason.");
    for (unsigned i = 1; i < GOSSIP_OPENED_COUNT; i++)
        sample(out, "packets_dropped_total", "reason", reasons[i], f->dropped[i]);
    sample(out, "packets_dropped_total", "reason", "unplaced", f->unplaced);
    sample(out, "packets_dropped_total", "reason", "malformed", f->core.packets_bad);
    family(out, "probes_total", "counter", "Members that were asked whether they are there.");
    sample(out, "probes_total", "result", "answered", f->core.probes - f->core.probes_failed);
    sample(out, "probes_total", "result", "silent", f->core.probes_failed);
    family(out, "suspicions_total", "counter",
           "Members that this one suspected, declared dead; and what it refuted about itself.");
    sample(out, "suspicions_total", "kind", "suspected", f->core.suspicions);
    sample(out, "suspicions_total", "kind", "dead", f->core.deaths);
    sample(out, "suspicions_total", "kind", "refuted", f->core.refutations);
    family(out, "old_words_total", "counter", "Words that came too late to count.");
    sample(out, "old_words_total", NULL, NULL, f->core.words_old);
    family(out, "doubt", "gauge", "How much this member doubts its own health: 0 well, 8 ill.");
    sample(out, "doubt", NULL, NULL, f->core.doubt);
    family(out, "index_lag_seconds", "gauge",
           "From having a metadata index to hearing that another member has it too, last time.");
    text_put(out, "warren_gossip_index_lag_seconds %.6f\n", (double)f->index_lag_us / 1e6);
}
