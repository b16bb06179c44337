#include "client/auth.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker_conf.h"
#include "io/hmac.h"
#include "io/random.h"
#include "io/work.h"

#include <string.h>

#define LINES        64u   /* of those who wait, by address */
#define WAITING_MAX  2048u /* in all of them */
#define LINE_MAX     200u  /* checks in one */
#define AT_WORK_MAX  4u    /* checks of this loop that the pool has at a time */
#define KNOWN        2048u /* successes remembered; a power of two */
#define KEY_BYTES    32u
#define MAKING_MAX   64u          /* new hashes under way */
#define PASSWORD_MAX (64u * 1024) /* octets of one that is looked at at all */

_Static_assert((int)META_HASHING_SHA256 == (int)PASSWORD_SHA256 &&
                   (int)META_HASHING_SHA512 == (int)PASSWORD_SHA512 &&
                   (int)META_HASHING_MD5 == (int)PASSWORD_MD5 &&
                   (int)META_HASHING_PBKDF2 == (int)PASSWORD_PBKDF2,
               "one list of hashings");

/* One password of one user that is being looked at, for all who wait for that. */
struct auth_check {
    struct work_job job;
    struct auth *auth;
    TAILQ_ENTRY(auth_check) entry; /* in its line, or at work */
    TAILQ_HEAD(, auth_wait) waits;
    unsigned line;
    uint64_t user_id; /* 0: there is no such user, but it takes as long */
    enum meta_hashing hashing;
    uint8_t mac[HMAC_BYTES];
    struct password_hash nobody; /* what a password is compared with that is not right anyway */
    bool is_at_work;
    struct slice user; /* these three point into `bytes` */
    struct slice hash;
    struct slice password;
    bool is_right;
    uint8_t bytes[];
};

TAILQ_HEAD(check_list, auth_check);

struct known {
    uint64_t until_ms;
    uint8_t mac[HMAC_BYTES];
};

struct auth {
    struct loop *loop;
    struct work_pool *pool;
    const struct meta *meta;
    uint8_t key[KEY_BYTES]; /* of the digests; of this process alone */
    uint64_t line_seed;
    struct check_list lines[LINES];
    unsigned line_len[LINES];
    unsigned waiting; /* the sum of those */
    unsigned next_line;
    struct check_list at_work;
    unsigned at_work_count;
    unsigned making;
    uint64_t remember_ms;
    struct known known[KNOWN];
};

struct auth *auth_new(const struct auth_setup *setup)
{
    struct auth *a = mem_zalloc(sizeof *a);
    a->loop = setup->loop;
    a->pool = setup->pool;
    a->meta = setup->meta;
    random_octets(a->key, sizeof a->key);
    a->line_seed = random_u64();
    for (unsigned i = 0; i < LINES; i++)
        TAILQ_INIT(&a->lines[i]);
    TAILQ_INIT(&a->at_work);
    return a;
}

static void wipe(struct slice secret)
{
    explicit_bzero((void *)(uintptr_t)secret.ptr, secret.len);
}

static void tell(struct auth_check *c, enum auth_verdict verdict);

static void leave_line(struct auth_check *c)
{
    struct auth *a = c->auth;
    TAILQ_REMOVE(&a->lines[c->line], c, entry);
    a->line_len[c->line]--;
    a->waiting--;
}

static void free_check(struct auth_check *c)
{
    CHECK(TAILQ_EMPTY(&c->waits));
    wipe(c->password);
    mem_free(c);
}

void auth_free(struct auth **auth)
{
    struct auth *a = *auth;
    if (a == NULL)
        return;
    *auth = NULL;
    CHECK(a->at_work_count == 0 && a->making == 0);
    for (unsigned i = 0; i < LINES; i++) {
        struct auth_check *c;
        while ((c = TAILQ_FIRST(&a->lines[i])) != NULL) {
            leave_line(c);
            tell(c, AUTH_BUSY);
            free_check(c);
        }
    }
    explicit_bzero(a->key, sizeof a->key);
    mem_free(a);
}

