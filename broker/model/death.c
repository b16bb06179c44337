#include "model/death.h"

#include "amqp/amqp_table.h"
#include "base/check.h"
#include "base/mem.h"

#include <stdlib.h>

#define DEATHS "x-death"
/* A client may send any number of deaths, but we do not compare each with each. */
#define DEATHS_MAX 256u
#define FIXED_ROOM 1024u /* for all names, numbers and lengths of ours */

static bool peek(const struct message *m, struct amqp_props_brief *out)
{
    return amqp_props_peek(message_props(m), out);
}

/* ---- tables in memory -------------------------------------------------------------------------
 */

struct fields {
    struct amqp_field *at;
    size_t count;
    size_t cap;
};

static void push(struct fields *t, const struct amqp_field *f)
{
    if (t->count == t->cap) {
        t->cap = t->cap != 0 ? t->cap * 2 : 16;
        t->at = mem_realloc(t->at, t->cap * sizeof *t->at);
    }
    t->at[t->count++] = *f;
}

static struct fields read_table(struct slice table)
{
    struct fields t = { 0 };
    struct amqp_table_iter it = amqp_table_iter_init(table);
    struct amqp_field f;
    while (amqp_table_iter_next(&it, &f))
        push(&t, &f);
    return t;
}

static struct amqp_field *find(const struct fields *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (slice_is(t->at[i].name, name))
            return &t->at[i];
    }
    return NULL;
}

static void set(struct fields *t, const char *name, struct amqp_field value)
{
    struct amqp_field *f = find(t, name);
    value.name = slice_str(name);
    if (f != NULL)
        *f = value;
    else
        push(t, &value);
}

static void take_away(struct fields *t, const char *name)
{
    struct amqp_field *f = find(t, name);
    if (f == NULL)
        return;
    t->count--;
    memmove(f, f + 1, (t->count - (size_t)(f - t->at)) * sizeof *f);
}

/* By name, and fields of one name in their old order. */
static int compare(const void *left, const void *right)
{
    const struct amqp_field *a = left;
    const struct amqp_field *b = right;
    int by_name = slice_cmp(a->name, b->name);
    return by_name != 0 ? by_name : (a->name.ptr > b->name.ptr) - (a->name.ptr < b->name.ptr);
}

static void sort(struct fields *t)
{
    if (t->count > 1)
        qsort(t->at, t->count, sizeof *t->at, compare);
}

static void put_all(struct wire_out *w, const struct fields *t)
{
    for (size_t i = 0; i < t->count; i++)
        amqp_table_put(w, &t->at[i]);
}

static struct amqp_field text_field(struct slice s)
{
    return (struct amqp_field){ .type = AMQP_FIELD_LONGSTR, .bytes = s };
}

static struct amqp_field number_field(int64_t n)
{
    return (struct amqp_field){ .type = AMQP_FIELD_I64, .i64 = n };
}

/* ---- former deaths ----------------------------------------------------------------------------
 */

/* Not even a number need be the same as itself; tables are compared as they came, which is quick.
 */
static bool is_same(const struct amqp_field *a, const struct amqp_field *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->type == AMQP_FIELD_TABLE || a->type == AMQP_FIELD_ARRAY)
        return a->type == b->type && slice_eq(a->bytes, b->bytes);
    return amqp_field_matches(a, b);
}

static bool is_of_one_kind(const struct fields *a, const struct fields *b)
{
    return is_same(find(a, "queue"), find(b, "queue")) &&
           is_same(find(a, "reason"), find(b, "reason"));
}

struct deaths {
    struct fields *at;
    size_t count;
};

/* What is no table is nothing that we said. */
static struct deaths read_deaths(struct slice array)
{
    struct deaths d = { mem_array(DEATHS_MAX, sizeof(struct fields)), 0 };
    struct amqp_table_iter it = amqp_array_iter_init(array);
    struct amqp_field f;
    while (d.count < DEATHS_MAX && amqp_table_iter_next(&it, &f)) {
        if (f.type == AMQP_FIELD_TABLE)
            d.at[d.count++] = read_table(f.bytes);
    }
    return d;
}

static void free_deaths(struct deaths *d)
{
    for (size_t i = 0; i < d->count; i++)
        mem_free(d->at[i].at);
    mem_free(d->at);
}

/* Of each death the first one of its kind, and of those how many there are. */
struct kinds {
    size_t first[DEATHS_MAX];
    int64_t size[DEATHS_MAX];
};

