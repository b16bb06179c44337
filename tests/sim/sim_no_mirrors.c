/* mirror_links.h of a node that is alone: no queue has mirrors, and so nothing is ever said. */
#include "base/check.h"
#include "mirror_link/mirror_links.h"

struct mirror_links *mirror_links_new(struct shard *s, struct mirror_master *m,
                                      struct mirror_replica *r)
{
    (void)s;
    (void)m;
    (void)r;
    return NULL;
}

void mirror_links_free(struct mirror_links **l)
{
    CHECK(*l == NULL);
}

struct mirror_stream *mirror_links_stream(struct shard *s, uint16_t node, uint64_t qid)
{
    (void)s;
    (void)qid;
    CHECK(node == 0);
    return NULL;
}

struct mirror_out *mirror_links_out(struct mirror_stream *to)
{
    CHECK(to == NULL);
    return NULL;
}

struct mirror_out *mirror_links_out_late(struct mirror_stream *to)
{
    CHECK(to == NULL);
    return NULL;
}

struct mirror_out *mirror_links_back(struct mirror_source *to)
{
    CHECK(to == NULL);
    return NULL;
}

uint16_t mirror_links_source_node(const struct mirror_source *of)
{
    CHECK(of == NULL);
    return 0;
}

void mirror_links_soon(struct shard *s)
{
    (void)s;
}

void mirror_links_go_on(struct shard *s)
{
    (void)s;
}

void mirror_links_propose(struct shard *s, const struct mirror_queue *q, uint16_t node,
                          uint32_t inc, bool adds)
{
    (void)s;
    (void)inc;
    (void)adds;
    CHECK(q == NULL && node == 0);
}

void mirror_links_propose_lag(struct shard *s, const struct mirror_stream *of)
{
    (void)s;
    CHECK(of == NULL);
}
