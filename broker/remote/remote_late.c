#include "remote/remote_late.h"

#include "base/mem.h"

#include <string.h>

void remote_late_init(struct remote_late *l, void (*count)(void *arg, int64_t octets), void *arg)
{
    STAILQ_INIT(&l->frames);
    l->count = count;
    l->arg = arg;
}

void remote_late_reset(struct remote_late *l)
{
    for (struct remote_late_frame *f; (f = remote_late_take(l)) != NULL;)
        remote_late_drop(l, &f);
}

static struct remote_late_frame *copy_of(struct remote_late *l, struct slice frame, bool more)
{
    struct remote_late_frame *f = mem_alloc(sizeof *f + frame.len);
    *f = (struct remote_late_frame){ .more = more, .len = frame.len };
    if (frame.len != 0)
        memcpy(f->octets, frame.ptr, frame.len);
    l->count(l->arg, (int64_t)f->len);
    return f;
}

void remote_late_add(struct remote_late *l, struct slice frame, bool more)
{
    struct remote_late_frame *f = copy_of(l, frame, more);
    STAILQ_INSERT_TAIL(&l->frames, f, entry);
}

void remote_late_put_back(struct remote_late *l, struct slice rest, bool more)
{
    struct remote_late_frame *f = copy_of(l, rest, more);
    STAILQ_INSERT_HEAD(&l->frames, f, entry);
}

struct remote_late_frame *remote_late_take(struct remote_late *l)
{
    struct remote_late_frame *f = STAILQ_FIRST(&l->frames);
    if (f != NULL)
        STAILQ_REMOVE_HEAD(&l->frames, entry);
    return f;
}

void remote_late_drop(struct remote_late *l, struct remote_late_frame **f)
{
    l->count(l->arg, -(int64_t)(*f)->len);
    mem_free(*f);
    *f = NULL;
}
