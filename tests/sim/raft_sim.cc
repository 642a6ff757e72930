#include "tests/sim/raft_sim.h"

#include <chrono>
#include <utility>

#include "tests/sim/raft_agreement.h"
#include "tests/sim/raft_clients.h"
#include "tests/sim/raft_mail.h"
#include "tests/sim/raft_members.h"
#include "tests/sim/raft_operator.h"
#include "tests/sim/raft_troubles.h"
#include "tests/sim/raft_watchers.h"
#include "tests/sim/raft_world.h"

namespace tests::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kClients = 4;

class Run {
 public:
  Run(uint64_t seed, const RaftSimOptions& options) : world_(seed, options) {
    members_.on_opening = [this](SimMember& m) { mail_.Connect(m); };
    members_.on_open = [this](SimMember& m) { watchers_.Opened(m); };
    members_.on_shut = [this](SimMember& m) {
      mail_.Disconnect(m);
      watchers_.Shut(m);
    };
    members_.Found(options.members);
  }

  RaftSimResult ToTheEnd() {
    for (auto& m : members_.all()) members_.Open(*m);
    for (int c = 0; c < kClients; ++c) Spawn(clients_.Live(c));
    Spawn(watchers_.Roam());
    if (world_.options.membership && world_.options.members > 1) Spawn(operator_.Live());
    troubles_.Begin();
    for (uint64_t i = 0; i < world_.options.steps && AllIsWell(); ++i) {
      if (!world_.executor.Step()) break;
    }
    Finish();
    world_.executor.Trace(static_cast<uint64_t>(world_.judge.newest()));
    RaftSimResult result{.violation = world_.judge.violation(), .trace = world_.executor.trace_hash()};
    Count();
    // Whoever still waits is told before the members go.
    for (auto& m : members_.all()) members_.Shut(*m);
    world_.executor.RunUntil([this] { return running_ == 0; }, seconds(30));
    result.figures = world_.figures;
    return result;
  }

 private:
  bool AllIsWell() const { return world_.judge.violation().empty(); }
  void Spawn(base::Task<void> task) {
    ++running_;
    base::Spawn(world_.executor, std::move(task), [this] { --running_; });
  }

  void Finish() {
    world_.finishing = true;
    if (!AllIsWell()) return;
    troubles_.End();
    if (!world_.executor.RunUntil([this] { return !AllIsWell() || (running_ == 0 && Settled(members_)); },
                                  seconds(120))) {
      world_.judge.Violate("the members do not agree two minutes after the last fault:" + Describe(members_) +
                           "\n  clients still waiting: " + std::to_string(running_));
    }
    if (!AllIsWell()) return;
    world_.executor.RunFor(milliseconds(10));
    if (std::string different = CompareHashes(members_); !different.empty()) world_.judge.Violate(different);
    world_.judge.CheckAll(CompactedEverywhere(members_));
    world_.figures["elections"] += static_cast<double>(world_.judge.terms());
  }

  void Count() {
    auto& figures = world_.figures;
    figures["messages"] += static_cast<double>(mail_.network().counters().delivered);
    figures["simulated seconds"] += std::chrono::duration<double>(world_.executor.Now().time_since_epoch()).count();
    for (auto& m : members_.all()) figures["disk faults"] += static_cast<double>(m->disk.faults_injected());
  }

  RaftWorld world_;
  SimMembers members_{world_};
  SimMail mail_{world_, members_};
  Watchers watchers_{world_, members_};
  Operator operator_{world_, members_};
  Troubles troubles_{world_, members_, mail_};
  RaftClients clients_{world_, members_};
  int running_ = 0;  // clients, watchers, operators
};

}  // namespace

RaftSimResult RunRaftSim(uint64_t seed, const RaftSimOptions& options) { return Run(seed, options).ToTheEnd(); }

}  // namespace tests::sim
