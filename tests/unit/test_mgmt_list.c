#include "mgmt/mgmt_list.h"

#include "expect.h"

#include <stdlib.h>

static struct mgmt_list list;
static struct mgmt_complaint why;

static bool read_texts(const struct mgmt_list_texts *given)
{
    return mgmt_list_read(&list, given, &why);
}

static json_t *parse(const char *text)
{
    json_t *j = json_loads(text, 0, NULL);
    cr_assert(j != NULL, "%s", text);
    return j;
}

/* What the list shows of `all`. */
static void expect_shown_as(const char *all, const char *want)
{
    json_t *in = parse(all);
    json_t *out = mgmt_list_show(&list, &in, &why);
    cr_assert(out != NULL, "%s", why.reason);
    char *text = json_dumps(out, JSON_COMPACT);
    expect_text(text, want);
    free(text);
    json_decref(out);
}

static void expect_refused(const char *all, const char *error)
{
    json_t *in = parse(all);
    cr_assert(mgmt_list_show(&list, &in, &why) == NULL);
    expect_text(why.error, error);
}

#define THREE "[{\"name\":\"b\",\"n\":2},{\"name\":\"a\",\"n\":10},{\"name\":\"C\"}]"

Test(mgmt_list, without_a_wish_all_is_shown_as_it_is)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = NULL }));
    expect_shown_as(THREE, THREE);
    expect_shown_as("[]", "[]");
}

Test(mgmt_list, sorts_by_a_column_what_lacks_it_first)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .sort = "n", .columns = "name" }));
    expect_shown_as(THREE, "[{\"name\":\"C\"},{\"name\":\"b\"},{\"name\":\"a\"}]");
    cr_assert(read_texts(
        &(struct mgmt_list_texts){ .sort = "n", .sort_reverse = "true", .columns = "n" }));
    expect_shown_as(THREE, "[{\"n\":10},{\"n\":2},{}]");
    cr_assert(read_texts(&(struct mgmt_list_texts){ .sort = "x.y" }));
    expect_shown_as("[{\"x\":{\"y\":2}},{\"x\":{\"y\":1}},{\"x\":3}]",
                    "[{\"x\":3},{\"x\":{\"y\":1}},{\"x\":{\"y\":2}}]");
}

Test(mgmt_list, equal_ones_keep_their_order)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .sort = "n" }));
    expect_shown_as("[{\"n\":1,\"i\":1},{\"n\":0,\"i\":2},{\"n\":1,\"i\":3},{\"n\":1,\"i\":4}]",
                    "[{\"n\":0,\"i\":2},{\"n\":1,\"i\":1},{\"n\":1,\"i\":3},{\"n\":1,\"i\":4}]");
}

/* Numbers, then truth, then words, as RabbitMQ's terms are ordered; a word is no prefix match. */
Test(mgmt_list, sorts_across_types)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .sort = "k" }));
    expect_shown_as("[{\"k\":\"w\"},{\"k\":true},{\"k\":false},{\"k\":1.5},{\"k\":1}]",
                    "[{\"k\":1},{\"k\":1.5},{\"k\":false},{\"k\":true},{\"k\":\"w\"}]");
}

Test(mgmt_list, columns_are_whole_names)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .columns = "messages,a.b,zz" }));
    expect_shown_as("[{\"messages\":1,\"messages_ready\":2,\"mess\":3,\"a\":{\"c\":4},\"z\":5}]",
                    "[{\"messages\":1,\"a\":{\"c\":4}}]");
}

Test(mgmt_list, shows_a_page)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "2", .page_size = "2" }));
    expect_shown_as(THREE, "{\"filtered_count\":3,\"item_count\":1,\"items\":[{\"name\":\"C\"}],"
                           "\"page\":2,\"page_count\":2,\"page_size\":2,\"total_count\":3}");
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "1" }));
    expect_shown_as("[]", "{\"filtered_count\":0,\"item_count\":0,\"items\":[],\"page\":1,"
                          "\"page_count\":0,\"page_size\":100,\"total_count\":0}");
}

