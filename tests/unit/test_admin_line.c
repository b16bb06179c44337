/* proxy/admin_line: commands and words of the runtime socket. */
#include "admin_line.h"

#include "expect.h"

static void cut(const char *text, struct admin_command *out)
{
    struct slice line = slice_str(text);
    admin_line_cut(&line, out);
    cr_expect(eq(sz, line.len, 0));
}

Test(admin_line, words)
{
    struct admin_command c;
    struct slice line = slice_str("  set server\tb/s   weight 5 \r");
    admin_line_cut(&line, &c);
    cr_assert(eq(u32, c.count, 5));
    expect_text(c.words[0], "set");
    expect_text(c.words[2], "b/s");
    expect_text(c.words[4], "5");
    cr_expect(not(c.is_cut));
}

Test(admin_line, nothing)
{
    struct slice line = slice_str("");
    struct admin_command c;
    admin_line_cut(&line, &c);
    cr_expect(eq(u32, c.count, 0));
    line = slice_str("   \r");
    admin_line_cut(&line, &c);
    cr_expect(eq(u32, c.count, 0));
    expect_text(admin_command_word(&c, 0), "");
}

Test(admin_line, several_commands)
{
    struct admin_command c;
    struct slice line = slice_str("show info; show stat;;help");
    admin_line_cut(&line, &c);
    cr_expect(admin_command_is(&c, "show info"));
    admin_line_cut(&line, &c);
    cr_expect(admin_command_is(&c, "show stat"));
    admin_line_cut(&line, &c);
    cr_expect(eq(u32, c.count, 0));
    admin_line_cut(&line, &c);
    cr_expect(admin_command_is(&c, "help"));
    cr_expect(eq(sz, line.len, 0));
}

Test(admin_line, a_backslash_takes_the_next_octet_as_it_is)
{
    struct admin_command c;
    struct slice line = slice_str("a\\ b\\;c \\\\ d\\");
    admin_line_cut(&line, &c);
    cr_assert(eq(u32, c.count, 3));
    expect_text(c.words[0], "a b;c");
    expect_text(c.words[1], "\\");
    expect_text(c.words[2], "d\\");
}

Test(admin_line, too_many_words_are_cut_off)
{
    struct admin_command c;
    struct slice line = slice_str("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; x");
    admin_line_cut(&line, &c);
    cr_expect(eq(u32, c.count, ADMIN_WORDS_MAX));
    cr_expect(c.is_cut);
    admin_line_cut(&line, &c);
    cr_expect(admin_command_is(&c, "x"));
    cr_expect(not(c.is_cut));
}

Test(admin_line, the_longest_line_of_one_letter_words)
{
    char text[ADMIN_LINE_MAX];
    struct admin_command c;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    struct slice line = slice_of(text, sizeof text);
    admin_line_cut(&line, &c);
    cr_expect(c.is_cut);
    cr_expect(eq(sz, line.len, 0));
}

Test(admin_line, is_compares_whole_words)
{
    struct admin_command c;
    cut("show servers state x", &c);
    cr_expect(admin_command_is(&c, "show servers state"));
    cr_expect(admin_command_is(&c, "show"));
    cr_expect(not(admin_command_is(&c, "show server")));
    cr_expect(not(admin_command_is(&c, "show servers state x y")));
}
