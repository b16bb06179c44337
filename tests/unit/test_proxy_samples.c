#include "proxy_conf.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>

static void loads_file(const char *name)
{
    const char *srcdir = getenv("srcdir");
    char file[4096];
    struct err err = { .text = "" };
    snprintf(file, sizeof file, "%s/conf/%s", srcdir != NULL ? srcdir : "..", name);
    struct proxy_conf *conf = proxy_conf_load(file, &err);
    cr_assert(conf != NULL, "%s", err.text);
    cr_expect(conf->frontend_count != 0);
    proxy_conf_free(&conf);
}

Test(proxy_samples, load)
{
    loads_file("warren-proxy.conf");
    loads_file("min/warren-proxy.conf");
}
