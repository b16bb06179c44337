/* proxy/queues_page, page_parts: the list of queues for people, from a broker's answer. */
#include "queues_page.h"

#include "page_parts.h"

#include <string.h>

#include "expect.h"

static char room[16384];

static const char *path_of(uint64_t page, const char *name)
{
    struct text t = text_over(room, sizeof room);
    queues_page_path(&(struct queues_query){ page, slice_str(name) }, &t);
    return room;
}

/* The page, or NULL. */
static const char *page_of(uint64_t page, const char *name, const char *answer)
{
    struct err err;
    struct text t = text_over(room, sizeof room);
    struct queues_query q = { page, slice_str(name) };
    return queues_page(&q, "/stats", slice_str(answer), &t, &err) ? room : NULL;
}

static void shows(const char *page, const char *what)
{
    cr_assert(page != NULL);
    cr_expect(strstr(page, what) != NULL, "\"%s\" is not in %s", what, page);
}

Test(queues_page, asks_for_one_page_of_what_is_looked_for)
{
    shows(path_of(3, "a&b=c d\xc3\xa4"), "?page=3&page_size=100&");
    shows(path_of(3, "a&b=c d\xc3\xa4"), "&name=a%26b%3Dc%20d%C3%A4");
}

#define HEAD                                                                                       \
    "{\"filtered_count\":250,\"total_count\":1000000,\"page\":2,\"page_count\":3,\"items\":["

Test(queues_page, shows_masters_and_what_their_mirrors_are)
{
    const char *page = page_of(
        2, "q",
        HEAD "{\"name\":\"q1\",\"vhost\":\"/\",\"node\":\"r@a\",\"state\":\"running\","
             "\"messages\":7,\"consumers\":2,\"epoch\":41,\"slave_nodes\":[\"r@b\",\"r@c\"],"
             "\"synchronised_slave_nodes\":[\"r@c\"],\"sync_messages\":12}]}");
    shows(page, "250 of 1000000, page 2 of 3");
    shows(page, "<a href=\"?page=1&amp;name=q\">before</a>");
    shows(page, "<a href=\"?page=3&amp;name=q\">next</a>");
    shows(page, "<tr class=going><td class=q>q1</td><td class=l>/</td><td class=l>r@a</td>"
                "<td class=l>r@b <b>is behind</b>, r@c (12 messages sent)</td><td>41</td>"
                "<td class=l>running</td><td>7</td><td>2</td></tr>");
}

Test(queues_page, says_by_how_much_mirrors_are_behind)
{
    const char *page =
        page_of(1, "",
                HEAD "{\"name\":\"q\",\"vhost\":\"/\",\"node\":\"r@a\",\"state\":\"running\","
                     "\"slave_nodes\":[\"r@b\",\"r@c\",\"r@d\"],"
                     "\"synchronised_slave_nodes\":[\"r@c\"],"
                     "\"mirror_lag\":[{\"name\":\"r@d\",\"messages\":1200},8,"
                     "{\"name\":\"r@c\",\"messages\":5},{\"name\":\"r@b\"}]}]}");
    shows(page, "<td class=l>r@b <b>is behind</b>, r@c, "
                "r@d <b>is behind</b> by at most 1200</td>");
    shows(path_of(1, ""), "mirror_lag");
}

Test(queues_page, shows_leaders_and_what_is_down)
{
    const char *page = page_of(
        1, "",
        HEAD "{\"name\":\"k\",\"vhost\":\"v\",\"node\":\"r@a\",\"leader\":\"r@b\",\"members\":"
             "[\"r@a\",\"r@b\",\"r@c\"],\"online\":[\"r@b\",\"r@c\"],\"state\":\"running\"},"
             "{\"name\":\"lost\",\"vhost\":\"v\",\"node\":\"r@c\",\"state\":\"down\"}]}");
    shows(page, "<td class=l>r@b</td><td class=l>r@a <b>is down</b>, r@c</td>");
    shows(page, "<tr class=down><td class=q>lost</td>");
}

Test(queues_page, what_others_named_is_text)
{
    const char *page = page_of(1, "\"><script>",
                               HEAD "{\"name\":\"<img src=x>\",\"vhost\":\"a&b\",\"node\":1,"
                                    "\"slave_nodes\":7,\"messages\":\"x\"},8]}");
    shows(page, "&#60;img src=x&#62;");
    shows(page, "a&#38;b");
    shows(page, "value=\"&#34;&#62;&#60;script&#62;\"");
    cr_expect(strstr(page, "<img") == NULL && strstr(page, "<script") == NULL);
}

Test(queues_page, takes_nothing_else_for_a_list)
{
    static const char *const answers[] = { "", "{", "[]", "{\"items\":7}", "null" };
    for (unsigned i = 0; i < ARRAY_COUNT(answers); i++)
        cr_expect(page_of(1, "", answers[i]) == NULL, "%s", answers[i]);
}
