#include "tests/sim/raft_sim.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/sync.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "base/testing/sim_network.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/replica.h"
#include "kvstore/wire/wire.h"

namespace tests::sim {
namespace {

using base::Context;
using base::Result;
using base::Status;
using base::Task;
using base::testing::SimDisk;
using base::testing::SimExecutor;
using base::testing::SimNetwork;
using namespace kvstore;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kClients = 4;
constexpr uint64_t kKeys = 5;
constexpr base::Duration kRequestTimeout = seconds(2);

// Work and its completion are steps of their own, so that the power can fail between them.
class SimPool final : public base::BlockingPool {
 public:
  void Run(base::Closure work, base::Executor& home, base::Closure done) override {
    home.Post([this, &home, life = life_, w = std::move(work), d = std::move(done)]() mutable {
      if (*life != alive_) return;
      w();
      home.Post([this, life, d = std::move(d)]() mutable {
        if (*life == alive_) d();
      });
    });
  }
  void PowerFails() { life_ = std::make_shared<uint64_t>(++alive_); }

 private:
  uint64_t alive_ = 0;
  std::shared_ptr<uint64_t> life_ = std::make_shared<uint64_t>(0);
};

// What travels: a message, with the database behind it when it is a snapshot; or the word that one has arrived.
struct Packet {
  raft::Message message;
  std::shared_ptr<const std::string> database;
  bool acknowledged = false;
};

class Sim;

class SimTransport final : public replica::Transport {
 public:
  SimTransport(Sim& sim, int self) : sim_(sim), self_(self) {}
  void Send(raft::Message m) override;
  void SendSnapshot(raft::Message m, std::unique_ptr<base::File> database) override;
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime::min(); }
  Task<Result<replica::PeerAnswer>> Ask(Context, raft::NodeId, std::string, std::string) override {
    co_return base::Err(base::Unavailable("not simulated"));
  }

 private:
  Sim& sim_;
  int self_;
};

struct Change {
  std::string key;
  std::optional<std::string> value;  // none: deleted
  bool operator==(const Change&) const = default;
};

struct Node {
  Node(Sim& sim, int number, uint64_t seed) : number(number), disk(seed), transport(sim, number) {}
  int number;
  SimDisk disk;
  SimPool pool;
  SimTransport transport;
  replica::Options options;
  uint64_t id = 0;
  std::unique_ptr<replica::Replica> replica;
  std::unique_ptr<mvcc::WatchStream> watch;
  int64_t told = 1;   // the last revision its watcher has heard of
  uint64_t life = 0;  // counts incarnations
  bool gone = false;  // removed from the cluster for good
  bool watching = false;
};

std::string Fields(uint32_t field, const std::function<void(std::string&)>& fill) {
  std::string inner, out;
  fill(inner);
  wire::PutBytes(out, field, inner);
  return out;
}

class Sim {
 public:
  Sim(uint64_t seed, const RaftSimOptions& options)
      : options_(options), executor_(seed), random_(seed * 0x9e3779b97f4a7c15u + 1), network_(executor_, Faults()) {
    for (int n = 1; n <= options.members; ++n) {
      initial_["m" + std::to_string(n)] = {Url(n)};
    }
    base_.data_dir = "d";
    base_.cluster_token = "sim";
    base_.snapshot_count = 10 + random_.Below(40);
    base_.catch_up_entries = random_.Below(30);
    base_.strict_reconfig_check = false;
    bool votes_matter = options.bug == SeededBug::kDoubleVote || options.bug == SeededBug::kLostHardState;
    base_.pre_vote = !votes_matter && !random_.OneIn(4);
    base_.wal.segment_bytes = 4096u << random_.Below(3);
    base_.store.segments = {.segment_bytes = 2048u << random_.Below(4), .tail_bytes = 256u << random_.Below(4)};
    for (int n = 1; n <= options.members; ++n) {
      Node& node = AddNode();
      node.options.initial_cluster = initial_;
      node.id = replica::MemberId({Url(n)}, base_.cluster_token);
      numbers_[node.id] = n;
    }
  }

