#include "broker_inner.h"

#include "base/log.h"
#include "broker.h"
#include "cluster/cluster.h"
#include "cluster/meta_node.h"
#include "doorway.h"
#include "leaving.h"
#include "live.h"
#include "mgmt/ctl.h"
#include "mgmt/mgmt_http.h"
#include "service.h"
#include "vitals.h"

#include <sysexits.h>
#include <unistd.h>

#define LEAVE_MS_MAX 10000u /* for the others to hear of an orderly stop */
#define STUCK_MS     60000u /* for a thread that hangs to go on, while the node stops */

static void on_all_said(void *arg)
{
    struct broker *b = arg;
    b->has_left = true;
    doorway_close(b->doorway);
    loop_stop(b->loop);
}

/* Or they could not be told: nothing is given away then. */
static bool is_stopped_for_others(const struct broker *b)
{
    const struct meta_node *n = meta_node_get(broker_meta(b), broker_node(b));
    return n != NULL && n->state == META_NODE_IS_STOPPED;
}

/* Its queues are given away; what was settled at them until now is still to be passed on. */
static void on_left_cluster(void *arg)
{
    struct broker *b = arg;
    if (b->is_open && !broker_has_failed(b) && is_stopped_for_others(b))
        b->leaving = leaving_begin(b, on_all_said, b);
    else
        on_all_said(b);
}

/* The clients have gone; now the other nodes hear of it. */
void broker_has_left(struct broker *b)
{
    uint64_t within_ms = broker_live(b)->conf->cluster.drain_timeout_ms;
    if (broker_has_failed(b))
        on_left_cluster(b);
    else
        cluster_leave(broker_cluster(b), within_ms < LEAVE_MS_MAX ? within_ms : LEAVE_MS_MAX,
                      on_left_cluster, b);
}

/* Its loop may have been stopped for other reasons. */
void broker_await_left(struct broker *b)
{
    while (b->has_entered && !b->has_left)
        loop_run(b->loop);
}

/* Whatever that thread has was not confirmed to anybody; the others have done what they could. */
static void on_stuck(void *arg)
{
    const struct broker *b = arg;
    log_error("broker", b->name, "the node ends as it is: one of its threads does not stop");
    _exit(EX_SOFTWARE);
}

/* Who has not begun to serve is known to the others all the same, once it has entered: that it
 * stops, and has not died, decides what becomes of its queues. */
void broker_stop(struct broker *b)
{
    if (b->stopping)
        return;
    b->stopping = true;
    log_info("broker", b->name, "stopping");
    vitals_leave(b->vitals, STUCK_MS, on_stuck, b);
    mgmt_http_close(b->mgmt);
    ctl_close(b->ctl);
    if (b->is_open) {
        service_leave(b->service);
        return;
    }
    service_give_up(b->service);
    if (b->has_entered)
        broker_has_left(b);
    else
        loop_stop(b->loop);
}
