/*
 * minority: what becomes of clients on a node that is cut off from the majority of its cluster.
 *
 * Queues within reach go on, with a majority or without; so whoever uses those alone is left in
 * peace. But without a majority nobody declares a silent node down, and whoever asks for a queue
 * there, or publishes to it, would wait and fail again and again. So once the node has been cut off
 * for [cluster] minority-close-after, connections that wait for an answer of a node that is not
 * reached are closed with 320, to go elsewhere. (Consumers there do not wait: they were cancelled
 * when the link was lost.)
 *
 * The control thread.
 */
#ifndef WARREN_MINORITY_H
#define WARREN_MINORITY_H

struct broker;
struct minority;

/* Begins at once. */
struct minority *minority_new(struct broker *b);
void minority_free(struct minority **m);

#endif