  RaftSimResult Run() {
    for (auto& n : nodes_) Open(*n);
    for (int c = 0; c < kClients; ++c) {
      ++running_;
      base::Spawn(executor_, Client(c), [this] { --running_; });
    }
    if (options_.membership && options_.members > 1) {
      ++running_;
      base::Spawn(executor_, Reshaper(), [this] { --running_; });
    }
    NextTrouble();
    for (uint64_t i = 0; i < options_.steps && violation_.empty(); ++i) {
      if (!executor_.Step()) break;
    }
    Finish();
    result_.violation = violation_;
    result_.messages = network_.counters().delivered;
    result_.seconds = std::chrono::duration<double>(executor_.Now().time_since_epoch()).count();
    executor_.Trace(history_.size());
    result_.trace = executor_.trace_hash();
    // Whoever still waits is told before the members go.
    for (auto& n : nodes_) Shut(*n);
    executor_.RunUntil([this] { return running_ == 0; }, seconds(30));
    return result_;
  }

  // ---- the network's ends

  void Carry(int from, raft::Message m, std::shared_ptr<const std::string> database = nullptr) {
    auto to = numbers_.find(m.to);
    if (to == numbers_.end()) return;
    Inspect(m);
    if (options_.bug == SeededBug::kDoubleVote && m.type == raft::MessageType::kVoteResp && m.reject) m.reject = false;
    // The meanest moment to lose power: a vote is on its way.
    if (m.type == raft::MessageType::kVoteResp && !m.reject && !finishing_ &&
        random_.OneIn(options_.bug == SeededBug::kLostHardState ? 2 : 10)) {
      executor_.Post([this, &n = At(from), life = At(from).life] {
        if (n.life == life) Crash(n, milliseconds(random_.Below(50)));
      });
    }
    network_.Send(static_cast<uint64_t>(from), static_cast<uint64_t>(to->second), {std::move(m), std::move(database)});
  }
  Node& At(int number) { return *nodes_[static_cast<size_t>(number - 1)]; }
  SimExecutor& executor() { return executor_; }
  base::Random& random() { return random_; }

  // A snapshot that is not acknowledged in time has failed.
  void AwaitSnapshot(int from, raft::NodeId to) {
    uint64_t life = At(from).life;
    auto key = std::pair(from, to);
    uint64_t number = awaited_[key] = ++next_awaited_;
    executor_.After(seconds(1), [this, from, to, key, life, number] {
      Node& n = At(from);
      auto it = awaited_.find(key);
      if (it == awaited_.end() || it->second != number) return;
      awaited_.erase(it);
      if (n.replica && n.life == life) n.replica->ReportSnapshot(to, true);
    });
  }

 private:
  static std::string Url(int n) { return "http://m" + std::to_string(n) + ":2380"; }
  base::testing::SimNetworkFaults Faults() {
    base::testing::SimNetworkFaults f{.min_delay = std::chrono::microseconds(100 + random_.Below(400))};
    f.max_delay = milliseconds(1 + random_.Below(20));
    if (random_.OneIn(2)) f.loss = 0.05 * random_.Unit();
    if (random_.OneIn(2)) f.duplication = 0.05 * random_.Unit();
    if (random_.OneIn(2)) f.straggler = 0.02 * random_.Unit();
    return f;
  }
  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  // One leader a term; the same entry under the same index and term.
  void Inspect(const raft::Message& m) {
    bool from_leader = m.type == raft::MessageType::kApp || m.type == raft::MessageType::kHeartbeat ||
                       m.type == raft::MessageType::kSnap;
    if (from_leader && leaders_.emplace(m.term, m.from).first->second != m.from) {
      Violate("two leaders in term " + std::to_string(m.term));
    }
    if (m.type != raft::MessageType::kApp) return;
    for (const raft::Entry& e : m.entries) {
      auto [it, fresh] = log_.try_emplace({e.index, e.term}, e.bytes());
      if (!fresh && it->second != e.bytes())
        Violate("two entries at index " + std::to_string(e.index) + " of one term");
    }
  }

  // ---- members

  Node& AddNode() {
    int number = static_cast<int>(nodes_.size()) + 1;
    nodes_.push_back(std::make_unique<Node>(*this, number, random_.Next()));
    Node& n = *nodes_.back();
    n.options = base_;
    n.options.name = "m" + std::to_string(number);
    n.options.peer_urls = {Url(number)};
    n.options.client_urls = {};
    n.disk.faults.ignore_sync = options_.bug == SeededBug::kSkippedFsync;
    return n;
  }

