#include "io/run_dir.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/units.h"
#include "io/file.h"
#include "io/host.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST_FOLDER    "/run/warren"
#define ENTRY_MAX      ((size_t)16 * 1024)
#define CANDIDATES_MAX 16u

struct folder {
    char path[PATH_MAX];
};

/* ---- which folders ---- */

static void add_folder(struct folder *all, size_t *count, const char *path, const char *below)
{
    if (path == NULL || path[0] == '\0' || *count == CANDIDATES_MAX)
        return;
    struct text t = text_over(all[*count].path, sizeof all[*count].path);
    text_put(&t, "%s%s", path, below);
    if (!t.cut)
        (*count)++;
}

static size_t candidates(struct folder *all, const char *const *beside, size_t beside_count)
{
    size_t count = 0;
    add_folder(all, &count, getenv("WARREN_RUN_DIR"), "");
    if (count != 0)
        return count;
    add_folder(all, &count, HOST_FOLDER, "");
    add_folder(all, &count, getenv("XDG_RUNTIME_DIR"), "/warren");
    for (size_t i = 0; i < beside_count; i++)
        add_folder(all, &count, beside[i], "/run");
    return count;
}

/* ---- one file ---- */

static void write_entry(const struct run_node *n, struct text *t)
{
    text_put(t,
             "name=%s\n"
             "pid=%" PRIu64 "\n"
             "cluster=%u\n"
             "socket=%s\n"
             "cookie-file=%s\n",
             n->name, n->pid, (unsigned)n->port, n->socket, n->cookie_file);
}

static void take(char *room, size_t size, struct slice value)
{
    struct text t = text_over(room, size);
    text_slice(&t, value);
}

static void read_line(struct run_node *n, struct slice line)
{
    const uint8_t *is = line.len != 0 ? memchr(line.ptr, '=', line.len) : NULL;
    if (is == NULL)
        return;
    struct slice key = slice_head(line, (size_t)(is - line.ptr));
    struct slice value = slice_from(line, key.len + 1);
    uint64_t number;
    if (slice_is(key, "name"))
        take(n->name, sizeof n->name, value);
    else if (slice_is(key, "socket"))
        take(n->socket, sizeof n->socket, value);
    else if (slice_is(key, "cookie-file"))
        take(n->cookie_file, sizeof n->cookie_file, value);
    else if (slice_is(key, "pid") && units_u64(value, &number))
        n->pid = number;
    else if (slice_is(key, "cluster") && units_u64(value, &number) && number <= UINT16_MAX)
        n->port = (uint16_t)number;
}

static bool read_entry(const char *path, struct run_node *n)
{
    uint8_t *bytes;
    size_t len;
    struct err err;
    *n = (struct run_node){ .port = 0 };
    if (!file_read(path, ENTRY_MAX, &bytes, &len, &err))
        return false;
    struct slice rest = slice_of(bytes, len);
    while (rest.len != 0) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t line = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
        read_line(n, slice_head(rest, line));
        rest = slice_from(rest, line + 1);
    }
    mem_free(bytes);
    return n->name[0] != '\0' && n->pid != 0;
}

/* ---- all of a folder ---- */

typedef void (*entry_fn)(const char *path, const struct run_node *n, void *arg);

static void each_entry(const char *folder, entry_fn fn, void *arg)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    const struct dirent *d;
    while ((d = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        struct text t = text_over(path, sizeof path);
        text_put(&t, "%s/%s", folder, d->d_name);
        struct run_node n;
        if (d->d_name[0] != '.' && strchr(d->d_name, '@') != NULL && !t.cut && read_entry(path, &n))
            fn(path, &n, arg);
    }
    closedir(dir);
}

struct sweep {
    const struct run_node *ours;
};

static void remove_dead(const char *path, const struct run_node *n, void *arg)
{
    const struct sweep *s = arg;
    if (strcmp(n->name, s->ours->name) == 0 && n->pid != s->ours->pid &&
        !host_process_lives(n->pid))
        unlink(path);
}

bool run_dir_leave(const struct run_node *node, const char *beside, char *path, struct err *err)
{
    struct folder *all = mem_array(CANDIDATES_MAX, sizeof *all);
    size_t count = candidates(all, &beside, 1);
    struct text entry;
    text_init(&entry, ENTRY_MAX);
    write_entry(node, &entry);
    bool ok = false;
    for (size_t i = 0; i < count && !ok; i++) {
        struct text t = text_over(path, PATH_MAX);
        text_put(&t, "%s/%s.%" PRIu64, all[i].path, node->name, node->pid);
        ok = !t.cut && file_make_folders(all[i].path, 0755, err) &&
             file_write(path, text_view(&entry), 0644, err);
        if (ok)
            each_entry(all[i].path, remove_dead, &(struct sweep){ node });
    }
    text_fini(&entry);
    mem_free(all);
    return ok || err_context(err, "the run folder");
}

void run_dir_forget(const char *path)
{
    if (path[0] != '\0')
        unlink(path);
}

struct found {
    struct run_node *out;
    size_t room;
    size_t count;
};

static void add_found(const char *path, const struct run_node *n, void *arg)
{
    struct found *f = arg;
    (void)path;
    for (size_t i = 0; i < f->count; i++) {
        if (f->out[i].pid == n->pid)
            return;
    }
    if (f->count < f->room && host_process_lives(n->pid))
        f->out[f->count++] = *n;
}

size_t run_dir_nodes(struct run_node *out, size_t room, const char *const *beside, size_t count)
{
    struct found f = { .out = out, .room = room };
    struct folder *all = mem_array(CANDIDATES_MAX, sizeof *all);
    size_t folders = candidates(all, beside, count);
    for (size_t i = 0; i < folders; i++)
        each_entry(all[i].path, add_found, &f);
    mem_free(all);
    return f.count;
}
