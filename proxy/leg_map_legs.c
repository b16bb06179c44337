#include "leg_map_inner.h"

#include "base/check.h"

/* ---- legs ------------------------------------------------------------------------------------ */

/* The lowest number that is free. */
static unsigned free_number(const struct leg_map *m)
{
    unsigned leg = 0;
    while (leg < LEG_MAP_LEGS_MAX && leg_map_is_present(m, leg))
        leg++;
    return leg;
}

bool leg_map_may_grow(const struct leg_map *m)
{
    return !m->is_fixed && !m->is_limited && !m->has_tx && free_number(m) < LEG_MAP_LEGS_MAX;
}

bool leg_map_may_add(const struct leg_map *m)
{
    return leg_map_may_grow(m) && m->asked == 0 && m->pending == 0;
}

unsigned leg_map_add(struct leg_map *m)
{
    unsigned leg = free_number(m);
    CHECK(leg_map_may_add(m));
    m->present |= 1u << leg;
    m->legs[leg] = (struct leg_state){ 0 };
    if (leg == m->leg_count)
        m->leg_count++;
    return leg;
}

/* Does the client wait for the leg's answer? */
static bool is_asked(const struct leg_map *m, unsigned leg)
{
    return m->pending != 0 || (m->asked_legs >> leg & 1) != 0;
}

bool leg_map_owes(const struct leg_map *m, unsigned leg)
{
    return is_asked(m, leg) || leg_map_is_taking_off(m, leg);
}

bool leg_map_is_used(const struct leg_map *m, unsigned leg)
{
    return m->consumers.at[leg] != 0 || m->tags.outstanding[leg] != 0;
}

bool leg_map_has_consumers(const struct leg_map *m)
{
    return m->consumers.count != 0;
}

bool leg_map_can_lose(const struct leg_map *m, unsigned leg)
{
    return !m->is_fixed && !m->has_tx && !is_asked(m, leg) && m->tags.outstanding[leg] == 0 &&
           leg_consumers_can_leave(&m->consumers, leg);
}

void leg_map_lose(struct leg_map *m, unsigned leg)
{
    CHECK(leg_map_is_present(m, leg) && leg_map_can_lose(m, leg));
    m->present &= ~(1u << leg);
    m->legs[leg].going = 0;
    leg_consumers_leave(&m->consumers, leg);
    if (m->leg_count == 1)
        m->leg_count++; /* another main leg will count from 1, and the client goes on */
}

void leg_map_promote(struct leg_map *m, unsigned leg)
{
    CHECK(leg != LEG_MAP_MAIN && leg_map_is_present(m, leg) &&
          !leg_map_is_present(m, LEG_MAP_MAIN));
    m->legs[LEG_MAP_MAIN] = m->legs[leg];
    m->present = (m->present & ~(1u << leg)) | 1u << LEG_MAP_MAIN;
    m->asked_legs = (m->asked_legs & ~(1u << leg)) | (m->asked_legs >> leg & 1) << LEG_MAP_MAIN;
    leg_tags_rename_leg(&m->tags, leg, LEG_MAP_MAIN);
    leg_consumers_rename_leg(&m->consumers, leg, LEG_MAP_MAIN);
}

void leg_map_restore(struct leg_map *m)
{
    CHECK(m->leg_count > 1 && m->present == 0);
    m->legs[LEG_MAP_MAIN] = (struct leg_state){ 0 };
    m->present = 1u << LEG_MAP_MAIN;
}

unsigned leg_map_astray_count(const struct leg_map *m)
{
    return m->consumers.astray;
}

struct leg_consumer *leg_map_astray(const struct leg_map *m, const struct leg_consumer *after)
{
    struct leg_consumer *c = after != NULL ? after->next : m->consumers.first;
    while (c != NULL && c->leg != LEG_CONSUMERS_ASTRAY)
        c = c->next;
    return c;
}

void leg_map_drop_astray(struct leg_map *m, struct leg_consumer *c)
{
    CHECK(c->leg == LEG_CONSUMERS_ASTRAY);
    leg_map_drop_consumer(m, c);
}

void leg_map_say_again(struct leg_map *m, struct leg_consumer *c, unsigned leg, uint16_t limit)
{
    CHECK(leg_map_is_present(m, leg) && m->leg_count > 1);
    leg_consumers_settle(&m->consumers, c, leg);
    c->given = limit;
    c->since = m->tags.last;
}

/* ---- consumers that change their legs -------------------------------------------------------- */

void leg_map_drop_consumer(struct leg_map *m, struct leg_consumer *c)
{
    if (c == NULL)
        return;
    leg_tags_leave_slot(&m->tags, c->slot);
    leg_consumers_drop(&m->consumers, c);
}

struct leg_consumer *leg_map_consumer(const struct leg_map *m, const struct leg_consumer *after)
{
    return after != NULL ? after->next : m->consumers.first;
}

bool leg_map_is_movable(const struct leg_map *m, const struct leg_consumer *c)
{
    return !m->is_fixed && !m->has_tx && !m->is_limited && c->leg != LEG_CONSUMERS_ASTRAY &&
           c->kept != NULL && c->slot != 0 && !c->exclusive;
}

bool leg_map_may_take_off(const struct leg_map *m, const struct leg_consumer *c)
{
    return leg_map_is_movable(m, c) && m->asked == 0 && m->pending == 0 && c->is_named &&
           !c->is_told && !c->is_going;
}

void leg_map_take_off(struct leg_map *m, struct leg_consumer *c)
{
    CHECK(leg_map_may_take_off(m, c));
    c->is_going = true;
    m->legs[c->leg].going++;
    if (m->leg_count == 1)
        m->leg_count++; /* its new leg will count from 1 */
}

void leg_map_taken_off(struct leg_map *m, unsigned leg, struct slice tag)
{
    struct leg_consumer *c = leg_consumers_find(&m->consumers, tag);
    m->legs[leg].going--;
    if (c != NULL && c->is_going && c->leg == leg) /* else the broker has cancelled it meanwhile */
        leg_consumers_leave_one(&m->consumers, c);
}

uint32_t leg_map_held(const struct leg_map *m, const struct leg_consumer *c)
{
    return leg_tags_held(&m->tags, c->slot);
}

bool leg_map_is_short(const struct leg_consumer *c)
{
    return c->leg != LEG_CONSUMERS_ASTRAY && c->given != c->prefetch;
}

uint32_t leg_map_held_there(const struct leg_map *m, const struct leg_consumer *c, uint64_t *last)
{
    return leg_tags_held_since(&m->tags, c->slot, c->since, last);
}
