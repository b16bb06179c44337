#include "sizing.h"

#include "base/log.h"
#include "io/host.h"

#include <sys/resource.h>

#define FILES_RESERVED 64u /* logs, checks, pages, loops */
#define FILES_EACH     2u  /* a client and its upstream */

uint64_t sizing_clients(uint64_t wanted)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return wanted;
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        (void)getrlimit(RLIMIT_NOFILE, &files);
    }
    uint64_t room = files.rlim_cur > FILES_RESERVED ? files.rlim_cur - FILES_RESERVED : 1;
    uint64_t carried = room / FILES_EACH > 0 ? room / FILES_EACH : 1;
    if (carried >= wanted)
        return wanted;
    log_warn("proxy", "-",
             "maxconn %llu is lowered to %llu, which is what %llu open files can carry",
             (unsigned long long)wanted, (unsigned long long)carried,
             (unsigned long long)files.rlim_cur);
    return carried;
}

unsigned sizing_threads(const struct proxy_conf *conf)
{
    if (conf->global.nbthread != 0)
        return (unsigned)conf->global.nbthread;
    unsigned cores = host_cores("");
    unsigned count = cores > 1 ? cores - 1 : 1;
    return count < PROXY_CONF_THREADS_MAX ? count : PROXY_CONF_THREADS_MAX;
}
