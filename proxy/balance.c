#include "balance.h"

#include "base/check.h"

#define WEIGHT_SCALE 16u

/* The servers that take part in one choice. */
struct field {
    const struct balance_server *servers;
    uint64_t total_weight;
    unsigned count;
    uint8_t index[BALANCE_SERVERS_MAX];
};

_Static_assert(BALANCE_SERVERS_MAX <= 256, "indexes of a field are octets");

static bool can_take(const struct balance_server *s)
{
    return s->usable && s->weight > 0 && (s->load_max == 0 || s->load < s->load_max);
}

static void field_add(struct field *f, unsigned index)
{
    CHECK(f->servers[index].weight <= BALANCE_WEIGHT_MAX);
    f->index[f->count++] = (uint8_t)index;
    f->total_weight += f->servers[index].weight;
}

/* Backups wait until no other server is usable. One that is merely full does not call them: it is
 * there, and its sessions end. */
static void field_fill(struct field *f, unsigned count)
{
    bool need_backup = true;
    for (unsigned i = 0; i < count; i++) {
        const struct balance_server *s = &f->servers[i];
        if (s->backup || !s->usable || s->weight == 0)
            continue;
        need_backup = false;
        if (can_take(s))
            field_add(f, i);
    }
    for (unsigned i = 0; need_backup && i < count; i++)
        if (f->servers[i].backup && can_take(&f->servers[i])) {
            field_add(f, i);
            return;
        }
}

static const struct balance_server *field_at(const struct field *f, unsigned i)
{
    return &f->servers[f->index[i]];
}

/* How many of a server's picks are due at `x` or earlier, in a cycle of 2 * total_weight half
 * steps: its j-th pick is due in the middle of the j-th of `weight` equal parts of the cycle. */
static uint64_t picks_until(const struct field *f, unsigned i, uint64_t x)
{
    return (x * field_at(f, i)->weight + f->total_weight) / (2 * f->total_weight);
}

static uint64_t all_picks_until(const struct field *f, uint64_t x)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < f->count; i++)
        sum += picks_until(f, i, x);
    return sum;
}

/*
 * Weighted round robin without a memory. Over a cycle of as many tickets as there is weight, each
 * server's picks are spread evenly; the ticket's place in the cycle says whose pick it is. So any
 * number of loops can draw tickets from one counter, and servers that come and go or change weight
 * need no bookkeeping.
 */
static int pick_roundrobin(const struct field *f, uint64_t ticket)
{
    uint64_t rank = ticket % f->total_weight;
    uint64_t low = 0;
    uint64_t high = 2 * f->total_weight;
    while (low < high) { /* the first moment with more than `rank` picks behind it */
        uint64_t mid = (low + high) / 2;
        if (all_picks_until(f, mid) > rank)
            high = mid;
        else
            low = mid + 1;
    }
    CHECK(low > 0);

    rank -= all_picks_until(f, low - 1);
    for (unsigned i = 0; i < f->count; i++) { /* several may be due at that moment */
        uint64_t due = picks_until(f, i, low) - picks_until(f, i, low - 1);
        if (rank < due)
            return f->index[i];
        rank -= due;
    }
    UNREACHABLE("a ticket belongs to nobody");
}

/* True when `a` would carry less for its weight than `b`, with one more each. */
static bool is_lighter(const struct balance_server *a, const struct balance_server *b)
{
    return ((uint64_t)a->load + 1) * b->weight < ((uint64_t)b->load + 1) * a->weight;
}

/* Equally light ones take turns. */
static int pick_leastconn(const struct field *f, uint64_t ticket)
{
    unsigned first = (unsigned)(ticket % f->count);
    unsigned best = first;
    for (unsigned n = 1; n < f->count; n++) {
        unsigned i = (first + n) % f->count;
        if (is_lighter(field_at(f, i), field_at(f, best)))
            best = i;
    }
    return f->index[best];
}

static unsigned draw(const struct field *f, struct rng *rng)
{
    uint64_t at = rng_below(rng, f->total_weight);
    for (unsigned i = 0; i < f->count; i++) {
        if (at < field_at(f, i)->weight)
            return i;
        at -= field_at(f, i)->weight;
    }
    UNREACHABLE("a draw beyond the total weight");
}

/* The lighter of two drawn ones: nearly as even as leastconn, and no herd runs to one server. */
static int pick_random(const struct field *f, struct rng *rng)
{
    unsigned a = draw(f, rng);
    unsigned b = draw(f, rng);
    return f->index[is_lighter(field_at(f, b), field_at(f, a)) ? b : a];
}

int balance_pick(enum balance_kind kind, const struct balance_server *servers, unsigned count,
                 uint64_t ticket, struct rng *rng)
{
    CHECK(count <= BALANCE_SERVERS_MAX);
    struct field f = { .servers = servers };
    field_fill(&f, count);
    if (f.count == 0)
        return -1;

    switch (kind) {
    case BALANCE_ROUNDROBIN:
        return pick_roundrobin(&f, ticket);
    case BALANCE_LEASTCONN:
        return pick_leastconn(&f, ticket);
    case BALANCE_FIRST:
        return f.index[0];
    case BALANCE_RANDOM:
        return pick_random(&f, rng);
    }
    UNREACHABLE("balance kind");
}

const char *balance_kind_word(enum balance_kind kind)
{
    static const char *const words[] = {
#define X(name, word) word,
        BALANCE_KINDS(X)
#undef X
    };
    CHECK((unsigned)kind < ARRAY_COUNT(words));
    return words[kind];
}

uint32_t balance_weight(uint32_t weight, uint64_t up_for_ms, uint64_t slowstart_ms)
{
    uint32_t full = weight * WEIGHT_SCALE;
    if (up_for_ms >= slowstart_ms || full == 0)
        return full;
    uint32_t part = (uint32_t)(full * up_for_ms / slowstart_ms);
    return part > 0 ? part : 1;
}
