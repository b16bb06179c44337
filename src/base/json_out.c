#include "base/json_out.h"

#include "base/check.h"
#include "base/text.h"

json_t *json_out_text(struct slice s)
{
    char few[768];
    struct text t = text_over(few, sizeof few);
    bool is_long = s.len * TEXT_UTF8_GROWTH >= sizeof few;
    if (is_long)
        text_init(&t, s.len * TEXT_UTF8_GROWTH + 1);
    text_utf8(&t, s);
    CHECK(!t.cut);
    json_t *j = json_stringn(t.ptr, t.len);
    CHECK(j != NULL);
    if (is_long)
        text_fini(&t);
    return j;
}

void json_out_put(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new_nocheck(object, name, value);
    CHECK(failed == 0);
}

void json_out_put_u64(json_t *object, const char *name, uint64_t value)
{
    json_out_put(object, name, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
}

void json_out_put_str(json_t *object, const char *name, const char *value)
{
    json_out_put(object, name, json_out_text(slice_str(value)));
}

void json_out_put_bool(json_t *object, const char *name, bool value)
{
    json_out_put(object, name, json_boolean(value));
}
