#include "stat_table.h"

#include "base/check.h"
#include "base/mem.h"
#include "checker.h"
#include "dial.h"

#include <string.h>

static void put(struct stat_row *r, enum stat_column c, uint64_t v)
{
    r->values[c] = (struct stat_value){ .is = STAT_NUMBER, .number = (int64_t)v };
}

static void put_shared(struct stat_row *r, enum stat_column c, const struct shared *s)
{
    put(r, c, shared_get(s));
}

static void put_text(struct stat_row *r, enum stat_column c, const char *text)
{
    r->values[c] = (struct stat_value){ .is = STAT_TEXT, .text = text };
}

static void put_zeros(struct stat_row *r, const enum stat_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(r, columns[i], 0);
}

/* What we never have, but readers expect to find. */
#define PUT_ZEROS(r, ...)                                                                          \
    put_zeros(r, (const enum stat_column[]){ __VA_ARGS__ },                                        \
              ARRAY_COUNT(((const enum stat_column[]){ __VA_ARGS__ })))

static void put_traffic(struct stat_row *r, const struct live_traffic *t)
{
    put_shared(r, STAT_SCUR, &t->scur);
    put_shared(r, STAT_SMAX, &t->smax);
    put_shared(r, STAT_STOT, &t->stot);
    put_shared(r, STAT_BIN, &t->bin);
    put_shared(r, STAT_BOUT, &t->bout);
    put(r, STAT_RATE, t->rate.now);
    put(r, STAT_RATE_MAX, t->rate.max);
}

static void put_names(struct stat_row *r, const char *proxy, const char *service, unsigned iid,
                      unsigned sid)
{
    put_text(r, STAT_PXNAME, proxy);
    put_text(r, STAT_SVNAME, service);
    put(r, STAT_PID, 1);
    put(r, STAT_IID, iid);
    put(r, STAT_SID, sid);
    put(r, STAT_TYPE, (uint64_t)r->kind);
    put_text(r, STAT_DASH, "-");
}

