#include "remote/remote_runs.h"

bool remote_runs_add(struct remote_runs *runs, uint64_t tag)
{
    struct remote_run *last = runs->count != 0 ? &runs->items[runs->count - 1] : NULL;
    if (LIKELY(last != NULL && last->first + last->count == tag && last->count != UINT32_MAX)) {
        last->count++;
        return true;
    }
    if (runs->count == REMOTE_RUNS)
        return false;
    runs->items[runs->count++] = (struct remote_run){ tag, 1 };
    return true;
}

void remote_runs_say(struct remote_runs *runs, struct remote_outbox *out, enum remote_op op,
                     enum port_settle how)
{
    uint8_t room[REMOTE_RUNS * REMOTE_RANGE_BYTES];
    struct wire_out w = wire_out_over(room, sizeof room);
    for (unsigned i = 0; i < runs->count; i++) {
        wire_put_u64(&w, runs->items[i].first);
        wire_put_u32(&w, runs->items[i].count);
    }
    if (runs->count != 0)
        remote_outbox_put(
            out, 0,
            &(struct remote_record){ .op = op, .kind = (uint8_t)how, .list = wire_out_slice(&w) });
    runs->count = 0;
}
