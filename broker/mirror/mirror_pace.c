#include "mirror/mirror_pace.h"

#include "base/check.h"

#define WHILE_US UINT64_C(5000000)

void mirror_pace_init(struct mirror_pace *p, uint64_t most)
{
    *p = (struct mirror_pace){ .most = most };
    p->slice = MIRROR_PACE_LEAST < most ? MIRROR_PACE_LEAST : most;
    p->least_us[0] = p->least_us[1] = UINT64_MAX;
}

void mirror_pace_reset(struct mirror_pace *p)
{
    mirror_pace_init(p, p->most);
}

void mirror_pace_said(struct mirror_pace *p, uint64_t pos, uint64_t bytes)
{
    CHECK(!p->is_away && pos > p->last);
    p->said += bytes;
    p->last = pos;
}

bool mirror_pace_leaves(struct mirror_pace *p, uint64_t now_us)
{
    if (p->is_away || p->said == 0)
        return false;
    p->is_away = true;
    p->left_us = now_us;
    return true;
}

/* The way may have become longer for good: what was long ago is forgotten. */
static uint64_t least_with(struct mirror_pace *p, uint64_t took_us, uint64_t now_us)
{
    if (now_us - p->while_us >= WHILE_US) {
        p->least_us[1] = p->while_us != 0 ? p->least_us[0] : took_us;
        p->least_us[0] = took_us;
        p->while_us = now_us;
    } else if (took_us < p->least_us[0]) {
        p->least_us[0] = took_us;
    }
    return p->least_us[0] < p->least_us[1] ? p->least_us[0] : p->least_us[1];
}

static void adapt(struct mirror_pace *p, uint64_t took_us, uint64_t now_us)
{
    uint64_t least_us = least_with(p, took_us, now_us);
    uint64_t slack_us = least_us / 4 > MIRROR_PACE_SLACK_US ? least_us / 4 : MIRROR_PACE_SLACK_US;
    bool is_quick = took_us <= least_us + slack_us;
    uint64_t least = MIRROR_PACE_LEAST < p->most ? MIRROR_PACE_LEAST : p->most;
    if (!is_quick)
        p->slice -= p->slice / 8;
    else if (p->said >= p->slice) /* else it says nothing of one that is full */
        p->slice += p->slice / 8;
    if (p->slice < least)
        p->slice = least;
    if (p->slice > p->most)
        p->slice = p->most;
}

void mirror_pace_received(struct mirror_pace *p, uint64_t pos, uint64_t now_us)
{
    if (!p->is_away || pos < p->last)
        return;
    if (p->left_us != 0 && now_us > p->left_us)
        adapt(p, now_us - p->left_us, now_us);
    p->is_away = false;
    p->said = 0;
}