/* A client's deaths may have any number of fields: what makes the kind is looked up once. */
static void find_kinds(const struct deaths *d, struct kinds *k)
{
    const struct amqp_field *queues[DEATHS_MAX];
    const struct amqp_field *reasons[DEATHS_MAX];
    for (size_t i = 0; i < d->count; i++) {
        queues[i] = find(&d->at[i], "queue");
        reasons[i] = find(&d->at[i], "reason");
        size_t j = 0;
        while (j < i && !(is_same(queues[j], queues[i]) && is_same(reasons[j], reasons[i])))
            j++;
        k->first[i] = j;
        k->size[i] = 0;
        k->size[j]++;
    }
}

/* Several of one kind become the first of them, which gets their number as its count if it has
 * none; and, as RabbitMQ does it, the order is turned round whenever there are two or more. */
static void merge(struct deaths *d)
{
    struct kinds k;
    if (d->count < 2)
        return;
    find_kinds(d, &k);
    struct deaths merged = { mem_array(DEATHS_MAX, sizeof(struct fields)), 0 };
    for (size_t i = d->count; i-- > 0;) {
        struct fields *t = &d->at[i];
        if (k.first[i] != i) {
            mem_free(t->at);
            continue;
        }
        if (find(t, "count") == NULL)
            set(t, "count", number_field(k.size[i]));
        merged.at[merged.count++] = *t;
    }
    mem_free(d->at);
    *d = merged;
}

static void count_one_more(struct fields *t)
{
    struct amqp_field *f = find(t, "count");
    int64_t n = 0;
    if (f != NULL && amqp_field_as_i64(f, &n))
        n += n < INT64_MAX;
    else
        n = 1;
    set(t, "count", number_field(n));
}

/* ---- this death -------------------------------------------------------------------------------
 */

/* The keys it was published with: its own, and those in CC and BCC. */
static struct slice keys_array(const struct message *m, struct slice headers, uint8_t *room,
                               size_t room_bytes)
{
    struct wire_out w = wire_out_over(room, room_bytes);
    amqp_table_put_longstr(&w, NULL, message_key(m));
    static const char *const more[] = { "CC", "BCC" };
    for (size_t i = 0; i < ARRAY_COUNT(more); i++) {
        struct amqp_field f;
        if (!amqp_table_find(headers, more[i], &f) || f.type != AMQP_FIELD_ARRAY)
            continue;
        struct amqp_table_iter it = amqp_array_iter_init(f.bytes);
        while (amqp_table_iter_next(&it, &f)) {
            if (f.type == AMQP_FIELD_LONGSTR)
                amqp_array_put(&w, &f);
        }
    }
    CHECK(!w.overflow);
    return wire_out_slice(&w);
}

static struct fields new_death(const struct message *m, const struct death *d,
                               const struct amqp_props_brief *props, struct slice keys)
{
    struct fields t = { 0 };
    set(&t, "count", number_field(1));
    set(&t, "reason", text_field(slice_str(d->reason)));
    set(&t, "queue", text_field(d->queue));
    set(&t, "time", (struct amqp_field){ .type = AMQP_FIELD_TIMESTAMP, .timestamp = d->time_s });
    set(&t, "exchange", text_field(message_exchange(m)));
    set(&t, "routing-keys", (struct amqp_field){ .type = AMQP_FIELD_ARRAY, .bytes = keys });
    if ((props->flags & AMQP_PROP_expiration) != 0)
        set(&t, "original-expiration", text_field(props->expiration));
    return t;
}

static void put_death(struct wire_out *w, const struct fields *t)
{
    size_t mark = amqp_table_begin(w, NULL);
    put_all(w, t);
    amqp_table_end(w, mark);
}

/* In front of the others; instead of one of its kind, which counts it. */
static void put_deaths(struct wire_out *w, struct deaths *former, const struct fields *fresh)
{
    struct fields *same = NULL;
    for (size_t i = 0; i < former->count && same == NULL; i++) {
        if (is_of_one_kind(&former->at[i], fresh))
            same = &former->at[i];
    }
    if (same != NULL)
        count_one_more(same);
    put_death(w, same != NULL ? same : fresh);
    for (size_t i = 0; i < former->count; i++) {
        if (&former->at[i] != same)
            put_death(w, &former->at[i]);
    }
}

static void sort_front(struct deaths *former, struct fields *fresh)
{
    sort(fresh);
    for (size_t i = 0; i < former->count; i++) {
        if (is_of_one_kind(&former->at[i], fresh))
            sort(&former->at[i]);
    }
}

/* The array of all deaths, this one included. */
static struct slice deaths_array(const struct fields *headers, struct fields *fresh, uint8_t *room,
                                 size_t room_bytes)
{
    struct wire_out w = wire_out_over(room, room_bytes);
    const struct amqp_field *f = find(headers, DEATHS);
    struct deaths former = { NULL, 0 };
    if (f != NULL && f->type == AMQP_FIELD_ARRAY) {
        former = read_deaths(f->bytes);
        merge(&former);
        sort_front(&former, fresh);
    }
    put_deaths(&w, &former, fresh);
    free_deaths(&former);
    CHECK(!w.overflow);
    return wire_out_slice(&w);
}

