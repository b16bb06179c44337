/* Names for what lives where, in RabbitMQ's form: <NODE.SINCE.NUMBER.SERIAL>. The serial is 0 for a
 * queue, and tells the shard of a connection and the number of a channel. */
#include "base/units.h"
#include "broker.h"
#include "cluster/meta_node.h"
#include "live.h"
#include "mgmt/ctl_lister.h"
#include "shard.h"

#include <inttypes.h>

const char *ctl_node_name(const struct ctl *c)
{
    return broker_live(c->broker)->conf->node.name;
}

/* A node by its name and its incarnation: the same from wherever it is asked. */
struct whose {
    struct slice name;
    uint64_t since;
};

static struct whose whose(const struct ctl *c, uint16_t node)
{
    const struct meta_node *n = meta_node_get(broker_meta(c->broker), node);
    if (n != NULL)
        return (struct whose){ n->name, n->inc };
    return (struct whose){ slice_str(ctl_node_name(c)), c->started_s };
}

static void put_pid(const struct ctl *c, uint16_t node, uint64_t number, uint64_t serial,
                    struct text *out)
{
    struct whose w = whose(c, node);
    text_put(out, "<%.*s.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ">", SLICE_ARG(w.name), w.since, number,
             serial);
}

void ctl_pid_of_queue(const struct ctl *c, const struct meta_queue *q, struct text *out)
{
    put_pid(c, meta_queue_master(broker_meta(c->broker), q), q->qid, 0, out);
}

void ctl_pid_of_replica(const struct ctl *c, const struct meta_queue *q, uint16_t node,
                        struct text *out)
{
    put_pid(c, node, q->qid, 0, out);
}

void ctl_pid_of_connection(const struct ctl *c, uint64_t id, struct text *out)
{
    if (id != 0)
        put_pid(c, node_of_id(id), count_of_id(id), 1 + shard_of_id(id), out);
}

void ctl_pid_of_channel(const struct ctl *c, uint64_t id, unsigned channel, struct text *out)
{
    put_pid(c, node_of_id(id), count_of_id(id), (uint64_t)channel << 16 | (1 + shard_of_id(id)),
            out);
}

/* The last number before `*end`, which moves to before its dot. */
static bool take_number(struct slice pid, size_t *end, uint64_t *out)
{
    size_t at = *end;
    while (at != 0 && pid.ptr[at - 1] != '.')
        at--;
    if (at == 0 || !units_u64(slice_of(pid.ptr + at, *end - at), out))
        return false;
    *end = at - 1;
    return true;
}

/* Of this node, or of another one. */
static bool find_whose(const struct ctl *c, struct slice name, uint64_t since, uint16_t *node)
{
    const struct meta_node *n = meta_node_find(broker_meta(c->broker), name);
    *node = n != NULL ? n->node : broker_node(c->broker);
    struct whose w = whose(c, *node);
    return slice_eq(w.name, name) && w.since == since;
}

uint64_t ctl_connection_of_pid(const struct ctl *c, struct slice pid)
{
    uint64_t serial, number, since;
    uint16_t node;
    size_t end = pid.len != 0 ? pid.len - 1 : 0;
    if (pid.len < 2 || pid.ptr[0] != '<' || pid.ptr[end] != '>' ||
        !take_number(pid, &end, &serial) || !take_number(pid, &end, &number) ||
        !take_number(pid, &end, &since))
        return 0;
    bool is_known = find_whose(c, slice_of(pid.ptr + 1, end - 1), since, &node) && serial != 0 &&
                    serial <= ID_SHARDS_MAX && number == count_of_id(number);
    return is_known ? id_make(node, (uint32_t)serial - 1, number) : 0;
}
