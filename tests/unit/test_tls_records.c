/* io/tls: records on their way out, gathered or one by one, and in, read ahead or not. */
#include "base/mem.h"
#include "io/tls.h"
#include "io_kit.h"
#include "tls_kit.h"

static char folder[KIT_PATH_MAX];

static void set_up(void)
{
    kit_folder_make(folder);
    kit_pki_make(folder);
}

static void tear_down(void)
{
    kit_folder_remove(folder);
}

TestSuite(tls_records, .init = set_up, .fini = tear_down, .timeout = 300);

enum { TOTAL = 1000000 };

/* From another copy each time, and after a refusal a longer one: what stream.c does. */
static size_t write_some(struct end *e, const uint8_t *from, size_t left, size_t refusals)
{
    size_t len = 30000 + refusals < left ? 30000 + refusals : left;
    uint8_t *moving = mem_dup(from, len);
    size_t n;
    enum tls_result r = tls_conn_write(e->conn, slice_of(moving, len), &n, &e->err);
    mem_free(moving);
    cr_assert(r == TLS_OK || r == TLS_WANT_WRITE, "%s", e->err.text);
    return n;
}

static size_t read_some(struct end *e, uint8_t *into, size_t room)
{
    size_t n;
    enum tls_result r = tls_conn_read(e->conn, into, room < 777 ? room : 777, &n, &e->err);
    cr_assert(r == TLS_OK || r == TLS_WANT_READ, "%s", e->err.text);
    return n;
}

Test(tls_records, survives_partial_writes_from_moving_memory)
{
    struct pair p;
    pair_ready(&p, folder, true);
    uint8_t *sent = mem_alloc(TOTAL), *got = mem_alloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    size_t out = 0, in = 0, refusals = 0;
    while (in < TOTAL) {
        size_t n = out < TOTAL ? write_some(&p.server, sent + out, TOTAL - out, refusals) : 0;
        refusals += out < TOTAL && n == 0;
        out += n;
        in += read_some(&p.client, got + in, TOTAL - in);
    }
    cr_assert(lt(sz, 0, refusals));
    cr_assert(memcmp(sent, got, TOTAL) == 0);
    mem_free(sent);
    mem_free(got);
    pair_close(&p);
}

/* As many as are taken, with records that come together in the room; then without it. */
static size_t gather_some(struct end *e, const uint8_t *from, size_t left, uint8_t *room,
                          bool gathers, size_t *kept)
{
    size_t out = 0, n;
    enum tls_result r = TLS_OK;
    if (gathers)
        tls_conn_gather(e->conn, room, TLS_GATHER_LEAST);
    while (out < left && r == TLS_OK) {
        size_t len = left - out < 50000 ? left - out : 50000;
        r = tls_conn_write(e->conn, slice_of(from + out, len), &n, &e->err);
        out += n;
    }
    if (gathers)
        r = tls_conn_gather_end(e->conn, &e->err);
    cr_assert(r == TLS_OK || r == TLS_WANT_WRITE, "%s", e->err.text);
    cr_expect(eq(int, gathers &&r == TLS_WANT_WRITE, gathers && tls_conn_unsent(e->conn) != 0));
    *kept += tls_conn_unsent(e->conn) != 0;
    return out;
}

Test(tls_records, records_that_are_gathered_arrive_in_order_with_all_others)
{
    struct pair p;
    pair_ready(&p, folder, true);
    uint8_t *sent = mem_alloc(TOTAL), *got = mem_alloc(TOTAL), *room = mem_alloc(TLS_GATHER_LEAST);
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    size_t out = 0, in = 0, kept = 0;
    for (unsigned round = 0; in < TOTAL; round++) {
        if (out < TOTAL)
            out += gather_some(&p.server, sent + out, TOTAL - out, room, round % 3 != 0, &kept);
        else if (tls_conn_unsent(p.server.conn) != 0)
            cr_assert(tls_conn_send_unsent(p.server.conn, &p.server.err) != TLS_FAILED);
        in += read_some(&p.client, got + in, TOTAL - in);
    }
    cr_assert(lt(sz, 0, kept));
    cr_assert(memcmp(sent, got, TOTAL) == 0);
    mem_free(sent);
    mem_free(got);
    mem_free(room);
    pair_close(&p);
}

/* What was read ahead is not lost when its room is taken away, and is cut before what comes later.
 */
Test(tls_records, records_are_cut_from_what_was_read_ahead_and_from_what_was_not)
{
    struct pair p;
    pair_ready(&p, folder, false);
    uint8_t *sent = mem_alloc(TOTAL), *got = mem_alloc(TOTAL), *room = mem_alloc(TLS_AHEAD_LEAST);
    for (size_t i = 0; i < TOTAL; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    size_t out = 0, in = 0, refusals = 0;
    for (unsigned round = 0; in < TOTAL; round++) {
        if (out < TOTAL)
            out += write_some(&p.server, sent + out, TOTAL - out, refusals);
        if (round % 3 != 0)
            tls_conn_ahead(p.client.conn, room, TLS_AHEAD_LEAST);
        for (unsigned i = 0; i < round % 50 && in < TOTAL; i++)
            in += read_some(&p.client, got + in, TOTAL - in);
        if (round % 3 != 0)
            tls_conn_ahead_end(p.client.conn);
        memset(room, 0xEE, TLS_AHEAD_LEAST);
    }
    cr_assert(memcmp(sent, got, TOTAL) == 0);
    mem_free(sent);
    mem_free(got);
    mem_free(room);
    pair_close(&p);
}

/* Many records with one system call: the socket is empty when the first of them is read. */
Test(tls_records, reads_many_records_ahead_at_once)
{
    struct pair p;
    pair_ready(&p, folder, false);
    uint8_t room[TLS_AHEAD_LEAST], got[64];
    size_t n;
    for (unsigned i = 0; i < 5; i++) {
        enum tls_result r = tls_conn_write(p.server.conn, slice_str("one"), &n, &p.server.err);
        cr_assert(r == TLS_OK);
    }
    tls_conn_ahead(p.client.conn, room, sizeof room);
    cr_assert(tls_conn_read(p.client.conn, got, sizeof got, &n, &p.client.err) == TLS_OK);
    cr_expect(eq(int, (int)recv(p.client.fd, got, sizeof got, MSG_DONTWAIT), -1));
    for (unsigned i = 1; i < 5; i++)
        cr_expect(tls_conn_read(p.client.conn, got, sizeof got, &n, &p.client.err) == TLS_OK);
    cr_expect(tls_conn_read(p.client.conn, got, sizeof got, &n, &p.client.err) == TLS_WANT_READ);
    tls_conn_ahead_end(p.client.conn);
    pair_close(&p);
}
