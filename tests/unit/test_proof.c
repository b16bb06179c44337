#include "link/proof.h"

#include "expect.h"

static const char cookie[] = "a secret of more than twenty octets";
static const char other[] = "a secret of more than twenty Octets";

static struct proof hellos(void)
{
    struct proof p;
    proof_hello_make(p.caller, PROOF_ROLE_CTL);
    proof_hello_make(p.answerer, PROOF_ROLE_NODE);
    return p;
}

Test(proof, a_hello_is_taken_as_it_was_made)
{
    struct proof p = hellos(), q;
    struct err err = { 0 };
    cr_assert(
        proof_hello_take(q.caller, slice_of(p.caller, PROOF_HELLO_BYTES), PROOF_ROLE_CTL, &err));
    cr_expect(memcmp(p.caller, q.caller, PROOF_HELLO_BYTES) == 0);
}

Test(proof, no_two_hellos_are_the_same)
{
    struct proof p = hellos(), q = hellos();
    cr_expect(memcmp(p.caller, q.caller, PROOF_HELLO_BYTES) != 0);
}

Test(proof, every_prefix_of_a_hello_may_be_one)
{
    struct proof p = hellos();
    for (size_t n = 0; n <= PROOF_HELLO_BYTES; n++)
        cr_expect(proof_hello_may_be(slice_of(p.caller, n)), "with %zu octets", n);
    cr_expect(not(proof_hello_may_be(slice_str("AMQP"))));
    cr_expect(not(proof_hello_may_be(slice_str("WRNX"))));
    cr_expect(not(proof_hello_may_be(slice_str("G"))));
}

Test(proof, refuses_another_version_role_or_length)
{
    static const size_t places[] = { 4, 5, 6, 7 };
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        struct proof p = hellos();
        struct err err = { 0 };
        uint8_t out[PROOF_HELLO_BYTES];
        p.caller[places[i]] ^= 0x40u;
        bool taken =
            proof_hello_take(out, slice_of(p.caller, PROOF_HELLO_BYTES), PROOF_ROLE_CTL, &err);
        cr_expect(not(taken), "octet %zu", places[i]);
        cr_expect(err.code == ERR_PROTOCOL);
    }
}

Test(proof, both_sides_convince_each_other)
{
    struct proof p = hellos();
    uint8_t mac[HMAC_BYTES], verdict[PROOF_VERDICT_BYTES];
    proof_caller_mac(&p, slice_str(cookie), mac);
    cr_assert(proof_caller_knows(&p, slice_str(cookie), slice_of(mac, sizeof mac)));
    proof_verdict_make(&p, slice_str(cookie), true, verdict);
    cr_expect(proof_verdict_read(&p, slice_str(cookie), slice_of(verdict, sizeof verdict)) ==
              PROOF_ACCEPTED);
}

Test(proof, another_cookie_convinces_nobody)
{
    struct proof p = hellos();
    uint8_t mac[HMAC_BYTES], verdict[PROOF_VERDICT_BYTES];
    proof_caller_mac(&p, slice_str(other), mac);
    cr_expect(not(proof_caller_knows(&p, slice_str(cookie), slice_of(mac, sizeof mac))));
    proof_verdict_make(&p, slice_str(other), true, verdict);
    cr_expect(proof_verdict_read(&p, slice_str(cookie), slice_of(verdict, sizeof verdict)) ==
              PROOF_FALSE);
    proof_verdict_make(&p, slice_str(cookie), false, verdict);
    cr_expect(proof_verdict_read(&p, slice_str(cookie), slice_of(verdict, sizeof verdict)) ==
              PROOF_REFUSED);
}

/* What was heard of one conversation is of no use in another, nor in the other direction. */
Test(proof, is_good_for_one_conversation_and_one_direction)
{
    struct proof first = hellos(), second = hellos();
    uint8_t mac[HMAC_BYTES], verdict[PROOF_VERDICT_BYTES];
    memcpy(second.caller, first.caller, PROOF_HELLO_BYTES); /* replayed; the node's is fresh */
    proof_caller_mac(&first, slice_str(cookie), mac);
    cr_expect(not(proof_caller_knows(&second, slice_str(cookie), slice_of(mac, sizeof mac))));
    verdict[0] = 1;
    memcpy(verdict + 1, mac, sizeof mac); /* reflected */
    cr_expect(proof_verdict_read(&first, slice_str(cookie), slice_of(verdict, sizeof verdict)) ==
              PROOF_FALSE);
}

Test(proof, a_verdict_is_yes_or_no)
{
    struct proof p = hellos();
    uint8_t verdict[PROOF_VERDICT_BYTES];
    proof_verdict_make(&p, slice_str(cookie), true, verdict);
    verdict[0] = 2;
    cr_expect(proof_verdict_read(&p, slice_str(cookie), slice_of(verdict, sizeof verdict)) ==
              PROOF_FALSE);
}
