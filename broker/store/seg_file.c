#include "store/seg_file.h"

#include "base/mem.h"

#include <string.h>

#define DIGITS 8u

bool seg_file_read_part(struct disk_file *f, const char *name, uint64_t offset, void *bytes,
                        size_t len, struct err *err)
{
    size_t got = 0;
    if (!f->disk->ops->read(f, offset, bytes, len, &got, err))
        return false;
    return got == len || err_set(err, ERR_IO, "%s: ends too early", name);
}

bool seg_file_read(struct disk *d, const char *name, uint64_t max_bytes, uint8_t **bytes,
                   size_t *len, struct err *err)
{
    uint64_t size = 0;
    *bytes = NULL;
    *len = 0;
    struct disk_file *f = d->ops->open(d, name, DISK_READ, err);
    if (f == NULL)
        return false;
    bool ok = d->ops->size(f, &size, err);
    if (ok && size > max_bytes)
        ok = err_set(err, ERR_LIMIT, "%s: is larger than any that was written", name);
    if (ok) {
        *len = (size_t)size;
        *bytes = mem_alloc(*len + 1);
        ok = seg_file_read_part(f, name, 0, *bytes, *len, err);
    }
    d->ops->close(&f);
    if (!ok) {
        mem_free(*bytes);
        *bytes = NULL;
        *len = 0;
    }
    return ok;
}

bool seg_file_write(struct disk *d, const char *name, struct slice bytes, struct err *err)
{
    struct err ignored;
    (void)d->ops->remove(d, name, &ignored); /* usually there is none */
    struct disk_file *f = d->ops->open(d, name, DISK_CREATE, err);
    if (f == NULL)
        return false;
    bool ok = d->ops->write(f, 0, &bytes, 1, err);
    d->ops->close(&f);
    if (!ok)
        (void)d->ops->remove(d, name, &ignored);
    return ok;
}

uint32_t seg_file_number(const char *name)
{
    uint32_t number = 0;
    if (strlen(name) != DIGITS + 4 || strcmp(name + DIGITS, ".seg") != 0)
        return 0;
    for (size_t i = 0; i < DIGITS; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, name[i]);
        if (digit == NULL)
            return 0;
        number = number << 4 | (uint32_t)(digit - digits);
    }
    return number;
}

bool seg_file_header(struct slice bytes, uint32_t seg, struct segment_header *out)
{
    return segment_header_read(bytes, out) && out->seg == seg &&
           out->bytes > SEGMENT_HEADER_BYTES && out->bytes <= SEGMENT_BYTES_MAX;
}