/* The page right behind the last one is empty; the next one is not there (as RabbitMQ has it). */
Test(mgmt_list, refuses_a_page_that_is_not_there)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "2", .page_size = "3" }));
    expect_shown_as(THREE, "{\"filtered_count\":3,\"item_count\":0,\"items\":[],\"page\":2,"
                           "\"page_count\":1,\"page_size\":3,\"total_count\":3}");
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "3", .page_size = "3" }));
    expect_refused(THREE, "page_out_of_range");
    expect_text(why.reason, "Page out of range, page: 3 page size: 3, len: 3");
}

Test(mgmt_list, refuses_numbers_that_are_none)
{
    static const char *const bad[] = { "0", "-1", "x", "", "1.5", "99999999999999999999" };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect(read_texts(&(struct mgmt_list_texts){ .page = bad[i] }) == false, "page %s",
                  bad[i]);
        expect_text(why.error, "invalid_pagination_parameters");
        cr_expect(read_texts(&(struct mgmt_list_texts){ .page_size = bad[i] }) == false, "%s",
                  bad[i]);
    }
    cr_expect(read_texts(&(struct mgmt_list_texts){ .page = "1", .page_size = "500" }));
    cr_expect(read_texts(&(struct mgmt_list_texts){ .page = "1", .page_size = "501" }) == false);
    expect_text(why.reason, "Invalid pagination parameters: page number 1, page size 501");
}

Test(mgmt_list, refuses_words_that_are_too_long)
{
    char word[MGMT_WORD_MAX + 1];
    memset(word, 'x', sizeof word);
    word[MGMT_WORD_MAX - 1] = '\0';
    cr_expect(read_texts(&(struct mgmt_list_texts){ .sort = word }));
    word[MGMT_WORD_MAX - 1] = 'x';
    word[MGMT_WORD_MAX] = '\0';
    cr_expect(read_texts(&(struct mgmt_list_texts){ .sort = word }) == false);
}

/* ---- names ---- */

static bool takes(const char *name)
{
    struct mgmt_filter *f;
    cr_assert(mgmt_filter_new(&list, &f, &why), "%s", why.reason);
    bool ok = mgmt_filter_takes(f, slice_str(name));
    mgmt_filter_free(&f);
    return ok;
}

Test(mgmt_list, looks_for_a_name_without_regard_to_case)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "1", .name = "Ab.C" }));
    cr_expect(takes("ab.c") && takes("xAB.cy"));
    cr_expect(takes("ab.") == false);
    cr_expect(takes("abxc") == false);
    cr_expect(takes("") == false);
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "1" }));
    cr_expect(takes("") && takes("any"));
}

Test(mgmt_list, a_name_counts_only_with_pages)
{
    cr_assert(read_texts(&(struct mgmt_list_texts){ .name = "a" }));
    expect_shown_as(THREE, THREE);
    cr_assert(read_texts(&(struct mgmt_list_texts){ .page = "1", .name = "c", .columns = "name" }));
    expect_shown_as(THREE, "{\"filtered_count\":1,\"item_count\":1,\"items\":[{\"name\":\"C\"}],"
                           "\"page\":1,\"page_count\":1,\"page_size\":100,\"total_count\":3}");
}

Test(mgmt_list, a_name_may_be_a_pattern)
{
    cr_assert(
        read_texts(&(struct mgmt_list_texts){ .page = "1", .name = "^a.c$", .use_regex = "true" }));
    cr_expect(takes("abc") && takes("AXC"));
    cr_expect(takes("abcd") == false);
    cr_expect(takes("^a.c$") == false);
    cr_assert(
        read_texts(&(struct mgmt_list_texts){ .page = "1", .name = "(", .use_regex = "true" }));
    expect_refused(THREE, "bad_request");
}

/* A pattern that would take for ever gives up, and then does not match. */
Test(mgmt_list, a_pattern_has_an_end, .timeout = 300)
{
    cr_assert(read_texts(
        &(struct mgmt_list_texts){ .page = "1", .name = "^(a+)+$", .use_regex = "true" }));
    cr_expect(takes("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab") ==
              false);
}
