#include "link/link_figures.h"

#include "base/mem.h"
#include "stats/stats_text.h"

/* X(id, name, kind, unit, value of `f`, help) */
#define FAMILIES(X)                                                                                \
    X(CONNECTED, connected, GAUGE, 0, f->is_connected, "Connections to that node that stand.")     \
    X(SENT_BYTES, sent_bytes_total, COUNTER, 0, f->stats.bytes_out, "Octets of frames sent.")      \
    X(RECEIVED_BYTES, received_bytes_total, COUNTER, 0, f->stats.bytes_in,                         \
      "Octets of frames received.")                                                                \
    X(SENT, sent_frames_total, COUNTER, 0, f->stats.frames_out, "Frames sent.")                    \
    X(RECEIVED, received_frames_total, COUNTER, 0, f->stats.frames_in, "Frames received.")         \
    X(CONNECTS, connects_total, COUNTER, 0, f->stats.connects, "Connections that were proven.")    \
    X(RESUMES, resumes_total, COUNTER, 0, f->stats.resumes,                                        \
      "Of these, such as went on where a broken one had ended.")                                   \
    X(FILLS, fills_total, COUNTER, 0, f->stats.fills,                                              \
      "How often the window was full, and more had to wait.")                                      \
    X(FULL, full, GAUGE, 0, f->is_full, "Links whose window is full now.")                         \
    X(WAITING, waiting_bytes, GAUGE, 0, (uint64_t)f->stats.waiting_bytes,                          \
      "Octets that no connection has taken yet.")                                                  \
    X(UNACKED, unacked_bytes, GAUGE, 0, (uint64_t)f->stats.unacked_bytes,                          \
      "Octets sent that are not acknowledged.")

enum family {
#define X(id, name, kind, scale, value, text) FAMILY_##id,
    FAMILIES(X)
#undef X
        FAMILY_RTT,
    FAMILY_COUNT
};

static const struct stats_family families[] = {
#define X(id, metric, kind, scale, value, text)                                                    \
    { .name = "warren_link_" #metric, .type = STATS_##kind, .help = (text), .unit = (scale) },
    FAMILIES(X)
#undef X
        { .name = "warren_link_rtt_seconds",
          .type = STATS_GAUGE,
          .unit = 1e-6,
          .help = "The longest of the round trips measured last." },
};

_Static_assert(ARRAY_COUNT(families) == FAMILY_COUNT, "each has a row");

struct link_figures {
    struct stats *stats;
    struct stats_view *view;
};

struct link_figures *link_figures_new(uint64_t seed)
{
    struct link_figures *f = mem_zalloc(sizeof *f);
    f->stats = stats_new(families, FAMILY_COUNT, seed);
    f->view = stats_view_new(f->stats);
    return f;
}

void link_figures_free(struct link_figures **figures)
{
    struct link_figures *f = *figures;
    *figures = NULL;
    if (f == NULL)
        return;
    stats_view_free(&f->view);
    stats_free(&f->stats);
    mem_free(f);
}

/* A series that is there already becomes the sum. */
void link_figures_add(struct link_figures *figures, struct slice peer, const struct link_figure *f)
{
    struct stats_label labels[] = { { "class", slice_str(link_class_text(f->class)) },
                                    { "peer", peer } };
    size_t count = ARRAY_COUNT(labels);
#define X(id, name, kind, scale, figure, text)                                                     \
    stats_view_add(figures->view, FAMILY_##id, labels, count, (int64_t)(figure));
    FAMILIES(X)
#undef X
    int64_t longest = stats_view_value(figures->view, FAMILY_RTT, labels, count);
    int64_t rtt = f->stats.rtt_us;
    stats_view_add(figures->view, FAMILY_RTT, labels, count, rtt > longest ? rtt - longest : 0);
}

void link_figures_text(struct link_figures *f, struct text *out)
{
    stats_text_prometheus(f->view, out);
}

struct link_figure link_figure_of(enum link_class class, const struct link *l)
{
    struct link_figure f = { .class = class,
                             .is_connected = link_is_connected(l),
                             .is_full = link_is_full(l) };
    link_stats(l, &f.stats);
    return f;
}

void link_figure_keep(struct link_stats *past, const struct link *l)
{
    struct link_stats s;
    link_stats(l, &s);
    past->frames_in += s.frames_in;
    past->frames_out += s.frames_out;
    past->bytes_in += s.bytes_in;
    past->bytes_out += s.bytes_out;
    past->connects += s.connects;
    past->resumes += s.resumes;
    past->fills += s.fills;
}
