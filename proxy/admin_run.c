#include "admin_run.h"

#include "admin_queues.h"
#include "admin_show.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "census.h"
#include "observer.h"
#include "rabbits.h"
#include "relay.h"
#include "session.h"
#include "stat_failovers.h"
#include "upgrade.h"

#include <stdlib.h>
#include <string.h>

#define CENSUS_MAX 100000u

/* One command on its way. */
struct run {
    const struct view *view;
    const struct admin_command *command;
    struct text *out;
    admin_done_fn done;
    void *arg;
};

static const char *word(const struct run *r, unsigned n)
{
    return admin_command_word(r->command, n);
}

static enum admin_verdict say(struct run *r, const char *text)
{
    text_put(r->out, "%s\n", text);
    return ADMIN_DONE;
}

/* ---- lists that the workers write ------------------------------------------------------------ */

struct listing {
    admin_done_fn done;
    void *arg;
};

static void on_list(const struct text *list, unsigned left_out, void *arg)
{
    struct listing *l = arg;
    (void)left_out;
    l->done(list, l->arg);
    mem_free(l);
}

static enum admin_verdict list(struct run *r, enum census_form form)
{
    struct listing *l = mem_zalloc(sizeof *l);
    l->done = r->done;
    l->arg = r->arg;
    census_start(r->view->loop, r->view->workers, r->view->worker_count, form, CENSUS_MAX, on_list,
                 l);
    return ADMIN_LATER;
}

static enum admin_verdict show_sess(struct run *r)
{
    return list(r, CENSUS_SESSIONS);
}

static enum admin_verdict show_legs(struct run *r)
{
    return list(r, CENSUS_LEGS);
}

static enum admin_verdict show_errors(struct run *r)
{
    return list(r, CENSUS_ERRORS);
}

/* ---- what we know ourselves ------------------------------------------------------------------ */

