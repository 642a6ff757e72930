// For fuzzers: a core of three members that hears what they make up, through the door that peers come through, with
// storage and a state machine that do their work at once. Whatever passes the door must leave it whole.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kvstore/raft/plausible.h"
#include "kvstore/wal/codec.h"

namespace kvstore::wal {

class FuzzMember {
 public:
  static constexpr raft::NodeId kSelf = 1, kPeer = 2, kOther = 3;

  // `leads`: else it follows nobody yet.
  explicit FuzzMember(bool leads) {
    storage_.SetConfState({.voters = {kSelf, kPeer, kOther}});
    raft::Entries log;
    for (uint64_t i = 1; i <= 8; ++i) log.push_back({.term = i <= 3 ? 1u : 2u, .index = i});
    storage_.Append(log);
    storage_.SetHardState({.term = 3, .vote = raft::kNone, .commit = 5});
    raft::Options options{.id = kSelf, .storage = &storage_, .applied = 5, .commit_in_passing = true};
    core_ = std::make_unique<raft::Raft>(options, base::Random(1));
    if (!leads) return;
    (void)core_->Campaign();
    Turn();
    for (auto type : {raft::MessageType::kPreVoteResp, raft::MessageType::kVoteResp}) {
      uint64_t term = core_->term() + (type == raft::MessageType::kPreVoteResp ? 1 : 0);
      for (raft::NodeId id : {kPeer, kOther}) Hear({.type = type, .to = kSelf, .from = id, .term = term}, id);
    }
    CHECK(core_->role() == raft::Role::kLeader);
  }

  // `near`: its numbers are brought near to those of the member, where rules begin and end.
  void Hear(raft::Message m, raft::NodeId sender, bool near = false) {
    if (near) Bring(m);
    if (!raft::CheckPeerMessage(m, sender, *core_).ok()) return;
    if (m.type == raft::MessageType::kProp && m.entries[0].type != raft::EntryType::kNormal) {
      auto change = DecodeConfChange(m.entries[0]);
      if (!change) return;
      m.change = std::make_shared<const raft::ConfChange>(std::move(*change));
    }
    (void)core_->Receive(std::move(m));
    Turn();
  }
  void Tick() {
    core_->Tick();
    Turn();
  }
  const raft::Raft& core() const { return *core_; }

 private:
  static void Bring(raft::Message& m) {
    m.to = kSelf;
    m.from = 1 + m.from % 4;
    if (m.term != 0) m.term = 1 + m.term % 16;
    m.log_term %= 16;
    for (uint64_t* n : {&m.index, &m.commit, &m.reject_hint}) *n %= 32;
    uint64_t at = m.index;
    for (raft::Entry& e : m.entries) {
      e.term %= 16;
      e.index = ++at;
    }
    if (!m.snapshot) return;
    auto near = std::make_shared<raft::Snapshot>(*m.snapshot);
    near->meta.index %= 64;
    near->meta.term %= 16;
    for (auto* ids : {&near->meta.conf_state.voters, &near->meta.conf_state.learners}) {
      for (raft::NodeId& id : *ids) id = 1 + id % 6;
    }
    m.snapshot = std::move(near);
  }

  void Turn() {
    for (int i = 0; core_->HasReady() && i < 100; ++i) {
      raft::Ready ready = core_->TakeReady();
      for (raft::Message& m : ready.messages) {
        if (m.to == raft::kLocalAppendThread) Append(m);
        if (m.to == raft::kLocalApplyThread) Apply(m);
      }
    }
  }
  void Append(raft::Message& m) {
    if (m.snapshot) storage_.Restore(m.snapshot);
    storage_.Append(m.entries);
    Answer(m);
  }
  void Apply(raft::Message& m) {
    for (const raft::Entry& e : m.entries) {
      if (e.type == raft::EntryType::kNormal) continue;
      auto change = DecodeConfChange(e);
      if (!change || !core_->ApplyConfChange(*change)) (void)core_->ApplyConfChange({.changes = {{}}});
    }
    uint64_t applied = m.entries.back().index;
    Answer(m);
    if (applied % 4 == 0) storage_.Compact(applied);
  }
  void Answer(raft::Message& m) {
    for (raft::Message& r : m.responses) {
      if (r.to == kSelf) (void)core_->Step(std::move(r));
    }
  }

  raft::MemoryStorage storage_;
  std::unique_ptr<raft::Raft> core_;
};

}  // namespace kvstore::wal
