/*
 * mutation: the rules that safety rests on, each with a switch that breaks it.
 *
 * The switches exist in the simulator's build alone (SIM_MUTATIONS); elsewhere they are constants
 * and cost nothing. A test turns each on in turn and fails if the simulator does not notice: a rule
 * whose absence nobody notices is not tested. To add a rule is to add a line here and
 * MUTATION(NAME) where it is kept.
 */
#ifndef WARREN_MUTATION_H
#define WARREN_MUTATION_H

#include <stdbool.h>

/* What the broken code does. Those of gossip are tried by histories of gossip. */
#define MUTATIONS_GOSSIP(X)                                                                        \
    X(GOSSIP_OLD_WORD_WINS, "believes an old word about a member")                                 \
    X(GOSSIP_OLD_PULSE_WINS, "believes an old pulse of a member")                                  \
    X(GOSSIP_OLD_RUMOUR_WINS, "believes an old rumour")                                            \
    X(GOSSIP_NO_REFUTATION, "lets others say of it that it is dead")                               \
    X(GOSSIP_NO_TCP_PING, "takes lost packets for a lost member")                                  \
    X(GOSSIP_DEAD_FOR_EVER, "never asks again whether the dead are back")                          \
    X(GOSSIP_SUSPECT_NOT_TOLD, "does not tell a suspect that it is suspected")                     \
    X(LOCATION_OLD_WORD_WINS, "believes an old word about where a queue is")                       \
    X(LOCATION_GONE_COMES_BACK, "believes in a queue that was taken away")                         \
    X(LOCATION_SWEPT_COMES_BACK, "believes in a queue that went with its node")                    \
    X(LOCATION_SNAPSHOT_DISTURBED, "believes an old word behind what a snapshot has told")

#define MUTATIONS_RAFT(X)                                                                          \
    X(RAFT_COMMIT_OLD_TERM, "commits an entry of an older term by counting who has it")            \
    X(RAFT_VOTE_ANY_LOG, "votes for a candidate whose log is behind its own")                      \
    X(RAFT_VOTE_AGAIN, "votes for a second candidate in one term")                                 \
    X(RAFT_VOTE_BEFORE_DURABLE, "says that it voted before the vote is durable")                   \
    X(RAFT_CANDIDATE_BEFORE_DURABLE, "asks for votes before its own term and vote are durable")    \
    X(RAFT_ACK_BEFORE_DURABLE, "acknowledges entries that are not durable")                        \
    X(RAFT_OLD_LEADER_HEARD, "takes entries of a leader that was deposed")                         \
    X(RAFT_ACK_UNVERIFIED, "acknowledges entries that this leader may not have")                   \
    X(RAFT_LEADER_COUNTS_EARLY, "counts itself for entries that it has not on disk")               \
    X(RAFT_NO_PREV_CHECK, "appends behind an entry of another term")                               \
    X(RAFT_KEEP_CONFLICT, "keeps entries that conflict with the leader's")                         \
    X(RAFT_COMMIT_UNVERIFIED,                                                                      \
      "commits up to the leader's index entries that the leader may not have")                     \
    X(RAFT_COMMIT_BY_HALF, "commits when half of the voters have an entry")                        \
    X(RAFT_LEARNER_COUNTS, "counts learners for the majority")                                     \
    X(RAFT_CONFIG_KEPT, "keeps a configuration whose entry was cut off")                           \
    X(RAFT_CONFIG_OF_SNAPSHOT_LOST, "keeps its configuration when it takes a snapshot")            \
    X(RAFT_CHANGE_BEFORE_NOOP, "changes the members before its term's first entry is committed")   \
    X(RAFT_TWO_CHANGES, "changes the members while another change is pending")                     \
    X(RAFT_RECOVERING_VOTES, "votes with a log that lost what it had acknowledged")                \
    X(RAFT_RECOVERING_TO_COMMIT, "is whole again at the leader's commit index, not its last")      \
    X(RAFT_WHOLE_OF_ANY_BOOT,                                                                      \
      "takes what an earlier life of it needed to be whole for its own need")                      \
    X(RAFT_SHORT_LOG_IS_WHOLE, "starts with a damaged log as if it were whole")                    \
    X(RAFT_INSTALL_BEFORE_DURABLE, "acknowledges a snapshot that is not durable")                  \
    X(RAFT_INSTALL_KEEPS_LOG, "keeps entries that conflict with a snapshot it takes")              \
    X(RAFT_READ_WITHOUT_ROUND, "lets reads go without asking whether it still leads")              \
    X(RAFT_READ_BEFORE_NOOP, "lets reads go before its term's first entry is committed")           \
    X(RAFT_READ_OLD_ROUND, "takes the answer to an earlier question for that to the last")         \
    X(RAFT_OLD_BOOT_APPLIED, "believes what a node had applied before it restarted")               \
    X(RAFT_NO_PREVOTE, "raises its term without asking first")                                     \
    X(RAFT_VOTE_AGAINST_LEADER, "votes against a leader that it hears")                            \
    X(RAFT_NO_CHECK_QUORUM, "leads on without hearing from a majority")

