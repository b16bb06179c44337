#include "link/link_door.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wire.h"
#include "io/first_octets.h"
#include "io/mailbox.h"

#include <sys/queue.h>

#define PRELUDE_MS   5000u
#define CALLERS_MAX  256u /* that have not said yet what they want; then the eldest goes */
#define DOORS_MAX    16u
#define REFUSALS_LOG 20u
#define REFUSALS_MS  10000u

static const char magic[4] = { 'W', 'R', 'N', 'K' };

struct caller {
    struct link_door *door;
    struct first_octets *first;
    struct sock_addr peer;
    TAILQ_ENTRY(caller) entry;
};

struct halls {
    struct link_hall **of;
    size_t count;
};

struct link_door {
    struct loop *loop;
    struct listener *listeners[DOORS_MAX];
    size_t listener_count;
    struct halls halls[LINK_CLASS_END];
    TAILQ_HEAD(, caller) callers;
    unsigned caller_count;
    struct log_rate refusals;
};

/* On its way to a hall's loop. */
struct arrival {
    struct mail mail;
    struct link_hall *hall;
    int fd;
    uint16_t shard;
};

void link_door_prelude(uint8_t out[LINK_PRELUDE_BYTES], enum link_class class, uint16_t shard)
{
    const uint8_t octets[] = {
        'W', 'R', 'N', 'K', (uint8_t) class, 0, (uint8_t)(shard >> 8), (uint8_t)(shard & 0xFFu)
    };
    _Static_assert(sizeof octets == LINK_PRELUDE_BYTES, "as drawn");
    memcpy(out, octets, sizeof octets);
}

/* ---- callers ---- */

static void forget(struct caller *c)
{
    struct link_door *d = c->door;
    TAILQ_REMOVE(&d->callers, c, entry);
    d->caller_count--;
    mem_free(c);
}

static void on_arrival(struct mail *mail)
{
    struct arrival *a = CONTAINER_OF(mail, struct arrival, mail);
    link_hall_take(a->hall, a->fd, a->shard);
    mem_free(a);
}

/* False: not now. A loop that does not run yet, or hangs, does not take them. */
static bool hand_on(struct halls *halls, int fd, uint16_t shard)
{
    struct link_hall *hall = halls->of[shard % halls->count];
    if (!link_hall_expect(hall))
        return false;
    struct arrival *a = mem_zalloc(sizeof *a);
    *a = (struct arrival){ { NULL, on_arrival }, hall, fd, shard };
    mailbox_post(link_hall_loop(a->hall), &a->mail);
    return true;
}

static void turn_away(struct caller *c, const char *why)
{
    char where[SOCK_ADDR_TEXT_MAX];
    unsigned left_out;
    if (log_rate_ok(&c->door->refusals, REFUSALS_LOG, REFUSALS_MS, &left_out))
        log_warn("link", sock_addr_text(&c->peer, where), "refused: %s", why);
}

/* It starts, or stops, and others try again: that is as it should be. */
static void not_yet(const struct caller *c, enum link_class class)
{
    char where[SOCK_ADDR_TEXT_MAX];
    log_debug("link", sock_addr_text(&c->peer, where), "refused: %s is not served now",
              link_class_text(class));
}

/* Who only looks whether the port is open is not worth a line. */
static void on_first(int fd, struct slice octets, void *arg)
{
    struct caller *c = arg;
    struct link_door *d = c->door;
    struct wire w = wire_over(octets);
    struct slice said = wire_take(&w, sizeof magic);
    uint8_t class = wire_u8(&w);
    uint8_t zero = wire_u8(&w);
    uint16_t shard = wire_u16(&w);
    if (octets.len != 0 && !slice_eq(said, slice_of(magic, sizeof magic)))
        turn_away(c, "what it said is not for the cluster port");
    else if (octets.len != 0 && w.ran_out)
        turn_away(c, "it did not say what it wants");
    else if (fd >= 0 && (zero != 0 || class >= LINK_CLASS_END))
        turn_away(c, "it wants a kind of link that this node does not know");
    else if (fd >= 0 && d->halls[class].count == 0)
        not_yet(c, (enum link_class) class);
    else if (fd >= 0 && hand_on(&d->halls[class], fd, shard))
        fd = -1;
    else if (fd >= 0)
        turn_away(c, "too many others are waiting");
    forget(c);
    if (fd >= 0)
        sock_close(fd);
}

static void drop_eldest(struct link_door *d)
{
    struct caller *c = TAILQ_FIRST(&d->callers);
    first_octets_cancel(&c->first);
    forget(c);
}

static void on_accepted(int fd, const struct sock_addr *peer, void *arg)
{
    struct link_door *d = arg;
    if (d->caller_count == CALLERS_MAX)
        drop_eldest(d);
    struct caller *c = mem_zalloc(sizeof *c);
    c->door = d;
    c->peer = *peer;
    TAILQ_INSERT_TAIL(&d->callers, c, entry);
    d->caller_count++;
    c->first = first_octets_start(d->loop, fd, LINK_PRELUDE_BYTES, PRELUDE_MS, on_first, c);
}

/* ---- life ---- */

struct link_door *link_door_new(struct loop *loop)
{
    struct link_door *d = mem_zalloc(sizeof *d);
    d->loop = loop;
    TAILQ_INIT(&d->callers);
    return d;
}

uint16_t link_door_listen(struct link_door *d, const struct sock_addr *at, struct err *err)
{
    if (d->listener_count == DOORS_MAX) {
        (void)err_set(err, ERR_CONFIG, "more than %u addresses", DOORS_MAX);
        return 0;
    }
    struct listener *l =
        listener_new(d->loop, at, &(struct listener_options){ 0 }, on_accepted, d, err);
    if (l == NULL)
        return 0;
    d->listeners[d->listener_count++] = l;
    return sock_addr_port(listener_addr(l));
}

void link_door_serve(struct link_door *d, enum link_class class, struct link_hall *const *halls,
                     size_t count)
{
    struct halls *h = &d->halls[class];
    mem_free(h->of);
    *h = (struct halls){ .count = count };
    if (count == 0)
        return;
    h->of = mem_array(count, sizeof(struct link_hall *));
    for (size_t i = 0; i < count; i++)
        h->of[i] = halls[i];
}

void link_door_close(struct link_door *d)
{
    while (d->listener_count != 0)
        listener_free(&d->listeners[--d->listener_count]);
    while (!TAILQ_EMPTY(&d->callers))
        drop_eldest(d);
}

void link_door_free(struct link_door **door)
{
    struct link_door *d = *door;
    *door = NULL;
    if (d == NULL)
        return;
    link_door_close(d);
    for (size_t i = 0; i < LINK_CLASS_END; i++)
        mem_free(d->halls[i].of);
    mem_free(d);
}