static void set_first_death(struct fields *headers, const struct fields *fresh)
{
    set(headers, "x-first-death-reason", *find(fresh, "reason"));
    set(headers, "x-first-death-queue", *find(fresh, "queue"));
    set(headers, "x-first-death-exchange", *find(fresh, "exchange"));
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static struct message *with_headers(const struct message *m, struct slice exchange,
                                    struct slice key, struct fields *headers, size_t room_bytes,
                                    bool keep_expiration)
{
    struct amqp_props props;
    bool ok = amqp_props_decode(message_props(m), &props);
    CHECK(ok);
    uint8_t *room = mem_alloc(2 * room_bytes);
    struct wire_out table = wire_out_over(room, room_bytes);
    sort(headers);
    put_all(&table, headers);
    props.headers = wire_out_slice(&table);
    props.flags |= AMQP_PROP_headers;
    if (!keep_expiration)
        props.flags &= (uint16_t)~AMQP_PROP_expiration;
    struct wire_out w = wire_out_over(room + room_bytes, room_bytes);
    amqp_props_encode(&w, &props);
    CHECK(!table.overflow && !w.overflow);
    struct message *out = message_with_props(m, exchange, key, wire_out_slice(&w));
    mem_free(room);
    return out;
}

struct message *death_message(const struct message *m, const struct death *d)
{
    struct amqp_props_brief props;
    bool ok = peek(m, &props);
    CHECK(ok);
    /* Of what the client sent nothing grows but its keys, which come again once; and each of up to
     * DEATHS_MAX deaths may be given a count. */
    size_t room_bytes =
        2 * message_props(m).len + 3 * UINT8_MAX + 4 * d->queue.len + DEATHS_MAX * 16 + FIXED_ROOM;
    uint8_t *room = mem_alloc(2 * room_bytes);
    struct fields headers = read_table(props.headers);
    struct fields fresh = new_death(m, d, &props, keys_array(m, props.headers, room, room_bytes));
    bool first = find(&headers, DEATHS) == NULL;
    struct slice deaths = deaths_array(&headers, &fresh, room + room_bytes, room_bytes);
    if (first)
        set_first_death(&headers, &fresh);
    set(&headers, DEATHS, (struct amqp_field){ .type = AMQP_FIELD_ARRAY, .bytes = deaths });
    if (!d->keep_cc)
        take_away(&headers, "CC");
    struct message *out =
        with_headers(m, d->to_exchange, d->to_key, &headers, 2 * room_bytes, false);
    mem_free(headers.at);
    mem_free(fresh.at);
    mem_free(room);
    return out;
}

/* The deaths that a message says of, the newest first; none when it says of none. */
static struct amqp_table_iter each_death(const struct message *m)
{
    struct amqp_props_brief props;
    struct amqp_field deaths;
    if (!peek(m, &props) || !amqp_table_find(props.headers, DEATHS, &deaths) ||
        deaths.type != AMQP_FIELD_ARRAY)
        deaths.bytes = slice_of(NULL, 0);
    return amqp_array_iter_init(deaths.bytes);
}

/* The next one that was nobody's doing. */
static bool next_death(struct amqp_table_iter *it, struct amqp_field *one)
{
    return amqp_table_iter_next(it, one) && one->type == AMQP_FIELD_TABLE &&
           !slice_is(amqp_table_longstr(one->bytes, "reason"), "rejected");
}

/* From the newest death back to the one in this queue. */
bool death_is_cycle(const struct message *m, struct slice queue)
{
    struct amqp_table_iter it = each_death(m);
    struct amqp_field one;
    while (next_death(&it, &one)) {
        if (slice_eq(amqp_table_longstr(one.bytes, "queue"), queue))
            return true;
    }
    return false;
}

unsigned death_count(const struct message *m)
{
    struct amqp_table_iter it = each_death(m);
    struct amqp_field one;
    unsigned n = 0;
    while (next_death(&it, &one))
        n++;
    return n;
}

struct message *death_counted(const struct message *m, uint32_t returns)
{
    struct amqp_props_brief props;
    bool ok = peek(m, &props);
    CHECK(ok);
    struct fields headers = read_table(props.headers);
    set(&headers, "x-delivery-count", number_field(returns));
    struct message *out = with_headers(m, message_exchange(m), message_key(m), &headers,
                                       message_props(m).len + FIXED_ROOM, true);
    mem_free(headers.at);
    return out;
}