  void Open(Node& n) {
    ++n.life;
    if (n.gone) return;
    auto r = replica::Replica::Open({executor_, n.disk, n.pool, n.pool}, n.options, random_.Fork());
    if (!r) {
      Violate("member " + std::to_string(n.number) + " does not start: " + r.error().ToString());
      return;
    }
    n.replica = std::move(*r);
    n.replica->Attach(n.transport);
    n.replica->on_failure = [this, &n](const Status&) {
      executor_.Post([this, &n, life = n.life] {
        if (n.life == life) Crash(n);
      });
    };
    n.replica->on_removed = [this, &n] {
      n.gone = true;
      executor_.Post([this, &n] { Shut(n); });
    };
    network_.Connect(static_cast<uint64_t>(n.number),
                     [this, &n](uint64_t from, Packet p) { Arrive(n, static_cast<int>(from), std::move(p)); });
    n.replica->Start();
    StartWatch(n);
  }

  void Shut(Node& n) {
    network_.Disconnect(static_cast<uint64_t>(n.number));
    n.watch.reset();
    n.replica.reset();
    n.pool.PowerFails();
    ++n.life;
  }

  void Crash(Node& n) { Crash(n, milliseconds(random_.Below(3000))); }
  void Crash(Node& n, base::Duration dark) {
    if (!n.replica) return;
    ++result_.crashes;
    Shut(n);
    n.disk.Crash();
    if (options_.bug == SeededBug::kLostHardState) ForgetVote(n);
    executor_.After(dark, [this, &n, life = n.life] {
      if (n.life == life && !n.gone) Open(n);
    });
  }

  void ForgetVote(Node& n) {
    auto contents = wal::Read(n.disk, "d/member/wal", 0);
    if (!contents || contents->entries.empty() || contents->entries.front().index != 1) return;
    if (!n.disk.RemoveAll("d/member/wal").ok()) return;
    auto fresh = wal::Wal::Create(n.disk, "d/member/wal", contents->metadata, n.options.wal);
    if (!fresh) return;
    uint64_t term = contents->entries.back().term;
    if (!(*fresh)->Save({.term = term, .commit = contents->hard_state.commit}, contents->entries).ok()) return;
    (void)(*fresh)->Sync();
    n.disk.SyncAll();
  }

  void Arrive(Node& n, int from, Packet p) {
    if (!n.replica) return;
    if (p.acknowledged) {
      if (awaited_.erase({n.number, At(from).id}) > 0) n.replica->ReportSnapshot(At(from).id, false);
      return;
    }
    if (!p.database) {
      (void)n.replica->Receive(std::move(p.message));
      return;
    }
    ++result_.snapshots;
    std::string path = n.replica->IncomingSnapshotPath(p.message.snapshot->meta.index);
    if (!base::WriteFileAtomically(n.disk, path, *p.database).ok()) return;
    (void)n.replica->Receive(std::move(p.message));
    network_.Send(static_cast<uint64_t>(n.number), static_cast<uint64_t>(from), {.acknowledged = true});
  }

  // ---- troubles

  void NextTrouble() {
    executor_.After(milliseconds(50 + random_.Below(1500)), [this] {
      if (finishing_) return;
      Trouble();
      NextTrouble();
    });
  }

  void Trouble() {
    Node& n = *nodes_[random_.Below(nodes_.size())];
    switch (random_.Below(8)) {
      case 0:
      case 1:
        Crash(n);
        break;
      case 2: {
        std::vector<uint64_t> a, b;
        for (auto& m : nodes_) (random_.OneIn(2) ? a : b).push_back(static_cast<uint64_t>(m->number));
        network_.Partition(a, b);
        ++result_.partitions;
        break;
      }
      case 3: {
        std::vector<uint64_t> others;
        for (auto& m : nodes_) {
          if (m.get() != &n) others.push_back(static_cast<uint64_t>(m->number));
        }
        network_.Isolate(static_cast<uint64_t>(n.number), others);
        if (random_.OneIn(2)) network_.CutOneWay(static_cast<uint64_t>(n.number), others.empty() ? 1 : others[0]);
        ++result_.partitions;
        break;
      }
      case 4:
        network_.Heal();
        break;
      case 6:
      case 7: {
        // One link only: two members that do not hear each other, and others who hear both.
        Node& other = *nodes_[random_.Below(nodes_.size())];
        if (&other == &n) break;
        network_.Partition({static_cast<uint64_t>(n.number)}, {static_cast<uint64_t>(other.number)});
        ++result_.partitions;
        break;
      }
      case 5:
        if (n.replica && n.replica->leader() != 0) n.replica->PeerLost(n.replica->leader());
        break;
    }
  }

