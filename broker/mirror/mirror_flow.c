#include "mirror/mirror_flow.h"

#include "base/check.h"

void mirror_flow_init(struct mirror_flow *f, uint64_t window)
{
    CHECK(window >= MIRROR_FLOW_POINTS);
    *f = (struct mirror_flow){ .window = window };
}

void mirror_flow_reset(struct mirror_flow *f)
{
    f->bytes = f->old_bytes = 0;
    f->head = f->count = 0;
    f->durable = f->sent;
    f->mark_pos = 0;
}

static struct mirror_flow_point *point(struct mirror_flow *f, unsigned index)
{
    return &f->points[(f->head + index) % MIRROR_FLOW_POINTS];
}

/* The last point grows until it has its share of the window; so there is always room for one. */
static struct mirror_flow_point *open_point(struct mirror_flow *f)
{
    uint64_t share = f->window / (MIRROR_FLOW_POINTS / 2);
    if (f->count != 0 && (point(f, f->count - 1)->bytes < share || f->count == MIRROR_FLOW_POINTS))
        return point(f, f->count - 1);
    struct mirror_flow_point *p = point(f, f->count++);
    *p = (struct mirror_flow_point){ 0 };
    return p;
}

void mirror_flow_sent(struct mirror_flow *f, uint64_t pos, uint64_t bytes, bool is_old,
                      uint64_t now_ms)
{
    CHECK(pos > f->sent);
    struct mirror_flow_point *p = open_point(f);
    p->pos = f->sent = pos;
    p->bytes += bytes;
    p->old_bytes += is_old ? bytes : 0;
    f->bytes += bytes;
    f->old_bytes += is_old ? bytes : 0;
    if (f->mark_pos != 0)
        return;
    f->mark_pos = pos;
    f->mark_ms = now_ms;
}

void mirror_flow_acked(struct mirror_flow *f, uint64_t received, uint64_t durable, uint64_t now_ms)
{
    while (f->count != 0 && point(f, 0)->pos <= received) {
        f->bytes -= point(f, 0)->bytes;
        f->old_bytes -= point(f, 0)->old_bytes;
        f->head = (f->head + 1) % MIRROR_FLOW_POINTS;
        f->count--;
    }
    f->durable = durable;
    if (f->mark_pos == 0 || durable < f->mark_pos)
        return;
    f->mark_pos = durable < f->sent ? f->sent : 0;
    f->mark_ms = now_ms;
}

uint64_t mirror_flow_lag_ms(const struct mirror_flow *f, uint64_t now_ms)
{
    return f->mark_pos != 0 && now_ms > f->mark_ms ? now_ms - f->mark_ms : 0;
}
