// The members of a simulated cluster: what each has for itself (disk, clock, threads, settings), and their lives: they
// start, lose power and come back, sometimes with other settings, and their disks fail.
// Owned by the run; one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/testing/sim_block_files.h"
#include "base/testing/sim_disk.h"
#include "kvstore/replica/replica.h"
#include "tests/sim/raft_world.h"
#include "tests/sim/sim_environment.h"

namespace tests::sim {

// Clocks, against true time.
constexpr double kSlowestClock = 0.8, kFastestClock = 1.25;

// A member in its present life.
struct Door {
  kvstore::replica::Replica* replica = nullptr;  // while *alive
  std::shared_ptr<const bool> alive;
  base::Executor* executor = nullptr;  // with the member's own clock
  explicit operator bool() const { return alive && *alive; }
};

struct SimMember {
  SimMember(int number, uint64_t seed, base::testing::SimExecutor& real, double rate)
      : number(number), clock(real, rate), disk(seed), blocks(clock, disk, base::Random(seed)) {}
  uint64_t address() const { return static_cast<uint64_t>(number); }  // in the network
  Door door() { return {replica.get(), alive, &clock}; }

  const int number;  // from 1
  SkewedExecutor clock;
  base::testing::SimDisk disk;
  base::testing::SimBlockFiles blocks;
  SimPool pool;
  kvstore::replica::Options options;
  kvstore::raft::NodeId id = 0;
  std::unique_ptr<kvstore::replica::Replica> replica;  // none while the power is off
  std::shared_ptr<bool> alive = std::make_shared<bool>(false);
  uint64_t life = 0;  // counts starts and ends
  bool gone = false;  // removed from the cluster for good
};

class SimMembers {
 public:
  explicit SimMembers(RaftWorld& world) : world_(world) {}

  // Who lives with a member: called when it is about to start, when it has started, and when it ends.
  std::function<void(SimMember&)> on_opening, on_open, on_shut;

  // The members that the cluster begins with; none is open yet.
  void Found(int size);
  // One more, still without a place in the cluster.
  SimMember& Add(const std::string& token);
  static std::string Url(int number) { return "http://m" + std::to_string(number) + ":2380"; }

  const std::vector<std::unique_ptr<SimMember>>& all() const { return members_; }
  SimMember& At(int number) { return *members_[static_cast<size_t>(number - 1)]; }
  SimMember* Find(kvstore::raft::NodeId id) const;
  SimMember& Random() { return *members_[world_.random.Below(members_.size())]; }
  // One that is there, or none.
  SimMember* AnyOpen();
  Door AnyDoor() {
    SimMember* m = AnyOpen();
    return m == nullptr ? Door() : m->door();
  }

  void Open(SimMember& m);
  void Shut(SimMember& m);
  void LosePower(SimMember& m);
  void LosePower(SimMember& m, base::Duration dark);
  // Errors from now on, until the member is started anew or space is found.
  void SpoilDisk(SimMember& m);
  void HealDisk(SimMember& m);

 private:
  void PickSettings(kvstore::replica::Options& o);
  void ForgetVote(SimMember& m);
  base::Result<std::unique_ptr<kvstore::replica::Replica>> OpenReplica(SimMember& m);

  RaftWorld& world_;
  kvstore::replica::Options settings_;
  double slowest_ = 1, fastest_ = 1;  // clocks, against true time
  std::vector<std::unique_ptr<SimMember>> members_;
};

}  // namespace tests::sim
