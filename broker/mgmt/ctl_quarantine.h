/*
 * ctl_quarantine: what list_quarantined, drop_quarantined (ctl_quarantine.c) and
 * requeue_quarantined (ctl_requeue.c) share. Not for anybody else.
 */
#ifndef WARREN_CTL_QUARANTINE_H
#define WARREN_CTL_QUARANTINE_H

#include "mgmt/ctl_inner.h"
#include "quarantine/quarantine.h"

struct quarantined;

/* NULL: the node's disk was not read yet. */
struct quarantined *ctl_quarantine_of(const struct ctl *c);

/* False: it is answered. */
MUST_CHECK bool ctl_quarantine_check(const struct ctl *c, struct http_request *r,
                                     const json_t *args);

/* Those of this node among "ids", which name each by its node and its number there: "2-17"; none
 * at all mean all that there are. `items` is from mem. */
struct ctl_quarantine_ids {
    uint64_t *items;
    size_t count;
    bool are_all;
};
void ctl_quarantine_ids(const struct ctl *c, const json_t *args, struct ctl_quarantine_ids *out);
bool ctl_quarantine_has(const struct ctl_quarantine_ids *ids, uint64_t id);

/* The files of queues of this name: one that was deleted, and the one that was made since, are two.
 * On the quarantine's thread; `items` is from mem. */
struct ctl_quarantine_files {
    struct ctl_quarantine_file {
        uint64_t qid;
        uint64_t number;
    } * items;
    size_t count;
};
void ctl_quarantine_find(struct quarantine *from, struct slice vhost, struct slice queue,
                         struct ctl_quarantine_files *out);

/* The names of nodes that may have something and have not answered. */
json_t *ctl_quarantine_missing(const struct ctl *c, const json_t *answers);

#endif