#define MUTATIONS_DISK(X)                                                                          \
    X(DISK_NO_SYNC, "calls a group safe that was written and not synced")                          \
    X(DISK_IGNORE_FAILED_SYNC, "takes a failed sync for a good one")                               \
    X(DISK_HEAD_NOT_SYNCED, "gives a new log its name before its head is on disk")                 \
    X(DISK_FOUNDER_LEFT_OUT, "begins the log of a new cluster without the node that founds it")    \
    X(DISK_NAME_NOT_SYNCED, "writes to a new log whose name may not be on disk")                   \
    X(DISK_SNAPSHOT_NOT_SYNCED, "gives a snapshot its name before it is on disk")                  \
    X(DISK_SNAPSHOT_NAME_NOT_SYNCED, "removes older files before the snapshot's name is on disk")  \
    X(DISK_TRUST_LAST, "goes on behind a group whose sync may have failed")                        \
    X(DISK_OVERWRITE_LAST, "writes the last group once more where it stands")                      \
    X(DISK_HARD_NOT_WRITTEN, "keeps a vote that comes without entries for the next group")         \
    X(DISK_SNAPSHOT_TOO_EARLY, "removes logs that hold what the snapshot does not")                \
    X(DISK_INSTALL_KEEPS_LOG, "keeps a log that does not agree with the snapshot it is given")     \
    X(DISK_RECEIVED_NOT_CHECKED, "installs what was received without looking at it")               \
    X(DISK_CUT_AT_DAMAGE, "takes the log to end where it is damaged")

/* Those of the metadata's state machine, by histories of meta. */
#define MUTATIONS_META(X)                                                                          \
    X(META_APPLIED_AGAIN, "applies what was applied already")                                      \
    X(META_APPLIED_EARLY, "applies an operation before those that precede it")                     \
    X(META_ASKED_WHEN_DOWN, "applies what a node asked for that is down")                          \
    X(META_OLD_UP, "takes an earlier incarnation of a node for the present one")                   \
    X(META_OLD_DOWN, "declares a node down that has started anew since")                           \
    X(META_PASSING_STAYS, "leaves what does not last to a node that starts anew")                  \
    X(META_NUMBER_AGAIN, "gives the number of a node that was removed again")                      \
    X(META_SECRET_DECIDES, "lets a node's own secret decide where a queue lives")                  \
    X(META_LAST_DISC_GOES, "lets the last disc node go")                                           \
    X(META_OPS_NOT_KEPT, "leaves out of a snapshot how far nodes have come")                       \
    X(META_SUM_FORGETS, "forgets in its checksum what goes")                                       \
    X(META_PROMOTES_OUTSIDER, "makes a node the master that is not in sync")                       \
    X(META_HEIR_ANYHOW, "makes a node the master that is down, while another one is up")           \
    X(META_ADD_ANY_INC, "takes another incarnation into the in-sync set than the one that is up")  \
    X(META_ADD_WITHOUT_MASTER, "takes a node into the in-sync set while the master is down")       \
    X(META_ISR_OLD_VER, "changes the in-sync set by the word of who has seen an older one")        \
    X(META_REFUSED_VER_STAYS, "leaves ver as it was when it refuses a change of the in-sync set")  \
    X(META_EPOCH_COUNTS, "counts epochs, instead of taking the index of the entry")                \
    X(META_STRUCK_FORGOTTEN, "forgets that a node was in sync once")                               \
    X(META_STRUCK_STAYS_OLD, "leaves a node that was struck as senior as it was")                  \
    X(META_UP_KEEPS_ISR, "leaves a node that has started anew in the in-sync sets")                \
    X(META_RESTART_KEEPS_EPOCH, "lets a node that has started anew go on in its old epoch")        \
    X(META_LOST_IS_ELIGIBLE, "takes a node that has lost data for one that was in sync once")      \
    X(META_DAMAGED_SERVES, "serves a queue whose only node has lost data")                         \
    X(META_SOLE_STRUCK, "lets a queue go with the only node that has it")                          \
    X(META_LAG_TAKES_MASTER, "strikes a master that does not keep up with itself")                 \
    X(META_UNWELL_ANYHOW, "takes a node that is unwell out where nobody else goes on")             \
    X(META_ADD_UNWELL, "takes a node that is unwell into the in-sync set")                         \
    X(META_MOVE_TO_OUTSIDER, "moves a queue to a node that is not in sync")                        \
    X(META_MOVE_OLD_EPOCH, "moves a queue by the word of who knows an older master")               \
    X(META_SET_OLD_VER, "sets replicas by the word of who has seen older ones")                    \
    X(META_REPLICA_ANYWHERE, "puts replicas onto nodes that cannot hold them")                     \
    X(META_PLAN_KEEPS_OTHERS, "leaves mirrors where they ought not to be")                         \
    X(META_PLAN_NOT_ROUND, "looks at half of the queues when nodes or policies change")            \
    X(META_VER_NOT_KEPT, "leaves out of a snapshot what befell a queue with others")

