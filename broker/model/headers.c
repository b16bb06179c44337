#include "model/headers.h"

#include "base/check.h"
#include "base/mem.h"

#define X_MATCH "x-match"

void headers_init(struct headers *h)
{
    h->fields = h->few;
    h->count = 0;
    h->cap = HEADERS_FEW;
}

void headers_fini(struct headers *h)
{
    if (h->fields != h->few)
        mem_free(h->fields);
    headers_init(h);
}

static void push(struct headers *h, const struct amqp_field *f)
{
    if (h->count == h->cap) {
        struct amqp_field *more = mem_array(h->cap * 2, sizeof *more);
        memcpy(more, h->fields, h->count * sizeof *more);
        if (h->fields != h->few)
            mem_free(h->fields);
        h->fields = more;
        h->cap *= 2;
    }
    h->fields[h->count++] = *f;
}

/* Merge two sorted runs; of equal names the left one's come first. */
static void merge(const struct amqp_field *from, size_t mid, size_t end, struct amqp_field *to)
{
    size_t left = 0, right = mid;
    for (size_t i = 0; i < end; i++) {
        bool take_left =
            left < mid && (right >= end || slice_cmp(from[left].name, from[right].name) <= 0);
        to[i] = from[take_left ? left++ : right++];
    }
}

/* Stable, because of several headers of one name the first is met first. */
static void sort(struct amqp_field *fields, size_t count, struct amqp_field *room)
{
    if (count < 2)
        return;
    sort(fields, count / 2, room);
    sort(fields + count / 2, count - count / 2, room);
    merge(fields, count / 2, count, room);
    memcpy(fields, room, count * sizeof *fields);
}

static bool is_sorted(const struct headers *h)
{
    for (size_t i = 1; i < h->count; i++)
        if (slice_cmp(h->fields[i - 1].name, h->fields[i].name) > 0)
            return false;
    return true;
}

void headers_read(struct headers *h, struct slice table)
{
    h->count = 0;
    struct amqp_table_iter it = amqp_table_iter_init(table);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f))
        push(h, &f);
    if (is_sorted(h))
        return;
    struct amqp_field few[HEADERS_FEW];
    struct amqp_field *room = h->count <= HEADERS_FEW ? few : mem_array(h->count, sizeof *room);
    sort(h->fields, h->count, room);
    if (room != few)
        mem_free(room);
}

void headers_sort_table(struct slice table, uint8_t *out)
{
    if (table.len == 0)
        return;
    struct headers h;
    headers_init(&h);
    headers_read(&h, table);
    struct wire_out w = wire_out_over(out, table.len);
    for (size_t i = 0; i < h.count; i++)
        amqp_table_put(&w, &h.fields[i]);
    CHECK(!w.overflow && wire_out_len(&w) == table.len);
    headers_fini(&h);
}

/* ---- matching ---- */

struct rule {
    bool any;    /* else all */
    bool with_x; /* arguments that begin with "x-" count too */
};

static struct rule rule_of(struct slice args)
{
    struct slice v = amqp_table_longstr(args, X_MATCH);
    return (struct rule){ .any = slice_is(v, "any") || slice_is(v, "any-with-x"),
                          .with_x = slice_is(v, "all-with-x") || slice_is(v, "any-with-x") };
}

static bool is_passed_over(struct rule rule, struct slice name)
{
    return slice_is(name, X_MATCH) || (!rule.with_x && slice_starts(name, "x-"));
}

/* Both sides are in the order of their names: one pass. A header is used up by the argument of its
 * name, so of two arguments with one name each wants a header of its own. */
bool headers_match(struct slice args, const struct headers *h)
{
    struct rule rule = rule_of(args);
    struct amqp_table_iter it = amqp_table_iter_init(args);
    struct amqp_field want;
    size_t at = 0;
    while (amqp_table_iter_next(&it, &want)) {
        if (is_passed_over(rule, want.name))
            continue;
        while (at < h->count && slice_cmp(h->fields[at].name, want.name) < 0)
            at++;
        bool is_met = false;
        if (at < h->count && slice_eq(h->fields[at].name, want.name)) {
            is_met = want.type == AMQP_FIELD_VOID || amqp_field_matches(&want, &h->fields[at]);
            at++;
        }
        if (is_met == rule.any)
            return rule.any;
    }
    return !rule.any;
}
