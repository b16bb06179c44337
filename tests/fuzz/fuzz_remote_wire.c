/* What another node says of queues and channels: records that were taken are written again as they
 * were, and large contents are put together whatever their parts say. */
#include "base/check.h"
#include "base/mem.h"
#include "remote/remote_inbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(struct remote_record *r, struct slice was)
{
    if (r->has_content && (r->flags & REMOTE_IN_PARTS) != 0)
        return; /* without its message it has no lengths to be written */
    struct message *m = r->has_content ? remote_message(r) : NULL;
    r->message = m;
    size_t size = remote_size(r);
    uint8_t *room = mem_alloc(size);
    struct wire_out w = wire_out_over(room, size);
    remote_put(&w, r);
    CHECK(!w.overflow && wire_out_len(&w) == was.len);
    CHECK(slice_eq(wire_out_slice(&w), was));
    mem_free(room);
    if (m != NULL)
        message_unref(&m);
}

static void take_records(struct slice in)
{
    struct wire w = wire_over(in);
    struct remote_record r;
    const uint8_t *at = w.at;
    while (wire_left(&w) != 0 && remote_take(&w, &r)) {
        write_again(&r, slice_of(at, (size_t)(w.at - at)));
        at = w.at;
    }
}

static void count(void *arg, int64_t octets)
{
    *(int64_t *)arg += octets;
}

static void take_frame(struct slice in)
{
    int64_t counted = 0;
    struct remote_inbox box;
    remote_inbox_init(&box, count, &counted);
    struct wire w = wire_over(in);
    struct remote_record r;
    while (remote_inbox_next(&box, &w, &r) == REMOTE_RECORD) {
        struct message *m = r.has_content ? remote_message(&r) : NULL;
        if (m != NULL)
            message_unref(&m);
        (void)remote_inbox_owes(&box);
    }
    remote_inbox_reset(&box);
    CHECK(counted == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take_records(slice_of(data, size));
    take_frame(slice_of(data, size));
    return 0;
}