/* Of grants, by histories of grants. */
#define MUTATIONS_CLUSTER(X)                                                                       \
    X(CLUSTER_UP_AT_ONCE, "lets nodes come up before those that count as up are heard of")         \
    X(CLUSTER_LOST_IS_WHOLE, "takes a node that has lost data for one that has all")               \
    X(CLUSTER_STAYS_FROZEN, "waits for all nodes that were stopped together, whatever happens")

#define MUTATIONS_GRANT(X)                                                                         \
    X(GRANT_OF_AGREED_ALONE, "serves without the grants of those it has proposed")                 \
    X(GRANT_FROM_ANSWER, "counts a grant from its answer, not from its question")                  \
    X(GRANT_LAST_MASTER_ALONE, "waits for the last master alone, not for those before")            \
    X(GRANT_TO_AHEAD, "gives a grant to a node whose index is ahead")                              \
    X(GRANT_OLDER_THAN_EPOCH, "counts a grant that was asked for before the epoch")                \
    X(GRANT_RESTART_WAITS_NOT, "begins after a restart without waiting for what it had given")     \
    X(GRANT_BEFORE_UP, "gives grants before its own start is in the log")                          \
    X(GRANT_TO_DEPOSED, "gives a grant to a node that has not applied what took a queue from it")  \
    X(GRANT_WITHOUT_INC, "does not look at which process asks, or has asked")                      \
    X(GRANT_WITHOUT_INDEX, "does not look at which index it is asked with, or has asked with")     \
    X(GRANT_ADDED_BEFORE_BEGUN, "proposes members before its epoch has begun")                     \
    X(GRANT_RESTART_KEEPS_ISR, "leaves a node that has restarted among the members in sync")       \
    X(GRANT_RESTART_KEEPS_EPOCH, "has a master that has restarted go on with its epoch")           \
    X(GRANT_GONE_WHEN_BROKEN, "takes a process for gone whose link broke")                         \
    X(GRANT_GONE_CANCELS_ALL, "does not wait for others either when one process is gone")          \
    X(GRANT_CACHED_TIME, "takes the time at which its turn began for the present one")             \
    X(GRANT_CLOCKS_ARE_EVEN, "waits no longer than a grant lasts by a clock of its own rate")      \
    X(GRANT_JUMP_TAKES_NOTHING, "takes nothing for taken that a snapshot has skipped")

