#include "tests/sim/raft_members.h"

#include <map>

#include "kvstore/mvcc/member_id.h"
#include "kvstore/wal/wal.h"

namespace tests::sim {

using namespace kvstore;
using std::chrono::milliseconds;

namespace {

bool Failing(const base::testing::SimDisk& d) {
  return d.faults.read_error_one_in != 0 || d.faults.write_error_one_in != 0 || d.faults.sync_error_one_in != 0 ||
         d.faults.capacity != UINT64_MAX;
}

}  // namespace

void SimMembers::Found(int size) {
  settings_.data_dir = "d";
  settings_.cluster_token = "sim";
  settings_.strict_reconfig_check = false;
  PickSettings(settings_);
  if (world_.random.OneIn(2)) slowest_ = kSlowestClock, fastest_ = kFastestClock;  // clocks that do not agree
  std::map<std::string, std::vector<std::string>> initial;
  for (int n = 1; n <= size; ++n) initial["m" + std::to_string(n)] = {Url(n)};
  for (int n = 1; n <= size; ++n) Add(settings_.cluster_token).options.initial_cluster = initial;
}

SimMember& SimMembers::Add(const std::string& token) {
  int number = static_cast<int>(members_.size()) + 1;
  uint64_t seed = world_.random.Next();
  double rate = slowest_ + (fastest_ - slowest_) * world_.random.Unit();
  members_.push_back(std::make_unique<SimMember>(number, seed, world_.executor, rate));
  SimMember& m = *members_.back();
  m.options = settings_;
  m.options.name = "m" + std::to_string(number);
  m.options.peer_urls = {Url(number)};
  m.options.client_urls = {};
  m.id = mvcc::MemberId(m.options.peer_urls, token);
  HealDisk(m);
  return m;
}

SimMember* SimMembers::Find(raft::NodeId id) const {
  for (auto& m : members_) {
    if (m->id == id) return m.get();
  }
  return nullptr;
}

SimMember* SimMembers::AnyOpen() {
  SimMember& m = Random();
  return m.replica && !m.gone ? &m : nullptr;
}

// What may differ from one version or configuration to the next.
void SimMembers::PickSettings(replica::Options& o) {
  base::Random& random = world_.random;
  bool votes_matter = world_.Broken(SeededBug::kDoubleVote) || world_.Broken(SeededBug::kLostHardState);
  o.snapshot_count = 10 + random.Below(40);
  o.catch_up_entries = random.Below(30);
  o.pre_vote = !votes_matter && !random.OneIn(4);
  o.wal.segment_bytes = 4096u << random.Below(3);
  o.store.segments = {.segment_bytes = 2048u << random.Below(4),
                      .tail_bytes = 256u << random.Below(4),
                      .sync_bytes = 512u << random.Below(4)};
}

base::Result<std::unique_ptr<replica::Replica>> SimMembers::OpenReplica(SimMember& m) {
  return replica::Replica::Open({m.clock, m.disk, m.pool, m.pool}, m.options, world_.random.Fork());
}

void SimMembers::Open(SimMember& m) {
  ++m.life;
  if (m.gone) return;
  m.options.wal.blocks = (m.address() + m.life) % 2 == 0 ? &m.blocks : nullptr;
  if (m.life > 2 && world_.random.OneIn(4)) {
    ++world_.figures["restarts with other settings"];
    PickSettings(m.options);
  }
  auto r = OpenReplica(m);
  if (!r && Failing(m.disk)) {
    m.disk.Crash();
    HealDisk(m);
    r = OpenReplica(m);
  }
  if (!r) {
    world_.judge.Violate("member " + std::to_string(m.number) + " does not start: " + r.error().ToString());
    return;
  }
  m.replica = std::move(*r);
  m.alive = std::make_shared<bool>(true);
  m.replica->on_failure = [this, &m](const base::Status&) {
    world_.executor.Post([this, &m, life = m.life] {
      if (m.life == life) LosePower(m);
    });
  };
  m.replica->on_removed = [this, &m] {
    m.gone = true;
    world_.executor.Post([this, &m] { Shut(m); });
  };
  on_opening(m);
  m.replica->Start();
  on_open(m);
}

void SimMembers::Shut(SimMember& m) {
  *m.alive = false;
  on_shut(m);
  m.replica.reset();
  m.pool.PowerFails();
  ++m.life;
}

void SimMembers::LosePower(SimMember& m) { LosePower(m, milliseconds(world_.random.Below(3000))); }

void SimMembers::LosePower(SimMember& m, base::Duration dark) {
  if (!m.replica) return;
  ++world_.figures["crashes"];
  Shut(m);
  m.disk.Crash();
  HealDisk(m);
  if (world_.Broken(SeededBug::kLostHardState)) ForgetVote(m);
  world_.executor.After(dark, [this, &m, life = m.life] {
    if (m.life == life && !m.gone) Open(m);
  });
}

void SimMembers::ForgetVote(SimMember& m) {
  constexpr const char* kLog = "d/member/wal";
  auto contents = wal::Read(m.disk, kLog, 0);
  if (!contents || contents->entries.empty() || contents->entries.front().index != 1) return;
  if (!m.disk.RemoveAll(kLog).ok()) return;
  auto fresh = wal::Wal::Create(m.disk, kLog, contents->metadata, m.options.wal);
  if (!fresh) return;
  uint64_t term = contents->entries.back().term;
  if (!(*fresh)->Save({.term = term, .commit = contents->hard_state.commit}, contents->entries).ok()) return;
  (void)(*fresh)->Sync();
  m.disk.SyncAll();
}

void SimMembers::HealDisk(SimMember& m) {
  m.disk.faults = {};
  m.disk.faults.ignore_sync = world_.Broken(SeededBug::kSkippedFsync);
}

void SimMembers::SpoilDisk(SimMember& m) {
  base::Random& random = world_.random;
  ++world_.figures["spoiled disks"];
  switch (random.Below(4)) {
    case 0:
      m.disk.faults.sync_error_one_in = 30 + random.Below(100);
      break;
    case 1:
      m.disk.faults.write_error_one_in = 30 + random.Below(200);
      break;
    case 2:
      m.disk.faults.capacity = m.disk.used() + random.Below(30000);
      break;
    default:
      m.disk.faults.read_error_one_in = 200 + random.Below(500);
  }
}

}  // namespace tests::sim
