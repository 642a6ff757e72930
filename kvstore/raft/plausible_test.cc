// What a peer cannot truly say, one rule at a time, to a member of three that has a log; and that what is refused would
// else have ended it.
#include "kvstore/raft/plausible.h"

#include <gtest/gtest.h>

#include <functional>
#include <utility>

namespace kvstore::raft {
namespace {

constexpr NodeId kSelf = 1, kPeer = 2, kOther = 3;
constexpr uint64_t kTerm = 5, kLast = 8, kCommitted = 6;

Entry At(uint64_t index, uint64_t term, EntryType type = EntryType::kNormal) {
  return {.type = type, .term = term, .index = index, .data = std::make_shared<const std::string>("x")};
}

// A follower of nobody yet: entries 1..8 of terms 1 to 3, committed to 6, term 5.
struct Member {
  Member() {
    storage.SetConfState({.voters = {kSelf, kPeer, kOther}});
    Entries entries;
    for (uint64_t i = 1; i <= kLast; ++i) entries.push_back(At(i, TermAt(i)));
    storage.Append(entries);
    storage.SetHardState({.term = kTerm, .vote = kNone, .commit = kCommitted});
    core = std::make_unique<Raft>(Options{.id = kSelf, .storage = &storage, .applied = kCommitted}, base::Random(1));
  }
  static uint64_t TermAt(uint64_t index) { return index <= 3 ? 1 : index <= 6 ? 2 : 3; }
  void Lead() {
    (void)core->Campaign();
    Turn();
    for (NodeId id : {kPeer, kOther}) Say({.type = MessageType::kPreVoteResp, .from = id, .term = core->term() + 1});
    for (NodeId id : {kPeer, kOther}) Say({.type = MessageType::kVoteResp, .from = id, .term = core->term()});
    ASSERT_EQ(core->role(), Role::kLeader);
  }
  void Say(Message m) {
    m.to = kSelf;
    ASSERT_TRUE(CheckPeerMessage(m, m.from, *core).ok());
    (void)core->Receive(std::move(m));
    Turn();
  }
  // Storage is quick.
  void Turn() {
    while (core->HasReady()) {
      Ready ready = core->TakeReady();
      for (Message& m : ready.messages) {
        if (m.to != kLocalAppendThread && m.to != kLocalApplyThread) continue;
        if (m.to == kLocalAppendThread) storage.Append(m.entries);
        for (Message& r : m.responses) {
          if (r.to == kSelf) (void)core->Step(std::move(r));
        }
      }
    }
  }
  base::Status Check(const Message& m, NodeId sender = kPeer) const { return CheckPeerMessage(m, sender, *core); }