  // ---- watchers: each member's tells its history, in order and whole

  void StartWatch(Node& n) {
    n.watch = std::make_unique<mvcc::WatchStream>(n.replica->store().watches(), [this, &n, life = n.life] {
      executor_.Post([this, &n, life] {
        if (n.life == life) Listen(n);
      });
    });
    // What it had heard before the power failed it need not hear again, unless the member forgot it.
    int64_t from = n.told + 1 + (options_.bug == SeededBug::kWatchGap && n.life > 1);
    (void)n.watch->Watch({.key = std::string(1, '\0'), .end = std::string(1, '\0'), .start_revision = from});
  }

  void Listen(Node& n) {
    while (auto item = n.watch ? n.watch->Next() : std::nullopt) {
      if (item->canceled) {
        n.told = item->compact_revision - 1;
        executor_.Post([this, &n, life = n.life] {
          if (n.life == life) StartWatch(n);
        });
        return;
      }
      for (const mvcc::EventPtr& e : item->events) Hear(n, *e);
    }
  }

  void Hear(Node& n, const mvcc::Event& e) {
    ++result_.events;
    int64_t r = e.revision.main;
    Change c{std::string(e.key), std::nullopt};
    if (!e.is_delete) {
      if (auto kv = mvcc::DecodeKeyValue(*e.kv)) c.value = std::string(kv->value);
    }
    bool again = r == n.told && e.revision.sub > 0;
    if (r != n.told + 1 && !again) {
      Violate("member " + std::to_string(n.number) + " tells of revision " + std::to_string(r) + " after " +
              std::to_string(n.told));
    }
    n.told = r;
    auto [it, fresh] = history_.try_emplace({r, e.revision.sub}, c);
    if (!fresh && !(it->second == c)) Violate("members differ at revision " + std::to_string(r));
  }

  // ---- clients

  Node* AnyMember() {
    Node& n = *nodes_[random_.Below(nodes_.size())];
    return n.replica && !n.gone ? &n : nullptr;
  }

  Task<void> Client(int number) {
    for (uint64_t i = 0; !finishing_; ++i) {
      (void)co_await base::Sleep(executor_, Context(), milliseconds(random_.Below(60)));
      Node* n = AnyMember();
      if (n == nullptr || finishing_) continue;
      std::string key = "k" + std::to_string(random_.Below(kKeys));
      std::string value = std::to_string(number) + "." + std::to_string(i);
      Context ctx = Context().WithTimeout(executor_, kRequestTimeout);
      switch (random_.Below(12)) {
        case 0:
          co_await Compact(*n, ctx);
          break;
        case 1:
          co_await Write(*n, ctx, key, std::nullopt, 0);
          break;
        case 2:
          co_await Leased(*n, ctx, key, value);
          break;
        case 3:
        case 4:
        case 5:
        case 6:
          co_await Read(*n, ctx, key);
          break;
        default:
          co_await Write(*n, ctx, key, value, 0);
      }
    }
  }

  Task<void> Compact(Node& n, Context ctx) {
    int64_t r = newest_ - static_cast<int64_t>(5 + random_.Below(40));
    if (r < 2) co_return;
    (void)co_await n.replica->Propose(
        ctx, Fields(7, [&](std::string& f) { wire::PutUint(f, 1, static_cast<uint64_t>(r)); }));
  }

  Task<void> Leased(Node& n, Context ctx, std::string key, std::string value) {
    uint64_t lease = 1 + random_.Below(1000000);
    uint64_t life = n.life;
    auto granted = co_await n.replica->Propose(ctx, Fields(8, [&](std::string& f) {
                                                 wire::PutUint(f, 1, 1 + random_.Below(3));
                                                 wire::PutUint(f, 2, lease);
                                               }));
    if (granted && granted->error.ok() && n.life == life) co_await Write(n, ctx, key, value, lease);
  }

