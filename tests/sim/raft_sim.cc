#include "tests/sim/raft_sim.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/sync.h"
#include "base/testing/sim_block_files.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "base/testing/sim_network.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/replica.h"
#include "kvstore/wire/wire.h"
#include "tests/sim/raft_clients.h"
#include "tests/sim/raft_judge.h"
#include "tests/sim/sim_environment.h"

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
constexpr base::Duration kRequestTimeout = seconds(2);

// A database on its way, piece by piece as a stream carries it: the next one goes when the last has arrived.
struct Transfer {
  int from = 0;
  uint64_t life = 0;  // of the sender
  raft::Message message;
  std::string database;
  size_t sent = 0;
};

// What travels: a message; a piece of a snapshot's database, or the word that it has arrived; a question or its answer.
struct Packet {
  raft::Message message;
  uint64_t transfer = 0;  // its number
  std::string piece;
  size_t offset = 0;
  bool last = false;
  bool acknowledged = false;
  uint64_t once = 0;      // the stream it travels on does not say it twice
  uint64_t question = 0;  // its number
  std::string path, body;
  std::optional<replica::PeerAnswer> answer;
};

class Sim;

class SimTransport final : public replica::Transport {
 public:
  SimTransport(Sim& sim, int self) : sim_(sim), self_(self) {}
  void Send(raft::Message m) override;
  void SendSnapshot(raft::Message m, std::unique_ptr<replica::DatabaseStream> database) override;
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime::min(); }
  Task<Result<replica::PeerAnswer>> Ask(Context ctx, raft::NodeId peer, std::string path, std::string body) override;

 private:
  Sim& sim_;
  int self_;
};

struct Node {
  Node(Sim& sim, int number, uint64_t seed, SimExecutor& real, double rate)
      : number(number), clock(real, rate), disk(seed), blocks(clock, disk, base::Random(seed)), transport(sim, number) {
    listener.name = "the watcher of member " + std::to_string(number);
  }
  int number;
  SkewedExecutor clock;
  SimDisk disk;
  base::testing::SimBlockFiles blocks;
  SimPool pool;
  SimTransport transport;
  replica::Options options;
  uint64_t id = 0;
  std::unique_ptr<replica::Replica> replica;
  std::unique_ptr<mvcc::WatchStream> watch;
  Listener listener;
  std::shared_ptr<bool> alive = std::make_shared<bool>(false);
  uint64_t life = 0;  // counts incarnations
  bool gone = false;  // removed from the cluster for good
};

