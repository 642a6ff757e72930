#include "tests/sim/raft_mail.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/protobuf_wire.h"
#include "kvstore/replica/export.h"

namespace tests::sim {

namespace wire = base::wire;

using base::Context;
using base::Result;
using base::Status;
using base::Task;
using namespace kvstore;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr base::Duration kAnswerTimeout = milliseconds(500);
constexpr base::Duration kPieceTimeout = seconds(1);

base::testing::SimNetworkFaults PickFaults(base::Random& random) {
  base::testing::SimNetworkFaults f{.min_delay = std::chrono::microseconds(100 + random.Below(400))};
  f.max_delay = milliseconds(1 + random.Below(20));
  if (random.OneIn(2)) f.loss = 0.05 * random.Unit();
  if (random.OneIn(2)) f.duplication = 0.05 * random.Unit();
  if (random.OneIn(2)) f.straggler = 0.02 * random.Unit();
  return f;
}

std::string PartialPath(SimMember& m, const raft::Message& message, uint64_t number) {
  return m.replica->IncomingSnapshotPath(message.snapshot->meta.index) + "." + std::to_string(number) + ".tmp";
}

}  // namespace

class SimMail::Transport final : public replica::Transport {
 public:
  Transport(SimMail& mail, int self) : mail_(mail), self_(self) {}
  void Send(raft::Message m) override { mail_.Carry(self_, std::move(m)); }
  void SendSnapshot(raft::Message m, std::unique_ptr<replica::DatabaseStream> database) override {
    auto bytes = database->Rest();
    raft::NodeId to = m.to;
    if (bytes) return mail_.CarryDatabase(self_, std::move(m), std::move(*bytes));
    SimMember& self = mail_.members_.At(self_);
    mail_.world_.executor.Post([&self, to, life = self.life] {
      if (self.replica && self.life == life) self.replica->ReportSnapshot(to, true);
    });
  }
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime::min(); }
  Task<Result<replica::PeerAnswer>> Ask(Context ctx, raft::NodeId peer, std::string path, std::string body,
                                        std::string) override {
    return mail_.Ask(self_, std::move(ctx), peer, std::move(path), std::move(body));
  }

 private:
  SimMail& mail_;
  int self_;
};

SimMail::SimMail(RaftWorld& world, SimMembers& members)
    : world_(world), members_(members), network_(world.executor, PickFaults(world.random)) {}
SimMail::~SimMail() = default;

void SimMail::Connect(SimMember& m) {
  auto& transport = transports_[m.number];
  if (!transport) transport = std::make_unique<Transport>(*this, m.number);
  m.replica->Attach(*transport);
  network_.Connect(m.address(),
                   [this, &m](uint64_t from, Packet p) { Arrive(m, static_cast<int>(from), std::move(p)); });
}

void SimMail::Deliver(int from, SimMember& to, Packet p) {
  network_.Send(static_cast<uint64_t>(from), to.address(), std::move(p));
}

// Nobody listens there, and who wanted to send hears of that.
void SimMail::Refuse(int from, uint64_t to) {
  ++world_.figures["connections refused"];
  world_.executor.After(milliseconds(1), [to, &sender = members_.At(from), life = members_.At(from).life] {
    if (sender.life == life && sender.replica) sender.replica->ReportUnreachable(to);
  });
}

void SimMail::Carry(int from, raft::Message m) {
  SimMember* to = members_.Find(m.to);
  if (to == nullptr) return;
  if (!to->replica) Refuse(from, m.to);
  world_.judge.Sent(m);
  if (world_.Broken(SeededBug::kDoubleVote) && m.type == raft::MessageType::kVoteResp && m.reject) m.reject = false;
  // The meanest moment to lose power: a vote is on its way.
  if (m.type == raft::MessageType::kVoteResp && !m.reject && !world_.finishing &&
      world_.random.OneIn(world_.Broken(SeededBug::kLostHardState) ? 2 : 10)) {
    world_.executor.Post([this, &voter = members_.At(from), life = members_.At(from).life] {
      if (voter.life == life) members_.LosePower(voter, milliseconds(world_.random.Below(50)));
    });
  }
  Packet p{std::move(m)};
  // A proposal that came twice would happen twice; connections lose what was sent, but do not repeat it.
  if (p.message.type == raft::MessageType::kProp) p.once = ++next_once_;
  Deliver(from, *to, std::move(p));
}

void SimMail::Arrive(SimMember& m, int from, Packet p) {
  if (!m.replica) return;
  // As the peers' doors do: who was removed, and does not know, is told so and stops.
  bool campaigns = p.message.type == raft::MessageType::kVote || p.message.type == raft::MessageType::kPreVote;
  if (SimMember& sender = members_.At(from); campaigns && sender.replica && m.replica->IsRemoved(sender.id)) {
    sender.replica->on_removed();
    return;
  }
  if (p.once != 0 && !arrived_once_.insert(p.once).second) return;
  if (p.answer) {
    if (auto it = questions_.find(p.question); it != questions_.end()) it->second->Set(std::move(*p.answer));
    return;
  }
  if (p.question != 0) {
    base::Spawn(world_.executor, Reply(m.door(), m.number, from, std::move(p)));
    return;
  }
  if (p.acknowledged) return PieceArrived(p);
  if (p.transfer != 0) return TakePiece(m, from, std::move(p));
  Receive(m, from, std::move(p.message));
}

