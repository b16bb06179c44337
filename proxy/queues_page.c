#include "queues_page.h"

#include "page_parts.h"

#include <jansson.h>
#include <string.h>

#define COLUMNS                                                                                    \
    "name,vhost,node,leader,state,messages,consumers,slave_nodes,synchronised_slave_nodes,"        \
    "members,online,epoch,sync_messages,mirror_lag"

void queues_page_path(const struct queues_query *q, struct text *out)
{
    text_put(out, "/api/queues?page=%llu&page_size=%u&columns=" COLUMNS "&name=",
             (unsigned long long)q->page, QUEUES_PAGE_ROWS);
    page_query(out, q->name);
}

/* ---- what the answer says --------------------------------------------------------------------
 */

static struct slice text_of(const json_t *object, const char *name)
{
    const json_t *s = json_object_get(object, name);
    return slice_of(json_string_value(s), json_string_length(s));
}

static bool has(const json_t *list, const json_t *node)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), node))
            return true;
    }
    return false;
}

/* ---- one queue -------------------------------------------------------------------------------
 */

static void put_number(struct text *out, const json_t *q, const char *name)
{
    const json_t *n = json_object_get(q, name);
    if (json_is_integer(n))
        text_put(out, "<td>%lld</td>", (long long)json_integer_value(n));
    else
        text_str(out, "<td></td>");
}

static void put_words(struct text *out, const char *class, struct slice s)
{
    text_put(out, "<td class=%s>", class);
    page_text(out, s);
    text_str(out, "</td>");
}

/* How many messages a mirror lacks at most; NULL: none. */
static const json_t *lag_of(const json_t *q, const json_t *node)
{
    const json_t *lags = json_object_get(q, "mirror_lag");
    for (size_t i = 0; i < json_array_size(lags); i++) {
        const json_t *lag = json_array_get(lags, i), *n = json_object_get(lag, "messages");
        if (json_equal(json_object_get(lag, "name"), node) && json_is_integer(n))
            return n;
    }
    return NULL;
}

static void put_mirror(struct text *out, const json_t *node, const char *bad, const json_t *lag)
{
    page_text(out, slice_of(json_string_value(node), json_string_length(node)));
    if (bad != NULL)
        text_put(out, " <b>%s</b>", bad);
    if (bad != NULL && lag != NULL)
        text_put(out, " by at most %lld", (long long)json_integer_value(lag));
}

/* Its mirrors, or the members of a quorum queue but the leader: which are behind, or down. One in
 * sync has a lag, too, until its new master has compared it. */
static void put_mirrors(struct text *out, const json_t *q, const json_t *master)
{
    const json_t *mirrors = json_object_get(q, "slave_nodes");
    const json_t *good = json_object_get(q, "synchronised_slave_nodes");
    const char *bad = "is behind", *between = "";
    bool has_lags = mirrors != NULL;
    if (mirrors == NULL) {
        mirrors = json_object_get(q, "members");
        good = json_object_get(q, "online");
        bad = "is down";
    }
    text_str(out, "<td class=l>");
    for (size_t i = 0; i < json_array_size(mirrors); i++) {
        const json_t *node = json_array_get(mirrors, i);
        if (json_equal(node, master))
            continue;
        text_str(out, between);
        put_mirror(out, node, has(good, node) ? NULL : bad, has_lags ? lag_of(q, node) : NULL);
        between = ", ";
    }
    const json_t *sent = json_object_get(q, "sync_messages");
    if (json_is_integer(sent))
        text_put(out, " (%lld messages sent)", (long long)json_integer_value(sent));
    text_str(out, "</td>");
}

static const char *class_of(const json_t *q)
{
    struct slice state = text_of(q, "state");
    const json_t *mirrors = json_object_get(q, "slave_nodes");
    const json_t *good = json_object_get(q, "synchronised_slave_nodes");
    if (slice_is(state, "down"))
        return "down";
    return json_array_size(good) < json_array_size(mirrors) ? "going" : "up";
}

static void put_queue(struct text *out, const json_t *q)
{
    const json_t *leader = json_object_get(q, "leader");
    const json_t *master = leader != NULL ? leader : json_object_get(q, "node");
    text_put(out, "<tr class=%s>", class_of(q));
    put_words(out, "q", text_of(q, "name"));
    put_words(out, "l", text_of(q, "vhost"));
    put_words(out, "l", slice_of(json_string_value(master), json_string_length(master)));
    put_mirrors(out, q, master);
    put_number(out, q, "epoch");
    put_words(out, "l", text_of(q, "state"));
    put_number(out, q, "messages");
    put_number(out, q, "consumers");
    text_str(out, "</tr>\n");
}

/* ---- the page --------------------------------------------------------------------------------
 */

static void put_link(struct text *out, const struct queues_query *q, uint64_t page,
                     const char *word)
{
    text_put(out, " <a href=\"?page=%llu&amp;name=", (unsigned long long)page);
    page_query(out, q->name);
    text_put(out, "\">%s</a>", word);
}

static void put_top(struct text *out, const struct queues_query *q, const char *uri)
{
    page_begin(out, "warren-proxy: queues", 0);
    text_str(out, "<h1>Queues</h1><p class=f><a href=\"");
    page_text(out, slice_str(uri));
    text_str(out, "\">warren-proxy</a></p><form method=get><input name=name placeholder=\"part of "
                  "a name\" value=\"");
    page_text(out, q->name);
    text_str(out, "\"> <button>Find</button></form>\n");
}

static void put_pages(struct text *out, const struct queues_query *q, const json_t *answer)
{
    long long pages = (long long)json_integer_value(json_object_get(answer, "page_count"));
    text_put(out, "<p class=f>%lld of %lld, page %llu of %lld",
             (long long)json_integer_value(json_object_get(answer, "filtered_count")),
             (long long)json_integer_value(json_object_get(answer, "total_count")),
             (unsigned long long)q->page, pages);
    if (q->page > 1)
        put_link(out, q, q->page - 1, "before");
    if (pages > 0 && q->page < (unsigned long long)pages)
        put_link(out, q, q->page + 1, "next");
    text_str(out, "</p>\n");
}

bool queues_page(const struct queues_query *q, const char *uri, struct slice answer,
                 struct text *out, struct err *err)
{
    json_error_t why;
    json_t *j = json_loadb((const char *)answer.ptr, answer.len, JSON_REJECT_DUPLICATES, &why);
    const json_t *items = json_object_get(j, "items");
    if (!json_is_array(items)) {
        json_decref(j);
        return err_set(err, ERR_PROTOCOL, "the broker's answer is no list of queues");
    }
    put_top(out, q, uri);
    put_pages(out, q, j);
    text_str(out, "<div class=w><table><tr><th>Queue</th><th class=l>Vhost</th>"
                  "<th class=l>Master</th><th class=l>Mirrors</th><th>Epoch</th>"
                  "<th class=l>State</th><th>Messages</th><th>Consumers</th></tr>\n");
    for (size_t i = 0; i < json_array_size(items); i++)
        put_queue(out, json_array_get(items, i));
    text_str(out, "</table></div>\n");
    page_end(out);
    json_decref(j);
    return true;
}
