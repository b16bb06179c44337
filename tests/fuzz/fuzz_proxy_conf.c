/* warren-proxy's configuration: any octets are loaded or refused with the file's name. */
#include "base/check.h"
#include "proxy_conf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct proxy_conf *c)
{
    CHECK(c->frontend_count != 0);
    for (unsigned i = 0; i < c->frontend_count; i++) {
        const struct frontend_conf *f = c->frontends[i];
        CHECK(f->bind_count >= 1 && f->bind_count <= PROXY_CONF_BINDS_MAX);
        CHECK((f->backend < 0) == (f->mode == PROXY_MODE_HTTP));
        CHECK(f->backend < (int)c->backend_count);
    }
    for (unsigned i = 0; i < c->backend_count; i++) {
        const struct backend_conf *b = c->backends[i];
        CHECK(b->server_count >= 1 || b->discover != PROXY_DISCOVER_NONE);
        CHECK(b->server_count <= BALANCE_SERVERS_MAX);
        CHECK(b->timeout.connect != 0 && b->timeout.check != 0 && b->timeout.failover != 0);
        for (unsigned k = 0; k < b->server_count; k++)
            CHECK(b->servers[k].weight <= 256 && b->servers[k].health.rise >= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = { .text = "" };
    struct proxy_conf *c = proxy_conf_load_text("fuzz", slice_of(data, size), &err);
    if (c == NULL) {
        CHECK(strncmp(err.text, "fuzz", 4) == 0);
        return 0;
    }
    judge(c);
    proxy_conf_free(&c);
    return 0;
}
