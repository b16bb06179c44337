/*
 * sim_gossip_world: many members of gossip (the core as it is) on a virtual clock and network, by
 * one seed.
 *
 * Packets are delayed, lost, doubled and late; directions are cut; members stand still, crash, and
 * come back with a higher boot; their clocks run at rates of their own. What the driver does over
 * TCP is here a message that takes a little longer and is only lost when the way is cut. After each
 * step the world checks what must always hold: nothing old ever replaces something newer.
 */
#ifndef WARREN_SIM_GOSSIP_WORLD_H
#define WARREN_SIM_GOSSIP_WORLD_H

#include "base/attr.h"
#include "gossip/gossip.h"
#include "sim_log.h"

#define GW_MEMBERS_MAX 128u
#define GW_KEYS        8u /* of rumours */

struct gw;

struct gw_plan {
    unsigned members;
    uint64_t least_us, most_us; /* one way */
    unsigned loss_permille;     /* of single packets; a TCP ping is lost by the cube of that */
    bool has_good_tcp;          /* ... or not at all */
    unsigned double_permille;
    unsigned late_permille; /* so many come up to late_us later */
    uint64_t late_us;
    uint64_t dead_keep_us; /* 0: the core's own */
    bool is_checked;       /* after each step */
};

/* Nobody is started yet. `trace` may be NULL. */
struct gw *gw_new(uint64_t seed, const struct gw_plan *plan, sim_say_fn trace, void *arg);
void gw_free(struct gw **w);

/* What members heard; before anything runs. */
typedef void (*gw_heard_fn)(unsigned member, const struct gossip_change *c, void *arg);
void gw_on_heard(struct gw *w, gw_heard_fn fn, void *arg);

uint64_t gw_now_us(const struct gw *w);
uint64_t gw_below(struct gw *w, uint64_t bound);

/* Run until then; false: something that must hold does not, see gw_why. */
MUST_CHECK bool gw_run(struct gw *w, uint64_t until_us);
const char *gw_why(const struct gw *w);
bool gw_fail(struct gw *w, const char *fmt, ...) PRINTF_LIKE(2, 3); /* false */
uint64_t gw_steps(const struct gw *w);
uint64_t gw_packets(const struct gw *w); /* sent */

/* Faults. Members are 0 .. members - 1; their numbers in gossip are one higher. */
void gw_start(struct gw *w, unsigned member);
void gw_crash(struct gw *w, unsigned member);
void gw_leave(struct gw *w, unsigned member); /* says goodbye, and is gone */
void gw_pause(struct gw *w, unsigned member, uint64_t us);
void gw_cut(struct gw *w, unsigned from, unsigned to, bool is_cut);
void gw_heal(struct gw *w); /* all ways are open, nobody stands still, clocks run evenly */
void gw_rate(struct gw *w, unsigned member, unsigned permille);
void gw_lose(struct gw *w, unsigned permille);
bool gw_is_up(const struct gw *w, unsigned member);
bool gw_is_paused(const struct gw *w, unsigned member);

/* News of its own. */
void gw_pulse(struct gw *w, unsigned member, uint64_t index);
void gw_rumour(struct gw *w, unsigned member, uint64_t key, uint64_t ver);

/* What `member` thinks of `other`; GOSSIP_DEAD when it does not know it. */
enum gossip_state gw_view(const struct gw *w, unsigned member, unsigned other);
uint64_t gw_rumour_of(const struct gw *w, unsigned member, uint64_t key); /* newest version heard */
void gw_figures(const struct gw *w, unsigned member, struct gossip_figures *out);

#endif
