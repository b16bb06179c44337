/* What a client of the HTTP server can send: heads, percent-encoding, queries, credentials. */
#include "base/check.h"
#include "io/http_head.h"
#include "io/http_text.h"

#define HEAD_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(struct slice part, struct slice whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.len <= whole.len &&
                             (size_t)(part.ptr - whole.ptr) <= whole.len - part.len);
}

static void try_head(struct slice in)
{
    struct http_head h;
    size_t len;
    int status = 0;
    switch (http_head_cut(in, HEAD_MAX, &h, &len, &status)) {
    case HTTP_CUT_HEAD:
        CHECK(len <= in.len && len <= HEAD_MAX + 2 && h.field_count <= HTTP_FIELDS_MAX);
        CHECK(h.path.len != 0 && h.path.ptr[0] == '/' && lies_in(h.path, slice_head(in, len)));
        CHECK(lies_in(h.query, slice_head(in, len)));
        for (unsigned i = 0; i < h.field_count; i++)
            CHECK(h.fields[i].name.len != 0 && lies_in(h.fields[i].name, in) &&
                  lies_in(h.fields[i].value, in));
        break;
    case HTTP_CUT_MORE:
        CHECK(in.len < HEAD_MAX + 2);
        break;
    case HTTP_CUT_BAD:
        CHECK(status >= 400 && status <= 599);
        break;
    }
}

/* What was decoded has no NUL and is not longer than what it came from. */
static void judge(bool ok, const struct text *out, struct slice in)
{
    if (ok)
        CHECK(!out->cut && out->len <= in.len && strlen(out->ptr) == out->len);
}

static void try_texts(struct slice in)
{
    char room[256], room2[256];
    struct text out = text_over(room, sizeof room), out2 = text_over(room2, sizeof room2);
    judge(http_percent_decode(in, true, &out), &out, in);
    judge(http_percent_decode(in, false, &out), &out, in);
    judge(http_query_find(in, "name", &out), &out, in);
    judge(http_base64_decode(in, &out), &out, in);
    bool ok = http_basic_decode(in, &out, &out2);
    judge(ok, &out, in);
    judge(ok, &out2, in);
    CHECK(!ok || strchr(room, ':') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_head(slice_of(data, size));
    try_texts(slice_of(data, size));
    return 0;
}
