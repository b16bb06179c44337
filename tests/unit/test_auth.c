#include "client/auth.h"

#include "broker_conf.h"
#include "io/work.h"
#include "io_kit.h"
#include "meta_world.h"

#include <string.h>

static struct world w;
static struct loop *loop;
static struct work_pool *pool;
static struct auth *auth;
static struct broker_conf conf;
static struct sock_addr near, far;
static uint32_t rounds = 1000; /* of the users' hashes */
static const char *loopback_users[] = { "guest", "local" };

static void add_user(const char *name, const char *password, enum meta_hashing how)
{
    struct password_hash h;
    password_make((enum password_hashing)how, rounds, slice_str(password), &h);
    struct meta_cmd c = { .op = META_USER_PUT, .name = S(name) };
    c.user.hash = password_hash_slice(&h);
    c.user.hashing = how;
    c.user.has_hash = true;
    must(&w, c);
}

static void begin(void)
{
    world_init(&w, 1);
    loop = kit_loop_new();
    pool = work_pool_new("password", 1, 64);
    auth = auth_new(&(struct auth_setup){ .loop = loop, .pool = pool, .meta = w.meta });
    conf.auth.rounds = 1000;
    conf.auth.remember_ms = 60000;
    conf.auth.password_hashing = BROKER_HASHING_PBKDF2;
    conf.auth.loopback_users.items = loopback_users;
    conf.auth.loopback_users.count = 2;
    cr_assert(sock_addr_ip("127.0.0.1", 5000, &near));
    cr_assert(sock_addr_ip("10.1.2.3", 5000, &far));
    add_user("shop", "secret", META_HASHING_PBKDF2);
    add_user("guest", "guest", META_HASHING_SHA256);
}

static void end(void)
{
    work_pool_free(&pool);
    while (loop_settle(loop))
        ;
    auth_free(&auth);
    loop_free(&loop);
    world_fini(&w);
}

TestSuite(auth, .init = begin, .fini = end, .timeout = 300);

struct login {
    struct auth_wait wait;
    enum auth_verdict verdict;
    bool pending; /* the first word */
    bool done;
    unsigned times;
};

static void on_answer(void *arg, enum auth_verdict verdict)
{
    struct login *l = arg;
    l->verdict = verdict;
    l->done = true;
    l->times++;
}

/* What a test wants to do on the loop. */
struct act {
    struct loop_task task;
    struct login *login;
    const char *user, *password;
    const struct sock_addr *from;
    bool done;
};

static void on_act(void *arg)
{
    struct act *a = arg;
    struct auth_ask ask = { &conf, slice_str(a->user), slice_str(a->password), a->from };
    *a->login = (struct login){ .wait = { .fn = on_answer, .arg = a->login } };
    a->login->verdict = auth_login(auth, &ask, &a->login->wait);
    a->login->pending = a->login->verdict == AUTH_PENDING;
    a->login->done = !a->login->pending;
    a->done = true;
}

/* Ask; the answer may be pending when this returns. */
static void ask(struct login *l, const char *user, const char *password,
                const struct sock_addr *from)
{
    struct act a = { .login = l, .user = user, .password = password, .from = from };
    loop_task_init(&a.task, on_act, &a);
    loop_again(loop, &a.task);
    kit_until_set(loop, &a.done);
}

static enum auth_verdict login(const char *user, const char *password, const struct sock_addr *from)
{
    struct login l;
    ask(&l, user, password, from);
    kit_until_set(loop, &l.done);
    return l.verdict;
}

