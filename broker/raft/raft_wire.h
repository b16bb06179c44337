/*
 * raft_wire: messages as octets and back.
 *
 * Every message begins with u8 version (1), u8 kind, u16 from, u16 to, u32 boot, u64 term; then the
 * fields of its kind in the order of raft_msg.h, numbers in network order, bools as u8 0 or 1. An
 * entry is u8 kind, u64 term, u32 length, octets; its index follows from its place. A message is
 * one block: framing and checksums are the link's.
 */
#ifndef WARREN_RAFT_WIRE_H
#define WARREN_RAFT_WIRE_H

#include "raft/raft_msg.h"

size_t raft_wire_size(const struct raft_msg *m);
void raft_wire_put(struct wire_out *w, const struct raft_msg *m);

/* One message that fills `in` wholly; its entries and chunk are copies. False: it is none, and
 * nothing is held. */
MUST_CHECK bool raft_wire_take(struct slice in, struct raft_msg *out);

#endif
