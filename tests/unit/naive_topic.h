/* naive_topic: does a pattern match a key? Word by word and by trying everything, to compare with.
 */
#ifndef WARREN_NAIVE_TOPIC_H
#define WARREN_NAIVE_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct naive_words {
    const char *word[300];
    size_t len[300];
    size_t count;
};

static inline void naive_split(const char *key, struct naive_words *out)
{
    out->count = 0;
    if (*key == '\0')
        return;
    for (;;) {
        const char *dot = strchr(key, '.');
        out->word[out->count] = key;
        out->len[out->count++] = dot != NULL ? (size_t)(dot - key) : strlen(key);
        if (dot == NULL)
            return;
        key = dot + 1;
    }
}

static inline bool naive_is(const struct naive_words *w, size_t i, const char *text)
{
    return w->len[i] == strlen(text) && memcmp(w->word[i], text, w->len[i]) == 0;
}

static inline bool naive_from(const struct naive_words *p, size_t i, const struct naive_words *k,
                              size_t j)
{
    if (i == p->count)
        return j == k->count;
    if (naive_is(p, i, "#"))
        return naive_from(p, i + 1, k, j) || (j < k->count && naive_from(p, i, k, j + 1));
    if (j == k->count)
        return false;
    bool same = p->len[i] == k->len[j] && memcmp(p->word[i], k->word[j], p->len[i]) == 0;
    return (same || naive_is(p, i, "*")) && naive_from(p, i + 1, k, j + 1);
}

static inline bool naive_match(const char *pattern, const char *key)
{
    struct naive_words p, k;
    naive_split(pattern, &p);
    naive_split(key, &k);
    return naive_from(&p, 0, &k, 0);
}

#endif