class Sim {
 public:
  Sim(uint64_t seed, const RaftSimOptions& options)
      : options_(options),
        executor_(seed),
        random_(seed * 0x9e3779b97f4a7c15u + 1),
        network_(executor_, Faults()),
        clients_({.executor = executor_,
                  .random = random_,
                  .judge = judge_,
                  .figures = figures_,
                  .any_member = [this] { return AnyDoor(); },
                  .finished = [this] { return finishing_; },
                  .stale_reads = options.bug == SeededBug::kStaleRead,
                  .fastest_clock = 1.25}) {
    for (int n = 1; n <= options.members; ++n) {
      initial_["m" + std::to_string(n)] = {Url(n)};
    }
    base_.data_dir = "d";
    base_.cluster_token = "sim";
    base_.strict_reconfig_check = false;
    bool votes_matter = options.bug == SeededBug::kDoubleVote || options.bug == SeededBug::kLostHardState;
    votes_matter_ = votes_matter;
    PickSettings(base_);
    if (random_.OneIn(2)) slowest_ = 0.8, fastest_ = 1.25;  // clocks that do not agree
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
      base::Spawn(executor_, clients_.Live(c), [this] { --running_; });
    }
    ++running_;
    base::Spawn(executor_, Roam(), [this] { --running_; });
    if (options_.membership && options_.members > 1) {
      ++running_;
      base::Spawn(executor_, Reshaper(), [this] { --running_; });
    }
    NextTrouble();
    for (uint64_t i = 0; i < options_.steps && judge_.violation().empty(); ++i) {
      if (!executor_.Step()) break;
    }
    Finish();
    result_.violation = judge_.violation();
    figures_["messages"] += static_cast<double>(network_.counters().delivered);
    figures_["simulated seconds"] += std::chrono::duration<double>(executor_.Now().time_since_epoch()).count();
    for (auto& n : nodes_) figures_["disk faults"] += static_cast<double>(n->disk.faults_injected());
    executor_.Trace(static_cast<uint64_t>(judge_.newest()));
    result_.trace = executor_.trace_hash();
    // Whoever still waits is told before the members go.
    for (auto& n : nodes_) Shut(*n);
    executor_.RunUntil([this] { return running_ == 0; }, seconds(30));
    result_.figures = figures_;
    return result_;
  }

  // ---- the network's ends

  void Carry(int from, raft::Message m) {
    auto to = numbers_.find(m.to);
    if (to == numbers_.end()) return;
    judge_.Sent(m);
    if (options_.bug == SeededBug::kDoubleVote && m.type == raft::MessageType::kVoteResp && m.reject) m.reject = false;
    // The meanest moment to lose power: a vote is on its way.
    if (m.type == raft::MessageType::kVoteResp && !m.reject && !finishing_ &&
        random_.OneIn(options_.bug == SeededBug::kLostHardState ? 2 : 10)) {
      executor_.Post([this, &n = At(from), life = At(from).life] {
        if (n.life == life) Crash(n, milliseconds(random_.Below(50)));
      });
    }
    Packet p{std::move(m)};
    // A proposal that came twice would happen twice; connections lose what was sent, but do not repeat it.
    if (p.message.type == raft::MessageType::kProp) p.once = ++next_once_;
    network_.Send(static_cast<uint64_t>(from), static_cast<uint64_t>(to->second), std::move(p));
  }
  Node& At(int number) { return *nodes_[static_cast<size_t>(number - 1)]; }
  SimExecutor& executor() { return executor_; }
  base::Random& random() { return random_; }

  Task<Result<replica::PeerAnswer>> Ask(int from, Context ctx, raft::NodeId peer, std::string path, std::string body) {
    auto to = numbers_.find(peer);
    if (to == numbers_.end()) co_return base::Err(base::Unavailable("no such peer"));
    uint64_t number = ++next_question_;
    auto shot = questions_[number] = std::make_shared<base::OneShot<replica::PeerAnswer>>(executor_);
    ++figures_["questions to the leader"];
    network_.Send(static_cast<uint64_t>(from), static_cast<uint64_t>(to->second),
                  {.question = number, .path = std::move(path), .body = std::move(body)});
    auto answer = co_await shot->Wait(ctx.WithTimeout(executor_, milliseconds(500)));
    questions_.erase(number);
    co_return answer;
  }

  void CarryDatabase(int from, raft::Message m, std::string database) {
    judge_.Sent(m);
    uint64_t number = ++next_transfer_;
    transfers_[number] = {from, At(from).life, std::move(m), std::move(database)};
    SendPiece(number);
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
  // ---- members

  Node& AddNode() {
    int number = static_cast<int>(nodes_.size()) + 1;
    nodes_.push_back(std::make_unique<Node>(*this, number, random_.Next(), executor_,
                                            slowest_ + (fastest_ - slowest_) * random_.Unit()));
    Node& n = *nodes_.back();
    n.options = base_;
    n.options.name = "m" + std::to_string(number);
    n.options.peer_urls = {Url(number)};
    n.options.client_urls = {};
    n.disk.faults.ignore_sync = options_.bug == SeededBug::kSkippedFsync;
    return n;
  }

  // What may differ from one version or configuration to the next.
  void PickSettings(replica::Options& o) {
    o.snapshot_count = 10 + random_.Below(40);
    o.catch_up_entries = random_.Below(30);
    o.pre_vote = !votes_matter_ && !random_.OneIn(4);
    o.wal.segment_bytes = 4096u << random_.Below(3);
    o.store.segments = {.segment_bytes = 2048u << random_.Below(4),
                        .tail_bytes = 256u << random_.Below(4),
                        .sync_bytes = 512u << random_.Below(4)};
  }

  void Open(Node& n) {
    ++n.life;
    if (n.gone) return;
    n.options.wal.blocks = (static_cast<uint64_t>(n.number) + n.life) % 2 == 0 ? &n.blocks : nullptr;
    if (n.life > 2 && random_.OneIn(4)) {
      ++figures_["restarts with other settings"];
      PickSettings(n.options);
    }
    auto r = replica::Replica::Open({n.clock, n.disk, n.pool, n.pool}, n.options, random_.Fork());
    if (!r && Failing(n.disk)) {
      n.disk.Crash();
      QuietDisk(n);
      r = replica::Replica::Open({n.clock, n.disk, n.pool, n.pool}, n.options, random_.Fork());
    }
    if (!r) {
      judge_.Violate("member " + std::to_string(n.number) + " does not start: " + r.error().ToString());
      return;
    }
    n.replica = std::move(*r);
    n.alive = std::make_shared<bool>(true);
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
    *n.alive = false;
    if (roaming_at_ == &n) {
      roaming_.reset();
      roaming_at_ = nullptr;
    }
    n.watch.reset();
    n.replica.reset();
    n.pool.PowerFails();
    ++n.life;
  }

  void Crash(Node& n) { Crash(n, milliseconds(random_.Below(3000))); }
  void Crash(Node& n, base::Duration dark) {
    if (!n.replica) return;
    ++figures_["crashes"];
    Shut(n);
    n.disk.Crash();
    QuietDisk(n);
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

  void QuietDisk(Node& n) {
    n.disk.faults = {};
    n.disk.faults.ignore_sync = options_.bug == SeededBug::kSkippedFsync;
  }
  static bool Failing(const SimDisk& d) {
    return d.faults.read_error_one_in != 0 || d.faults.write_error_one_in != 0 || d.faults.sync_error_one_in != 0 ||
           d.faults.capacity != UINT64_MAX;
  }
  // Errors from now on, until the member is started anew or space is found.
  void SpoilDisk(Node& n) {
    ++figures_["spoiled disks"];
    switch (random_.Below(4)) {
      case 0:
        n.disk.faults.sync_error_one_in = 30 + random_.Below(100);
        break;
      case 1:
        n.disk.faults.write_error_one_in = 30 + random_.Below(200);
        break;
      case 2:
        n.disk.faults.capacity = n.disk.used() + random_.Below(30000);
        break;
      default:
        n.disk.faults.read_error_one_in = 200 + random_.Below(500);
    }
  }

  void Arrive(Node& n, int from, Packet p) {
    if (!n.replica) return;
    // As the peers' doors do: who was removed, and does not know, is told so and stops.
    bool campaigns = p.message.type == raft::MessageType::kVote || p.message.type == raft::MessageType::kPreVote;
    if (Node& sender = At(from); campaigns && sender.replica && n.replica->IsRemoved(sender.id)) {
      sender.replica->on_removed();
      return;
    }
    if (p.once != 0 && !arrived_once_.insert(p.once).second) return;
    if (p.answer) {
      if (auto it = questions_.find(p.question); it != questions_.end()) it->second->Set(std::move(*p.answer));
      return;
    }
    if (p.question != 0) {
      base::Spawn(executor_, Reply(DoorOf(n), n.number, from, std::move(p)));
      return;
    }
    if (p.acknowledged) return PieceArrived(p);
    if (p.transfer != 0) return TakePiece(n, from, std::move(p));
    (void)n.replica->Receive(std::move(p.message));
  }

  // ---- snapshots

  void SendPiece(uint64_t number) {
    Transfer& t = transfers_.at(number);
    auto to = numbers_.find(t.message.to);
    if (to == numbers_.end()) return;
    Packet p{.message = t.message, .transfer = number, .offset = t.sent, .once = ++next_once_};
    size_t rest = t.database.size() - t.sent;
    size_t size = random_.OneIn(3) ? rest : std::min<size_t>(rest, 1 + random_.Below(t.database.size()));
    p.piece = t.database.substr(t.sent, size);
    p.last = size == rest;
    t.sent += size;
    network_.Send(static_cast<uint64_t>(t.from), static_cast<uint64_t>(to->second), std::move(p));
    // What is not acknowledged in time has broken the stream.
    executor_.After(seconds(1), [this, number, sent = t.sent, to = to->second] {
      auto it = transfers_.find(number);
      if (it == transfers_.end() || it->second.sent != sent) return;
      Transfer broken = std::move(it->second);
      transfers_.erase(it);
      ++figures_[sent < broken.database.size() ? "snapshots cut off in the middle" : "snapshots cut off"];
      if (At(to).replica && random_.OneIn(2)) (void)At(to).disk.Remove(PartialPath(At(to), broken.message, number));
      Report(broken, true);
    });
  }

  void Report(const Transfer& t, bool failed) {
    Node& n = At(t.from);
    if (n.replica && n.life == t.life) n.replica->ReportSnapshot(t.message.to, failed);
  }

  static std::string PartialPath(Node& n, const raft::Message& m, uint64_t number) {
    return n.replica->IncomingSnapshotPath(m.snapshot->meta.index) + "." + std::to_string(number) + ".tmp";
  }

  // As kvstore/peer takes it in.
  void TakePiece(Node& n, int from, Packet p) {
    std::string partial = PartialPath(n, p.message, p.transfer);
    auto write = [&]() -> Status {
      TRY_ASSIGN(auto file, n.disk.Open(partial, base::OpenMode::kCreate));
      TRY_ASSIGN(uint64_t there, file->Size());
      if (there != p.offset) return base::DataLoss("the stream it belongs to has ended");
      TRY(file->WriteAt(p.offset, p.piece));
      if (p.last || random_.OneIn(4)) TRY(file->Sync());
      if (!p.last) return base::Ok();
      std::string path = n.replica->IncomingSnapshotPath(p.message.snapshot->meta.index);
      TRY(n.disk.Rename(partial, path));
      return n.disk.SyncDirectory(path.substr(0, path.rfind('/')));
    };
    if (!write().ok()) return;
    if (p.last) ++figures_["snapshots"];
    if (p.last) (void)n.replica->Receive(std::move(p.message));
    network_.Send(static_cast<uint64_t>(n.number), static_cast<uint64_t>(from),
                  {.transfer = p.transfer, .offset = p.offset + p.piece.size(), .acknowledged = true});
  }

  void PieceArrived(const Packet& p) {
    auto it = transfers_.find(p.transfer);
    if (it == transfers_.end() || it->second.sent != p.offset) return;
    if (At(it->second.from).life == it->second.life && p.offset < it->second.database.size())
      return SendPiece(p.transfer);
    if (p.offset == it->second.database.size()) Report(it->second, false);
    transfers_.erase(it);
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
    switch (random_.Below(9)) {
      case 0:
      case 1:
        Crash(n);
        break;
      case 2: {
        std::vector<uint64_t> a, b;
        for (auto& m : nodes_) (random_.OneIn(2) ? a : b).push_back(static_cast<uint64_t>(m->number));
        network_.Partition(a, b);
        ++figures_["partitions"];
        break;
      }
      case 3: {
        std::vector<uint64_t> others;
        for (auto& m : nodes_) {
          if (m.get() != &n) others.push_back(static_cast<uint64_t>(m->number));
        }
        network_.Isolate(static_cast<uint64_t>(n.number), others);
        if (random_.OneIn(2)) network_.CutOneWay(static_cast<uint64_t>(n.number), others.empty() ? 1 : others[0]);
        ++figures_["partitions"];
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
        ++figures_["partitions"];
        break;
      }
      case 8:
        SpoilDisk(n);
        break;
      case 5:
        if (n.replica && n.replica->leader() != 0) n.replica->PeerLost(n.replica->leader());
        break;
    }
  }

  // ---- watchers: each member has one of its own, and one goes from member to member

  std::unique_ptr<mvcc::WatchStream> StreamAt(Node& n, const Listener& who, std::function<void()> wake) {
    auto stream = std::make_unique<mvcc::WatchStream>(n.replica->store().watches(), std::move(wake));
    // What it had heard before the power failed it need not hear again, unless the member forgot it.
    int64_t from = who.told + 1 + (options_.bug == SeededBug::kWatchGap && n.life > 1);
    (void)stream->Watch({.key = std::string(1, '\0'), .end = std::string(1, '\0'), .start_revision = from});
    return stream;
  }

  void StartWatch(Node& n) {
    n.watch = StreamAt(n, n.listener, [this, &n, life = n.life] {
      executor_.Post([this, &n, life] {
        if (n.life == life) Listen(n);
      });
    });
  }

  void Listen(Node& n) {
    while (auto item = n.watch ? n.watch->Next() : std::nullopt) {
      if (judge_.Told(n.listener, *item, executor_.Now())) continue;
      executor_.Post([this, &n, life = n.life] {
        if (n.life == life) StartWatch(n);
      });
      return;
    }
    if (n.watch && random_.OneIn(20)) n.watch->RequestProgress();
  }

  // Lags behind, so that history is compacted under it, and goes on elsewhere.
  Task<void> Roam() {
    Listener who{.name = "the watcher that goes from member to member"};
    while (!finishing_) {
      (void)co_await base::Sleep(executor_, Context(), milliseconds(random_.Below(random_.OneIn(4) ? 3000 : 200)));
      if (roaming_ && random_.OneIn(4)) roaming_.reset();
      if (!roaming_) {
        roaming_at_ = AnyMember();
        if (roaming_at_ == nullptr) continue;
        roaming_ = StreamAt(*roaming_at_, who, nullptr);
        ++figures_["watches resumed"];
      }
      for (uint64_t n = random_.Below(8); n > 0 && roaming_; --n) {
        auto item = roaming_->Next();
        if (!item) break;
        if (!judge_.Told(who, *item, executor_.Now())) {
          ++figures_["watches compacted away"];
          roaming_.reset();
        }
      }
      if (roaming_ && random_.OneIn(4)) roaming_->RequestProgress();
    }
    roaming_.reset();
  }

  // ---- clients and operators

  Node* AnyMember() {
    Node& n = *nodes_[random_.Below(nodes_.size())];
    return n.replica && !n.gone ? &n : nullptr;
  }
  Door DoorOf(Node& n) { return {n.replica.get(), n.alive, &n.clock}; }
  Door AnyDoor() {
    Node* n = AnyMember();
    return n == nullptr ? Door() : DoorOf(*n);
  }

  // As the peer protocol's handlers answer (kvstore/peer).
  Task<void> Reply(Door door, int self, int from, Packet p) {
    constexpr std::string_view kPromote = "/members/promote/";
    Context ctx = Context().WithTimeout(*door.executor, kRequestTimeout);
    replica::PeerAnswer answer{.status = 500};
    if (p.path == "/leases") {
      wire::Reader r(p.body);
      int64_t id = r.Next() ? static_cast<int64_t>(r.value()) : 0;
      if (!(co_await door.replica->ReadBarrier(ctx)).ok() || !door) co_return;
      auto ttl = door.replica->RenewLeaseHere(id);
      if (ttl) answer.status = *ttl == 0 ? 404 : 200;
      if (ttl) wire::PutNonZero(answer.body, 3, static_cast<uint64_t>(*ttl));
    } else if (p.path.starts_with(kPromote)) {
      auto members =
          co_await door.replica->PromoteMember(ctx, std::strtoull(p.path.c_str() + kPromote.size(), nullptr, 10));
      if (members) answer.status = 200;
    }
    network_.Send(static_cast<uint64_t>(self), static_cast<uint64_t>(from),
                  {.question = p.question, .answer = std::move(answer)});
  }

  // Grows the cluster by a member and takes one away again, some times.
  Task<void> Reshaper() {
    while (!finishing_ && nodes_.size() < 9) {
      (void)co_await base::Sleep(executor_, Context(), milliseconds(1000 + random_.Below(4000)));
      Node* n = AnyMember();
      if (n == nullptr || finishing_) continue;
      Context ctx = Context().WithTimeout(n->clock, kRequestTimeout);
      auto members = n->replica->Members();
      auto learner = std::find_if(members.begin(), members.end(), [](const auto& m) { return m.is_learner; });
      if (learner != members.end() && !random_.OneIn(4)) {
        figures_["learners promoted"] += (co_await n->replica->PromoteMember(ctx, learner->id)).has_value();
        continue;
      }
      if (static_cast<int>(members.size()) > options_.members) {
        uint64_t victim = members[random_.Below(members.size())].id;
        auto left = co_await n->replica->ChangeMembers(ctx, {raft::ConfChangeType::kRemoveNode, victim, ""});
        figures_["membership changes"] += left.has_value();
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
    m.is_learner = random_.OneIn(2);
    auto type = m.is_learner ? raft::ConfChangeType::kAddLearnerNode : raft::ConfChangeType::kAddNode;
    auto members = co_await through.replica->ChangeMembers(ctx, {type, m.id, mvcc::MemberToJson(m)});
    // An addition that seems to have failed may still come to pass (or have done so: a doubled proposal is refused the
    // second time), and then its vote is needed. Who is not in after all, waits in vain.
    figures_["membership changes"] += members.has_value();
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
    if (!judge_.violation().empty()) return;
    network_.Heal();
    network_.SetFaults({});
    for (auto& n : nodes_) QuietDisk(*n);
    for (auto& n : nodes_) {
      if (!n->replica && !n->gone)
        executor_.After(milliseconds(5000), [this, n = n.get()] {
          if (!n->replica && !n->gone) Open(*n);
        });
    }
    if (!executor_.RunUntil([this] { return !judge_.violation().empty() || (running_ == 0 && Settled()); },
                            seconds(120))) {
      judge_.Violate("the members do not agree two minutes after the last fault:" + Describe());
    }
    if (!judge_.violation().empty()) return;
    executor_.RunFor(milliseconds(10));
    CheckHashes();
    judge_.CheckAll(CompactedEverywhere());
    figures_["elections"] += static_cast<double>(judge_.terms());
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
    uint64_t applied = 0;  // who has been removed without hearing of it stands behind
    for (auto& n : nodes_) {
      if (n->replica) applied = std::max(applied, n->replica->applied_index());
    }
    for (auto& n : nodes_) {
      if (!n->replica || n->replica->applied_index() != applied) continue;
      auto hash = n->replica->store().HashAt(0);
      if (!hash) return judge_.Violate("no hash");
      if (first && *first != hash->hash) judge_.Violate("members have different hashes");
      first = hash->hash;
    }
  }

  int64_t CompactedEverywhere() const {
    int64_t least = INT64_MAX;
    for (auto& n : nodes_) {
      if (n->replica) least = std::min(least, n->replica->store().compact_revision());
    }
    return least;
  }

  RaftSimOptions options_;
  SimExecutor executor_;
  base::Random random_;
  SimNetwork<Packet> network_;
  replica::Options base_;
  double slowest_ = 1, fastest_ = 1;  // clocks, against true time
  bool votes_matter_ = false;
  std::map<std::string, std::vector<std::string>> initial_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<raft::NodeId, int> numbers_;
  std::map<uint64_t, Transfer> transfers_;
  uint64_t next_transfer_ = 0;
  std::map<uint64_t, std::shared_ptr<base::OneShot<replica::PeerAnswer>>> questions_;
  uint64_t next_question_ = 0;
  std::set<uint64_t> arrived_once_;
  uint64_t next_once_ = 0;
  std::unique_ptr<mvcc::WatchStream> roaming_;
  Node* roaming_at_ = nullptr;

  Figures figures_;
  RaftJudge judge_{figures_};
  RaftClients clients_;

  int running_ = 0;
  bool finishing_ = false;
  RaftSimResult result_;
};

void SimTransport::Send(raft::Message m) { sim_.Carry(self_, std::move(m)); }

Task<Result<replica::PeerAnswer>> SimTransport::Ask(Context ctx, raft::NodeId peer, std::string path,
                                                    std::string body) {
  return sim_.Ask(self_, std::move(ctx), peer, std::move(path), std::move(body));
}

void SimTransport::SendSnapshot(raft::Message m, std::unique_ptr<replica::DatabaseStream> database) {
  auto bytes = database->Rest();
  raft::NodeId to = m.to;
  if (bytes) return sim_.CarryDatabase(self_, std::move(m), std::move(*bytes));
  Node& n = sim_.At(self_);
  sim_.executor().Post([&n, to, life = n.life] {
    if (n.replica && n.life == life) n.replica->ReportSnapshot(to, true);
  });
}

}  // namespace

RaftSimResult RunRaftSim(uint64_t seed, const RaftSimOptions& options) { return Sim(seed, options).Run(); }

}  // namespace tests::sim
