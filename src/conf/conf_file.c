#include "conf/conf_file.h"

#include "base/check.h"
#include "base/text.h"
#include "conf/conf_hint.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <unistd.h>

/* What inih would act upon inside a value, and what travels in its place: octets that no line may
 * hold, see has_control. */
static const char acted_upon[] = " \t;#";
static const char stand_ins[] = "\x01\x02\x03\x04";

/* inih's own buffer; its library may have been built with a longer one, never with less. */
#define INIH_LINE_LEAST 200

struct source {
    struct conf_file *file;
    const struct conf_schema *schema;
    struct conf_store *store;
    struct err *err;
    bool failed;
    struct slice left; /* lines not read yet */
    unsigned line;
    const char *key;     /* the entry on its way through inih */
    struct slice value;  /* of it: as it must come out */
    struct slice to_go;  /* of it: not handed over yet */
    struct text arrived; /* of it: what came out, to be compared */
    size_t block_cap;
    size_t entry_cap;
};

static bool refuse(struct source *src, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool refuse(struct source *src, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    struct text text = text_over(what, sizeof what);
    text_vput(&text, fmt, args);
    va_end(args);
    src->failed = true;
    return err_set(src->err, ERR_CONFIG, "%s:%u: %s", src->file->path, src->line, what);
}

/* ---- one line ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_octet(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static bool is_name(struct slice s, char also)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_name_octet(s.ptr[i]) && s.ptr[i] != (uint8_t)also)
            return false;
    }
    return s.len != 0;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7F)
            return true;
    }
    return false;
}

/* The next line without its end (LF or CRLF). */
static struct slice next_line(struct source *src)
{
    const uint8_t *end = memchr(src->left.ptr, '\n', src->left.len);
    size_t n = end != NULL ? (size_t)(end - src->left.ptr) : src->left.len;
    struct slice line = slice_head(src->left, n);
    src->left = slice_from(src->left, n + 1);
    src->line++;
    if (line.len != 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* Room for one more in an array of the store that doubles. */
static void *with_room(struct source *src, void *array, size_t count, size_t *cap, size_t bytes)
{
    if (count < *cap)
        return array;
    *cap = count != 0 ? 2 * count : 8;
    void *grown = conf_store_alloc(src->store, *cap * bytes);
    if (count != 0)
        memcpy(grown, array, count * bytes);
    return grown;
}

/* ---- sections ---- */

static bool add_block(struct source *src, struct slice kind, struct slice name)
{
    struct conf_file *f = src->file;
    for (size_t i = 0; i < f->count; i++) {
        if (slice_is(kind, f->blocks[i].kind) && slice_is(name, f->blocks[i].name))
            return refuse(src, "section [%.*s%s%.*s] is given twice, first in line %u",
                          SLICE_ARG(kind), name.len != 0 ? " " : "", SLICE_ARG(name),
                          f->blocks[i].line);
    }
    if (f->count == CONF_SECTIONS_MAX)
        return refuse(src, "there are more than %u sections", CONF_SECTIONS_MAX);
    f->blocks = with_room(src, f->blocks, f->count, &src->block_cap, sizeof *f->blocks);
    f->blocks[f->count++] = (struct conf_block){ .kind = conf_store_str(src->store, kind),
                                                 .name = conf_store_str(src->store, name),
                                                 .line = src->line };
    src->entry_cap = 0;
    return true;
}

static bool take_section(struct source *src, struct slice line)
{
    const uint8_t *end = memchr(line.ptr, ']', line.len);
    if (end == NULL)
        return refuse(src, "a section is written [kind] or [kind name]; the ] is missing");
    struct slice after = slice_trim(slice_from(line, (size_t)(end - line.ptr) + 1));
    if (after.len != 0 && after.ptr[0] != ';' && after.ptr[0] != '#')
        return refuse(src, "nothing but a comment may follow the ] of a section");
    struct slice inside = slice_trim(slice_of(line.ptr + 1, (size_t)(end - line.ptr) - 1));
    size_t n = 0;
    while (n < inside.len && !is_blank(inside.ptr[n]))
        n++;
    struct slice kind = slice_head(inside, n);
    struct slice name = slice_trim(slice_from(inside, n));
    if (!is_name(kind, '-') || (name.len != 0 && !is_name(name, ':')))
        return refuse(src, "a section is written [kind] or [kind name], "
                           "in letters, digits and \"-_.:\"");
    if (kind.len > CONF_NAME_MAX || name.len > CONF_NAME_MAX)
        return refuse(src, "the name of a section has more than %u octets", CONF_NAME_MAX);
    return add_block(src, kind, name);
}

/* ---- entries ---- */

static bool refuse_form(struct source *src, struct slice line)
{
    char room[256];
    struct text hint = text_over(room, sizeof room);
    conf_hint_form(src->schema, line, &hint);
    return refuse(src, "this is neither \"key = value\" nor \"[section]\"%s", room);
}

static bool take_entry(struct source *src, struct slice line)
{
    const uint8_t *equals = memchr(line.ptr, '=', line.len);
    struct slice key =
        slice_trim(slice_head(line, equals != NULL ? (size_t)(equals - line.ptr) : 0));
    if (equals == NULL || !is_name(key, '-'))
        return refuse_form(src, line);
    if (key.len > CONF_NAME_MAX)
        return refuse(src, "a key has more than %u octets", CONF_NAME_MAX);
    if (src->file->count == 0)
        return refuse(src, "%.*s stands before the first [section]", SLICE_ARG(key));
    struct slice value = slice_from(line, (size_t)(equals - line.ptr) + 1);
    size_t end;
    struct err why;
    if (!conf_value_end(value, &end, &why))
        return refuse(src, "%.*s: %s", SLICE_ARG(key), why.text);
    value = slice_trim(slice_head(value, end));
    if (value.len == 0)
        return refuse(src, "%.*s has no value; leave the line out for the default", SLICE_ARG(key));
    src->key = conf_store_str(src->store, key);
    src->value = value;
    return true;
}

/* Read on to the next entry; false at the end or when a line is refused. */
static bool next_entry(struct source *src)
{
    src->key = NULL;
    while (!src->failed && src->left.len != 0) {
        struct slice line = next_line(src);
        if (has_control(line))
            return refuse(src, "the line holds a control character");
        line = slice_trim(line);
        if (line.len == 0 || line.ptr[0] == ';' || line.ptr[0] == '#')
            continue;
        if (line.ptr[0] == '[') {
            if (!take_section(src, line))
                return false;
            continue;
        }
        return take_entry(src, line);
    }
    return false;
}

/* ---- through inih ---- */

static void put_disguised(struct text *to, struct slice piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        const char *at = strchr(acted_upon, piece.ptr[i]);
        text_char(to, at != NULL ? stand_ins[at - acted_upon] : (char)piece.ptr[i]);
    }
}

/* inih asks for a line: the next entry's, or, indented, the next piece of one that is too long. */
static char *on_read(char *str, int num, void *arg)
{
    struct source *src = arg;
    CHECK(num >= INIH_LINE_LEAST);
    struct text line = text_over(str, (size_t)num - 2);
    if (src->failed)
        return NULL;
    if (src->to_go.len != 0) {
        text_char(&line, ' ');
    } else {
        if (!next_entry(src))
            return NULL;
        src->to_go = src->value;
        text_clear(&src->arrived);
        text_put(&line, "%s=", src->key);
    }
    size_t room = line.cap_bytes - line.len - 1;
    struct slice piece = slice_head(src->to_go, room);
    src->to_go = slice_from(src->to_go, piece.len);
    put_disguised(&line, piece);
    return str;
}

static void add_entry(struct source *src)
{
    struct conf_block *b = &src->file->blocks[src->file->count - 1];
    b->entries = with_room(src, b->entries, b->count, &src->entry_cap, sizeof *b->entries);
    b->entries[b->count++] =
        (struct conf_entry){ .key = src->key,
                             .value = conf_store_str(src->store, text_view(&src->arrived)),
                             .line = src->line };
}

/* inih hands a piece over. Once all are there they must be what went in: a library built with
 * other options might read lines in yet another way. */
static int on_piece(void *arg, const char *section, const char *key, const char *value)
{
    struct source *src = arg;
    (void)section; /* sections do not pass through inih: it would not tell of an empty one */
    if (src->failed)
        return 0;
    for (const char *c = value; *c != '\0'; c++) {
        const char *at = strchr(stand_ins, *c);
        text_char(&src->arrived, at != NULL ? acted_upon[at - stand_ins] : *c);
    }
    if (src->to_go.len != 0)
        return 1;
    if (strcmp(key, src->key) != 0 || !slice_eq(text_view(&src->arrived), src->value)) {
        refuse(src, "%s: the INI library misread this line", src->key);
        return 0;
    }
    add_entry(src);
    return 1;
}

bool conf_file_parse(const char *path, struct slice bytes, const struct conf_schema *schema,
                     struct conf_store *store, struct conf_file *out, struct err *err)
{
    *out = (struct conf_file){ .path = path };
    struct source src = { .file = out, .schema = schema, .store = store, .err = err };
    src.left = slice_starts(bytes, "\xEF\xBB\xBF") ? slice_from(bytes, 3) : bytes;
    text_init(&src.arrived, CONF_FILE_MAX_BYTES);
    int bad_line = ini_parse_stream(on_read, &src, on_piece, &src);
    text_fini(&src.arrived);
    if (!src.failed && bad_line != 0)
        refuse(&src, "the INI library cannot read this file");
    return !src.failed;
}

static bool read_all(int fd, const char *path, struct text *into, struct err *err)
{
    uint8_t room[4096];
    for (;;) {
        ssize_t n = read(fd, room, sizeof room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_CONFIG, "%s: cannot be read: %s", path, strerror(errno));
        if (n == 0)
            return true;
        text_slice(into, slice_of(room, (size_t)n));
        if (into->cut)
            return err_set(err, ERR_CONFIG, "%s: is larger than %zu octets", path,
                           CONF_FILE_MAX_BYTES);
    }
}

bool conf_file_read(const char *path, struct conf_store *store, struct slice *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "%s: cannot be opened: %s", path, strerror(errno));
    struct text all;
    text_init(&all, CONF_FILE_MAX_BYTES + 1);
    bool ok = read_all(fd, path, &all, err);
    close(fd);
    if (ok)
        *out = slice_of(conf_store_str(store, text_view(&all)), all.len);
    text_fini(&all);
    return ok;
}
