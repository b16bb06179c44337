#include "base/mem.h"
#include "meta_nodes.h"

Test(meta_entry, applies_each_operation_once_and_in_order)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    cr_expect(world_entry(&w, 2, 1, 1, q_declare("a")) == META_APPLIED);
    cr_expect(eq(sz, effects_of(&w, META_QUEUE_CREATED), 1));
    cr_expect(world_entry(&w, 2, 1, 1, q_declare("a2")) == META_REPEATED);
    cr_expect(queue_now(&w, "a2") == NULL);
    cr_expect(eq(sz, w.r.effect_count, 0));
    cr_expect(world_entry(&w, 2, 1, 3, q_declare("c")) == META_EARLY);
    cr_expect(queue_now(&w, "c") == NULL);
    cr_expect(world_entry(&w, 2, 1, 2, q_declare("amq.no")) == META_APPLIED);
    cr_expect(w.r.verdict == META_REFUSED && w.r.refusal.code == 403);
    cr_expect(world_entry(&w, 2, 1, 3, q_declare("c")) == META_APPLIED);
    cr_expect(queue_now(&w, "c") != NULL);
    uint32_t inc;
    uint64_t op;
    cr_assert(meta_last_op(w.meta, 2, &inc, &op));
    cr_expect(inc == 1 && op == 3);
    cr_expect(meta_origin_get(now(&w), 2)->op == 3 && meta_origin_get(now(&w), 1)->op == 0);
    world_fini(&w);
}

Test(meta_entry, takes_nobodys_each_time)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 1);
    cr_expect(world_entry(&w, 0, 0, 0, q_declare("a")) == META_APPLIED);
    cr_expect(world_entry(&w, 0, 0, 0, q_declare("b")) == META_APPLIED);
    cr_expect(queue_now(&w, "b") != NULL);
    world_fini(&w);
}

Test(meta_entry, begins_an_incarnation_with_its_node_up)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    cr_expect(world_entry(&w, 2, 1, 1, q_declare("a")) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 2, 1, q_declare("b")) == META_EARLY);
    cr_expect(world_entry(&w, 2, 2, 2, node_cmd(META_NODE_UP, 2, 2)) == META_EARLY);
    cr_expect(world_entry(&w, 2, 2, 1, node_cmd(META_NODE_UP, 2, 3)) == META_EARLY);
    cr_expect(world_entry(&w, 2, 2, 1, node_cmd(META_NODE_UP, 1, 2)) == META_EARLY);
    cr_expect(world_entry(&w, 2, 2, 1, node_cmd(META_NODE_UP, 2, 2)) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 1, 2, q_declare("old")) == META_REPEATED);
    cr_expect(world_entry(&w, 2, 2, 2, q_declare("b")) == META_APPLIED);
    cr_expect(world_entry(&w, 0, 0, 0, node_cmd(META_NODE_UP, 2, 3)) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 2, 3, q_declare("c")) == META_REPEATED);
    cr_expect(world_entry(&w, 2, 3, 1, q_declare("c")) == META_APPLIED, "told by nobody");
    world_fini(&w);
}

/* Its transient queues are gone: one that is made now would stand in others' way. */
Test(meta_entry, keeps_waiting_what_a_node_asks_for_that_is_down)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    cr_expect(world_entry(&w, 2, 1, 1, q_declare("a")) == META_APPLIED);
    must(&w, node_cmd(META_NODE_DOWN, 2, 1));
    cr_expect(world_entry(&w, 2, 1, 2, q_declare("b")) == META_EARLY);
    must(&w, node_cmd(META_NODE_UP, 2, 1));
    cr_expect(world_entry(&w, 2, 1, 2, q_declare("b")) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 1, 3, node_cmd(META_NODE_STOPPED, 2, 1)) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 1, 4, q_declare("c")) == META_EARLY);
    world_fini(&w);
}

Test(meta_entry, does_not_know_who_is_no_member)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 2);
    cr_expect(world_entry(&w, 7, 1, 1, q_declare("a")) == META_STRANGER);
    cr_expect(world_entry(&w, 2, 1, 1, node_cmd(META_NODE_REMOVE, 2, 0)) == META_APPLIED);
    cr_expect(world_entry(&w, 2, 1, 2, q_declare("a")) == META_STRANGER);
    uint32_t inc;
    uint64_t op;
    cr_expect(not(meta_last_op(w.meta, 2, &inc, &op)));
    cr_expect(eq(sz, meta_origin_count(now(&w)), 1));
    world_fini(&w);
}

Test(meta_entry, shows_an_index_that_moved_alone)
{
    struct world w;
    world_init(&w, 1);
    world_nodes(&w, 1);
    uint64_t before = now(&w)->index;
    cr_expect(world_entry(&w, 7, 1, 1, q_declare("a")) == META_STRANGER);
    cr_expect(eq(u64, now(&w)->index, before + 1));
    world_fini(&w);
}

Test(meta_entry, reads_back_envelopes_and_nothing_less)
{
    uint8_t room[512];
    struct meta_envelope e = { 0xFEDC, 0xFEDCBA98, UINT64_MAX - 5, q_declare("q") }, out;
    struct meta_envelope second = { 0, 0, 0, node_cmd(META_NODE_DOWN, 5, 6) };
    struct wire_out to = wire_out_over(room, sizeof room);
    meta_envelope_put(&to, &e);
    size_t first = wire_out_len(&to);
    cr_expect(eq(sz, first, meta_envelope_size(&e)));
    meta_envelope_put(&to, &second);
    cr_assert(not(to.overflow));
    struct wire from = wire_over(wire_out_slice(&to));
    cr_assert(meta_envelope_take(&from, &out));
    cr_expect(out.node == e.node && out.inc == e.inc && out.op == e.op);
    cr_expect(out.cmd.op == META_QUEUE_DECLARE && slice_is(out.cmd.name, "q"));
    cr_assert(meta_envelope_take(&from, &out));
    cr_expect(out.node == 0 && out.cmd.op == META_NODE_DOWN && out.cmd.node.inc == 6);
    cr_expect(eq(sz, wire_left(&from), 0));
    for (size_t n = 0; n < first; n++) {
        uint8_t *cut = mem_dup(room, n + 1); /* so that reading on is seen */
        from = wire_over(slice_of(cut, n));
        cr_expect(not(meta_envelope_take(&from, &out)), "%zu octets", n);
        mem_free(cut);
    }
    room[4]++;
    from = wire_over(slice_of(room, first));
    cr_expect(not(meta_envelope_take(&from, &out)), "a newer format");
}
