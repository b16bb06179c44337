/*
 * stat_table: the proxy's figures as rows with HAProxy's columns, and as its CSV.
 *
 * A row is a frontend, a server or a backend. What a column means is what HAProxy's management
 * guide says of it; sessions of a server are upstreams here. Control loop.
 */
#ifndef WARREN_STAT_TABLE_H
#define WARREN_STAT_TABLE_H

#include "base/text.h"
#include "snapshot.h"

/* In HAProxy 2.6's order: X(name, heading). */
#define STAT_COLUMNS(X)                                                                            \
    X(PXNAME, "pxname")                                                                            \
    X(SVNAME, "svname")                                                                            \
    X(QCUR, "qcur")                                                                                \
    X(QMAX, "qmax")                                                                                \
    X(SCUR, "scur")                                                                                \
    X(SMAX, "smax")                                                                                \
    X(SLIM, "slim")                                                                                \
    X(STOT, "stot")                                                                                \
    X(BIN, "bin")                                                                                  \
    X(BOUT, "bout")                                                                                \
    X(DREQ, "dreq")                                                                                \
    X(DRESP, "dresp")                                                                              \
    X(EREQ, "ereq")                                                                                \
    X(ECON, "econ")                                                                                \
    X(ERESP, "eresp")                                                                              \
    X(WRETR, "wretr")                                                                              \
    X(WREDIS, "wredis")                                                                            \
    X(STATUS, "status")                                                                            \
    X(WEIGHT, "weight")                                                                            \
    X(ACT, "act")                                                                                  \
    X(BCK, "bck")                                                                                  \
    X(CHKFAIL, "chkfail")                                                                          \
    X(CHKDOWN, "chkdown")                                                                          \
    X(LASTCHG, "lastchg")                                                                          \
    X(DOWNTIME, "downtime")                                                                        \
    X(QLIMIT, "qlimit")                                                                            \
    X(PID, "pid")                                                                                  \
    X(IID, "iid")                                                                                  \
    X(SID, "sid")                                                                                  \
    X(THROTTLE, "throttle")                                                                        \
    X(LBTOT, "lbtot")                                                                              \
    X(TRACKED, "tracked")                                                                          \
    X(TYPE, "type")                                                                                \
    X(RATE, "rate")                                                                                \
    X(RATE_LIM, "rate_lim")                                                                        \
    X(RATE_MAX, "rate_max")                                                                        \
    X(CHECK_STATUS, "check_status")                                                                \
    X(CHECK_CODE, "check_code")                                                                    \
    X(CHECK_DURATION, "check_duration")                                                            \
    X(HRSP_1XX, "hrsp_1xx")                                                                        \
    X(HRSP_2XX, "hrsp_2xx")                                                                        \
    X(HRSP_3XX, "hrsp_3xx")                                                                        \
    X(HRSP_4XX, "hrsp_4xx")                                                                        \
    X(HRSP_5XX, "hrsp_5xx")                                                                        \
    X(HRSP_OTHER, "hrsp_other")                                                                    \
    X(HANAFAIL, "hanafail")                                                                        \
    X(REQ_RATE, "req_rate")                                                                        \
    X(REQ_RATE_MAX, "req_rate_max")                                                                \
    X(REQ_TOT, "req_tot")                                                                          \
    X(CLI_ABRT, "cli_abrt")                                                                        \
    X(SRV_ABRT, "srv_abrt")                                                                        \
    X(COMP_IN, "comp_in")                                                                          \
    X(COMP_OUT, "comp_out")                                                                        \
    X(COMP_BYP, "comp_byp")                                                                        \
    X(COMP_RSP, "comp_rsp")                                                                        \
    X(LASTSESS, "lastsess")                                                                        \
    X(LAST_CHK, "last_chk")                                                                        \
    X(LAST_AGT, "last_agt")                                                                        \
    X(QTIME, "qtime")                                                                              \
    X(CTIME, "ctime")                                                                              \
    X(RTIME, "rtime")                                                                              \
    X(TTIME, "ttime")                                                                              \
    X(AGENT_STATUS, "agent_status")                                                                \
    X(AGENT_CODE, "agent_code")                                                                    \
    X(AGENT_DURATION, "agent_duration")                                                            \
    X(CHECK_DESC, "check_desc")                                                                    \
    X(AGENT_DESC, "agent_desc")                                                                    \
    X(CHECK_RISE, "check_rise")                                                                    \
    X(CHECK_FALL, "check_fall")                                                                    \
    X(CHECK_HEALTH, "check_health")                                                                \
    X(AGENT_RISE, "agent_rise")                                                                    \
    X(AGENT_FALL, "agent_fall")                                                                    \
    X(AGENT_HEALTH, "agent_health")                                                                \
    X(ADDR, "addr")                                                                                \
    X(COOKIE, "cookie")                                                                            \
    X(MODE, "mode")                                                                                \
    X(ALGO, "algo")                                                                                \
    X(CONN_RATE, "conn_rate")                                                                      \
    X(CONN_RATE_MAX, "conn_rate_max")                                                              \
    X(CONN_TOT, "conn_tot")                                                                        \
    X(INTERCEPTED, "intercepted")                                                                  \
    X(DCON, "dcon")                                                                                \
    X(DSES, "dses")                                                                                \
    X(WREW, "wrew")                                                                                \
    X(CONNECT, "connect")                                                                          \
    X(REUSE, "reuse")                                                                              \
    X(CACHE_LOOKUPS, "cache_lookups")                                                              \
    X(CACHE_HITS, "cache_hits")                                                                    \
    X(SRV_ICUR, "srv_icur")                                                                        \
    X(SRC_ILIM, "src_ilim")                                                                        \
    X(QTIME_MAX, "qtime_max")                                                                      \
    X(CTIME_MAX, "ctime_max")                                                                      \
    X(RTIME_MAX, "rtime_max")                                                                      \
    X(TTIME_MAX, "ttime_max")                                                                      \
    X(EINT, "eint")                                                                                \
    X(IDLE_CONN_CUR, "idle_conn_cur")                                                              \
    X(SAFE_CONN_CUR, "safe_conn_cur")                                                              \
    X(USED_CONN_CUR, "used_conn_cur")                                                              \
    X(NEED_CONN_EST, "need_conn_est")                                                              \
    X(UWEIGHT, "uweight")                                                                          \
    X(AGG_SERVER_STATUS, "agg_server_status")                                                      \
    X(AGG_SERVER_CHECK_STATUS, "agg_server_check_status")                                          \
    X(AGG_CHECK_STATUS, "agg_check_status")                                                        \
    X(DASH, "-")                                                                                   \
    X(SSL_SESS, "ssl_sess")                                                                        \
    X(SSL_REUSED_SESS, "ssl_reused_sess")                                                          \
    X(SSL_FAILED_HANDSHAKE, "ssl_failed_handshake")