  MemoryStorage storage;
  std::unique_ptr<Raft> core;
};

Message Of(MessageType type) { return {.type = type, .to = kSelf, .from = kPeer, .term = kTerm}; }

Message Append(uint64_t index, uint64_t log_term, Entries entries) {
  Message m = Of(MessageType::kApp);
  m.index = index;
  m.log_term = log_term;
  m.entries = std::move(entries);
  m.commit = kCommitted;
  return m;
}

Message SnapshotOf(SnapshotMeta meta) {
  Message m = Of(MessageType::kSnap);
  auto s = std::make_shared<Snapshot>();
  s->meta = std::move(meta);
  m.snapshot = std::move(s);
  return m;
}

void Refused(const Member& member, const Message& m, std::string_view why, NodeId sender = kPeer) {
  base::Status s = member.Check(m, sender);
  EXPECT_EQ(s.code(), base::Code::kDataLoss) << MessageTypeName(m.type) << " should be refused: " << why;
  EXPECT_NE(s.message().find(why), std::string_view::npos) << s.ToString();
}

TEST(Plausible, WhatCorrectMembersSayPasses) {
  Member m;
  EXPECT_TRUE(m.Check(Append(8, 3, {At(9, 4), At(10, 5)})).ok());
  EXPECT_TRUE(m.Check(Append(6, 2, {At(7, 4)})).ok()) << "what is not committed may be replaced";
  EXPECT_TRUE(m.Check(Append(20, 5, {At(21, 5)})).ok()) << "it is to be told what is missing";
  EXPECT_TRUE(m.Check(Append(0, 0, {At(1, 1), At(2, 1)})).ok()) << "what comes again";
  Message beat = Of(MessageType::kHeartbeat);
  beat.commit = kLast;
  EXPECT_TRUE(m.Check(beat).ok());
  Message vote = Of(MessageType::kVote);
  vote.term = 7;
  vote.log_term = 6;
  vote.index = 100;
  EXPECT_TRUE(m.Check(vote).ok());
  EXPECT_TRUE(m.Check(SnapshotOf({.conf_state = {.voters = {1, 2, 3}}, .index = 50, .term = 4})).ok());
  // In another's name: it was handed on by who led until now.
  Message read{.type = MessageType::kReadIndex, .to = kSelf, .from = kOther, .entries = {{}}};
  EXPECT_TRUE(m.Check(read).ok());
  // Of an earlier term: whatever it says, nobody listens.
  Message stale = Append(6, 1, {At(7, 1)});
  stale.term = 4;
  EXPECT_TRUE(m.Check(stale).ok());
}

TEST(Plausible, WhoSpeaks) {
  Member m;
  Refused(m, Of(MessageType::kHeartbeat), "sent by nobody", kNone);
  Refused(m, Of(MessageType::kHeartbeat), "another member than its sender", kOther);
  Refused(m, Of(MessageType::kHeartbeat), "sent by nobody", kSelf);
  Message m2 = Of(MessageType::kVote);
  m2.to = kOther;
  Refused(m, m2, "for another member");
  // These are where storage work goes: an answer to them would be taken for such.
  for (NodeId id : {kNone, kLocalAppendThread, kLocalApplyThread}) {
    Message read{.type = MessageType::kReadIndex, .to = kSelf, .from = id, .entries = {{}}};
    Refused(m, read, "from nobody");
  }
  for (MessageType t : {MessageType::kHup, MessageType::kBeat, MessageType::kStorageAppendResp,
                        MessageType::kStorageApplyResp, MessageType::kForgetLeader, MessageType::kUnreachable}) {
    Refused(m, Of(t), "tells itself");
  }
}

TEST(Plausible, TermsAndIndexesThatCannotBe) {
  Member m;
  for (uint64_t term : {uint64_t{0}, kTerm + kMaxTermJump + 1, UINT64_MAX}) {
    Message beat = Of(MessageType::kHeartbeat);
    beat.term = term;
    Refused(m, beat, "a term out of range");
  }
  Message ahead = Append(8, 6, {});
  Refused(m, ahead, "later term than the message");
  Refused(m, Append(0, 1, {}), "before all entries");
  Refused(m, Append(UINT64_MAX, 3, {At(0, 3)}), "an index out of range");
  Refused(m, Append(kMaxIndex, 3, {At(kMaxIndex + 1, 3)}), "an index out of range");
  Message proposal{.type = MessageType::kProp, .to = kSelf, .from = kPeer, .term = 5, .entries = {{}}};
  Refused(m, proposal, "has no term");
  Message vote = Of(MessageType::kVote);
  vote.context.assign(kMaxContextBytes + 1, 'x');
  Refused(m, vote, "a context too long");
}

TEST(Plausible, EntriesThatCannotBe) {
  Member m;
  Refused(m, Append(8, 3, {At(9, 4), At(11, 4)}), "do not follow one another");
  Refused(m, Append(8, 3, {At(5, 4)}), "do not follow one another");
  Refused(m, Append(8, 3, {At(9, 2)}), "out of order");
  Refused(m, Append(8, 3, {At(9, 0)}), "out of order");
  Refused(m, Append(8, 3, {At(9, 6)}), "out of order");
  Message beat = Of(MessageType::kHeartbeat);
  beat.entries = {At(9, 4)};
  Refused(m, beat, "has no entries");
  Message nothing{.type = MessageType::kProp, .to = kSelf, .from = kPeer};
  Refused(m, nothing, "proposes nothing");
  nothing.entries = {At(0, 0, EntryType::kConfChange), At(0, 0)};
  Refused(m, nothing, "by itself");
  Message read{.type = MessageType::kReadIndex, .to = kSelf, .from = kPeer};
  Refused(m, read, "of one read");
}

TEST(Plausible, WhatContradictsTheCommitted) {
  Member m;
  Message beat = Of(MessageType::kHeartbeat);
  beat.commit = kLast + 1;
  Refused(m, beat, "what this member does not have");
  Refused(m, Append(6, 3, {}), "contradicts");
  Refused(m, Append(3, 1, {At(4, 3)}), "contradicts");
  Refused(m, SnapshotOf({.conf_state = {.voters = {1, 2}}, .index = 5, .term = 3}), "contradicts");
  Refused(m, SnapshotOf({.conf_state = {.voters = {1, 2}}, .index = 7, .term = 1}), "of an older term");
}

TEST(Plausible, TwoLeadersOfOneTerm) {
  Member m;
  m.Say(Of(MessageType::kHeartbeat));
  ASSERT_EQ(m.core->leader(), kPeer);
  Message other = Of(MessageType::kHeartbeat);
  other.from = kOther;
  Refused(m, other, "two leaders", kOther);
  other.type = MessageType::kTimeoutNow;
  Refused(m, other, "two leaders", kOther);
  other.term = kTerm + 1;
  EXPECT_TRUE(m.Check(other, kOther).ok());
}

TEST(Plausible, AnswersToALeader) {
  Member m;
  m.Lead();
  Message answer = Of(MessageType::kAppResp);
  answer.term = m.core->term();
  answer.index = m.core->log().LastIndex();
  EXPECT_TRUE(m.Check(answer).ok());
  ++answer.index;
  Refused(m, answer, "more than this leader");
  answer.index = 3;
  answer.reject = true;
  answer.reject_hint = 4;
  Refused(m, answer, "beyond what it refuses");
  Message beat = Of(MessageType::kHeartbeatResp);
  beat.term = m.core->term();
  beat.context.assign(8, '\x7f');
  Refused(m, beat, "was not asked");
  Message rival = Of(MessageType::kApp);
  rival.term = m.core->term();
  Refused(m, rival, "two leaders");
}

TEST(Plausible, Snapshots) {
  Member m;
  ConfState good{.voters = {1, 2, 3}, .learners = {4}};
  Refused(m, Of(MessageType::kSnap), "without a snapshot");
  Message beat = SnapshotOf({.conf_state = good, .index = 50, .term = 4});
  beat.type = MessageType::kHeartbeat;
  Refused(m, beat, "with a snapshot");
  Refused(m, SnapshotOf({.conf_state = good, .index = 0, .term = 4}), "an index out of range");
  Refused(m, SnapshotOf({.conf_state = good, .index = UINT64_MAX, .term = 4}), "an index out of range");
  Refused(m, SnapshotOf({.conf_state = good, .index = 50, .term = 6}), "a term out of range");
  const std::pair<ConfState, std::string_view> bad[] = {
      {{}, "without voters"},
      {{.voters = {1, 1}}, "twice"},
      {{.voters = {0}}, "nobody"},
      {{.voters = {1, kLocalAppendThread}}, "nobody"},
      {{.voters = {1}, .learners = {1}}, "a learner that votes"},
      {{.voters = {1}, .learners_next = {2}}, "does not vote"},
      {{.voters = {1}, .auto_leave = true}, "not in"},
      {{.voters = std::vector<NodeId>(kMaxMembers + 1, 7)}, "too large"},
  };
  for (const auto& [conf, why] : bad) {
    Refused(m, SnapshotOf({.conf_state = conf, .index = 50, .term = 4}), why);
  }
  EXPECT_TRUE(
      CheckConfState({.voters = {1, 2}, .voters_outgoing = {2, 3}, .learners_next = {3}, .auto_leave = true}).ok());
}

}  // namespace
}  // namespace kvstore::raft
