#include "base/check.h"

#include "expect.h"

#include <signal.h>

Test(check, passes_what_holds)
{
    int evaluated = 0;
    CHECK(++evaluated == 1);
    cr_expect(eq(int, evaluated, 1)); /* never compiled out, never evaluated twice */
}

Test(check, aborts_on_what_does_not, .signal = SIGABRT)
{
    CHECK(1 + 1 == 3);
}

Test(check, aborts_at_the_unreachable, .signal = SIGABRT)
{
    UNREACHABLE("by design");
}

/* A condition in an if without braces must not swallow the else. */
Test(check, is_one_statement)
{
    bool other = false;
    if (other)
        CHECK(false);
    else
        other = true;
    cr_expect(other);
}

struct outer {
    char first;
    long member;
};

Test(check, finds_the_struct_around_a_member)
{
    struct outer o;
    struct outer *by_member = CONTAINER_OF(&o.member, struct outer, member);
    struct outer *by_first = CONTAINER_OF(&o.first, struct outer, first);
    cr_expect(by_member == &o && by_first == &o);
}