/* Those of mirrored queues, by histories of mirror. */
#define MUTATIONS_MIRROR(X)                                                                        \
    X(MIRROR_WAITS_FOR_COMMITTED, "confirms without those whose addition is under way")            \
    X(MIRROR_EXPELLED_AT_ONCE, "waits no more for a mirror whose removal is not decided")          \
    X(MIRROR_WAITS_FROM_PROPOSAL, "confirms between saying all and proposing without the mirror")  \
    X(MIRROR_ADMITTED_EARLY, "proposes a mirror before it has all")                                \
    X(MIRROR_INHERITED_LEFT_OUT, "does not send what was there when its epoch began")              \
    X(MIRROR_ACKED_BEFORE_JOINED, "counts acknowledgements of what was never said of a queue")     \
    X(MIRROR_JOINED_BY_HALF, "confirms before a mirror has all that it was to be told")            \
    X(MIRROR_SESSION_NOT_MINDED, "counts acknowledgements of one session for what another said")   \
    X(MIRROR_OWN_DISK_NOT_AWAITED, "confirms what its own disk may not have")                      \
    X(MIRROR_SETTLED_STAYS, "leaves a mirror what was settled while it was away")                  \
    X(MIRROR_NO_CUT, "keeps what a new master does not have")                                      \
    X(MIRROR_CUT_AT_THEIR_END, "cuts where the master left an epoch, not where it did itself")     \
    X(MIRROR_LEADS_WITH_HOLES, "leads with what has holes, and numbers of producers behind them")  \
    X(MIRROR_NO_FENCE, "follows a master that was deposed")                                        \
    X(MIRROR_ANY_SOURCE, "takes records of a queue from whoever sends them")                       \
    X(MIRROR_REFUSED_SILENTLY, "acknowledges what it did not take")                                \
    X(MIRROR_ACKED_UNWRITTEN, "acknowledges what its disk may not have")                           \
    X(MIRROR_NO_PATHS, "takes publishes behind one that is missing")                               \
    X(MIRROR_TAKEN_AGAIN, "takes a publish that it has")                                           \
    X(MIRROR_SHOWN_EARLY, "hands out what mirrors may not have")                                   \
    X(MIRROR_EPOCH_KEPT, "lets a node that was started anew lead on")                              \
    X(MIRROR_SETTLEMENT_COUNTS, "lets an old settlement count for a message that came again")

/* Those of planned moves of mirrored queues, by histories of hand. */
#define MUTATIONS_HAND(X)                                                                          \
    X(HAND_TO_ANYONE, "gives its word to a mirror that does not have all")                         \
    X(HAND_ANY_SOURCE, "believes the word of a master that it does not follow")                    \
    X(HAND_OLD_WORD_COUNTS, "believes what was said of an earlier move")                           \
    X(HAND_NOT_AWAITED, "leads before it has the word of the master that was")                     \
    X(HAND_NO_WORD_IS_ALL, "takes it that nothing is out when nothing was said")                   \
    X(HAND_ALL_UNSEEN, "calls unseen what the former master has handed out")                       \
    X(HAND_CLAIM_REFUSED, "does not let those have it who hold it")                                \
    X(HAND_TAKEN_AGAIN, "gives back what was claimed")                                             \
    X(HAND_EARLY_FORGOTTEN, "forgets what was settled before it led")                              \
    X(HAND_REST_STAYS, "keeps for ever what nobody claims")

/* Those of queues of other nodes, by histories of them. */
#define MUTATIONS_REMOTE(X)                                                                        \
    X(REMOTE_LARGE_OVERTAKEN, "lets what a channel says overtake its own large message")           \
    X(REMOTE_NUMBER_BEFORE_LEFT, "numbers a publish before all of it has left")                    \
    X(REMOTE_CONFIRM_EARLY, "confirms a publish before it is durable")                             \
    X(REMOTE_REFUSAL_CONFIRMED, "confirms a publish that a queue has refused")                     \
    X(REMOTE_CONFIRM_AGAIN, "tells of a publish once more that was answered")                      \
    X(REMOTE_TAKEN_EARLY, "calls taken what is on its way to another thread")                      \
    X(REMOTE_CHARGE_KEPT, "keeps a charge for what went with its session")                         \
    X(REMOTE_LOSS_CONFIRMED, "confirms what was under way when the session ended")                 \
    X(REMOTE_LOSS_NOT_TOLD, "does not tell that a publish is lost with its session")               \
    X(REMOTE_OLD_LIFE_SPEAKS, "says in a new life what was meant for the former one")              \
    X(REMOTE_ASK_NOT_ANSWERED, "leaves requests without an answer when the session ends")          \
    X(REMOTE_CONSUMER_STAYS, "keeps a consumer whose session has ended")                           \
    X(REMOTE_UNDER_WAY_STAYS, "leaves out what was under way when the session ended")              \
    X(REMOTE_UNACKED_STAYS, "leaves out what was not settled when the session ended")              \
    X(REMOTE_SEEN_NOT_SAID, "calls unseen what a channel may have had when the session ended")     \
    X(REMOTE_PROMISE_FORGOTTEN, "forgets a queue that was promised to go")                         \
    X(REMOTE_ASK_OVERTAKES, "lets a request overtake what was settled before it")                  \
    X(REMOTE_SETTLED_ALIKE, "settles a delivery as the one before it")                             \
    X(REMOTE_SENT_BACK_NOT_SAID, "does not say that no channel took a delivery")                   \
    X(REMOTE_TURNED_AWAY_OVERTAKEN, "takes a delivery behind one that it turned away")             \
    X(REMOTE_TURNED_AWAY_FORGOTTEN, "does not wake those that it turned away")                     \
    X(REMOTE_REFUSAL_KEPT, "takes a channel that was resumed for one that refuses")                \
    X(REMOTE_UNKNOWN_IS_GONE, "takes a queue that it does not know yet for one that is gone")      \
    X(REMOTE_KEPT_TOO_SHORT, "keeps a content no longer than until the other side has read it")    \
    X(REMOTE_KEPT_OUT_OF_ORDER, "keeps a content that others overtake on its way")                 \
    X(REMOTE_KEPT_OUTLIVES, "counts what it keeps on when the session ended")                      \
    X(REMOTE_KEPT_NAMED_AGAIN, "names a content once more that was taken")                         \
    X(REMOTE_LATE_OVERTAKEN, "goes on with what comes behind what waits for its queue")

