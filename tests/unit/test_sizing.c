/* proxy/sizing: how many clients the limit of open files carries. */
#include "sizing.h"

#include <stdio.h>
#include <sys/resource.h>

#include "expect.h"

#define FILES 2000u

static uint64_t clients(const char *words)
{
    char text[512];
    struct err err;
    struct rlimit files = { FILES, FILES };
    (void)snprintf(text, sizeof text,
                   "[global]\nmaxconn = 100000\nnbthread = 3\n"
                   "[listen a]\nbind = :1\nserver = s h:1\nmode = tcp\n%s",
                   words);
    struct proxy_conf *conf = proxy_conf_load_text("test.conf", slice_str(text), &err);
    cr_assert(conf != NULL, "%s", err.text);
    cr_assert(setrlimit(RLIMIT_NOFILE, &files) == 0);
    uint64_t count = sizing_clients(conf);
    proxy_conf_free(&conf);
    return count;
}

Test(sizing, each_client_takes_two_files_and_pipes_take_theirs)
{
    uint64_t plain = clients("");
    cr_expect(plain > 900 && plain < FILES / 2);
    /* 64 pipes a thread at most, of two ends, and three threads. */
    cr_expect(eq(u64, clients("option = splice-request\n"), plain - 3 * 64));
    cr_expect(eq(u64, clients("option = splice-auto\n"), plain - 3 * 64));
}
