/* A line of the runtime socket: commands and words within their bounds, and all of it is used up.
 */
#include "admin_line.h"

#include "base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice line = slice_of(data, size < ADMIN_LINE_MAX ? size : ADMIN_LINE_MAX);
    while (line.len != 0) {
        size_t before = line.len;
        struct admin_command c;
        size_t octets = 0;
        admin_line_cut(&line, &c);
        CHECK(line.len < before && c.count <= ADMIN_WORDS_MAX);
        for (unsigned i = 0; i < c.count; i++)
            octets += strlen(c.words[i]);
        CHECK(octets <= before);
        CHECK(!admin_command_is(&c, "show") || strcmp(admin_command_word(&c, 0), "show") == 0);
    }
    return 0;
}
