#include "mgmt/mgmt_listing.h"

#include "base/check.h"
#include "base/mem.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>

#define JSON_TYPE    "application/json"
#define PIECE_OCTETS ((size_t)1024 * 1024) /* rows of messages may be as large as those */

/*
 *   start -- filter by name --+-- sorted by a column? -- all rows: COLLECTING their keys --+
 *                             +------------------------------------------------------------+
 *   cut the page out -- rows in order: SENDING, a piece a turn, as the client takes them -- end
 */
enum stage { COLLECTING, SENDING };

struct mgmt_listing {
    struct mgmt_call *call;
    struct mgmt_source *source;
    enum stage stage;
    uint32_t *order; /* rows */
    uint32_t count;  /* of those that are left */
    uint32_t total;
    uint32_t filtered;
    uint32_t at;    /* the piece begins here */
    uint32_t piece; /* and is so long */
    json_t **keys;  /* by row; NULL while it is not sorted */
    uint32_t shown;
    bool is_streaming;
    bool is_fetching;
    struct text out;
    struct loop_task next;
};

struct mgmt_call *mgmt_listing_call(const struct mgmt_listing *l)
{
    return l->call;
}

/* ---- its end ---- */

static void free_listing(struct mgmt_listing *l)
{
    for (uint32_t i = 0; l->keys != NULL && i < l->total; i++)
        json_decref(l->keys[i]);
    loop_task_cancel(l->call->m->loop, &l->next);
    l->source->free(l->source);
    mem_free(l->keys);
    mem_free(l->order);
    text_fini(&l->out);
    mem_free(l);
}

static void finish(struct mgmt_listing *l)
{
    struct mgmt_call *c = l->call;
    text_str(&l->out, c->list.page != 0 ? "]}" : "]");
    if (l->is_streaming) {
        http_reply_piece(c->r, text_view(&l->out));
        http_reply_end(c->r);
    } else {
        http_reply_header(c->r, "Cache-Control", "no-cache");
        http_reply(c->r, 200, JSON_TYPE, text_view(&l->out));
    }
    free_listing(l);
    mgmt_call_end(c);
}

static void refuse(struct mgmt_listing *l, const struct mgmt_complaint *why)
{
    struct mgmt_call *c = l->call;
    free_listing(l);
    mgmt_refuse(c, 400, why->error, why->reason);
}

/* ---- sending ---- */

static void go_on(struct mgmt_listing *l);

static void on_room(void *arg)
{
    struct mgmt_listing *l = arg;
    if (!l->is_fetching)
        loop_again(l->call->m->loop, &l->next);
}

static void begin_page(struct mgmt_listing *l)
{
    const struct mgmt_list *q = &l->call->list;
    if (q->page == 0) {
        text_char(&l->out, '[');
        return;
    }
    text_put(&l->out,
             "{\"filtered_count\":%u,\"item_count\":%u,\"page\":%u,\"page_count\":%u,"
             "\"page_size\":%u,\"total_count\":%u,\"items\":[",
             l->filtered, l->count, q->page, (l->filtered + q->page_size - 1) / q->page_size,
             q->page_size, l->total);
}

static void put_row(struct mgmt_listing *l, json_t *item)
{
    mgmt_list_columns(&l->call->list, item);
    char *text = json_dumps(item, JSON_COMPACT);
    CHECK(text != NULL);
    if (l->shown++ != 0)
        text_char(&l->out, ',');
    text_str(&l->out, text);
    mem_free(text);
}

static void flush(struct mgmt_listing *l)
{
    struct mgmt_call *c = l->call;
    if (!l->is_streaming) {
        l->is_streaming = true;
        http_reply_header(c->r, "Cache-Control", "no-cache");
        http_reply_begin(c->r, 200, JSON_TYPE, on_room, l);
    }
    http_reply_piece(c->r, text_view(&l->out));
    text_clear(&l->out);
}

static void send_piece(struct mgmt_listing *l)
{
    for (uint32_t i = 0; i < l->piece; i++) {
        json_t *item = l->source->render(l->source, l->order[l->at + i], i);
        if (item != NULL)
            put_row(l, item);
        json_decref(item);
        if (l->out.len >= PIECE_OCTETS)
            l->piece = i + 1; /* the others when this has gone */
    }
    if (l->at + l->piece < l->count)
        flush(l);
}

/* ---- sorting ---- */

static void collect_piece(struct mgmt_listing *l)
{
    for (uint32_t i = 0; i < l->piece; i++) {
        uint32_t row = l->order[l->at + i];
        json_t *item = l->source->render(l->source, row, i);
        l->keys[row] = json_incref((json_t *)(uintptr_t)mgmt_list_key(&l->call->list, item));
        json_decref(item);
    }
}

struct sort_row {
    const json_t *key;
    uint32_t row;
    uint32_t index; /* equal keys stay in order */
};