Test(auth, right_wrong_and_unknown)
{
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_OK));
    cr_expect(eq(int, login("shop", "secret", &near), AUTH_OK));
    cr_expect(eq(int, login("shop", "secre", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("shop", "secrets", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("shop", "", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("", "", &near), AUTH_REFUSED));
    cr_expect(eq(int, login("", "secret", &near), AUTH_REFUSED));
    cr_expect(eq(int, login("sho", "secret", &near), AUTH_REFUSED));
}

Test(auth, every_hashing_of_rabbitmqs_is_understood)
{
    add_user("a", "pa", META_HASHING_SHA256);
    add_user("b", "pb", META_HASHING_SHA512);
    add_user("c", "pc", META_HASHING_MD5);
    cr_expect(eq(int, login("a", "pa", &far), AUTH_OK));
    cr_expect(eq(int, login("b", "pb", &far), AUTH_OK));
    cr_expect(eq(int, login("c", "pc", &far), AUTH_OK));
    cr_expect(eq(int, login("a", "pb", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("b", "pc", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("c", "pa", &far), AUTH_REFUSED));
}

Test(auth, guest_from_here_alone)
{
    cr_expect(eq(int, login("guest", "guest", &near), AUTH_OK));
    cr_expect(eq(int, login("guest", "guest", &far), AUTH_LOOPBACK_ONLY));
    cr_expect(eq(int, login("guest", "wrong", &far), AUTH_REFUSED),
              "who guesses from afar is not told that a password is right");
    conf.auth.loopback_users.count = 0;
    cr_expect(eq(int, login("guest", "guest", &far), AUTH_OK));
}

Test(auth, a_user_without_a_password_cannot_log_in_with_one)
{
    struct meta_cmd c = { .op = META_USER_PUT, .name = S("cert") };
    c.user.has_hash = true;
    must(&w, c);
    cr_expect(eq(int, login("cert", "", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("cert", "x", &far), AUTH_REFUSED));
    struct auth_ask a = { .conf = &conf, .user = S("cert"), .from = &far };
    cr_expect(eq(int, auth_login_proven(auth, &a), AUTH_OK));
    a.user = S("nobody");
    cr_expect(eq(int, auth_login_proven(auth, &a), AUTH_REFUSED));
    a.user = S("guest");
    cr_expect(eq(int, auth_login_proven(auth, &a), AUTH_LOOPBACK_ONLY));
}

Test(auth, remembers_what_was_right_and_nothing_else)
{
    struct login l;
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_OK));
    ask(&l, "shop", "secret", &far);
    cr_expect(not(l.pending), "it is known");
    cr_expect(eq(int, l.verdict, AUTH_OK));
    ask(&l, "shop", "wrong", &far);
    cr_expect(l.pending);
    kit_until_set(loop, &l.done);
    ask(&l, "shop", "wrong", &far);
    cr_expect(l.pending, "a wrong one costs its hash each time");
    kit_until_set(loop, &l.done);
}

Test(auth, a_changed_password_counts_at_once)
{
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_OK));
    add_user("shop", "other", META_HASHING_PBKDF2);
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_REFUSED));
    cr_expect(eq(int, login("shop", "other", &far), AUTH_OK));
    must(&w, (struct meta_cmd){ .op = META_USER_DELETE, .name = S("shop") });
    cr_expect(eq(int, login("shop", "other", &far), AUTH_REFUSED));
    add_user("shop", "other", META_HASHING_PBKDF2);
    struct login l;
    ask(&l, "shop", "other", &far);
    cr_expect(l.pending, "another user of that name is not known");
    kit_until_set(loop, &l.done);
    cr_expect(eq(int, l.verdict, AUTH_OK));
}

Test(auth, what_is_not_to_be_remembered_is_not)
{
    conf.auth.remember_ms = 0;
    struct login l;
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_OK));
    ask(&l, "shop", "secret", &far);
    cr_expect(l.pending);
    kit_until_set(loop, &l.done);
}

/* A user who goes, or gets another password, while the old one is being looked at. */
Test(auth, judges_by_what_is_when_it_answers)
{
    struct login l;
    rounds = 200000; /* long enough to change things meanwhile */
    add_user("slow", "secret", META_HASHING_PBKDF2);
    ask(&l, "slow", "secret", &far);
    cr_assert(l.pending && !l.done);
    must(&w, (struct meta_cmd){ .op = META_USER_DELETE, .name = S("slow") });
    kit_until_set(loop, &l.done);
    cr_expect(eq(int, l.verdict, AUTH_REFUSED));
}

