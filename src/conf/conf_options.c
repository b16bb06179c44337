/* Words of one value that are directives themselves: see conf_options in conf.h. */
#include "base/check.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_field.h"

#include <string.h>

#define ROWS_MAX 64u /* one bit each for what was given */

struct options {
    const struct conf_directive *rows;
    size_t row_count;
    uint64_t given;
    void *instance;
    struct conf_store *store;
    struct err *err;
};

static size_t find_row(const struct options *o, const char *word)
{
    for (size_t i = 0; i < o->row_count; i++) {
        if (strcmp(o->rows[i].key, word) == 0)
            return i;
    }
    return SIZE_MAX;
}

static bool give(struct options *o, size_t row)
{
    if ((o->given & (uint64_t)1 << row) != 0)
        return err_set(o->err, ERR_CONFIG, "%s is given twice", o->rows[row].key);
    o->given |= (uint64_t)1 << row;
    return true;
}

static bool set_flag(struct options *o, size_t row, bool on)
{
    if (!give(o, row))
        return false;
    memcpy((char *)o->instance + o->rows[row].offset, &on, sizeof on);
    return true;
}

static bool refuse_word(const struct options *o, const char *word)
{
    char room[128];
    struct text shown = text_over(room, sizeof room);
    text_escaped(&shown, slice_str(word));
    return err_set(o->err, ERR_CONFIG, "there is no option \"%s\" here", room);
}

/* The value that follows the key words[*at], which is moved to it. A text is taken as it is: the
 * quotes around the word are off already. */
static bool set_value(struct options *o, size_t row, const struct conf_list *words, size_t *at)
{
    const struct conf_directive *d = &o->rows[row];
    if (*at + 1 == words->count)
        return err_set(o->err, ERR_CONFIG, "%s needs a value", d->key);
    (*at)++;
    if (!give(o, row))
        return false;
    if (d->type == CONF_STRING && d->set == NULL) {
        const char *text = words->items[*at];
        memcpy((char *)o->instance + d->offset, &text, sizeof text);
        return true;
    }
    conf_field_clear(d, o->instance);
    return conf_field_set(d, o->instance, slice_str(words->items[*at]), "", o->store, o->err) ||
           err_context(o->err, "%s", d->key);
}

bool conf_options(const struct conf_directive *rows, size_t row_count,
                  const struct conf_list *words, size_t from, void *instance,
                  struct conf_store *store, struct err *err)
{
    CHECK(row_count <= ROWS_MAX);
    struct options o = { .rows = rows, .row_count = row_count, .instance = instance };
    o.store = store;
    o.err = err;
    for (size_t at = from; at < words->count; at++) {
        const char *word = words->items[at];
        size_t row = find_row(&o, word);
        size_t negated = strncmp(word, "no-", 3) == 0 ? find_row(&o, word + 3) : SIZE_MAX;
        bool ok;
        if (row != SIZE_MAX && rows[row].type == CONF_FLAG)
            ok = set_flag(&o, row, true);
        else if (row != SIZE_MAX)
            ok = set_value(&o, row, words, &at);
        else if (negated != SIZE_MAX && rows[negated].type == CONF_FLAG)
            ok = set_flag(&o, negated, false);
        else
            ok = refuse_word(&o, word);
        if (!ok)
            return false;
    }
    return true;
}
