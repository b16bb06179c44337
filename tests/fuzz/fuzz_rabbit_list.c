/* Answers of a management API: what the first octet says they are; the table holds afterwards. */
#include "rabbit_list.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum rabbit_news (*read_fn)(struct rabbit_list *l, struct slice body, struct err *err);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const read_fn reads[] = { rabbit_list_queues, rabbit_list_nodes, rabbit_list_listeners };
    struct err err;
    if (size == 0)
        return 0;
    struct rabbit_list *l = rabbit_list_new(1);
    struct slice body = slice_of(data + 1, size - 1);
    read_fn read = reads[data[0] % ARRAY_COUNT(reads)];
    enum rabbit_news first = read(l, body, &err);
    CHECK(first != RABBIT_SAME);
    CHECK(read(l, body, &err) == (first == RABBIT_BROKEN ? RABBIT_BROKEN : RABBIT_SAME));
    location_check(rabbit_list_table(l));
    rabbit_list_free(&l);
    return 0;
}
