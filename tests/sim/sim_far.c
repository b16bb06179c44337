#include "sim_far_world.h"

#include "base/check.h"
#include "base/mem.h"
#include "sim_content.h"
#include "sim_message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINK_FULL_BYTES ((size_t)128 * 1024)

bool far_fail(struct far_world *w, const char *fmt, ...)
{
    va_list args;
    if (w->has_failed)
        return false;
    va_start(args, fmt);
    (void)vsnprintf(w->out->why, sizeof w->out->why, fmt, args);
    va_end(args);
    w->has_failed = true;
    return false;
}

void far_say(struct far_world *w, const char *fmt, ...)
{
    char line[200];
    va_list args;
    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    w->trace(line, w->trace_arg);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

struct message *far_message(const struct far_world *w, uint32_t id)
{
    return sim_message_new(
        &(struct sim_publish){ .content = id, .body_bytes = w->messages[id].body_bytes });
}

uint32_t far_message_id(const struct far_world *w, const struct message *m)
{
    struct slice key = message_key(m);
    uint64_t content = 0;
    if (key.len != sizeof content)
        return 0;
    memcpy(&content, key.ptr, sizeof content);
    bool ok = content != 0 && content <= w->message_count &&
              m->body_bytes == w->messages[content].body_bytes && sim_message_is(m, content);
    return ok ? (uint32_t)content : 0;
}

void far_drop_here(struct far_world *w, struct message **m)
{
    w->counted -= message_is_sole(*m) ? (int64_t)message_cost_bytes(*m) : 0;
    (void)message_unref(m);
}

void far_drop_there(struct far_world *w, struct message **m)
{
    w->counted_there -= message_is_sole(*m) ? (int64_t)message_cost_bytes(*m) : 0;
    (void)message_unref(m);
}

/* ---- links ------------------------------------------------------------------------------------
 */

static void send_on(struct far_way *way, struct slice bytes, bool more)
{
    struct far_frame *f = mem_alloc(sizeof *f + bytes.len);
    f->more = more;
    f->len = bytes.len;
    memcpy(f->octets, bytes.ptr, bytes.len);
    STAILQ_INSERT_TAIL(&way->frames, f, entry);
    way->bytes += bytes.len;
}

static bool is_full(struct far_way *way)
{
    bool full = way->is_stuck || way->bytes > LINK_FULL_BYTES;
    way->was_full |= full;
    return full;
}

static struct far_frame *next_frame(struct far_way *way)
{
    struct far_frame *f = STAILQ_FIRST(&way->frames);
    if (f == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&way->frames, entry);
    way->bytes -= f->len;
    return f;
}

static void forget_frames(struct far_way *way)
{
    for (struct far_frame *f; (f = next_frame(way)) != NULL;)
        mem_free(f);
}

static void drop(void *arg, struct message **m)
{
    far_drop_here(arg, m);
}

static void send_there(void *arg, struct buf *block, struct slice bytes, bool more)
{
    (void)block;
    send_on(&far_session(arg)->there, bytes, more);
}

static bool is_full_there(void *arg)
{
    struct far_world *w = arg;
    return w->has_link && is_full(&far_session(w)->there);
}

static void soon_there(void *arg)
{
    ((struct far_world *)arg)->client_is_due = true;
}

struct remote_pipe far_pipe_there(struct far_world *w)
{
    return (struct remote_pipe){ send_there, is_full_there, soon_there, drop, w };
}

static void send_back(void *arg, struct buf *block, struct slice bytes, bool more)
{
    (void)block;
    send_on(&((struct far_session *)arg)->back, bytes, more);
}

static bool is_full_back(void *arg)
{
    return is_full(&((struct far_session *)arg)->back);
}

static void soon_back(void *arg)
{
    ((struct far_session *)arg)->back.is_due = true;
}

static void drop_back(void *arg, struct message **m)
{
    far_drop_there(((struct far_session *)arg)->w, m);
}

struct remote_pipe far_pipe_back(struct far_session *s)
{
    return (struct remote_pipe){ send_back, is_full_back, soon_back, drop_back, s };
}

struct far_session *far_session(struct far_world *w)
{
    if (w->has_link)
        return w->sessions[w->session_count - 1];
    CHECK(w->session_count < FAR_SESSIONS_MAX);
    struct far_session *s = mem_zalloc(sizeof *s);
    s->w = w;
    s->index = w->session_count;
    STAILQ_INIT(&s->there.frames);
    STAILQ_INIT(&s->back.frames);
    struct remote_pipe pipe = far_pipe_back(s);
    s->server = remote_server_new(&far_server_ops, s, &pipe, s->index + 1);
    w->sessions[w->session_count++] = s;
    w->has_link = true;
    far_say(w, "session %u begins", s->index);
    return s;
}

/* The answering side hears of it. */
static void end_session(struct far_session *s)
{
    if (s->is_lost)
        return;
    far_say(s->w, "session %u is lost over there", s->index);
    s->is_lost = true;
    remote_server_lost(s->server);
    forget_frames(&s->there);
    forget_frames(&s->back);
}

static bool carry_there(struct far_session *s)
{
    struct far_frame *f = s->is_lost ? NULL : next_frame(&s->there);
    if (f == NULL)
        return false;
    if (!remote_server_take(s->server, slice_of(f->octets, f->len), f->more))
        (void)far_fail(s->w, "what is asked is no record");
    mem_free(f);
    return true;
}

static bool carry_back(struct far_session *s)
{
    struct far_frame *f = next_frame(&s->back);
    if (f == NULL)
        return false;
    if (!s->asker_is_gone && !remote_client_take(s->w->client, slice_of(f->octets, f->len)))
        (void)far_fail(s->w, "what is answered is no record");
    mem_free(f);
    return true;
}

/* A way that was full, and is not any more. */
static bool tell_of_room(struct far_session *s)
{
    bool any = false;
    if (s->there.was_full && !s->there.is_stuck && s->there.bytes <= LINK_FULL_BYTES / 2) {
        s->there.was_full = false;
        if (!s->asker_is_gone)
            remote_outbox_on_room(&s->w->client->out);
        any = true;
    }
    if (s->back.was_full && !s->back.is_stuck && s->back.bytes <= LINK_FULL_BYTES / 2) {
        s->back.was_full = false;
        if (!s->is_lost)
            remote_server_on_room(s->server);
        any = true;
    }
    return any;
}

static bool flush(struct far_world *w)
{
    bool any = w->client_is_due;
    w->client_is_due = false;
    if (any)
        remote_client_flush(w->client);
    for (unsigned i = 0; i < w->session_count; i++) {
        struct far_session *s = w->sessions[i];
        if (!s->back.is_due || s->is_lost)
            continue;
        s->back.is_due = false;
        remote_server_flush(s->server);
        any = true;
    }
    return any;
}

/* ---- one history ------------------------------------------------------------------------------
 */

static void check_bounds(struct far_world *w)
{
    for (unsigned i = 0; i < w->session_count; i++) {
        const struct remote_server *s = w->sessions[i]->server;
        if (s->out.parts_credit > REMOTE_PARTS_BYTES)
            (void)far_fail(w, "session %u: more parts are taken than were sent", i);
        if (remote_outbox_waiting(&s->out) > (size_t)16 * 1024 * 1024)
            (void)far_fail(w, "session %u: more waits than may", i);
    }
    const struct remote_kept *k = &w->client->kept;
    if (k->sent - k->read > REMOTE_KEPT_UNREAD + REMOTE_INLINE_BYTES)
        (void)far_fail(w, "more is kept than may");
}

static void end_some_session(struct far_world *w)
{
    for (unsigned i = 0; i < w->session_count; i++) {
        if (w->sessions[i]->asker_is_gone && far_one_in(w, 2))
            end_session(w->sessions[i]);
    }
}

static void carry_some(struct far_world *w)
{
    unsigned n = 1 + (unsigned)far_below(w, w->is_heavy ? 16 : 6);
    struct far_session *s =
        w->session_count != 0
            ? w->sessions[far_one_in(w, 3) ? far_below(w, w->session_count) : w->session_count - 1]
            : NULL;
    for (; s != NULL && n != 0 && !w->has_failed; n--) {
        if (far_one_in(w, 2) ? !s->there.is_stuck : s->back.is_stuck)
            (void)carry_there(s);
        else if (!s->back.is_stuck)
            (void)carry_back(s);
        (void)tell_of_room(s);
    }
}

static void get_stuck(struct far_world *w)
{
    if (!w->has_link)
        return;
    struct far_session *s = far_session(w);
    s->there.is_stuck = far_one_in(w, 4);
    s->back.is_stuck = far_one_in(w, w->is_heavy ? 2 : 4);
    (void)tell_of_room(s);
}

static void step(struct far_world *w)
{
    switch (far_below(w, 24)) {
    case 0:
        if (far_one_in(w, 20) && w->session_count < FAR_SESSIONS_MAX - 2)
            far_lose(w);
        else
            end_some_session(w);
        return;
    case 1:
        if (far_one_in(w, 6)) {
            w->is_short = far_one_in(w, 3);
            far_go_on(w);
        }
        return;
    case 2:
        if (far_one_in(w, 3))
            get_stuck(w);
        return;
    case 3:
        (void)(far_one_in(w, 2) ? far_learn(w) : far_delete(w));
        return;
    case 4:
    case 5:
        (void)far_sync(w);
        return;
    case 6:
        (void)far_channels_wake(w);
        return;
    case 7:
    case 8:
    case 9:
        (void)flush(w);
        return;
    case 10:
    case 11:
    case 12:
    case 13:
        (void)far_mail(w);
        return;
    case 14:
    case 15:
    case 16:
    case 17:
        carry_some(w);
        return;
    default:
        far_channel_acts(w);
        return;
    }
}

/* Nothing new, and all that is under way arrives. */
static void settle(struct far_world *w)
{
    w->is_ending = true;
    w->is_short = false;
    far_go_on(w);
    for (unsigned i = 0; i < FAR_CHANNELS; i++) {
        w->channels[i].is_full = false;
        w->channels[i].prefetch = 0;
    }
    for (unsigned i = 0; i < w->session_count; i++) {
        struct far_session *s = w->sessions[i];
        s->there.is_stuck = s->back.is_stuck = false;
        if (s->asker_is_gone)
            end_session(s);
    }
    bool any = true;
    for (unsigned n = 0; any && !w->has_failed; n++) {
        any = flush(w);
        any |= far_learn(w);
        while (far_return_here(w) || far_delete(w) || far_mail(w) || far_sync(w))
            any = true;
        for (unsigned i = 0; i < w->session_count && !w->has_failed; i++) {
            struct far_session *s = w->sessions[i];
            any |= carry_there(s);
            any |= carry_back(s);
            any |= tell_of_room(s);
        }
        any |= far_channels_wake(w);
        if (n > 1000000)
            (void)far_fail(w, "it never ends");
    }
}

/* When there is no session any more, and no queue. */
static void check_memory(struct far_world *w)
{
    far_lose(w);
    for (unsigned i = 0; i < w->session_count; i++)
        end_session(w->sessions[i]);
    far_messages_free(w);
    if (w->counted != 0)
        (void)far_fail(w, "%" PRId64 " octets are counted for ever", w->counted);
    if (w->counted_there != 0)
        (void)far_fail(w, "%" PRId64 " octets are counted for ever there", w->counted_there);
}

static void begin(struct far_world *w, uint64_t seed)
{
    rng_init(&w->rng, seed ^ 0xFA4);
    w->is_heavy = far_one_in(w, 8);
    w->is_homely = !w->is_heavy && far_one_in(w, 2);
    far_queues_begin(w);
    far_channels_begin(w);
    struct remote_pipe pipe = far_pipe_there(w);
    w->client = remote_client_new(&far_client_ops, w, &pipe);
}

static void end(struct far_world *w)
{
    for (unsigned i = 0; i < w->session_count; i++)
        end_session(w->sessions[i]);
    far_messages_free(w);
    far_mails_free(w);
    for (unsigned i = 0; i < w->session_count; i++) {
        remote_server_free(&w->sessions[i]->server);
        forget_frames(&w->sessions[i]->there);
        forget_frames(&w->sessions[i]->back);
        mem_free(w->sessions[i]);
    }
    remote_client_free(&w->client);
}

bool sim_far_run(uint64_t seed, sim_say_fn trace, void *arg, struct sim_report *out)
{
    struct far_world *w = mem_zalloc(sizeof *w);
    *out = (struct sim_report){ 0 };
    w->out = out;
    w->trace = trace;
    w->trace_arg = arg;
    begin(w, seed);
    uint64_t steps = 300 + far_below(w, w->is_heavy ? 3000 : 1500);
    for (; out->steps < steps && !w->has_failed; out->steps++) {
        step(w);
        if (far_one_in(w, 2)) /* a turn ends; some of them are of several steps */
            (void)far_return_here(w);
        check_bounds(w);
    }
    if (!w->has_failed)
        settle(w);
    if (!w->has_failed) {
        far_check_asker(w);
        far_check_holder(w);
        check_memory(w);
    }
    end(w);
    bool ok = !w->has_failed;
    mem_free(w);
    return ok;
}