const char *auth_verdict_text(enum auth_verdict v)
{
    switch (v) {
    case AUTH_OK:
    case AUTH_REFUSED:
    case AUTH_PENDING:
        return "";
    case AUTH_LOOPBACK_ONLY:
        return ": this user may only connect from loopback";
    case AUTH_BUSY:
        return ": too many logins are being looked at";
    }
    UNREACHABLE("auth verdict");
}

/* ---- what is known
 * ---------------------------------------------------------------------------------------------- */

/* Of everything that a success depends on: another user of that name, or another hash, makes
 * another digest, so nothing has to be forgotten when they change. */
static void digest(const struct auth *a, const struct meta_user *u, const struct auth_ask *ask,
                   uint8_t out[HMAC_BYTES])
{
    struct {
        uint64_t user_id, name_len, hash_len;
    } head = { u != NULL ? u->user_id : 0, ask->user.len, u != NULL ? u->hash.len : 0 };
    const struct slice parts[] = { slice_of(&head, sizeof head), ask->user,
                                   u != NULL ? u->hash : slice_of(NULL, 0), ask->password };
    hmac_sha256(slice_of(a->key, sizeof a->key), parts, sizeof parts / sizeof *parts, out);
}

static struct known *place_of(struct auth *a, const uint8_t mac[HMAC_BYTES])
{
    return &a->known[(mac[0] | (unsigned)mac[1] << 8) & (KNOWN - 1)];
}

static bool is_known(struct auth *a, const uint8_t mac[HMAC_BYTES])
{
    const struct known *k = place_of(a, mac);
    return k->until_ms > loop_now_ms(a->loop) && hmac_eq(k->mac, mac);
}

static void remember(struct auth *a, const uint8_t mac[HMAC_BYTES])
{
    if (a->remember_ms == 0)
        return;
    struct known *k = place_of(a, mac);
    memcpy(k->mac, mac, HMAC_BYTES);
    k->until_ms = loop_now_ms(a->loop) + a->remember_ms;
}

/* ---- the lines
 * --------------------------------------------------------------------------------------------------
 */

static void on_run(struct work_job *job)
{
    struct auth_check *c = CONTAINER_OF(job, struct auth_check, job);
    enum password_hashing how = (enum password_hashing)c->hashing;
    c->is_right = c->user_id != 0 && password_is_right(how, c->hash, c->password);
    /* Who is not known, or has one of the fast hashes, takes as long to be wrong. */
    if (!c->is_right && (how != PASSWORD_PBKDF2 || password_rounds(c->hash) == 0)) {
        bool ok = password_is_right(PASSWORD_PBKDF2, password_hash_slice(&c->nobody), c->password);
        CHECK(!ok);
    }
}

/* Still the user it was, with the password it had? */
static bool is_still(const struct auth_check *c)
{
    const struct meta_user *u = meta_user_find(meta_current(c->auth->meta), c->user);
    return u != NULL && u->user_id == c->user_id && slice_eq(u->hash, c->hash);
}

/* Tell all who wait; they may end others who wait, too. */
static void tell(struct auth_check *c, enum auth_verdict verdict)
{
    struct auth_wait *w;
    while ((w = TAILQ_FIRST(&c->waits)) != NULL) {
        TAILQ_REMOVE(&c->waits, w, entry);
        w->check = NULL;
        w->fn(w->arg, verdict == AUTH_OK && w->is_far ? AUTH_LOOPBACK_ONLY : verdict);
    }
}

static void serve_lines(struct auth *a);

static void on_done(struct work_job *job)
{
    struct auth_check *c = CONTAINER_OF(job, struct auth_check, job);
    struct auth *a = c->auth;
    TAILQ_REMOVE(&a->at_work, c, entry);
    a->at_work_count--;
    bool right = c->is_right && is_still(c);
    if (right)
        remember(a, c->mac);
    tell(c, job->cancelled ? AUTH_BUSY : right ? AUTH_OK : AUTH_REFUSED);
    bool pool_ended = job->cancelled;
    free_check(c);
    if (!pool_ended)
        serve_lines(a);
}