/* Seconds since a moment; -1: it has not come yet. */
static void put_since(struct stat_row *r, enum stat_column c, uint64_t moment_ms, uint64_t now_ms)
{
    put(r, c, now_ms > moment_ms ? (now_ms - moment_ms) / 1000 : 0);
    if (moment_ms == 0)
        r->values[c].number = -1;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* One without a limit of its own has the process's: readers divide by it. */
static void fill_frontend(struct stat_row *r, const struct frontend *f, unsigned iid,
                          const struct snapshot *s)
{
    const struct frontend_live *l = f->live;
    r->kind = STAT_FRONTEND;
    r->frontend = f;
    put_names(r, f->conf->name, "FRONTEND", iid, 0);
    put_traffic(r, &l->traffic);
    put(r, STAT_SLIM, f->conf->maxconn != 0 ? f->conf->maxconn : s->conf->global.maxconn);
    put_shared(r, STAT_EREQ, &l->ereq);
    put_shared(r, STAT_DCON, &l->dreq);
    put_text(r, STAT_STATUS, shared_get(&l->paused) != 0 ? "FULL" : "OPEN");
    put_text(r, STAT_MODE, proxy_mode_word(f->conf->mode));
    put(r, STAT_CONN_RATE, l->traffic.rate.now);
    put(r, STAT_CONN_RATE_MAX, l->traffic.rate.max);
    put_shared(r, STAT_CONN_TOT, &l->traffic.stot);
    PUT_ZEROS(r, STAT_DREQ, STAT_DRESP, STAT_RATE_LIM, STAT_DSES, STAT_EINT, STAT_WREW,
              STAT_REQ_RATE, STAT_REQ_RATE_MAX, STAT_REQ_TOT, STAT_COMP_IN, STAT_COMP_OUT,
              STAT_COMP_BYP, STAT_COMP_RSP);
}

static uint64_t down_seconds(uint64_t sum_ms, bool is_down, uint64_t since_ms, uint64_t now_ms)
{
    return (sum_ms + (is_down ? now_ms - since_ms : 0)) / 1000;
}

static void fill_check(struct stat_row *r, const struct server *s, uint64_t now_ms)
{
    const struct server_live *l = s->live;
    const struct health_conf *rules = &s->conf->health;
    bool down = !health_is_up(&l->health, rules);
    put(r, STAT_CHKFAIL, l->check_fails);
    put(r, STAT_CHKDOWN, l->downs);
    put(r, STAT_LASTCHG, (now_ms - l->changed_ms) / 1000);
    put(r, STAT_DOWNTIME, down_seconds(l->down_ms, down, l->changed_ms, now_ms));
    put_text(r, STAT_CHECK_STATUS, live_check_word(l->check));
    put_text(r, STAT_CHECK_DESC, live_check_text(l->check));
    put_text(r, STAT_LAST_CHK, l->why);
    put(r, STAT_CHECK_RISE, rules->rise);
    put(r, STAT_CHECK_FALL, rules->fall);
    put(r, STAT_CHECK_HEALTH, l->health.score);
    if (l->check > LIVE_CHECK_INITIAL)
        put(r, STAT_CHECK_DURATION, l->check_ms);
}

/* The weight in force, and how far a slow start has come, in percent. */
static void fill_weight(struct stat_row *r, const struct server *s, uint64_t now_ms)
{
    uint32_t full = (uint32_t)shared_get(&s->live->weight);
    uint64_t since = shared_get(&s->live->up_since_ms);
    uint64_t up_for = since == 0 ? UINT64_MAX : now_ms - since;
    uint32_t sixteenths = balance_weight(full, up_for, s->conf->slowstart_ms);
    put(r, STAT_WEIGHT, (sixteenths + 15) / 16);
    put(r, STAT_UWEIGHT, full);
    if (full != 0 && sixteenths < full * 16)
        put(r, STAT_THROTTLE, sixteenths * 100 / (full * 16));
}

static const char *address_text(const struct server *s, char room[SOCK_ADDR_TEXT_MAX])
{
    const struct sock_addr *a = dial_address(s);
    return a != NULL ? sock_addr_text(a, room) : s->conf->at.text;
}

static void fill_server(struct stat_row *r, const struct server *s, unsigned iid, uint64_t now_ms)
{
    const struct server_live *l = s->live;
    r->kind = STAT_SERVER;
    r->server = s;
    r->backend = s->backend;
    put_names(r, s->backend->conf->name, s->conf->name, iid, s->index + 1);
    put_traffic(r, &l->traffic);
    if (s->conf->maxconn != 0)
        put(r, STAT_SLIM, s->conf->maxconn);
    put_shared(r, STAT_ECON, &l->econ);
    put_shared(r, STAT_ERESP, &l->eresp);
    put_shared(r, STAT_WRETR, &l->wretr);
    put_shared(r, STAT_WREDIS, &l->wredis);
    put_shared(r, STAT_LBTOT, &l->lbtot);
    put_shared(r, STAT_CLI_ABRT, &l->cli_abrt);
    put_shared(r, STAT_SRV_ABRT, &l->srv_abrt);
    put_text(r, STAT_STATUS, checker_status(s, r->status, sizeof r->status));
    fill_weight(r, s, now_ms);
    put(r, STAT_ACT, !s->conf->backup);
    put(r, STAT_BCK, s->conf->backup);
    if (s->conf->check)
        fill_check(r, s, now_ms);
    put_since(r, STAT_LASTSESS, shared_get(&l->last_session_ms), now_ms);
    put_text(r, STAT_ADDR, address_text(s, r->address));
    put_text(r, STAT_MODE, proxy_mode_word(s->backend->conf->mode));
    put_shared(r, STAT_CTIME, &l->connect_ms);
    put_shared(r, STAT_CONNECT, &l->traffic.stot);
    put_shared(r, STAT_USED_CONN_CUR, &l->traffic.scur);
    put_shared(r, STAT_NEED_CONN_EST, &l->traffic.scur);
    PUT_ZEROS(r, STAT_QCUR, STAT_QMAX, STAT_DRESP, STAT_QTIME, STAT_RTIME, STAT_TTIME, STAT_WREW,
              STAT_REUSE, STAT_SRV_ICUR, STAT_QTIME_MAX, STAT_CTIME_MAX, STAT_RTIME_MAX,
              STAT_TTIME_MAX, STAT_EINT, STAT_IDLE_CONN_CUR, STAT_SAFE_CONN_CUR);
}

/* Sums over the servers that can take what is new. */
static void fill_sums(struct stat_row *r, const struct backend *b, uint64_t now_ms)
{
    uint64_t weight = 0;
    uint64_t uweight = 0;
    uint64_t active = 0;
    uint64_t backup = 0;
    for (unsigned i = 0; i < backend_server_count(b); i++) {
        const struct server *s = &b->servers[i];
        struct stat_row one = { .kind = STAT_SERVER };
        if (!server_is_usable(s) || shared_get(&s->live->weight) == 0)
            continue;
        fill_weight(&one, s, now_ms);
        active += !s->conf->backup;
        backup += s->conf->backup;
        weight += (uint64_t)one.values[STAT_WEIGHT].number;
        uweight += (uint64_t)one.values[STAT_UWEIGHT].number;
    }
    put(r, STAT_WEIGHT, weight);
    put(r, STAT_UWEIGHT, uweight);
    put(r, STAT_ACT, active);
    put(r, STAT_BCK, backup);
    put_text(r, STAT_STATUS, active + backup != 0 ? "UP" : "DOWN");
}

static void fill_backend(struct stat_row *r, const struct backend *b, unsigned iid, uint64_t now_ms)
{
    const struct backend_live *l = b->live;
    r->kind = STAT_BACKEND;
    r->backend = b;
    put_names(r, b->conf->name, "BACKEND", iid, 0);
    put_traffic(r, &l->traffic);
    put_shared(r, STAT_QCUR, &l->qcur);
    put_shared(r, STAT_QMAX, &l->qmax);
    put_shared(r, STAT_DREQ, &l->denied);
    put_shared(r, STAT_ECON, &l->econ);
    put_shared(r, STAT_ERESP, &l->eresp);
    put_shared(r, STAT_WRETR, &l->wretr);
    put_shared(r, STAT_WREDIS, &l->wredis);
    put_shared(r, STAT_LBTOT, &l->lbtot);
    put_shared(r, STAT_CLI_ABRT, &l->cli_abrt);
    put_shared(r, STAT_SRV_ABRT, &l->srv_abrt);
    fill_sums(r, b, now_ms);
    put(r, STAT_CHKDOWN, l->downs);
    put(r, STAT_LASTCHG, (now_ms - l->changed_ms) / 1000);
    put(r, STAT_DOWNTIME, down_seconds(l->down_ms, !l->was_up, l->changed_ms, now_ms));
    put_since(r, STAT_LASTSESS, shared_get(&l->last_session_ms), now_ms);
    put_text(r, STAT_MODE, proxy_mode_word(b->conf->mode));
    put_text(r, STAT_ALGO,
             b->conf->by_master ? "queue-master" : balance_kind_word(b->conf->balance));
    put_shared(r, STAT_CONNECT, &l->traffic.stot);
    PUT_ZEROS(r, STAT_SLIM, STAT_DRESP, STAT_QTIME, STAT_CTIME, STAT_RTIME, STAT_TTIME, STAT_WREW,
              STAT_REUSE, STAT_QTIME_MAX, STAT_CTIME_MAX, STAT_RTIME_MAX, STAT_TTIME_MAX, STAT_EINT,
              STAT_COMP_IN, STAT_COMP_OUT, STAT_COMP_BYP, STAT_COMP_RSP);
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct filler {
    struct stat_row *rows;
    unsigned count;
    uint64_t now_ms;
};

static void add_backend(struct filler *f, const struct backend *b, unsigned iid)
{
    for (unsigned i = 0; i < backend_server_count(b); i++) {
        if (shared_get(&b->servers[i].live->gone) == 0)
            fill_server(&f->rows[f->count++], &b->servers[i], iid, f->now_ms);
    }
    fill_backend(&f->rows[f->count++], b, iid, f->now_ms);
}

static bool is_listen(const struct snapshot *s, const struct backend *b)
{
    for (unsigned i = 0; i < s->frontend_count; i++) {
        if (strcmp(s->frontends[i].conf->name, b->conf->name) == 0)
            return true;
    }
    return false;
}

struct stat_row *stat_rows(const struct snapshot *s, uint64_t now_ms, unsigned *count)
{
    size_t most = s->frontend_count;
    for (unsigned i = 0; i < s->backend_count; i++)
        most += 1u + backend_server_count(&s->backends[i]);
    struct filler f = { mem_array(most, sizeof *f.rows), 0, now_ms };

    unsigned iid = 2; /* HAProxy's first */
    for (unsigned i = 0; i < s->frontend_count; i++, iid++) {
        const struct frontend *front = &s->frontends[i];
        fill_frontend(&f.rows[f.count++], front, iid, s);
        const struct backend *twin = snapshot_backend(s, front->conf->name);
        if (twin != NULL)
            add_backend(&f, twin, iid);
    }
    for (unsigned i = 0; i < s->backend_count; i++) {
        if (!is_listen(s, &s->backends[i]))
            add_backend(&f, &s->backends[i], iid++);
    }
    CHECK(f.count <= most);
    *count = f.count;
    return f.rows;
}

bool stat_filter_takes(const struct stat_filter *f, const struct stat_row *row)
{
    unsigned bit = row->kind == STAT_FRONTEND ? 1 : row->kind == STAT_BACKEND ? 2 : 4;
    return (f->iid < 0 || f->iid == stat_number(row, STAT_IID)) &&
           (f->kinds < 0 || ((uint64_t)f->kinds & bit) != 0) &&
           (f->sid < 0 || f->sid == stat_number(row, STAT_SID));
}

/* ---- as CSV ---------------------------------------------------------------------------------- */

const char *stat_heading(enum stat_column column)
{
    static const char *const headings[] = {
#define X(name, heading) heading,
        STAT_COLUMNS(X)
#undef X
    };
    CHECK((unsigned)column < ARRAY_COUNT(headings));
    return headings[column];
}

const char *stat_text(const struct stat_row *row, enum stat_column column)
{
    const struct stat_value *v = &row->values[column];
    return v->is == STAT_TEXT ? v->text : "";
}

int64_t stat_number(const struct stat_row *row, enum stat_column column)
{
    const struct stat_value *v = &row->values[column];
    return v->is == STAT_NUMBER ? v->number : 0;
}

/* In quotes, with quotes doubled, when it could be taken for more than one field. */
static void put_field(struct text *out, const char *text)
{
    if (strpbrk(text, ",\"\n") == NULL) {
        text_str(out, text);
        return;
    }
    text_char(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            text_char(out, '"');
        text_char(out, *text);
    }
    text_char(out, '"');
}

static void put_row(struct text *out, const struct stat_row *row)
{
    for (unsigned c = 0; c < STAT_COLUMN_COUNT; c++) {
        const struct stat_value *v = &row->values[c];
        if (v->is == STAT_NUMBER)
            text_put(out, "%lld", (long long)v->number);
        else if (v->is == STAT_TEXT)
            put_field(out, v->text);
        text_char(out, ',');
    }
    text_char(out, '\n');
}

void stat_csv(const struct stat_row *rows, unsigned count, const struct stat_filter *filter,
              struct text *out)
{
    text_str(out, "# ");
    for (unsigned c = 0; c < STAT_COLUMN_COUNT; c++)
        text_put(out, "%s,", stat_heading((enum stat_column)c));
    text_char(out, '\n');
    for (unsigned i = 0; i < count; i++) {
        if (stat_filter_takes(filter, &rows[i]))
            put_row(out, &rows[i]);
    }
}
