/*
 * link_figures: what links carry, by their class and by who is at the other end, for Prometheus
 * (warren_link_...).
 *
 * Links of several threads are added up: each thread lends the figures of its own, and one, any,
 * puts them together here.
 */
#ifndef WARREN_LINK_FIGURES_H
#define WARREN_LINK_FIGURES_H

#include "base/text.h"
#include "link/link.h"

/* Of one link, or of several that are gone. */
struct link_figure {
    enum link_class class;
    bool is_connected;
    bool is_full;
    struct link_stats stats;
};

/* Of a link that is there. */
struct link_figure link_figure_of(enum link_class class, const struct link *l);

/* The link is about to go: what it has carried stays counted in `past`. */
void link_figure_keep(struct link_stats *past, const struct link *l);

struct link_figures;

/* `seed` is chance, for hashes. */
struct link_figures *link_figures_new(uint64_t seed);
void link_figures_free(struct link_figures **f);
void link_figures_add(struct link_figures *f, struct slice peer, const struct link_figure *one);
void link_figures_text(struct link_figures *f, struct text *out);

#endif
