// What the tests of single parts stand on: a simulated disk, a store whose checkpoint stands at entry 1, a core that
// nobody drives but the test. This member is 1. Only tests include this.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kvstore/replica/core.h"
#include "kvstore/replica/testing_member.h"

namespace kvstore::replica {

class TestGround {
 public:
  // The members, who all vote.
  explicit TestGround(std::vector<raft::NodeId> voters = {1}) { Open(std::move(voters)); }

  // The leader is said to be `id`, in a term later than the last.
  void Follow(raft::NodeId id) {
    ASSERT_TRUE(core->raft()
                    .Receive({.type = raft::MessageType::kHeartbeat, .to = 1, .from = id, .term = ++term, .commit = 1})
                    .ok());
    Drain();
  }
  // This member leads; for a cluster of one.
  void Lead() {
    ASSERT_TRUE(core->raft().Campaign().ok());
    Drain();
    ASSERT_TRUE(core->is_leader());
  }
  // Does what the lanes would do, at once, but for applying; what is for peers.
  std::vector<raft::Message> Drain() {
    std::vector<raft::Message> peers;
    while (core->raft().HasReady()) {
      raft::Ready rd = core->raft().TakeReady();
      for (auto& s : rd.read_states) read_states.push_back(std::move(s));
      for (raft::Message& m : rd.messages) {
        if (m.to == raft::kLocalApplyThread) continue;
        if (m.to == raft::kLocalAppendThread) {
          core->storage().Append(m.entries);
          if (m.term != 0) core->storage().SetHardState({m.term, m.vote, m.commit});
          for (raft::Message& r : m.responses) Deliver(std::move(r), peers);
        } else {
          Deliver(std::move(m), peers);
        }
      }
    }
    return peers;
  }
  static raft::Entry Entry(uint64_t index, std::string bytes) {
    return {.term = 1, .index = index, .data = std::make_shared<const std::string>(std::move(bytes))};
  }
  template <class T>
  std::optional<T> Await(base::Task<T> task) {
    return replica::Await(executor, std::move(task));
  }

  base::testing::SimExecutor executor{1};
  base::testing::SimDisk disk{1};
  HeldPool log_pool{executor}, pool{executor};
  Observers observers;
  Shared shared{{executor, disk, log_pool, pool}, Settings(), base::Random(1), observers};
  std::unique_ptr<Core> core;
  uint64_t term = 1;
  int turns = 0;  // of the loop lane that the core asked for
  std::vector<raft::ReadState> read_states;

 private:
  static Options Settings() {
    Options o;
    o.data_dir = "data";
    o.wal_dir = "data/member/wal";
    o.store.segments = {.segment_bytes = 32 << 10, .tail_bytes = 2 << 10};
    o.wal.segment_bytes = 32 << 10;
    o.snapshot_count = 100;
    return o;
  }
  void Open(std::vector<raft::NodeId> voters) {
    ASSERT_TRUE(disk.MakeDirectories("data/member/snap").ok());
    disk.SyncAll();
    auto store = mvcc::Store::Open(disk, "data/member/kv", shared.options.store);
    ASSERT_TRUE(store.has_value());
    auto checkpoint = (*store)->PrepareCheckpoint({1, 1, wal::EncodeConfState({.voters = std::move(voters)})});
    ASSERT_TRUE(checkpoint.has_value() && checkpoint->Run().ok());
    (*store)->FinishCheckpoint(*checkpoint);
    shared.store = std::move(*store);
    shared.applier = std::make_unique<mvcc::Applier>(*shared.store);
    shared.member_id = 1;
    core = std::make_unique<Core>(shared, wal::Contents{.hard_state = {.term = 1, .commit = 1}});
    core->on_turn = [this] { ++turns; };
    shared.life.Start();
  }
  void Deliver(raft::Message m, std::vector<raft::Message>& peers) {
    if (m.to == 1) {
      (void)core->raft().Step(std::move(m));
    } else {
      peers.push_back(std::move(m));
    }
  }
};

}  // namespace kvstore::replica
