/*
 * mailbox: posts between loops, the only way from one thread to another.
 *
 * Every loop has one. A mail is embedded in a struct of the sender's; posting gives it away, and
 * `fn` runs on the receiving loop's thread, in the order of posting, and owns it. Lock-free; the
 * receiver is woken once however many mails arrive meanwhile. What bounds the number of mails under
 * way is the protocol between sender and receiver (credit, one request at a time): the mailbox
 * counts them and shows the count.
 */
#ifndef WARREN_MAILBOX_H
#define WARREN_MAILBOX_H

#include "io/loop.h"

struct mail;
typedef void (*mail_fn)(struct mail *mail);

struct mail {
    struct mail *next;
    mail_fn fn;
};

/* Any thread. The loop must not have been freed; mail to a loop that has stopped for good is
 * delivered by loop_free's drain, on the freeing thread, so that nothing leaks. */
void mailbox_post(struct loop *to, struct mail *mail);

/* Mails posted and not yet delivered. Any thread. */
size_t mailbox_depth(const struct loop *loop);

#endif
