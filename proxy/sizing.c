#include "sizing.h"

#include "base/log.h"
#include "io/host.h"
#include "io/stream_splice.h"

#include <sys/resource.h>

#define FILES_RESERVED 64u /* logs, checks, pages, loops */
#define FILES_EACH     2u  /* a client and its upstream */

static bool splices(const struct proxy_conf *conf)
{
    for (unsigned i = 0; i < conf->backend_count; i++) {
        const struct backend_conf *b = conf->backends[i];
        if (b->mode == PROXY_MODE_TCP && (b->splice_request || b->splice_response))
            return true;
    }
    return false;
}

static uint64_t files_reserved(const struct proxy_conf *conf)
{
    uint64_t pipes = splices(conf) ? (uint64_t)sizing_threads(conf) * STREAM_SPLICE_FILES_MAX : 0;
    return FILES_RESERVED + pipes;
}

uint64_t sizing_clients(const struct proxy_conf *conf)
{
    uint64_t wanted = conf->global.maxconn, reserved = files_reserved(conf);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return wanted;
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        (void)getrlimit(RLIMIT_NOFILE, &files);
    }
    uint64_t room = files.rlim_cur > reserved ? files.rlim_cur - reserved : 1;
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