static enum admin_verdict show_info(struct run *r)
{
    admin_show_info(r->view, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_gossip(struct run *r)
{
    observer_show(r->view->observer, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_limits(struct run *r)
{
    admin_show_limits(r->view, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_failovers(struct run *r)
{
    stat_failovers_show(r->view, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_discover(struct run *r)
{
    rabbits_show(r->view->rabbits, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_queues(struct run *r)
{
    if (r->command->count == 2)
        admin_show_queues(r->view, r->out);
    else if (r->command->count == 4)
        admin_show_queue(r->view, slice_str(word(r, 2)), slice_str(word(r, 3)), r->out);
    else
        return say(r, "Usage: show queues [<vhost> <queue>].");
    return ADMIN_DONE;
}

static enum admin_verdict show_leads(struct run *r)
{
    admin_show_leads(r->view, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_version(struct run *r)
{
    return say(r, WARREN_VERSION);
}

/* "-1", or a number. */
static bool signed_of(const char *text, int64_t *out)
{
    uint64_t v;
    if (strcmp(text, "-1") == 0) {
        *out = -1;
        return true;
    }
    if (!units_u64(slice_str(text), &v) || v > INT32_MAX)
        return false;
    *out = (int64_t)v;
    return true;
}

static enum admin_verdict show_stat(struct run *r)
{
    struct stat_filter filter = { -1, -1, -1 };
    if (r->command->count == 5 && signed_of(word(r, 2), &filter.iid) &&
        signed_of(word(r, 3), &filter.kinds) && signed_of(word(r, 4), &filter.sid)) {
        admin_show_stat(r->view, &filter, r->out);
        return ADMIN_DONE;
    }
    if (r->command->count != 2)
        return say(r, "Usage: show stat [<proxy id> <types> <server id>], -1 for all.");
    admin_show_stat(r->view, &filter, r->out);
    return ADMIN_DONE;
}

static enum admin_verdict show_servers(struct run *r)
{
    if (!admin_show_servers(r->view, word(r, 3), r->out))
        return say(r, "No such backend.");
    return ADMIN_DONE;
}

static enum admin_verdict show_backend(struct run *r)
{
    text_str(r->out, "# name\n");
    for (unsigned i = 0; i < r->view->snapshot->backend_count; i++)
        text_put(r->out, "%s\n", r->view->snapshot->backends[i].conf->name);
    return ADMIN_DONE;
}

/* ---- servers --------------------------------------------------------------------------------- */

/* "backend/server"; says what is wrong when there is none. */
static const struct server *server_of(struct run *r, const char *name)
{
    const char *slash = strchr(name, '/');
    char backend[128];
    if (slash == NULL || (size_t)(slash - name) >= sizeof backend) {
        say(r, "Require 'backend/server'.");
        return NULL;
    }
    memcpy(backend, name, (size_t)(slash - name));
    backend[slash - name] = '\0';
    const struct server *s =
        backend_server(snapshot_backend(r->view->snapshot, backend), slash + 1);
    if (s == NULL)
        say(r, "No such server.");
    return s;
}

static void set_admin(struct run *r, const struct server *s, enum live_admin admin)
{
    if (shared_swap(&s->live->admin, (uint64_t)admin) == (uint64_t)admin)
        return;
    log_info("server", s->conf->name, "is set to %s backend=%s", live_admin_word(admin),
             s->backend->conf->name);
    s->live->changed_ms = loop_now_ms(r->view->loop);
    struct process *p = r->view->process;
    r->view->poke(p->control, s);
    p->wake(p->control);
}

static enum admin_verdict set_state(struct run *r, const struct server *s, const char *state)
{
    static const enum live_admin all[] = { LIVE_ADMIN_READY, LIVE_ADMIN_DRAIN, LIVE_ADMIN_MAINT };
    for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
        if (strcmp(state, live_admin_word(all[i])) == 0) {
            set_admin(r, s, all[i]);
            return ADMIN_DONE;
        }
    }
    return say(r, "A state is one of 'ready', 'drain' and 'maint'.");
}

/* "50", or "50%" of what the configuration says. */
static enum admin_verdict set_weight(struct run *r, const struct server *s, const char *text)
{
    size_t n = strlen(text);
    bool percent = n > 0 && text[n - 1] == '%';
    uint64_t v;
    if (!units_u64(slice_of(text, percent ? n - 1 : n), &v))
        return say(r, "A weight is a number, or a number and '%'.");
    if (percent && v > 100)
        return say(r, "A relative weight is between 0% and 100%.");
    if (!percent && v > 256)
        return say(r, "A weight is between 0 and 256.");
    shared_set(&s->live->weight, percent ? s->conf->weight * v / 100 : v);
    log_info("server", s->conf->name, "has weight %llu now",
             (unsigned long long)shared_get(&s->live->weight));
    struct process *p = r->view->process;
    p->wake(p->control);
    return ADMIN_DONE;
}

static enum admin_verdict set_server(struct run *r)
{
    const struct server *s = server_of(r, word(r, 2));
    if (s == NULL)
        return ADMIN_DONE;
    if (strcmp(word(r, 3), "state") == 0)
        return set_state(r, s, word(r, 4));
    if (strcmp(word(r, 3), "weight") == 0)
        return set_weight(r, s, word(r, 4));
    return say(r, "Usage: set server <backend>/<server> state|weight <value>.");
}

static enum admin_verdict set_weight_old(struct run *r)
{
    const struct server *s = server_of(r, word(r, 2));
    return s != NULL ? set_weight(r, s, word(r, 3)) : ADMIN_DONE;
}

static enum admin_verdict get_weight(struct run *r)
{
    const struct server *s = server_of(r, word(r, 2));
    if (s != NULL)
        text_put(r->out, "%llu (initial %llu)\n", (unsigned long long)shared_get(&s->live->weight),
                 (unsigned long long)s->conf->weight);
    return ADMIN_DONE;
}

static enum admin_verdict enable_server(struct run *r)
{
    const struct server *s = server_of(r, word(r, 2));
    if (s != NULL)
        set_admin(r, s, LIVE_ADMIN_READY);
    return ADMIN_DONE;
}

static enum admin_verdict disable_server(struct run *r)
{
    const struct server *s = server_of(r, word(r, 2));
    if (s != NULL)
        set_admin(r, s, LIVE_ADMIN_MAINT);
    return ADMIN_DONE;
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct shutdown {
    struct order order;
    uint64_t id;                    /* of one session, or 0 */
    const struct server_live *from; /* else: all that have an upstream there; a reference */
    unsigned count;
    admin_done_fn done;
    void *arg;
};

static bool has_upstream_at(const struct session *s, const struct server_live *live)
{
    const struct upstream *u;
    LIST_FOREACH (u, &s->upstreams, entry) {
        if (u->server->live == live)
            return true;
    }
    return false;
}

static void shut_sessions(struct shutdown *d, struct worker *w)
{
    struct session *s = TAILQ_FIRST(&w->all);
    while (s != NULL) {
        struct session *next = TAILQ_NEXT(s, entry);
        if (d->from != NULL ? has_upstream_at(s, d->from) : s->id == d->id) {
            d->count++;
            session_close(s, AMQP_CONNECTION_FORCED, "closed by the operator of the proxy");
        }
        s = next;
    }
}

static void shut_relays(struct shutdown *d, struct worker *w)
{
    struct relay *r = TAILQ_FIRST(&w->all_relays);
    while (r != NULL) {
        struct relay *next = TAILQ_NEXT(r, entry);
        if (d->from != NULL ? r->server != NULL && r->server->live == d->from : r->id == d->id) {
            d->count++;
            relay_end(r);
        }
        r = next;
    }
}

static bool visit_shutdown(struct order *o, struct worker *w)
{
    struct shutdown *d = CONTAINER_OF(o, struct shutdown, order);
    shut_sessions(d, w);
    shut_relays(d, w);
    return d->from != NULL || d->count == 0;
}

static void on_shut(struct order *o)
{
    struct shutdown *d = CONTAINER_OF(o, struct shutdown, order);
    struct text answer;
    text_init(&answer, 256);
    if (d->count == 0 && d->from == NULL)
        text_str(&answer, "No such session (use 'show sess').\n");
    struct server_live *live = (struct server_live *)(uintptr_t)d->from;
    server_live_unref(&live);
    d->done(&answer, d->arg);
    text_fini(&answer);
    mem_free(d);
}

static enum admin_verdict shut(struct run *r, uint64_t id, struct server_live *from)
{
    struct shutdown *d = mem_zalloc(sizeof *d);
    d->id = id;
    d->from = from != NULL ? server_live_ref(from) : NULL;
    d->done = r->done;
    d->arg = r->arg;
    order_send(&d->order, r->view->loop, r->view->workers, r->view->worker_count, visit_shutdown,
               on_shut);
    return ADMIN_LATER;
}

static enum admin_verdict shutdown_session(struct run *r)
{
    const char *text = word(r, 2);
    char *end;
    unsigned long long id = strtoull(text, &end, 16);
    if (strncmp(text, "0x", 2) != 0 || *end != '\0' || id == 0)
        return say(r, "No such session (use 'show sess').");
    return shut(r, id, NULL);
}

static enum admin_verdict shutdown_server(struct run *r)
{
    const struct server *s = server_of(r, word(r, 3));
    return s != NULL ? shut(r, 0, s->live) : ADMIN_DONE;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Another process is to take our place: said by it alone, so it is in no list. */
static enum admin_verdict hand_over(struct run *r)
{
    if (r->command->count != 2)
        return say(r, "Usage: " HANDOVER_COMMAND " <path>.");
    upgrade_start(r->view, word(r, 1), r->done, r->arg);
    return ADMIN_LATER;
}

static enum admin_verdict prompt(struct run *r)
{
    (void)r;
    return ADMIN_PROMPT;
}

static enum admin_verdict quit(struct run *r)
{
    (void)r;
    return ADMIN_QUIT;
}

static enum admin_verdict help(struct run *r);

static const struct {
    const char *words;
    const char *args;
    const char *help;
    enum admin_verdict (*fn)(struct run *r);
} commands[] = {
    { "disable server", "<bk>/<srv>", "nothing new for the server, and no checks", disable_server },
    { "enable server", "<bk>/<srv>", "take the server into service again", enable_server },
    { "get weight", "<bk>/<srv>", "the server's weight, and the configuration's", get_weight },
    { "set server", "<bk>/<srv> state ready|drain|maint", "put a server in or out of service",
      set_server },
    { "set server", "<bk>/<srv> weight <n>[%]", "change a server's weight", set_server },
    { "set weight", "<bk>/<srv> <n>[%]", "the same", set_weight_old },
    { "show backend", "", "the names of the backends", show_backend },
    { "show errors", "", "the last errors of clients", show_errors },
    { "show failovers", "", "the last nodes that went, and how long queues had no master",
      show_failovers },
    { "show gossip", "", "who is in the cluster, and how complete the table of queues is",
      show_gossip },
    { "show discover", "", "how RabbitMQ's management answers, for discover = rabbitmq",
      show_discover },
    { "show info", "", "the process", show_info },
    { "show leads", "", "where publishes to exchanges land, as brokers say", show_leads },
    { "show legs", "", "each channel and the brokers that carry it", show_legs },
    { "show limits", "", "what each source, user and vhost has, where there are limits",
      show_limits },
    { "show queues", "[<vhost> <queue>]", "which server masters how many queues, or this one",
      show_queues },
    { "show servers state", "[<bk>]", "state, weight and check of each server", show_servers },
    { "show sess", "", "the sessions", show_sess },
    { "show stat", "[<id> <types> <sid>]", "the figures of each proxy and server, as CSV",
      show_stat },
    { "show version", "", "the version", show_version },
    { "shutdown sessions server", "<bk>/<srv>", "close what has a leg at this server",
      shutdown_server },
    { "shutdown session", "<id>", "close a session", shutdown_session },
    { "help", "", "this list", help },
    { "prompt", "", "turn the prompt on or off", prompt },
    { "quit", "", "hang up", quit },
};

static void put_commands(struct text *out)
{
    for (unsigned i = 0; i < ARRAY_COUNT(commands); i++) {
        size_t start = out->len;
        text_put(out, "  %s %s", commands[i].words, commands[i].args);
        while (out->len < start + 52)
            text_char(out, ' ');
        text_put(out, ": %s\n", commands[i].help);
    }
}

static enum admin_verdict help(struct run *r)
{
    text_str(r->out, "The following commands are valid at this level:\n");
    put_commands(r->out);
    return ADMIN_DONE;
}

enum admin_verdict admin_run(const struct view *v, const struct admin_command *c, struct text *out,
                             admin_done_fn done, void *arg)
{
    struct run r = { .view = v, .command = c, .out = out, .done = done, .arg = arg };
    if (c->count == 0)
        return ADMIN_DONE;
    if (admin_command_is(c, HANDOVER_COMMAND))
        return hand_over(&r);
    for (unsigned i = 0; i < ARRAY_COUNT(commands); i++) {
        if (admin_command_is(c, commands[i].words))
            return commands[i].fn(&r);
    }
    text_str(out, "Unknown command. These are known:\n");
    put_commands(out);
    return ADMIN_DONE;
}