static struct auth_check *next_in_turn(struct auth *a)
{
    for (unsigned i = 0; i < LINES; i++) {
        unsigned line = (a->next_line + i) % LINES;
        struct auth_check *c = TAILQ_FIRST(&a->lines[line]);
        if (c == NULL)
            continue;
        a->next_line = (line + 1) % LINES;
        return c;
    }
    return NULL;
}

/* The pool has a few of ours at a time: the lines decide who is next, not its queue. Where it takes
 * none at all, those who wait try again with the next login, or give up. */
static void serve_lines(struct auth *a)
{
    struct auth_check *c;
    while (a->at_work_count < AT_WORK_MAX && (c = next_in_turn(a)) != NULL) {
        struct err err;
        if (!work_submit(a->pool, a->loop, &c->job, &err)) {
            log_warn("auth", "-", "a password cannot be looked at: %s", err.text);
            return;
        }
        leave_line(c);
        c->is_at_work = true;
        TAILQ_INSERT_TAIL(&a->at_work, c, entry);
        a->at_work_count++;
    }
}

static unsigned line_of(const struct auth *a, const struct sock_addr *from)
{
    return (unsigned)(hash_bytes(sock_addr_octets(from), a->line_seed) % LINES);
}

static struct auth_check *find_in(const struct check_list *list, const uint8_t mac[HMAC_BYTES])
{
    struct auth_check *c;
    TAILQ_FOREACH (c, list, entry) {
        if (hmac_eq(c->mac, mac))
            return c;
    }
    return NULL;
}

/* Hash bytes never move in time: `nobody` has the rounds that a hash made now would have. */
static void fill_nobody(struct password_hash *h, uint32_t rounds)
{
    uint8_t *at = h->octets;
    h->len = 52;
    memset(at, 0, h->len);
    at[16] = (uint8_t)(rounds >> 24);
    at[17] = (uint8_t)(rounds >> 16);
    at[18] = (uint8_t)(rounds >> 8);
    at[19] = (uint8_t)rounds;
}

static struct slice keep(uint8_t **at, struct slice s)
{
    uint8_t *to = *at;
    if (s.len != 0)
        memcpy(to, s.ptr, s.len);
    *at += s.len;
    return slice_of(to, s.len);
}

static struct auth_check *new_check(struct auth *a, const struct meta_user *u,
                                    const struct auth_ask *ask)
{
    struct slice hash = u != NULL ? u->hash : slice_of(NULL, 0);
    struct auth_check *c = mem_zalloc(sizeof *c + ask->user.len + hash.len + ask->password.len);
    work_job_init(&c->job, on_run, on_done);
    TAILQ_INIT(&c->waits);
    c->auth = a;
    c->user_id = u != NULL ? u->user_id : 0;
    c->hashing = u != NULL ? u->hashing : META_HASHING_PBKDF2;
    fill_nobody(&c->nobody, (uint32_t)ask->conf->auth.rounds);
    uint8_t *at = c->bytes;
    c->user = keep(&at, ask->user);
    c->hash = keep(&at, hash);
    c->password = keep(&at, ask->password);
    return c;
}

/* ---- logging in
 * -------------------------------------------------------------------------------------------------
 */

static bool is_for_loopback(const struct broker_conf *conf, struct slice user)
{
    const struct conf_list *l = &conf->auth.loopback_users;
    for (size_t i = 0; i < l->count; i++) {
        if (slice_is(user, l->items[i]))
            return true;
    }
    return false;
}

static bool is_far(const struct auth_ask *ask)
{
    return !sock_addr_is_loopback(ask->from) && is_for_loopback(ask->conf, ask->user);
}

static enum auth_verdict allow(const struct auth_ask *ask)
{
    return is_far(ask) ? AUTH_LOOPBACK_ONLY : AUTH_OK;
}

static enum auth_verdict join(struct auth_check *c, const struct auth_ask *ask,
                              struct auth_wait *wait)
{
    wait->check = c;
    wait->is_far = is_far(ask);
    TAILQ_INSERT_TAIL(&c->waits, wait, entry);
    return AUTH_PENDING;
}

