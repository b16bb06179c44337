/*
 * replay: runs a fuzz target over its corpus when there is no libFuzzer.
 *
 * Linked instead of libFuzzer's own main. Arguments are files or folders; with none, the corpus
 * of the target is found by its name: `fuzz_frame` reads $srcdir/tests/fuzz/corpus/frame. A
 * target fails by aborting; a corpus that is empty or cannot be read is a failure too, since a
 * test that reads nothing proves nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs;

static int complain(const char *what, const char *path)
{
    fprintf(stderr, "%s %s: %s\n", what, path, errno ? strerror(errno) : "too large");
    return -1;
}

/* A block of exactly the input's size, so that a sanitizer sees the first octet read too far. */
static int replay_bytes(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        return -1;
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    inputs++;
    return 0;
}

static int replay_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX + 1];

    errno = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return complain("cannot open", path);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    int bad = ferror(f) || size > INPUT_MAX;
    fclose(f);
    return bad ? complain("cannot read", path) : replay_bytes(bytes, size);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_input, alphasort);
    if (count < 0)
        return complain("cannot list", folder);

    int result = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (result == 0)
            result = replay_file(path);
        free(entries[i]);
    }
    free(entries);
    return result;
}

static int replay(const char *path)
{
    struct stat st;
    errno = 0;
    if (stat(path, &st) != 0)
        return complain("cannot find", path);
    return S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path);
}

static int replay_own_corpus(const char *program)
{
    const char *name = strstr(program, "fuzz_");
    for (const char *next = name; next; next = strstr(next + 1, "fuzz_"))
        name = next;
    if (!name) {
        fprintf(stderr, "%s: the program's name does not tell its corpus\n", program);
        return -1;
    }

    const char *srcdir = getenv("srcdir");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".",
             name + strlen("fuzz_"));
    return replay(path);
}

int main(int argc, char **argv)
{
    int result = argc == 1 ? replay_own_corpus(argv[0]) : 0;
    for (int i = 1; i < argc && result == 0; i++)
        result = replay(argv[i]);
    if (result == 0 && inputs == 0) {
        fprintf(stderr, "no input was found\n");
        result = -1;
    }
    if (result == 0)
        printf("%zu inputs replayed\n", inputs);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