static int compare_rows(const void *left, const void *right)
{
    const struct sort_row *a = left;
    const struct sort_row *b = right;
    int order = mgmt_list_compare(a->key, b->key);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static void sort(struct mgmt_listing *l)
{
    struct sort_row *rows = mem_array((size_t)l->count + 1, sizeof *rows);
    for (uint32_t i = 0; i < l->count; i++)
        rows[i] = (struct sort_row){ l->keys[l->order[i]], l->order[i], i };
    qsort(rows, l->count, sizeof *rows, compare_rows);
    for (uint32_t i = 0; i < l->count; i++)
        l->order[i] = rows[i].row;
    mem_free(rows);
}

/* ---- pages ---- */

static void turn_round(struct mgmt_listing *l)
{
    for (uint32_t i = 0; i < l->count / 2; i++) {
        uint32_t other = l->order[l->count - 1 - i];
        l->order[l->count - 1 - i] = l->order[i];
        l->order[i] = other;
    }
}

/* All that are left are in order: begin to send those that are wanted. */
static void show(struct mgmt_listing *l)
{
    const struct mgmt_list *q = &l->call->list;
    struct mgmt_complaint why;
    size_t first, count;
    l->filtered = l->count;
    if (q->reverse)
        turn_round(l);
    if (q->page != 0) {
        if (!mgmt_list_range(q, l->count, &first, &count, &why)) {
            refuse(l, &why);
            return;
        }
        for (size_t i = 0; i < count; i++)
            l->order[i] = l->order[first + i];
        l->count = (uint32_t)count;
    }
    l->stage = SENDING;
    l->at = 0;
    begin_page(l);
    go_on(l);
}

/* ---- piece by piece ---- */

/* The next piece, or what comes behind the last one. Ends the listing, or waits for something. */
static void go_on(struct mgmt_listing *l)
{
    struct mgmt_call *c = l->call;
    bool is_gone = http_reply_is_gone(c->r);
    if (!is_gone && l->at < l->count) {
        if (l->is_streaming && http_reply_is_full(c->r))
            return; /* on_room */
        l->piece = l->count - l->at < MGMT_PIECE_ROWS ? l->count - l->at : MGMT_PIECE_ROWS;
        l->is_fetching = true;
        if (l->source->fetch != NULL)
            l->source->fetch(l->source, l, l->order + l->at, l->piece);
        else
            mgmt_listing_fetched(l);
    } else if (!is_gone && l->stage == COLLECTING) {
        sort(l);
        show(l);
    } else {
        finish(l);
    }
}

void mgmt_listing_fetched(struct mgmt_listing *l)
{
    l->is_fetching = false;
    if (l->stage == COLLECTING)
        collect_piece(l);
    else
        send_piece(l);
    l->at += l->piece;
    loop_again(l->call->m->loop, &l->next);
}

static void on_next(void *arg)
{
    go_on(arg);
}

/* ---- the beginning ---- */

static bool takes(const struct mgmt_filter *f, struct mgmt_source *s, uint32_t row)
{
    if (s->name != NULL)
        return mgmt_filter_takes(f, s->name(s, row));
    json_t *item = s->render(s, row, 0);
    const char *name = json_string_value(json_object_get(item, "name"));
    bool is_taken = mgmt_filter_takes(f, slice_str(name != NULL ? name : ""));
    json_decref(item);
    return is_taken;
}

static bool filter(struct mgmt_listing *l, struct mgmt_complaint *why)
{
    struct mgmt_filter *f;
    if (l->call->list.page == 0)
        return true;
    if (!mgmt_filter_new(&l->call->list, &f, why))
        return false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->total; i++) {
        if (takes(f, l->source, i))
            l->order[kept++] = i;
    }
    mgmt_filter_free(&f);
    l->count = kept;
    return true;
}

void mgmt_listing_start(struct mgmt_call *c, struct mgmt_source *s)
{
    struct mgmt_listing *l = mem_zalloc(sizeof *l);
    struct mgmt_complaint why;
    l->call = c;
    l->source = s;
    l->total = l->count = s->count;
    l->order = mem_array((size_t)l->total + 1, sizeof *l->order);
    for (uint32_t i = 0; i < l->total; i++)
        l->order[i] = i;
    text_init(&l->out, SIZE_MAX / 2);
    loop_task_init(&l->next, on_next, l);
    if (!filter(l, &why)) {
        refuse(l, &why);
    } else if (c->list.sort[0] != '\0') {
        l->keys = mem_array((size_t)l->total + 1, sizeof *l->keys);
        for (uint32_t i = 0; i < l->total; i++)
            l->keys[i] = NULL;
        go_on(l);
    } else {
        show(l);
    }
}

/* ---- an array that is there already ---- */

struct array_source {
    struct mgmt_source base;
    json_t *all;
};

static json_t *render_item(struct mgmt_source *s, uint32_t row, uint32_t nth)
{
    (void)nth;
    return json_incref(json_array_get(CONTAINER_OF(s, struct array_source, base)->all, row));
}

static void free_array(struct mgmt_source *s)
{
    struct array_source *a = CONTAINER_OF(s, struct array_source, base);
    json_decref(a->all);
    mem_free(a);
}

void mgmt_reply_list(struct mgmt_call *c, json_t *all)
{
    if (!mgmt_read_list(c)) {
        json_decref(all);
        return;
    }
    struct array_source *a = mem_zalloc(sizeof *a);
    a->base.count = (uint32_t)json_array_size(all);
    a->base.render = render_item;
    a->base.free = free_array;
    a->all = all;
    mgmt_listing_start(c, &a->base);
}
