#include "remote/remote_kept.h"

#include "base/mutation.h"
#include "remote/remote_wire.h"

void remote_kept_init(struct remote_kept *k)
{
    *k = (struct remote_kept){ 0 };
    remote_ring_init(&k->items, sizeof(struct remote_kept_item));
}

static struct remote_kept_item *at(const struct remote_kept *k, size_t index)
{
    return remote_ring_at(&k->items, index);
}

void remote_kept_reset(struct remote_kept *k, remote_drop_fn drop, void *arg)
{
    for (size_t i = 0; i < k->items.count; i++)
        if (at(k, i)->message != NULL)
            drop(arg, &at(k, i)->message);
    remote_ring_fini(&k->items);
    remote_kept_init(k);
}

/* The eldest is not worth keeping any longer. */
static bool is_stale(const struct remote_kept *k)
{
    if (k->passed_by >= REMOTE_KEPT_PATIENCE)
        return true;
    return k->items.count != 0 && k->found_end > at(k, 0)->end &&
           k->found_end - at(k, 0)->end > REMOTE_KEPT_LAG;
}

bool remote_kept_wants(struct remote_kept *k, const struct message *m)
{
    uint64_t octets = remote_kept_octets(m);
    if (octets < REMOTE_KEPT_LEAST || octets > REMOTE_INLINE_BYTES ||
        k->sent - k->read >= REMOTE_KEPT_UNREAD)
        return false;
    if (LIKELY(k->live + octets <= REMOTE_KEPT_BYTES) || is_stale(k))
        return true;
    k->passed_by += octets;
    return false;
}

/* It is not needed any more. */
static void let_go(struct remote_kept *k, struct remote_kept_item *item, remote_drop_fn drop,
                   void *arg)
{
    k->live -= remote_kept_octets(item->message);
    drop(arg, &item->message);
}

void remote_kept_add(struct remote_kept *k, struct message *m, uint64_t copies)
{
    k->sent += remote_kept_octets(m);
    k->live += remote_kept_octets(m);
    struct remote_kept_item *item = remote_ring_add(&k->items);
    *item = (struct remote_kept_item){ message_ref(m), k->sent, copies };
}

/* What nobody can name any more, from the eldest on. */
static void drop_useless(struct remote_kept *k, remote_drop_fn drop, void *arg)
{
    while (k->items.count != 0) {
        struct remote_kept_item *first = at(k, 0);
        uint64_t behind = MUTATION(REMOTE_KEPT_TOO_SHORT) ? 0 : REMOTE_KEPT_BYTES;
        if (first->message != NULL && first->end + behind >= k->read)
            return;
        if (first->message != NULL)
            let_go(k, first, drop, arg);
        CHECK(k->next_read != 0);
        remote_ring_drop_first(&k->items);
        k->next_read--;
        k->found -= k->found != 0;
    }
}

static void read_up_to(struct remote_kept *k, size_t index)
{
    k->next_read = index + 1;
    k->read = at(k, index)->end;
}

/* Copies are taken in any order, but never before they were read, and what was published before
 * them was read before. */
void remote_kept_taken(struct remote_kept *k, uint64_t copies, remote_drop_fn drop, void *arg)
{
    while (k->next_read < k->items.count && at(k, k->next_read)->copies <= copies)
        read_up_to(k, k->next_read);
    drop_useless(k, drop, arg);
}

/* The first one whose name is not below. */
static size_t search(const struct remote_kept *k, uint64_t end)
{
    size_t low = 0, high = k->items.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(k, middle)->end < end)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct message *remote_kept_find(struct remote_kept *k, uint64_t end)
{
    /* Mostly they come in order, and the one before is gone or has been sent back. */
    size_t index = k->found;
    if (index < k->items.count && at(k, index)->end < end)
        index++;
    if (index >= k->items.count || at(k, index)->end != end)
        index = search(k, end);
    if (index == k->items.count || at(k, index)->end != end)
        return NULL;
    if (index >= k->next_read)
        read_up_to(k, index);
    k->found = index;
    k->found_end = end;
    k->passed_by = 0;
    return at(k, index)->message;
}

void remote_kept_drop_found(struct remote_kept *k, remote_drop_fn drop, void *arg)
{
    let_go(k, at(k, k->found), drop, arg);
    drop_useless(k, drop, arg);
}