/* Those of what is sent again to the next master of a mirrored queue. */
#define MUTATIONS_LANE(X)                                                                          \
    X(LANE_NOT_SENT_AGAIN, "does not send again what its master took with it")                     \
    X(LANE_NEW_NUMBER, "sends a message again by another number")                                  \
    X(LANE_LAST_FIRST, "sends again what was published last before what was first")                \
    X(LANE_MOVED_CONFIRMED, "takes the answer of who is no master for a confirm")                  \
    X(LANE_LATE_ANSWER_COUNTS, "takes the late answer of a former master for the present one's")   \
    X(LANE_REFUSAL_CONFIRMED, "confirms a message that its queue has refused")                     \
    X(LANE_EXPIRED_CONFIRMED, "confirms what found no master in time")                             \
    X(LANE_BOUND_IGNORED, "lets publishers go on though too much is kept")                         \
    X(LANE_LOOSE_FORGOTTEN, "forgets what nobody waits for before its master has read it")         \
    X(LANE_LOSS_NOT_TOLD, "does not notice that what was said is lost with its node")

#define MUTATIONS(X)                                                                               \
    MUTATIONS_LANE(X)                                                                              \
    MUTATIONS_GOSSIP(X)                                                                            \
    MUTATIONS_RAFT(X)                                                                              \
    MUTATIONS_DISK(X)                                                                              \
    MUTATIONS_META(X)                                                                              \
    MUTATIONS_CLUSTER(X)                                                                           \
    MUTATIONS_GRANT(X)                                                                             \
    MUTATIONS_MIRROR(X)                                                                            \
    MUTATIONS_HAND(X)                                                                              \
    MUTATIONS_REMOTE(X)                                                                            \
    X(NO_SYNC, "says that a group is durable when it is written, not when it is synced")           \
    X(IGNORE_FAILED_SYNC, "takes a failed sync for a good one")                                    \
    X(SYNC_OPEN_ONLY, "syncs the last segment of a group, not those before it")                    \
    X(BATCH_SAYS_WRITTEN, "has a batch call durable what was only written before it")              \
    X(HEADER_NOT_SYNCED, "names a segment whose header may not be on disk")                        \
    X(NAME_NOT_SYNCED, "writes to a segment whose name may not be on disk")                        \
    X(CHECK_WITHOUT_SALT, "lets stale octets of a recycled segment pass for records")              \
    X(RECOVERY_NOT_SYNCED, "builds on what was read without having it synced")                     \
    X(RECOVERY_NOT_REWRITTEN, "syncs what was read, though an earlier sync of it may have failed") \
    X(KEEP_BEHIND_TORN, "counts what was never safe also behind a torn place")                     \
    X(TAIL_NOT_ENDED, "leaves a torn tail, which later looks like lost data")                      \
    X(CUT_AT_HOLE, "drops what stands behind a hole")                                              \
    X(OLDER_RECORD_COUNTS, "takes the older of two records of a position")                         \
    X(POSITIONS_AGAIN, "gives positions again of which only settlements are left")                 \
    X(AGAIN_IGNORED, "lets what was settled before count for a message that came again")           \
    X(AGAIN_IN_SEGMENT_ALONE, "lets what older segments settle count for what came again")         \
    X(AGAIN_OUTLIVES_SETTLED, "takes what came again and was settled behind that for alive")       \
    X(AGAIN_KEEPS_RETURNS, "counts returns of the message that was at a position before")          \
    X(AGAIN_NOT_MOVED, "moves what came again as if nothing had been settled there")               \
    X(CUT_NOT_SETTLED, "takes what was cut off for alive")                                         \
    X(CUT_KEEPS_NEXT, "goes on behind what was cut off")                                           \
    X(MARK_MOVES_COPY, "lets marks that run ahead say how far a copy is whole")                    \
    X(EPOCH_NOT_CARRIED, "gives a segment up with a queue's epochs and producers")                 \
    X(NUMBERS_BEFORE_EPOCH, "counts messages of producers that stand before an epoch")             \
    X(NUMBERS_BEHIND_EPOCH, "forgets messages of producers that stand behind an epoch")            \
    X(RECYCLED_EARLY, "gives a segment up before what was moved out of it is synced")              \
    X(STATE_NOT_CARRIED, "gives a segment up with settlements that still matter")                  \
    X(RECYCLED_NOT_SYNCED, "uses a segment again before its old name is gone for good")            \
    X(READERS_NOT_AWAITED, "gives a segment up while messages are read from it")                   \
    X(RETURNS_FORGOTTEN, "forgets after a restart how often messages came back")                   \
    X(RETURNS_NOT_CARRIED, "gives a segment up with the counts of what came back")                 \
    X(IGNORE_FAILED_WRITE, "takes a failed write for a good one")                                  \
    X(CLOSED_WITH_THE_REST, "says that it was closed in order before all else is synced")          \
    X(UNSAFE_COMES_BACK, "leaves segments behind the journal's new end, which count again later")  \
    X(MARK_AHEAD_NEVER, "after a crash believes marks that say what was handed out long ago")      \
    X(MARK_AHEAD_ALWAYS, "after an orderly end believes marks that run ahead")                     \
    X(INDEX_DAMAGE_BELIEVED, "believes an index file whose checks are wrong")                      \
    X(INDEX_STRANGER_BELIEVED, "believes an index file of another segment, or of another life")    \
    X(INDEX_NOT_MADE_AGAIN, "gives up when a list in an index file cannot be read")                \
    X(RUN_OVER_SETTLED, "takes messages for a run though some of them are settled")                \
    X(TRANSIENT_COMES_BACK, "keeps what was on disk only because memory was short")                \
    X(READ_BEFORE_WRITTEN, "reads a message from where it is not written yet")                     \
    X(LARGE_NOT_SYNCED, "says that a large message's file is there before it is synced")           \
    X(LARGE_NAME_NOT_SYNCED, "says that a large message's file is there before its name is")       \
    X(LARGE_WRITE_NOT_JUDGED, "takes a failed write of a large message's file for a good one")     \
    X(LARGE_UNPROVEN_COUNTS, "takes a large message for one that was promised though it was not")  \
    X(LARGE_PROOF_NOT_CARRIED, "gives a segment up that says which large files are there")         \
    X(LARGE_MOVED_AS_SAFE, "says of a large message that is moved that its file is there")         \
    X(LARGE_IDS_AGAIN, "gives the numbers of large messages' files again")                         \
    X(LARGE_REMOVED_EARLY, "removes a large message's file before its settlement is synced")       \
    X(LETTER_SETTLED_FIRST, "settles a dead message before its dead letter is written")            \
    X(LETTER_NOT_AWAITED, "settles a dead message before other shards have its dead letter")       \
    X(REFUSED_CONFIRMED, "confirms a message that its queue has refused")                          \
    X(EXPIRY_NOT_WRITTEN, "forgets after a restart when messages expire")                          \
    X(EXPIRED_HANDED_OUT, "hands out what has expired")                                            \
    X(CONFIRMED_EARLY, "confirms before what it confirms is durable")                              \
    X(FENCE_EARLY, "says that something is settled for good before that is durable")               \
    X(MARK_NOT_AWAITED, "hands messages out before the journal knows that they may be shown")      \
    X(MARK_COUNTS_VOIDS, "takes positions that nobody has for messages that are to come")          \
    X(MARK_NOT_CARRIED, "gives a segment up with the marks of what was handed out")

enum mutation {
#define X(name, text) MUTATION_##name,
    MUTATIONS(X)
#undef X
        MUTATION_COUNT
};

#ifdef SIM_MUTATIONS
bool mutation_is_on(enum mutation m);
#define MUTATION(name) mutation_is_on(MUTATION_##name)
#else
#define MUTATION(name) false
#endif

#endif
