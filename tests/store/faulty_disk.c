/*
 * faulty_disk: a library for LD_PRELOAD under which a program's disk fails, dawdles or takes half
 * of what it is given, and under which a thread of it does not go on.
 *
 * FAULTY_DISK_FOLDER says which files are concerned: those whose path begins so. What is to happen
 * stands in the file FAULTY_DISK_CONTROL (struct control, little more than a row of numbers), which
 * is mapped: a test changes it while the program runs, and reads there how often it was asked.
 * See tests/store/faulty.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define MATCH_MAX 64

/* What is done to one kind of call. */
struct fault {
    _Atomic int32_t after;    /* so many calls are well yet, then they fail; below 0: none does */
    _Atomic int32_t code;     /* with this errno; 0: a write takes half of what it is given */
    _Atomic int32_t delay_ms; /* and all of them take so much longer */
    _Atomic int32_t calls;    /* counted here */
};

struct control {
    struct fault sync;
    struct fault write;
    char match[MATCH_MAX]; /* only files with this in their path; empty: all in the folder */
    char stuck[MATCH_MAX]; /* the thread of this name does not come back from waiting for events */
};

static struct control *control;
static char folder[4096];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTY_DISK_CONTROL"), *where = getenv("FAULTY_DISK_FOLDER");
    if (path == NULL || where == NULL || realpath(where, folder) == NULL)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd >= 0 ? mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                       : MAP_FAILED;
    if (at != MAP_FAILED)
        control = at;
    if (fd >= 0)
        close(fd);
}

static int is_concerned(int fd)
{
    char link[64], path[4096];
    if (control == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = '\0';
    return strncmp(path, folder, strlen(folder)) == 0 &&
           (control->match[0] == '\0' || strstr(path, control->match) != NULL);
}

#define GRAIN_MS 10

/* Until it has taken so long, or need not any more. */
static void dawdle(const struct fault *f)
{
    for (int32_t ms = 0; ms < atomic_load(&f->delay_ms); ms += GRAIN_MS)
        (void)poll(NULL, 0, GRAIN_MS);
}

/* 0: all is well; otherwise fail: with errno `*code`, or by half when that is 0. */
static int is_faulty(struct fault *f, int fd, int *code)
{
    if (!is_concerned(fd))
        return 0;
    atomic_fetch_add(&f->calls, 1);
    dawdle(f);
    int32_t after = atomic_load(&f->after);
    while (after > 0 && !atomic_compare_exchange_weak(&f->after, &after, after - 1))
        ;
    if (after != 0)
        return 0;
    *code = atomic_load(&f->code);
    return 1;
}

static void *next_of(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);
    if (p == NULL)
        abort();
    return p;
}

/* A function pointer out of dlsym's void pointer. */
#define NEXT(type, name)                                                                           \
    static _Atomic(void *) found;                                                                  \
    void *p = atomic_load(&found);                                                                 \
    if (p == NULL)                                                                                 \
        atomic_store(&found, p = next_of(name));                                                   \
    type next;                                                                                     \
    memcpy(&next, &p, sizeof next)

/* ---- syncs ---- */

typedef int (*sync_fn)(int);

#define SYNC(name)                                                                                 \
    int name(int fd)                                                                               \
    {                                                                                              \
        NEXT(sync_fn, #name);                                                                      \
        int code = 0;                                                                              \
        if (is_faulty(&control->sync, fd, &code)) {                                                \
            errno = code != 0 ? code : EIO;                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return next(fd);                                                                           \
    }
SYNC(fsync)
SYNC(fdatasync)

/* ---- writes ---- */

static size_t half(size_t n)
{
    return n > 1 ? n / 2 : n;
}

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*writev_fn)(int, const struct iovec *, int);
typedef ssize_t (*pwritev_fn)(int, const struct iovec *, int, off_t);
typedef ssize_t (*pwritev2_fn)(int, const struct iovec *, int, off_t, int);

ssize_t write(int fd, const void *buf, size_t n)
{
    NEXT(write_fn, "write");
    int code = 0;
    if (!is_faulty(&control->write, fd, &code))
        return next(fd, buf, n);
    errno = code;
    return code != 0 ? -1 : next(fd, buf, half(n));
}

#define PWRITE(name, type)                                                                         \
    ssize_t name(int fd, const void *buf, size_t n, type at)                                       \
    {                                                                                              \
        NEXT(pwrite_fn, #name);                                                                    \
        int code = 0;                                                                              \
        if (!is_faulty(&control->write, fd, &code))                                                \
            return next(fd, buf, n, at);                                                           \
        errno = code;                                                                              \
        return code != 0 ? -1 : next(fd, buf, half(n), at);                                        \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* The first vector alone, or half of it. */
static struct iovec less(const struct iovec *v, int count)
{
    struct iovec one = v[0];
    if (count == 1)
        one.iov_len = half(one.iov_len);
    return one;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    NEXT(writev_fn, "writev");
    int code = 0;
    if (count == 0 || !is_faulty(&control->write, fd, &code))
        return next(fd, v, count);
    struct iovec one = less(v, count);
    errno = code;
    return code != 0 ? -1 : next(fd, &one, 1);
}

#define PWRITEV(name, type)                                                                        \
    ssize_t name(int fd, const struct iovec *v, int count, type at)                                \
    {                                                                                              \
        NEXT(pwritev_fn, #name);                                                                   \
        int code = 0;                                                                              \
        if (count == 0 || !is_faulty(&control->write, fd, &code))                                  \
            return next(fd, v, count, at);                                                         \
        struct iovec one = less(v, count);                                                         \
        errno = code;                                                                              \
        return code != 0 ? -1 : next(fd, &one, 1, at);                                             \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define PWRITEV2(name, type)                                                                       \
    ssize_t name(int fd, const struct iovec *v, int count, type at, int flags)                     \
    {                                                                                              \
        NEXT(pwritev2_fn, #name);                                                                  \
        int code = 0;                                                                              \
        if (count == 0 || !is_faulty(&control->write, fd, &code))                                  \
            return next(fd, v, count, at, flags);                                                  \
        struct iovec one = less(v, count);                                                         \
        errno = code;                                                                              \
        return code != 0 ? -1 : next(fd, &one, 1, at, flags);                                      \
    }
PWRITEV2(pwritev2, off_t)
PWRITEV2(pwritev64v2, off64_t)

/* ---- threads ---- */

static int is_stuck(void)
{
    char name[16] = "", wanted[MATCH_MAX];
    if (control == NULL || control->stuck[0] == '\0')
        return 0;
    pthread_getname_np(pthread_self(), name, sizeof name);
    memcpy(wanted, control->stuck, sizeof wanted);
    wanted[MATCH_MAX - 1] = '\0';
    return strcmp(name, wanted) == 0;
}

typedef int (*wait_fn)(int, struct epoll_event *, int, int);

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    NEXT(wait_fn, "epoll_wait");
    int n = next(fd, events, count, timeout);
    while (is_stuck())
        (void)poll(NULL, 0, GRAIN_MS);
    return n;
}
