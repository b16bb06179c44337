/* A node that cannot keep anything any more: it says why, and stops. */
#include "broker_inner.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/mailbox.h"

#include <stdio.h>

struct failure {
    struct mail mail;
    struct broker *broker;
    struct err why;
};

static void on_failure(struct mail *mail)
{
    struct failure *f = CONTAINER_OF(mail, struct failure, mail);
    struct broker *b = f->broker;
    if (!b->failure_told) {
        b->failure_told = true;
        log_error("broker", b->name, "the node stops, it cannot keep anything any more: %s",
                  f->why.text);
        snprintf(b->leaving_text, sizeof b->leaving_text,
                 "broker forced connection closure with reason 'the journal has failed'");
        broker_stop(b);
    }
    mem_free(f);
}

void broker_fail(struct broker *b, const struct err *why)
{
    struct failure *f = mem_zalloc(sizeof *f);
    *f = (struct failure){ { NULL, on_failure }, b, *why };
    atomic_store(&b->failed, true);
    mailbox_post(b->loop, &f->mail);
}

bool broker_has_failed(const struct broker *b)
{
    return atomic_load(&b->failed);
}
