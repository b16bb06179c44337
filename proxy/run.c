#include "run.h"

#include "base/check.h"
#include "session.h"

void run_count(struct session *s, const struct upstream *u, bool to_client, size_t octets)
{
    struct live_traffic *all[] = { &s->frontend->live->traffic, &s->backend->live->traffic,
                                   &u->server->live->traffic };
    for (unsigned i = 0; i < ARRAY_COUNT(all); i++)
        (void)shared_add(to_client ? &all[i]->bout : &all[i]->bin, octets);
}

void run_flush(struct run *r, const uint8_t *at)
{
    struct slice s = slice_of(r->from, (size_t)(at - r->from));
    r->from = at;
    if (r->to == NULL || s.len == 0)
        return;
    stream_write_shared(r->to, r->block, s);
    run_count(r->session, r->upstream, r->to == r->session->client, s.len);
    r->filled |= stream_is_full(r->to);
}

void run_write_patched(struct stream *to, const struct run_frame *f, size_t patch_at,
                       struct slice patch)
{
    struct slice all = run_octets(f);
    size_t at = AMQP_FRAME_HEAD + patch_at;
    CHECK(at + patch.len < all.len);
    stream_write(to, slice_head(all, at));
    stream_write(to, patch);
    stream_write(to, slice_from(all, at + patch.len));
}

void run_patched(struct run *r, const uint8_t *at, struct upstream *u, const struct run_frame *f,
                 size_t patch_at, struct slice patch)
{
    struct stream *client = r->session->client;
    run_flush(r, at);
    r->to = NULL;
    run_write_patched(client, f, patch_at, patch);
    run_count(r->session, u, true, f->len);
    r->filled |= stream_is_full(client);
}
