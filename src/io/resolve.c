#include "io/resolve.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/loop_event.h"
#include "io/work.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#define THREADS_MAX 4u /* a name server that is silent holds one for many seconds */
#define WAITING_MAX 256u

struct resolve {
    struct loop *loop;
    struct work_job job;
    bool is_at_work;              /* the job is out; on_done follows */
    struct loop_task answer_task; /* what is known at once is told in the next turn */
    char *host;
    uint16_t port;
    resolve_fn fn; /* NULL: cancelled */
    void *arg;
    struct resolve_answer answer;
    struct err why;
};

static void resolve_free(struct resolve *r)
{
    mem_free(r->host);
    mem_free(r);
}

static void tell(struct resolve *r)
{
    if (r->fn != NULL)
        r->fn(&r->answer, r->answer.count == 0 ? &r->why : NULL, r->arg);
    resolve_free(r);
}

static void on_answer(void *arg)
{
    tell(arg);
}

/* ---- on the pool's thread ------------------------------------------------------------------- */

static bool is_known(const struct resolve_answer *a, const struct sock_addr *addr)
{
    for (unsigned i = 0; i < a->count; i++)
        if (sock_addr_eq(&a->addrs[i], addr))
            return true;
    return false;
}

static void keep(struct resolve_answer *a, const struct sockaddr *from, socklen_t len,
                 uint16_t port)
{
    struct sock_addr addr = { .len = 0 };
    if (len > sizeof addr.bytes || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
        return;
    memcpy(addr.bytes, from, len);
    addr.len = (uint32_t)len;
    sock_addr_set_port(&addr, port);
    if (a->count < RESOLVE_ADDRS_MAX && !is_known(a, &addr))
        a->addrs[a->count++] = addr;
}

static void look_up(struct work_job *job)
{
    struct resolve *r = CONTAINER_OF(job, struct resolve, job);
    /* Addresses of a family that this machine does not have would only be tried in vain. */
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *list = NULL;
    errno = 0;
    int result = getaddrinfo(r->host, NULL, &hints, &list);
    if (result == EAI_ADDRFAMILY || result == EAI_NONAME) {
        /* A machine with nothing but loopback still knows itself. */
        hints.ai_flags = 0;
        result = getaddrinfo(r->host, NULL, &hints, &list);
    }
    int error = errno;
    if (result == 0) {
        for (const struct addrinfo *i = list; i != NULL; i = i->ai_next)
            keep(&r->answer, i->ai_addr, i->ai_addrlen, r->port);
        freeaddrinfo(list);
    }
    if (r->answer.count != 0)
        return;
    char room[256];
    struct text host = text_over(room, sizeof room);
    text_escaped(&host, slice_str(r->host));
    const char *cause = "it has no address";
    if (result != 0)
        cause = result == EAI_SYSTEM ? strerror(error) : gai_strerror(result);
    (void)err_set(&r->why, ERR_RESOLVE, "host name \"%s\": %s", room, cause);
}

static void on_done(struct work_job *job)
{
    struct resolve *r = CONTAINER_OF(job, struct resolve, job);
    if (job->cancelled && r->answer.count == 0 && r->why.code == ERR_NONE)
        (void)err_set(&r->why, ERR_RESOLVE, "host name \"%s\": the lookup was given up", r->host);
    tell(r);
}

/* The loop has gone, and who asked before it. */
static void on_lost(struct work_job *job)
{
    resolve_free(CONTAINER_OF(job, struct resolve, job));
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct work_pool *pool_of(struct loop *loop)
{
    if (loop_resolver(loop) == NULL)
        loop_set_resolver(loop, work_pool_new("resolve", THREADS_MAX, WAITING_MAX));
    return loop_resolver(loop);
}

struct resolve *resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_fn fn,
                              void *arg)
{
    CHECK(host != NULL && fn != NULL);
    struct resolve *r = mem_zalloc(sizeof *r);
    r->loop = loop;
    r->host = mem_strdup(host);
    r->port = port;
    r->fn = fn;
    r->arg = arg;
    loop_task_init(&r->answer_task, on_answer, r);
    work_job_init(&r->job, look_up, on_done);
    r->job.lost = on_lost;
    if (sock_addr_ip(host, port, &r->answer.addrs[0])) {
        r->answer.count = 1;
        loop_again(loop, &r->answer_task);
        return r;
    }
    r->is_at_work = work_submit(pool_of(loop), loop, &r->job, &r->why);
    if (!r->is_at_work) {
        (void)err_context(&r->why, "host name \"%s\"", host);
        loop_again(loop, &r->answer_task);
    }
    return r;
}

void resolve_cancel(struct resolve **resolve)
{
    struct resolve *r = *resolve;
    *resolve = NULL;
    if (r == NULL)
        return;
    r->fn = NULL;
    if (!r->is_at_work) {
        loop_task_cancel(r->loop, &r->answer_task);
        resolve_free(r);
        return;
    }
    work_cancel(&r->job); /* on_done frees it */
}