  Task<void> Write(Node& n, Context ctx, std::string key, std::optional<std::string> value, uint64_t lease) {
    int64_t floor = newest_;
    std::string fields = value ? Fields(4,
                                        [&](std::string& f) {
                                          wire::PutBytes(f, 1, key);
                                          wire::PutBytes(f, 2, *value);
                                          wire::PutNonZero(f, 3, lease);
                                        })
                               : Fields(5, [&](std::string& f) { wire::PutBytes(f, 1, key); });
    auto answer = co_await n.replica->Propose(ctx, std::move(fields));
    if (!answer || !answer->error.ok()) co_return;
    ++result_.writes;
    // A delete of nothing takes no revision.
    if (value && answer->revision <= floor) {
      Violate("a write that began after revision " + std::to_string(floor) + " has " +
              std::to_string(answer->revision));
    }
    if (answer->revision < floor) Violate("revisions go back");
    if (value) acknowledged_.push_back({answer->revision, key, *value});
    newest_ = std::max(newest_, answer->revision);
  }

  Task<void> Read(Node& n, Context ctx, std::string key) {
    int64_t floor = newest_;
    uint64_t life = n.life;
    if (options_.bug != SeededBug::kStaleRead) {
      if (!(co_await n.replica->ReadBarrier(ctx)).ok() || n.life != life || !n.replica) co_return;
    }
    auto got = n.replica->store().Range({.key = key});
    if (!got) co_return;
    ++result_.reads;
    if (got->revision < floor) {
      Violate("a read that began after revision " + std::to_string(floor) + " shows " + std::to_string(got->revision));
    }
    newest_ = std::max(newest_, got->revision);
    std::optional<std::string> value;
    if (!got->kvs.empty()) value = std::string(mvcc::DecodeKeyValue(got->kvs[0])->value);
    seen_.push_back({got->revision, key, value});
  }

  // Grows the cluster by a member and takes one away again, some times.
  Task<void> Reshaper() {
    while (!finishing_ && nodes_.size() < 9) {
      (void)co_await base::Sleep(executor_, Context(), milliseconds(1000 + random_.Below(4000)));
      Node* n = AnyMember();
      if (n == nullptr || finishing_) continue;
      Context ctx = Context().WithTimeout(executor_, kRequestTimeout);
      auto members = n->replica->Members();
      if (static_cast<int>(members.size()) > options_.members) {
        uint64_t victim = members[random_.Below(members.size())].id;
        auto left = co_await n->replica->ChangeMembers(ctx, {raft::ConfChangeType::kRemoveNode, victim, ""});
        result_.changes += left.has_value();
        continue;
      }
      co_await Grow(*n, ctx);
    }
  }

  Task<void> Grow(Node& through, Context ctx) {
    int number = static_cast<int>(nodes_.size()) + 1;
    mvcc::Member m{.peer_urls = {Url(number)}};
    m.id = replica::MemberId(m.peer_urls, "later");
    uint64_t cluster = through.replica->cluster_id();
    Node& fresh = AddNode();
    fresh.id = m.id;
    fresh.gone = true;  // until it is in
    numbers_[m.id] = number;
    auto members =
        co_await through.replica->ChangeMembers(ctx, {raft::ConfChangeType::kAddNode, m.id, mvcc::MemberToJson(m)});
    // An addition that seems to have failed may still come to pass (or have done so: a doubled proposal is refused the
    // second time), and then its vote is needed. Who is not in after all, waits in vain.
    result_.changes += members.has_value();
    fresh.gone = false;
    fresh.options.existing = replica::Options::Existing{.cluster_id = cluster, .member_id = m.id, .members = {m}};
    Open(fresh);
  }

  // ---- the end

  bool Settled() {
    const replica::Replica* leader = nullptr;
    for (auto& n : nodes_) {
      if (n->replica && n->replica->is_leader()) leader = n->replica.get();
    }
    if (leader == nullptr || leader->applied_index() != leader->last_index()) return false;
    for (const mvcc::Member& m : leader->Members()) {
      Node& n = At(numbers_.at(m.id));
      if (!n.replica || n.replica->applied_index() != leader->applied_index()) return false;
    }
    return true;
  }

  void Finish() {
    finishing_ = true;
    if (!violation_.empty()) return;
    network_.Heal();
    network_.SetFaults({});
    for (auto& n : nodes_) {
      if (!n->replica && !n->gone)
        executor_.After(milliseconds(5000), [this, n = n.get()] {
          if (!n->replica && !n->gone) Open(*n);
        });
    }
    if (!executor_.RunUntil([this] { return !violation_.empty() || (running_ == 0 && Settled()); }, seconds(120))) {
      Violate("the members do not agree two minutes after the last fault:" + Describe());
    }
    if (!violation_.empty()) return;
    executor_.RunFor(milliseconds(10));
    CheckHashes();
    CheckHistory();
    result_.elections = leaders_.size();
  }

