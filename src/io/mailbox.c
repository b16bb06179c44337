#include "io/mailbox.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop_event.h"

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
    _Atomic(struct mail *) newest; /* a stack: the receiver turns it round */
    atomic_bool woken;             /* the eventfd says so, and nobody has looked yet */
    atomic_size_t posted;
    atomic_size_t delivered;
    int wake_fd;
    struct event *on_wake;
    struct loop *loop;
};

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct mailbox *m = arg;
    loop_turn_begin(m->loop);
    uint64_t ignored;
    ssize_t n = read(fd, &ignored, sizeof ignored);
    CHECK(n == (ssize_t)sizeof ignored || (n < 0 && (errno == EAGAIN || errno == EINTR)));
    /* Then look: whoever posts after that wakes it again. */
    (void)atomic_exchange(&m->woken, false);
    mailbox_drain(m);
}

struct mailbox *mailbox_new(struct loop *loop, struct err *err)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        err_set(err, ERR_SYSTEM, "eventfd: %s", strerror(errno));
        return NULL;
    }
    struct mailbox *m = mem_zalloc(sizeof *m);
    m->wake_fd = fd;
    m->loop = loop;
    m->on_wake = event_new(loop_base(loop), fd, EV_READ | EV_PERSIST, on_wake, m);
    CHECK(m->on_wake != NULL && event_add(m->on_wake, NULL) == 0);
    return m;
}

void mailbox_free(struct mailbox **m)
{
    struct mailbox *it = *m;
    *m = NULL;
    CHECK(atomic_load(&it->newest) == NULL);
    event_free(it->on_wake);
    close(it->wake_fd);
    mem_free(it);
}

void mailbox_wake(struct mailbox *m)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(m->wake_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    CHECK(n == (ssize_t)sizeof one || errno == EAGAIN); /* full counter: it is awake */
}

void mailbox_post(struct loop *to, struct mail *mail)
{
    CHECK(mail->fn != NULL);
    struct mailbox *m = loop_mailbox(to);
    atomic_fetch_add_explicit(&m->posted, 1, memory_order_relaxed);
    struct mail *was = atomic_load_explicit(&m->newest, memory_order_relaxed);
    do
        mail->next = was;
    while (!atomic_compare_exchange_weak_explicit(&m->newest, &was, mail, memory_order_seq_cst,
                                                  memory_order_relaxed));
    if (was == NULL && !atomic_exchange(&m->woken, true))
        mailbox_wake(m);
}

static struct mail *oldest_first(struct mail *newest)
{
    struct mail *list = NULL;
    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next = list;
        list = newest;
        newest = next;
    }
    return list;
}

void mailbox_drain(struct mailbox *m)
{
    if (atomic_load(&m->newest) == NULL)
        return;
    struct mail *mail =
        oldest_first(atomic_exchange_explicit(&m->newest, NULL, memory_order_acquire));
    while (mail != NULL) {
        struct mail *next = mail->next; /* the mail is gone once fn has run */
        mail->fn(mail);
        atomic_fetch_add_explicit(&m->delivered, 1, memory_order_relaxed);
        mail = next;
    }
}

size_t mailbox_depth(const struct loop *loop)
{
    const struct mailbox *m = loop_mailbox(loop);
    /* Read in this order so that the difference is never negative. */
    size_t delivered = atomic_load(&m->delivered);
    return atomic_load(&m->posted) - delivered;
}
