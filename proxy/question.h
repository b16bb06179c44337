/*
 * question: which of a client's methods wait for an answer, and which of a broker's are one.
 */
#ifndef WARREN_QUESTION_H
#define WARREN_QUESTION_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* `fields` is what follows the method's number. */
bool question_waits(uint32_t id, struct slice fields);

/* Is it an answer to some method of a client's? */
bool question_is_answer(uint32_t id);

#endif