// No member of a simulation ever says what cannot be true, whatever becomes of its messages on the way.
void SimMail::Receive(SimMember& m, int from, raft::Message message) {
  std::string what(raft::MessageTypeName(message.type));
  Status s = m.replica->Receive(std::move(message), members_.At(from).id);
  CHECK_MSG(s.code() != base::Code::kDataLoss, what + " from member " + std::to_string(from) + ": " + s.ToString());
}

// ---- databases of snapshots

void SimMail::CarryDatabase(int from, raft::Message m, std::string database) {
  world_.judge.Sent(m);
  uint64_t number = ++next_transfer_;
  transfers_[number] = {from, members_.At(from).life, std::move(m), std::move(database)};
  SendPiece(number);
}

void SimMail::SendPiece(uint64_t number) {
  Transfer& t = transfers_.at(number);
  SimMember* to = members_.Find(t.message.to);
  if (to == nullptr) return;
  base::Random& random = world_.random;
  Packet p{.message = t.message, .transfer = number, .offset = t.sent, .once = ++next_once_};
  size_t rest = t.database.size() - t.sent;
  size_t size = random.OneIn(3) ? rest : std::min<size_t>(rest, 1 + random.Below(t.database.size()));
  p.piece = t.database.substr(t.sent, size);
  p.last = size == rest;
  t.sent += size;
  Deliver(t.from, *to, std::move(p));
  // What is not acknowledged in time has broken the stream.
  world_.executor.After(kPieceTimeout, [this, number, sent = t.sent, to] {
    auto it = transfers_.find(number);
    if (it == transfers_.end() || it->second.sent != sent) return;
    Transfer broken = std::move(it->second);
    transfers_.erase(it);
    ++world_.figures[sent < broken.database.size() ? "snapshots cut off in the middle" : "snapshots cut off"];
    if (to->replica && world_.random.OneIn(2)) (void)to->disk.Remove(PartialPath(*to, broken.message, number));
    Report(broken, true);
  });
}

// As kvstore/peer takes it in.
void SimMail::TakePiece(SimMember& m, int from, Packet p) {
  std::string partial = PartialPath(m, p.message, p.transfer);
  auto write = [&]() -> Status {
    TRY_ASSIGN(auto file, m.disk.Open(partial, base::OpenMode::kCreate));
    TRY_ASSIGN(uint64_t there, file->Size());
    if (there != p.offset) return base::DataLoss("the stream it belongs to has ended");
    TRY(file->WriteAt(p.offset, p.piece));
    if (p.last || world_.random.OneIn(4)) TRY(file->Sync());
    if (!p.last) return base::Ok();
    std::string path = m.replica->IncomingSnapshotPath(p.message.snapshot->meta.index);
    TRY(m.disk.Rename(partial, path));
    return m.disk.SyncDirectory(path.substr(0, path.rfind('/')));
  };
  if (!write().ok()) return;
  if (p.last) ++world_.figures["snapshots"];
  if (p.last) Receive(m, from, std::move(p.message));
  Deliver(m.number, members_.At(from),
          {.transfer = p.transfer, .offset = p.offset + p.piece.size(), .acknowledged = true});
}

void SimMail::PieceArrived(const Packet& p) {
  auto it = transfers_.find(p.transfer);
  if (it == transfers_.end() || it->second.sent != p.offset) return;
  if (members_.At(it->second.from).life == it->second.life && p.offset < it->second.database.size())
    return SendPiece(p.transfer);
  if (p.offset == it->second.database.size()) Report(it->second, false);
  transfers_.erase(it);
}

void SimMail::Report(const Transfer& t, bool failed) {
  SimMember& m = members_.At(t.from);
  if (m.replica && m.life == t.life) m.replica->ReportSnapshot(t.message.to, failed);
}

// ---- questions to the leader

Task<Result<replica::PeerAnswer>> SimMail::Ask(int from, Context ctx, raft::NodeId peer, std::string path,
                                               std::string body) {
  SimMember* to = members_.Find(peer);
  if (to == nullptr) co_return base::Err(base::Unavailable("no such peer"));
  uint64_t number = ++next_question_;
  auto shot = questions_[number] = std::make_shared<base::OneShot<replica::PeerAnswer>>(world_.executor);
  ++world_.figures["questions to the leader"];
  Deliver(from, *to, {.question = number, .path = std::move(path), .body = std::move(body)});
  auto answer = co_await shot->Wait(ctx.WithTimeout(world_.executor, kAnswerTimeout));
  questions_.erase(number);
  co_return answer;
}

// As the peer protocol's handlers answer (kvstore/peer).
Task<void> SimMail::Reply(Door door, int self, int from, Packet p) {
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
  Deliver(self, members_.At(from), {.question = p.question, .answer = std::move(answer)});
}

}  // namespace tests::sim
