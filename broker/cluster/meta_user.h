/*
 * meta_user: users and what they may do, as a version of the metadata holds them. Part of meta.h.
 *
 * Everything here is immutable and replaced when it changes; its slices point into it.
 */
#ifndef WARREN_META_USER_H
#define WARREN_META_USER_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct meta_version;
struct meta_vhost;
struct pattern;

#define META_NO_LIMIT (-1)
#define META_HASH_MAX 1024u /* octets of a password's hash */
#define META_TAGS_MAX 1024u /* octets of all tags of a user or vhost */
#define META_SALT_LEN 4u    /* octets of salt before RabbitMQ's hashes */

/* How a password was hashed; the names are RabbitMQ's, but for ours. */
#define META_HASHINGS(X)                                                                           \
    X(SHA256, "rabbit_password_hashing_sha256")                                                    \
    X(SHA512, "rabbit_password_hashing_sha512")                                                    \
    X(MD5, "rabbit_password_hashing_md5")                                                          \
    X(PBKDF2, "warren_password_hashing_pbkdf2")

enum meta_hashing {
#define X(name, text) META_HASHING_##name,
    META_HASHINGS(X)
#undef X
};

const char *meta_hashing_name(enum meta_hashing hashing);
bool meta_hashing_find(struct slice name, enum meta_hashing *out);

struct meta_user {
    uint64_t user_id; /* rising; a user made anew is another one */
    uint64_t tag;     /* private */
    enum meta_hashing hashing;
    int64_t max_connections; /* META_NO_LIMIT */
    int64_t max_channels;
    struct slice name;
    struct slice hash; /* raw octets, salt first; empty: no login with a password */
    struct slice tags; /* between commas */
    uint8_t bytes[];
};

const struct meta_user *meta_user_find(const struct meta_version *v, struct slice name);
bool meta_user_has_tag(const struct meta_user *u, const char *tag);

/* Call `each` for every tag of such a list, in order, without blanks around it. */
typedef void (*meta_tag_fn)(void *arg, struct slice tag);
void meta_each_tag(struct slice tags, meta_tag_fn each, void *arg);

/* A pattern that was found good when it came. */
struct meta_pattern {
    struct slice text;
    bool all;  /* it matches everything */
    bool none; /* it matches no name */
    struct pattern *code;
};

/* Bounded effort: false too when to find out takes too much. */
bool meta_pattern_matches(const struct meta_pattern *p, struct slice name);

/* Of one user in one vhost: names of queues and exchanges. */
struct meta_permission {
    uint64_t vhost_id;
    uint64_t tag; /* private */
    struct slice user;
    struct meta_pattern configure;
    struct meta_pattern write;
    struct meta_pattern read;
    uint8_t bytes[];
};

const struct meta_permission *meta_permission_find(const struct meta_version *v,
                                                   const struct meta_vhost *vh, struct slice user);

/* Of one user at one topic exchange: routing keys. {username} and {vhost} in the patterns stand for
 * what they say, and are matched so. */
struct meta_topic_permission {
    uint64_t vhost_id;
    uint64_t tag; /* private */
    struct slice user;
    struct slice exchange;
    struct meta_pattern write;
    struct meta_pattern read;
    uint8_t bytes[];
};

const struct meta_topic_permission *meta_topic_permission_find(const struct meta_version *v,
                                                               const struct meta_vhost *vh,
                                                               struct slice user,
                                                               struct slice exchange);

#endif
