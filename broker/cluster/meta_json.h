/*
 * meta_json: JSON values in commands (definitions of policies, values of parameters, limits), read,
 * judged and put in one form, so that all nodes keep the same octets. Not for others than meta.
 */
#ifndef WARREN_META_JSON_H
#define WARREN_META_JSON_H

#include "base/attr.h"
#include "base/slice.h"
#include "base/text.h"
#include "cluster/meta.h"

#include <jansson.h>

/* Keys of an object one after the other, in their order. */
struct meta_json_iter {
    const char **keys; /* of `count` */
    size_t count;
    size_t at;
    const json_t *object;
};

/* A value of any kind. NULL, and a refusal, if it is none. Needs json_decref. */
MUST_CHECK json_t *meta_json_read(struct slice json, struct meta_refusal *why);

/* The same, and a list of pairs [["key",value],...] as the object that it means: rabbitmqctl
 * exports some definitions in this form. */
MUST_CHECK json_t *meta_json_read_object(struct slice json, struct meta_refusal *why);

/* In one line, the keys in their order. `out` is ours to grow: see text_init. */
void meta_json_put(struct text *out, const json_t *value);

/* As Erlang would print what RabbitMQ makes of it: <<"text">>, 5, [1,2], #{<<"key">> => 5}. */
void meta_json_put_term(struct text *t, const json_t *value);

/* [{<<"key">>,5},...]: as above, of an object that RabbitMQ has as a list. */
void meta_json_put_pairs(struct text *t, const json_t *object);

/* Needs meta_json_iter_fini. */
void meta_json_iter(struct meta_json_iter *it, const json_t *object);
const char *meta_json_next(struct meta_json_iter *it, const json_t **value);
void meta_json_iter_fini(struct meta_json_iter *it);

#endif
