/*
 * describe: prints the sample configuration of one program, from its table of directives.
 *
 * Built once for each program (DESCRIBE_BROKER, DESCRIBE_PROXY). `make samples` puts the result
 * beside this file, and `make check` refuses a sample that has fallen behind its table.
 */
#ifdef DESCRIBE_BROKER
#include "broker_conf.h"
#define describe broker_conf_describe
#define MAN_ABOUT                                                                                  \
    "warren-broker: every key, what it does, and its default. See warren-broker.conf(5)."
#else
#include "proxy_conf.h"
#define describe proxy_conf_describe
#define MAN_ABOUT                                                                                  \
    "warren-proxy: every directive, what it does, and its default. See warren-proxy.conf(5)."
#endif

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_MAX (256u * 1024u)

int main(void)
{
    struct text sample;
    text_init(&sample, SAMPLE_MAX);
    describe(&sample);

    printf("; %s\n\n%s", MAN_ABOUT, sample.ptr);
    int result = !sample.cut && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    text_fini(&sample);
    return result;
}
