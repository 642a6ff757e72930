// What must hold in every run of a simulated cluster, whatever the faults: judged while it runs, and at its end.
//
//   of members   one leader a term; the same entry under the same index and term
//   of watchers  etcd's guarantees, each by its name in the code: ordered, unique, reliable, atomic, resumable,
//                bookmarkable; and all of them are told the same history
//   of clients   what was acknowledged is in the history; answers respect real time by the revisions they carry;
//                reads show the history at their revision; operations are linearizable without regard to revisions;
//                a lease does not end before its time
//
// Owned by one run; one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "kvstore/mvcc/watch.h"
#include "kvstore/raft/types.h"
#include "tests/sim/history/linearizability.h"
#include "tests/sim/seeds.h"

namespace tests::sim {

// A watcher of everything, through all its streams.
struct Listener {
  std::string name;
  int64_t told = 1;  // the last revision it has heard of
};

class RaftJudge {
 public:
  explicit RaftJudge(Figures& figures) : figures_(figures) {}
  // "" as long as all is well; the first thing that was not.
  const std::string& violation() const { return violation_; }
  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  void Sent(const kvstore::raft::Message& m);
  size_t terms() const { return leaders_.size(); }

  // False when the stream was cancelled because history is compacted: the listener goes on behind that.
  bool Told(Listener& who, const kvstore::mvcc::WatchItem& item, base::MonoTime now);

  // The newest revision that any answer has shown so far: what begins now must see it.
  int64_t newest() const { return newest_; }
  // The answer to a write that began when `floor` was the newest; its place in history is (revision, sub).
  void Written(int64_t floor, int64_t revision, int64_t sub, const std::string& key, const std::string& value);
  // An answer that carries a revision but made none.
  void Answered(int64_t floor, int64_t revision);
  void Seen(int64_t floor, int64_t revision, const std::string& key, const std::optional<std::string>& value);
  void Did(history::Operation op) { operations_.push_back(std::move(op)); }
  // The key of a lease must stand until then.
  void Leased(const std::string& key, base::MonoTime until) { leased_[key] = std::max(leased_[key], until); }

  // `compacted`: up to which revision every member has forgotten.
  void CheckAll(int64_t compacted);

 private:
  struct Change {
    std::string key;
    std::optional<std::string> value;  // none: deleted
    bool operator==(const Change&) const = default;
  };
  struct Acknowledged {
    int64_t revision, sub;
    std::string key, value;
  };
  struct Look {
    int64_t revision;
    std::string key;
    std::optional<std::string> value;
  };
  void Heard(Listener& who, const kvstore::mvcc::Event& e, base::MonoTime now);
  void CheckAcknowledged(int64_t compacted);
  void CheckReads();

  Figures& figures_;
  std::string violation_;
  std::map<uint64_t, kvstore::raft::NodeId> leaders_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> log_;
  std::map<std::pair<int64_t, int64_t>, Change> history_;
  std::map<int64_t, size_t> sizes_;  // how many changes a revision has
  std::vector<Acknowledged> acknowledged_;
  std::vector<Look> seen_;
  std::vector<history::Operation> operations_;
  std::map<std::string, base::MonoTime> leased_;
  int64_t newest_ = 1;
};

}  // namespace tests::sim
