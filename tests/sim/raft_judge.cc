#include "tests/sim/raft_judge.h"

#include <algorithm>

namespace tests::sim {

using namespace kvstore;

void RaftJudge::Sent(const raft::Message& m) {
  bool from_leader = m.type == raft::MessageType::kApp || m.type == raft::MessageType::kHeartbeat ||
                     m.type == raft::MessageType::kSnap;
  if (from_leader && leaders_.emplace(m.term, m.from).first->second != m.from) {
    Violate("two leaders in term " + std::to_string(m.term));
  }
  if (m.type != raft::MessageType::kApp) return;
  for (const raft::Entry& e : m.entries) {
    auto [it, fresh] = log_.try_emplace({e.index, e.term}, e.bytes());
    if (!fresh && it->second != e.bytes()) Violate("two entries at index " + std::to_string(e.index) + " of one term");
  }
}

bool RaftJudge::Told(Listener& who, const mvcc::WatchItem& item, base::MonoTime now) {
  if (item.canceled) {
    who.told = std::max(who.told, item.compact_revision - 1);
    return false;
  }
  // Bookmarkable: a word of progress means that everything up to its revision has been told.
  if (item.watch_id == mvcc::kProgressWatchId) {
    ++figures_["bookmarks"];
    if (item.revision > who.told) {
      Violate("bookmarkable: " + who.name + " hears of progress to " + std::to_string(item.revision) + " at " +
              std::to_string(who.told));
    }
    return true;
  }
  std::map<int64_t, size_t> sizes;
  for (const mvcc::EventPtr& e : item.events) {
    ++sizes[e->revision.main];
    Heard(who, *e, now);
  }
  // Atomic: all changes of a revision come together.
  for (const auto& [revision, size] : sizes) {
    if (sizes_.try_emplace(revision, size).first->second != size) {
      Violate("atomic: " + who.name + " is told of " + std::to_string(size) + " changes of revision " +
              std::to_string(revision) + " instead of " + std::to_string(sizes_[revision]));
    }
  }
  return true;
}

void RaftJudge::Heard(Listener& who, const mvcc::Event& e, base::MonoTime now) {
  ++figures_["events"];
  int64_t r = e.revision.main;
  Change c{std::string(e.key), std::nullopt};
  if (!e.is_delete) {
    if (auto kv = mvcc::DecodeKeyValue(*e.kv)) c.value = std::string(kv->value);
  }
  std::string place = who.name + " is told of revision " + std::to_string(r) + " after " + std::to_string(who.told);
  if (r < who.told) Violate("ordered: " + place);
  if (r == who.told && e.revision.sub == 0) Violate("unique: " + place);
  if (r > who.told + 1) Violate("reliable, resumable: " + place);
  who.told = std::max(who.told, r);
  auto [it, fresh] = history_.try_emplace({r, e.revision.sub}, c);
  if (!fresh && !(it->second == c)) Violate("members differ at revision " + std::to_string(r));
  if (!fresh || !e.is_delete) return;
  if (auto lease = leased_.find(c.key); lease != leased_.end() && now < lease->second) {
    auto early = std::chrono::duration_cast<std::chrono::milliseconds>(lease->second - now).count();
    Violate("the lease of " + c.key + " ended " + std::to_string(early) + " ms early");
  }
}

void RaftJudge::Written(int64_t floor, int64_t revision, int64_t sub, const std::string& key,
                        const std::string& value) {
  if (revision <= floor) {
    Violate("a write that began after revision " + std::to_string(floor) + " has " + std::to_string(revision));
  }
  acknowledged_.push_back({revision, sub, key, value});
  newest_ = std::max(newest_, revision);
}

void RaftJudge::Answered(int64_t floor, int64_t revision) {
  if (revision < floor) {
    Violate("what began after revision " + std::to_string(floor) + " shows " + std::to_string(revision));
  }
  newest_ = std::max(newest_, revision);
}

void RaftJudge::Seen(int64_t floor, int64_t revision, const std::string& key, const std::optional<std::string>& value) {
  Answered(floor, revision);
  seen_.push_back({revision, key, value});
}

void RaftJudge::CheckAll(int64_t compacted) {
  CheckAcknowledged(compacted);
  CheckReads();
  history::Verdict v = history::CheckLinearizable(operations_, {.time = std::chrono::seconds(20)});
  figures_["operations judged"] += static_cast<double>(operations_.size());
  if (v.answer == history::Answer::kUndecided) ++figures_["histories undecided"];
  if (v.answer == history::Answer::kNotLinearizable) Violate(v.text);
}

void RaftJudge::CheckAcknowledged(int64_t compacted) {
  for (const Acknowledged& a : acknowledged_) {
    auto it = history_.find({a.revision, a.sub});
    if (it == history_.end()) {
      if (a.revision > compacted) return Violate("acknowledged revision " + std::to_string(a.revision) + " is lost");
      continue;
    }
    if (!(it->second == Change{a.key, a.value})) {
      return Violate("acknowledged revision " + std::to_string(a.revision) + " holds something else");
    }
  }
}

// In the order of their revisions, against the state that history makes.
void RaftJudge::CheckReads() {
  std::stable_sort(seen_.begin(), seen_.end(), [](const Look& a, const Look& b) { return a.revision < b.revision; });
  std::map<std::string, std::optional<std::string>> state;
  auto at = history_.begin();
  int64_t expected = 2;
  for (const Look& s : seen_) {
    for (; at != history_.end() && at->first.first <= s.revision; ++at) {
      if (at->first.first > expected) return;  // nobody was told of what lies between: compacted too early
      expected = at->first.first + 1;
      state[at->second.key] = at->second.value;
    }
    if (state[s.key] != s.value) {
      return Violate("a read of " + s.key + " at revision " + std::to_string(s.revision) + " shows " +
                     s.value.value_or("nothing") + " instead of " + state[s.key].value_or("nothing"));
    }
  }
}

}  // namespace tests::sim