Test(auth, many_with_one_password_cost_one_hash)
{
    enum { MANY = 500 };
    static struct login l[MANY];
    for (size_t i = 0; i < MANY; i++)
        ask(&l[i], "shop", "secret", i % 2 == 0 ? &near : &far);
    for (size_t i = 0; i < MANY; i++) {
        kit_until_set(loop, &l[i].done);
        cr_expect(eq(int, l[i].verdict, AUTH_OK));
        cr_expect(le(uint, l[i].times, 1));
    }
}

Test(auth, who_went_is_not_answered)
{
    struct login one, two;
    rounds = 200000;
    add_user("slow", "secret", META_HASHING_PBKDF2);
    ask(&one, "slow", "secret", &far);
    ask(&two, "slow", "secret", &far);
    cr_assert(one.pending && !one.done && two.pending);
    auth_wait_cancel(&one.wait);
    auth_wait_cancel(&one.wait);
    kit_until_set(loop, &two.done);
    cr_expect(eq(int, two.verdict, AUTH_OK));
    cr_expect(eq(uint, one.times, 0));
}

/* Guesses of one address fill their line; those of another are looked at in between. */
/* Which line an address has is a secret's doing: one of a few is not in that of `far`. */
static enum auth_verdict login_from_another_line(void)
{
    enum auth_verdict v = AUTH_BUSY;
    for (unsigned host = 1; host < 8 && v == AUTH_BUSY; host++) {
        char ip[16];
        snprintf(ip, sizeof ip, "127.0.0.%u", host);
        cr_assert(sock_addr_ip(ip, 5000, &near));
        v = login("shop", "secret", &near);
    }
    return v;
}

Test(auth, a_line_has_an_end_and_others_are_served)
{
    enum { MANY = 400 };
    static struct login l[MANY];
    char password[16];
    conf.auth.rounds = 100000; /* what an unknown user costs: long enough for all to queue */
    size_t busy = 0;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(password, sizeof password, "%zu", i);
        ask(&l[i], "nobody", password, &far);
        busy += !l[i].pending;
        cr_expect(l[i].pending || l[i].verdict == AUTH_BUSY);
    }
    cr_expect(ge(sz, busy, MANY - 300), "%zu were turned away", busy);
    cr_expect(eq(int, login_from_another_line(), AUTH_OK));
    size_t left = 0;
    for (size_t i = 0; i < MANY; i++)
        left += !l[i].done;
    cr_expect(gt(sz, left, 0), "who came last from elsewhere did not wait for all of them");
    for (size_t i = 0; i < MANY; i++)
        auth_wait_cancel(&l[i].wait);
    cr_expect(eq(int, login("shop", "secret", &far), AUTH_OK), "the line is free again");
}

Test(auth, ends_with_some_waiting)
{
    static struct login l[20];
    char password[16];
    for (size_t i = 0; i < 20; i++) {
        snprintf(password, sizeof password, "%zu", i);
        ask(&l[i], "nobody", password, &far);
    }
    for (size_t i = 0; i < 20; i++)
        auth_wait_cancel(&l[i].wait);
}

/* ---- new hashes ---- */

struct made {
    enum meta_hashing how;
    struct password_hash hash;
    bool done;
};

static void on_made(void *arg, enum meta_hashing how, const struct password_hash *hash)
{
    struct made *m = arg;
    cr_assert(hash != NULL);
    m->how = how;
    m->hash = *hash;
    m->done = true;
}

Test(auth, makes_hashes_that_let_in)
{
    struct made m = { .done = false };
    cr_assert(auth_make_hash(auth, &conf, S("new"), on_made, &m));
    kit_until_set(loop, &m.done);
    cr_expect(eq(int, m.how, META_HASHING_PBKDF2));
    cr_expect(password_is_right(PASSWORD_PBKDF2, password_hash_slice(&m.hash), S("new")));
    conf.auth.password_hashing = BROKER_HASHING_SHA512;
    struct password_hash h;
    cr_expect(eq(int, auth_make_hash_now(&conf, S("new"), &h), META_HASHING_SHA512));
    cr_expect(password_is_right(PASSWORD_SHA512, password_hash_slice(&h), S("new")));
}
