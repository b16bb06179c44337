/*
 * admin_line: a line of the runtime socket, cut into commands and words (pure).
 *
 * Commands are parted by ";", words by blanks; a backslash takes the next octet as it is.
 */
#ifndef WARREN_ADMIN_LINE_H
#define WARREN_ADMIN_LINE_H

#include "base/attr.h"
#include "base/slice.h"

#define ADMIN_LINE_MAX  2048u /* octets of a line */
#define ADMIN_WORDS_MAX 16u   /* of a command; the rest is cut off and `is_cut` says so */

/* Not to be copied: the words point into it. */
struct admin_command {
    const char *words[ADMIN_WORDS_MAX];
    unsigned count;
    bool is_cut;
    char room[2 * ADMIN_LINE_MAX + 1]; /* of the words */
};

/* Cut the first command off `line`, of at most ADMIN_LINE_MAX octets; what follows its ";"
 * is left. An empty command has no words. */
void admin_line_cut(struct slice *line, struct admin_command *out);

/* Does the command begin with these words (parted by single blanks)? */
bool admin_command_is(const struct admin_command *c, const char *words);

/* Word `n`, or "" when there is none. */
const char *admin_command_word(const struct admin_command *c, unsigned n);

#endif