enum auth_verdict auth_login(struct auth *a, const struct auth_ask *ask, struct auth_wait *wait)
{
    CHECK(loop_is_current(a->loop) && wait->check == NULL && wait->fn != NULL);
    if (ask->password.len == 0 || ask->password.len > PASSWORD_MAX || ask->user.len > META_NAME_MAX)
        return AUTH_REFUSED;
    a->remember_ms = ask->conf->auth.remember_ms;
    const struct meta_user *u = meta_user_find(meta_current(a->meta), ask->user);
    uint8_t mac[HMAC_BYTES];
    digest(a, u, ask, mac);
    if (u != NULL && is_known(a, mac))
        return allow(ask);

    unsigned line = line_of(a, ask->from);
    struct auth_check *c = find_in(&a->at_work, mac);
    if (c == NULL)
        c = find_in(&a->lines[line], mac);
    if (c != NULL)
        return join(c, ask, wait);
    if (a->line_len[line] == LINE_MAX || a->waiting == WAITING_MAX)
        return AUTH_BUSY;
    c = new_check(a, u, ask);
    memcpy(c->mac, mac, sizeof mac);
    c->line = line;
    TAILQ_INSERT_TAIL(&a->lines[line], c, entry);
    a->line_len[line]++;
    a->waiting++;
    enum auth_verdict verdict = join(c, ask, wait);
    serve_lines(a);
    return verdict;
}

void auth_wait_cancel(struct auth_wait *wait)
{
    if (wait->check == NULL)
        return;
    struct auth_check *c = wait->check;
    TAILQ_REMOVE(&c->waits, wait, entry);
    wait->check = NULL;
    if (TAILQ_EMPTY(&c->waits) && !c->is_at_work) {
        leave_line(c);
        free_check(c);
    }
}

enum auth_verdict auth_login_proven(struct auth *a, const struct auth_ask *ask)
{
    const struct meta_user *u = meta_user_find(meta_current(a->meta), ask->user);
    return u != NULL ? allow(ask) : AUTH_REFUSED;
}

/* ---- new hashes
 * -------------------------------------------------------------------------------------------------
 */

struct making {
    struct work_job job;
    struct auth *auth;
    enum meta_hashing hashing;
    uint32_t rounds;
    struct password_hash hash;
    auth_made_fn fn;
    void *arg;
    struct slice password;
    uint8_t bytes[];
};

static void on_make(struct work_job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    password_make((enum password_hashing)m->hashing, m->rounds, m->password, &m->hash);
}

static void free_making(struct making *m)
{
    wipe(m->password);
    mem_free(m);
}

static void on_made(struct work_job *job)
{
    struct making *m = CONTAINER_OF(job, struct making, job);
    m->auth->making--;
    m->fn(m->arg, m->hashing, job->cancelled ? NULL : &m->hash);
    free_making(m);
}

static enum meta_hashing hashing_of(const struct broker_conf *conf)
{
    return (enum meta_hashing)conf->auth.password_hashing;
}

bool auth_make_hash(struct auth *a, const struct broker_conf *conf, struct slice password,
                    auth_made_fn fn, void *arg)
{
    struct err err;
    struct making *m = mem_zalloc(sizeof *m + password.len);
    uint8_t *at = m->bytes;
    m->auth = a;
    m->hashing = hashing_of(conf);
    m->rounds = (uint32_t)conf->auth.rounds;
    m->fn = fn;
    m->arg = arg;
    m->password = keep(&at, password);
    work_job_init(&m->job, on_make, on_made);
    if (a->making < MAKING_MAX && work_submit(a->pool, a->loop, &m->job, &err)) {
        a->making++;
        return true;
    }
    free_making(m);
    return false;
}

enum meta_hashing auth_make_hash_now(const struct broker_conf *conf, struct slice password,
                                     struct password_hash *out)
{
    enum meta_hashing how = hashing_of(conf);
    password_make((enum password_hashing)how, (uint32_t)conf->auth.rounds, password, out);
    return how;
}