  std::string Describe() const {
    std::string out;
    for (auto& n : nodes_) {
      out += "\n  m" + std::to_string(n->number) + " " + mvcc::MemberKey(n->id) + (n->gone ? " gone" : "");
      if (!n->replica) continue;
      const replica::Replica& r = *n->replica;
      out += " term " + std::to_string(r.term()) + " leader " + mvcc::MemberKey(r.leader()) + " applied " +
             std::to_string(r.applied_index()) + " committed " + std::to_string(r.committed_index()) + " last " +
             std::to_string(r.last_index()) + " members";
      for (const mvcc::Member& m : r.Members()) {
        out += " m" + std::to_string(numbers_.at(m.id)) + (r.IsRemoved(m.id) ? "(removed)" : "");
      }
      out += " voters";
      auto conf = wal::DecodeConfState(r.Mark().conf_state).value_or(raft::ConfState());
      for (raft::NodeId id : conf.voters) out += " m" + std::to_string(numbers_.at(id));
    }
    return out + "\n  clients still waiting: " + std::to_string(running_);
  }

  void CheckHashes() {
    std::optional<uint32_t> first;
    int64_t revision = 0;
    for (auto& n : nodes_) {
      if (n->replica) revision = std::max(revision, n->replica->store().revision());
    }
    for (auto& n : nodes_) {
      if (!n->replica || n->replica->IsRemoved(n->id) || n->replica->store().revision() != revision) continue;
      auto hash = n->replica->store().HashAt(0);
      if (!hash) return Violate("no hash");
      if (first && *first != hash->hash) Violate("members have different hashes");
      first = hash->hash;
    }
  }

  void CheckHistory() {
    for (const auto& [revision, key, value] : acknowledged_) {
      auto it = history_.find({revision, 0});
      if (it == history_.end()) {
        if (revision > CompactedEverywhere())
          return Violate("acknowledged revision " + std::to_string(revision) + " is lost");
        continue;
      }
      if (!(it->second == Change{key, value})) {
        return Violate("acknowledged revision " + std::to_string(revision) + " holds something else");
      }
    }
    // Reads, in the order of their revisions, against the state that history makes.
    std::sort(seen_.begin(), seen_.end(), [](const Seen& a, const Seen& b) { return a.revision < b.revision; });
    std::map<std::string, std::optional<std::string>> state;
    auto at = history_.begin();
    int64_t expected = 2;
    for (const Seen& s : seen_) {
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
  int64_t CompactedEverywhere() const {
    int64_t least = INT64_MAX;
    for (auto& n : nodes_) {
      if (n->replica) least = std::min(least, n->replica->store().compact_revision());
    }
    return least;
  }

  struct Acknowledged {
    int64_t revision;
    std::string key, value;
  };
  struct Seen {
    int64_t revision;
    std::string key;
    std::optional<std::string> value;
  };

  RaftSimOptions options_;
  SimExecutor executor_;
  base::Random random_;
  SimNetwork<Packet> network_;
  replica::Options base_;
  std::map<std::string, std::vector<std::string>> initial_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<raft::NodeId, int> numbers_;
  std::map<std::pair<int, raft::NodeId>, uint64_t> awaited_;
  uint64_t next_awaited_ = 0;

  std::map<uint64_t, raft::NodeId> leaders_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> log_;
  std::map<std::pair<int64_t, int64_t>, Change> history_;
  std::vector<Acknowledged> acknowledged_;
  std::vector<Seen> seen_;
  int64_t newest_ = 1;
  int running_ = 0;
  bool finishing_ = false;
  std::string violation_;
  RaftSimResult result_;
};

void SimTransport::Send(raft::Message m) { sim_.Carry(self_, std::move(m)); }

void SimTransport::SendSnapshot(raft::Message m, std::unique_ptr<base::File> database) {
  auto size = database->Size();
  auto bytes = size ? database->ReadAt(0, *size) : Result<std::string>(base::Err(size.error()));
  sim_.AwaitSnapshot(self_, m.to);
  if (bytes) sim_.Carry(self_, std::move(m), std::make_shared<const std::string>(std::move(*bytes)));
}

}  // namespace

RaftSimResult RunRaftSim(uint64_t seed, const RaftSimOptions& options) { return Sim(seed, options).Run(); }

}  // namespace tests::sim
