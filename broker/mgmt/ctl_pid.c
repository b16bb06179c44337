/* Names for what lives where, in RabbitMQ's form: <NODE.SINCE.NUMBER.SERIAL>. The serial is 0 for a
 * queue, and tells the shard of a connection and the number of a channel. */
#include "base/units.h"
#include "broker.h"
#include "live.h"
#include "mgmt/ctl_lister.h"
#include "shard.h"

#include <inttypes.h>

const char *ctl_node_name(const struct ctl *c)
{
    return broker_live(c->broker)->conf->node.name;
}

static void put_pid(const struct ctl *c, uint64_t number, uint64_t serial, struct text *out)
{
    text_put(out, "<%s.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ">", ctl_node_name(c), c->started_s,
             number, serial);
}

void ctl_pid_of_queue(const struct ctl *c, uint64_t qid, struct text *out)
{
    put_pid(c, qid, 0, out);
}

void ctl_pid_of_connection(const struct ctl *c, uint64_t id, struct text *out)
{
    if (id != 0)
        put_pid(c, count_of_id(id), 1 + shard_of_id(id), out);
}

void ctl_pid_of_channel(const struct ctl *c, uint64_t id, unsigned channel, struct text *out)
{
    put_pid(c, count_of_id(id), (uint64_t)channel << 16 | (1 + shard_of_id(id)), out);
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

uint64_t ctl_connection_of_pid(const struct ctl *c, struct slice pid)
{
    uint64_t serial, number, since;
    size_t end = pid.len != 0 ? pid.len - 1 : 0;
    if (pid.len < 2 || pid.ptr[0] != '<' || pid.ptr[end] != '>' ||
        !take_number(pid, &end, &serial) || !take_number(pid, &end, &number) ||
        !take_number(pid, &end, &since))
        return 0;
    bool ours = slice_is(slice_of(pid.ptr + 1, end - 1), ctl_node_name(c)) &&
                since == c->started_s && serial != 0 && serial <= broker_shard_count(c->broker) &&
                number == count_of_id(number);
    return ours ? id_make(broker_node(c->broker), (uint32_t)serial - 1, number) : 0;
}
