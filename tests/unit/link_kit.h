/*
 * link_kit: nodes for tests of links: one that listens, one that dials, on loops of the test's, and
 * a relay between them that cuts where it is told.
 */
#ifndef WARREN_TESTS_LINK_KIT_H
#define WARREN_TESTS_LINK_KIT_H

#include "io_kit.h"
#include "link/link_door.h"

#define KIT_COOKIE "a secret of more than twenty octets"

/* An owner of links that notes what it is told. */
struct link_end {
    struct link *l;
    size_t ups;
    size_t losses;
    size_t troubles;
    size_t rooms;
    size_t frames;
    uint64_t bytes;
    uint64_t next; /* the number that the next frame should bear */
    bool out_of_order;
    bool frees_on_loss; /* what a callback does to its own link */
    bool frees_on_frame;
    bool pauses_on_frame;
    bool echoes;
    enum link_loss loss;
    enum link_trouble trouble;
    enum link_refusal refusal;
    struct err why;
    struct link_peer peer;
};
extern const struct link_handlers link_end_handlers; /* arg: struct link_end */

/* A node that listens for one class. */
struct kit_node {
    struct loop *loop;
    struct link_node *node;
    struct link_door *door;
    struct link_hall *hall;
    struct link_end *end; /* takes what comes; another link is freed at once */
    uint16_t port;
    size_t links;
    size_t streams;
    struct stream *stream; /* of CTL */
    enum link_refusal verdict;
};

struct link_node *kit_link_node(const char *cookie, uint8_t cluster, uint16_t node, uint32_t inc,
                                const char *name);
/* On its loop, which runs or not. `options` besides the class. */
void kit_node_open(struct kit_node *n, struct loop *loop, struct link_node *node,
                   const struct link_hall_options *options);
void kit_node_close(struct kit_node *n);

/* Frames with a number in their first 8 octets, of so many octets in all (8 at least). */
bool kit_send_numbered(struct link *l, uint64_t number, size_t octets);

/* ---- a relay ---- */

struct kit_relay;
struct kit_relay *kit_relay_new(struct loop *loop, uint16_t to_port);
void kit_relay_free(struct kit_relay **r);
uint16_t kit_relay_port(const struct kit_relay *r);
/* Every pair is torn apart when so many octets have passed in both directions since now. */
void kit_relay_cut_after(struct kit_relay *r, uint64_t octets);
void kit_relay_cut(struct kit_relay *r);
/* Those that come are closed at once. */
void kit_relay_refuse(struct kit_relay *r, bool refuses);
/* Nothing passes, and nothing is closed. */
void kit_relay_hold(struct kit_relay *r, bool holds);
size_t kit_relay_pairs(const struct kit_relay *r); /* that it has made so far */

#endif