enum stat_column {
#define X(name, heading) STAT_##name,
    STAT_COLUMNS(X)
#undef X
        STAT_COLUMN_COUNT
};

enum stat_kind { STAT_FRONTEND = 0, STAT_BACKEND = 1, STAT_SERVER = 2 }; /* the column "type" */

struct stat_value {
    enum { STAT_EMPTY, STAT_NUMBER, STAT_TEXT } is;
    int64_t number;
    const char *text; /* borrowed from the snapshot or the row */
};

struct stat_row {
    enum stat_kind kind;
    const struct frontend *frontend; /* one of these three, by kind */
    const struct backend *backend;
    const struct server *server;
    struct stat_value values[STAT_COLUMN_COUNT];
    char status[32];
    char address[SOCK_ADDR_TEXT_MAX];
};

/* All rows, a frontend before the backend of its name, a backend's servers before it. `*count` of
 * them, in an array to be given to mem_free. */
struct stat_row *stat_rows(const struct snapshot *s, uint64_t now_ms, unsigned *count);

/* Only those that match, or all: proxy by number (-1: any), kinds by bit (1 frontend, 2 backend, 4
 * server; -1: any), server by number (-1: any), as in `show stat`. */
struct stat_filter {
    int64_t iid;
    int64_t kinds;
    int64_t sid;
};
bool stat_filter_takes(const struct stat_filter *f, const struct stat_row *row);

/* The headings, then a line for each row; as CSV. */
void stat_csv(const struct stat_row *rows, unsigned count, const struct stat_filter *filter,
              struct text *out);

/* "OPEN", "UP 1/3": what the column says, never NULL. */
const char *stat_text(const struct stat_row *row, enum stat_column column);
int64_t stat_number(const struct stat_row *row, enum stat_column column); /* 0 when it is empty */

const char *stat_heading(enum stat_column column);

#endif
