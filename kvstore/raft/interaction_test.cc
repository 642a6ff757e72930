// Whole cores talking to one another, step by step as the scripts of ../shared/golden/raft-interaction say.
#include <gtest/gtest.h>

#include <sstream>

#include "kvstore/raft/raft.h"
#include "kvstore/raft/script.h"

namespace kvstore::raft {
namespace {

using testing::Command;

// Membership entries carry what the script says of them, as text behind a digit for the transition; the core looks at
// neither.
std::string ChangesText(const Entry& e) {
  std::string_view b = e.bytes();
  return std::string(b.empty() ? b : b.substr(1));
}

ConfChange ParseChange(std::string_view text) {
  ConfChange change;
  if (text.empty()) return change;
  change.transition = static_cast<ConfChangeTransition>(text[0] - '0');
  std::stringstream words{std::string(text.substr(1))};
  for (std::string w; words >> w;) {
    ConfChangeType type = w[0] == 'v'   ? ConfChangeType::kAddNode
                          : w[0] == 'l' ? ConfChangeType::kAddLearnerNode
                          : w[0] == 'r' ? ConfChangeType::kRemoveNode
                                        : ConfChangeType::kUpdateNode;
    change.changes.push_back({type, std::stoull(w.substr(1))});
  }
  return change;
}

// ---- how values are printed

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string Print(const Entry& e) {
  static constexpr std::string_view kNames[] = {"EntryNormal", "EntryConfChange", "EntryConfChangeV2"};
  std::string out = std::to_string(e.term) + "/" + std::to_string(e.index) + " ";
  out += kNames[static_cast<size_t>(e.type)];
  std::string body = e.type == EntryType::kNormal ? Quoted(e.bytes()) : ChangesText(e);
  return body.empty() ? out : out + " " + body;
}

std::string Print(const Entries& entries) {
  std::string out;
  for (const Entry& e : entries) out += Print(e) + "\n";
  return out;
}

std::string Print(const HardState& s) {
  std::string out = "Term:" + std::to_string(s.term);
  if (s.vote != 0) out += " Vote:" + std::to_string(s.vote);
  return out + " Commit:" + std::to_string(s.commit);
}

std::string Print(const std::vector<NodeId>& ids) {
  std::string out = "[";
  for (NodeId id : ids) out += (out.size() > 1 ? " " : "") + std::to_string(id);
  return out + "]";
}

std::string Print(const Snapshot& s) {
  const ConfState& c = s.meta.conf_state;
  return "Index:" + std::to_string(s.meta.index) + " Term:" + std::to_string(s.meta.term) +
         " ConfState:Voters:" + Print(c.voters) + " VotersOutgoing:" + Print(c.voters_outgoing) +
         " Learners:" + Print(c.learners) + " LearnersNext:" + Print(c.learners_next) +
         " AutoLeave:" + (c.auto_leave ? "true" : "false");
}

std::string Target(NodeId id) {
  if (id == kNone) return "None";
  if (id == kLocalAppendThread) return "AppendThread";
  if (id == kLocalApplyThread) return "ApplyThread";
  return std::to_string(id);
}

std::string Print(const Message& m, const std::string& indent = "", bool with_responses = true) {
  std::string out = indent + Target(m.from) + "->" + Target(m.to) + " " + std::string(MessageTypeName(m.type)) +
                    " Term:" + std::to_string(m.term) + " Log:" + std::to_string(m.log_term) + "/" +
                    std::to_string(m.index);
  if (m.reject) out += " Rejected (Hint: " + std::to_string(m.reject_hint) + ")";
  if (m.commit != 0) out += " Commit:" + std::to_string(m.commit);
  if (m.vote != 0) out += " Vote:" + std::to_string(m.vote);
  if (m.entries.size() == 1) out += " Entries:[" + Print(m.entries[0]) + "]";
  if (m.entries.size() > 1) {
    out += " Entries:[";
    for (const Entry& e : m.entries) out += "\n" + indent + "  " + Print(e);
    out += "\n" + indent + "]";
  }
  if (m.snapshot) out += "\n" + indent + "  Snapshot: " + Print(*m.snapshot);
  if (with_responses && !m.responses.empty()) {
    out += " Responses:[";
    for (const Message& r : m.responses) out += "\n" + Print(r, indent + "  ");
    out += "\n" + indent + "]";
  }
  return out;
}

// ---- a cluster of cores

enum LogLevel { kDebug, kInfo, kWarn, kError, kFatal, kNone_ };

struct Node {
  MemoryStorage storage;
  Options options;
  bool async = false;
  std::unique_ptr<Raft> raft;
  HardState hard;
  std::deque<Message> append_work, apply_work;
  std::vector<std::shared_ptr<const Snapshot>> history;

  void Remember(Snapshot s) {
    history.push_back(std::make_shared<const Snapshot>(std::move(s)));
    if (history.back()->meta.index > 0) storage.SetSnapshot(history.back());
  }
};

class Cluster {
 public:
  std::string Run(const Command& c) {
    out_.clear();
    base::Status s = Dispatch(c);
    if (!s.ok()) {
      if (level_ == kNone_) return std::string(s.message());
      Write(std::string(s.message()));
    }
    return out_.empty() ? "ok" : out_;
  }

 private:
  using Handler = base::Status (Cluster::*)(const Command&);

  void Write(const std::string& text) {
    if (level_ != kNone_) out_ += text;
  }
  void Log(TraceLevel level, const std::string& text) {
    static constexpr const char* kNames[] = {"DEBUG ", "INFO ", "WARN ", "ERROR "};
    if (level_ <= static_cast<int>(level)) Write(kNames[static_cast<size_t>(level)] + text + "\n");
  }
  template <class F>
  void Indented(F f) {
    std::string before = std::exchange(out_, "");
    f();
    std::stringstream lines(std::exchange(out_, before));
    for (std::string line; std::getline(lines, line);) out_ += "  " + line + "\n";
  }
  Node& At(uint64_t id) { return *nodes_.at(id - 1); }
  Node& First(const Command& c) { return At(c.Numbers().at(0)); }

  base::Status Dispatch(const Command& c) {
    static const std::map<std::string, Handler> kHandlers = {
        {"add-nodes", &Cluster::AddNodes},
        {"deliver-msgs", &Cluster::DeliverMessages},
        {"log-level", &Cluster::SetLogLevel},
        {"process-append-thread", &Cluster::AppendThreads},
        {"process-apply-thread", &Cluster::ApplyThreads},
        {"process-ready", &Cluster::ProcessReadies},
        {"propose-conf-change", &Cluster::ProposeConfChange},
        {"raft-log", &Cluster::RaftLog},
        {"compact", &Cluster::Compact},
        {"raft-state", &Cluster::RaftState},
        {"send-snapshot", &Cluster::SendSnapshot},
        {"stabilize", &Cluster::Stabilize},
        {"status", &Cluster::Status},
        {"transfer-leadership", &Cluster::Transfer},
        {"campaign", &Cluster::Poke},
        {"propose", &Cluster::Poke},
        {"forget-leader", &Cluster::Poke},
        {"report-unreachable", &Cluster::Poke},
        {"tick-election", &Cluster::Poke},
        {"tick-heartbeat", &Cluster::Poke},
        {"set-randomized-election-timeout", &Cluster::Poke},
    };
    auto it = kHandlers.find(c.name);
    if (it == kHandlers.end()) return base::InvalidArgument("unknown command");
    return (this->*it->second)(c);
  }

  base::Status Poke(const Command& c) {
    Raft& r = *First(c).raft;
    if (c.name == "campaign") return r.Campaign();
    if (c.name == "propose") return r.Propose(std::make_shared<const std::string>(c.args.at(1).key));
    if (c.name == "forget-leader") r.ForgetLeader();
    if (c.name == "report-unreachable") r.ReportUnreachable(c.Numbers().at(1));
    if (c.name == "set-randomized-election-timeout") r.SetElectionTimeout(std::stoi(c.Find("timeout")->values[0]));
    int ticks = c.name == "tick-election"    ? First(c).options.election_ticks
                : c.name == "tick-heartbeat" ? First(c).options.heartbeat_ticks
                                             : 0;
    while (ticks-- > 0) r.Tick();
    return base::Ok();
  }

  base::Status AddNodes(const Command& c) {
    for (uint64_t n = c.Numbers().at(0); n > 0; --n) {
      auto node = std::make_unique<Node>();
      Options& o = node->options;
      o = {.id = nodes_.size() + 1, .election_ticks = 3, .heartbeat_ticks = 1, .storage = &node->storage};
      o.pre_vote = o.check_quorum = false;
      o.max_message_bytes = o.max_applying_bytes = o.max_uncommitted_bytes = std::numeric_limits<uint64_t>::max();
      o.limits.max_inflight_messages = std::numeric_limits<int32_t>::max();
      o.tracer = Tracer([this](TraceLevel level, const std::string& text) { Log(level, text); });
      Snapshot first;
      for (const Command::Arg& a : c.args) {
        for (const std::string& v : a.values) Configure(*node, first, a.key, v);
      }
      o.apply_unstable = !node->async;
      if (first.meta.index > 0) {
        first.meta.term = 1;
        o.applied = first.meta.index;
        node->storage.Restore(std::make_shared<const Snapshot>(first));
      }
      node->Remember(first);
      node->raft = std::make_unique<Raft>(o, base::Random(o.id));
      node->hard = node->raft->hard_state();
      nodes_.push_back(std::move(node));
    }
    return base::Ok();
  }

  static void Configure(Node& n, Snapshot& first, const std::string& key, const std::string& v) {
    Options& o = n.options;
    if (key == "voters") first.meta.conf_state.voters.push_back(std::stoull(v));
    if (key == "learners") first.meta.conf_state.learners.push_back(std::stoull(v));
    if (key == "index") first.meta.index = std::stoull(v);
    if (key == "content") first.data = v;
    if (key == "inflight") o.limits.max_inflight_messages = std::stoull(v);
    if (key == "async-storage-writes") n.async = v == "true";
    if (key == "prevote") o.pre_vote = v == "true";
    if (key == "checkquorum") o.check_quorum = v == "true";
    if (key == "max-committed-size-per-ready") o.max_applying_bytes = std::stoull(v);
    if (key == "disable-conf-change-validation") o.disable_conf_change_validation = v == "true";
    if (key == "read-only") o.lease_reads = v == "lease-based";
    if (key == "step-down-on-removal") o.step_down_on_removal = v == "true";
  }

  base::Status SetLogLevel(const Command& c) {
    static const std::map<std::string, int> kLevels = {{"debug", kDebug}, {"info", kInfo},   {"warn", kWarn},
                                                       {"error", kError}, {"fatal", kFatal}, {"none", kNone_}};
    level_ = kLevels.at(c.args.at(0).key);
    return base::Ok();
  }

  // ---- messages

  static bool IsLocal(const Message& m) {
    return m.from == m.to || m.from == kLocalAppendThread || m.from == kLocalApplyThread;
  }
  std::vector<Message> Take(NodeId to, bool drop, const std::string& type) {
    std::vector<Message> taken, left;
    for (Message& m : wire_) {
      bool match = m.to == to && !(drop && IsLocal(m)) && (type.empty() || MessageTypeName(m.type) == type);
      (match ? taken : left).push_back(std::move(m));
    }
    wire_ = std::move(left);
    return taken;
  }
  size_t Deliver(NodeId to, bool drop, const std::string& type) {
    std::vector<Message> messages = Take(to, drop, type);
    for (Message& m : messages) {
      Write((drop ? "dropped: " : "") + Print(m) + "\n");
      if (drop) continue;
      bool own = IsLocal(m);
      base::Status s = own ? At(to).raft->Step(std::move(m)) : At(to).raft->Receive(std::move(m));
      if (!s.ok()) Write(std::string(s.message()) + "\n");
    }
    return messages.size();
  }
  base::Status DeliverMessages(const Command& c) {
    std::string type = c.Find("type") ? c.Find("type")->values[0] : "";
    size_t n = 0;
    for (const Command::Arg& a : c.args) {
      if (a.values.empty()) n += Deliver(std::stoull(a.key), false, type);
      if (a.key != "drop") continue;
      for (const std::string& v : a.values) n += Deliver(std::stoull(v), true, type);
    }
    if (n == 0) Write("no messages\n");
    return base::Ok();
  }
  bool HasMessages(NodeId to) const {
    for (const Message& m : wire_) {
      if (m.to == to) return true;
    }
    return false;
  }
  base::Status SendSnapshot(const Command& c) {
    Node& from = First(c);
    Message m{.type = MessageType::kSnap, .to = c.Numbers().at(1), .from = from.raft->id(), .term = from.raft->term()};
    m.snapshot = from.history.back();
    Write(Print(m));
    wire_.push_back(std::move(m));
    return base::Ok();
  }

  // ---- work

  static void DoAppend(Node& n, const Message& m) {
    HardState hs{m.term, m.vote, m.commit};
    if (!hs.empty()) n.storage.SetHardState(hs);
    if (m.snapshot) {
      n.storage.Restore(m.snapshot);
      if (n.history.back()->meta.index > 0) n.storage.SetSnapshot(n.history.back());
    }
    n.storage.Append(m.entries);
  }
  static void DoApply(Node& n, const Entries& entries) {
    for (const Entry& e : entries) {
      Snapshot s = *n.history.back();
      if (e.type == EntryType::kNormal) {
        s.data += e.bytes();
      } else {
        auto cs = n.raft->ApplyConfChange(ParseChange(e.bytes()));
        ASSERT_TRUE(cs.has_value()) << cs.error().ToString();
        s.meta.conf_state = *cs;
      }
      s.meta.index = e.index;
      s.meta.term = e.term;
      n.Remember(std::move(s));
    }
  }

  void ProcessReady(Node& n) {
    HardState now = n.raft->hard_state();
    Ready rd = n.raft->TakeReady();
    Message append, apply;
    std::vector<Message> messages;
    for (Message& m : rd.messages) {
      if (m.to == kLocalAppendThread) append = m;
      if (m.to == kLocalApplyThread) apply = m;
      if (n.async || m.to < kLocalApplyThread) messages.push_back(std::move(m));
    }
    std::vector<Message> own;
    if (!n.async) {
      for (const Message& r : append.responses) (r.to == n.raft->id() ? own : messages).push_back(r);
      own.insert(own.end(), apply.responses.begin(), apply.responses.end());
    }
    HardState hs{append.term, append.vote, append.commit};
    bool sync = !append.entries.empty() || now.vote != n.hard.vote || now.term != n.hard.term;
    n.hard = now;
    std::string body = Describe(rd, hs, append, apply, messages);
    Write(body.empty() ? "<empty Ready>" : std::string("Ready MustSync=") + (sync ? "true" : "false") + ":\n" + body);
    if (!n.async) {
      DoAppend(n, append);
      DoApply(n, apply.entries);
    }
    for (Message& m : messages) {
      if (m.to == kLocalAppendThread) {
        n.append_work.push_back(std::move(m));
      } else if (m.to == kLocalApplyThread) {
        n.apply_work.push_back(std::move(m));
      } else {
        wire_.push_back(std::move(m));
      }
    }
    for (Message& m : own) (void)n.raft->Step(std::move(m));
  }
  static std::string Describe(const Ready& rd, const HardState& hs, const Message& append, const Message& apply,
                              const std::vector<Message>& messages) {
    std::string out;
    if (rd.soft_state) {
      out += "Lead:" + std::to_string(rd.soft_state->leader) + " State:" + std::string(RoleName(rd.soft_state->role)) +
             "\n";
    }
    if (!hs.empty()) out += "HardState " + Print(hs) + "\n";
    if (!append.entries.empty()) out += "Entries:\n" + Print(append.entries);
    if (append.snapshot) out += "Snapshot " + Print(*append.snapshot) + "\n";
    if (!apply.entries.empty()) out += "CommittedEntries:\n" + Print(apply.entries);
    if (!messages.empty()) out += "Messages:\n";
    for (const Message& m : messages) out += Print(m) + "\n";
    return out;
  }

  void Work(Node& n, std::deque<Message>& queue, bool append) {
    if (queue.empty()) return Write(append ? "no append work to perform" : "no apply work to perform");
    Message m = std::move(queue.front());
    queue.pop_front();
    Write("Processing:\n" + Print(m, "", false) + "\n");
    if (append) {
      DoAppend(n, m);
    } else {
      DoApply(n, m.entries);
    }
    Write("Responses:\n");
    for (Message& r : m.responses) {
      Write(Print(r) + "\n");
      wire_.push_back(std::move(r));
    }
  }
  base::Status AppendThreads(const Command& c) {
    return Each(c, " processing append thread\n", [this](Node& n) { Work(n, n.append_work, true); });
  }
  base::Status ApplyThreads(const Command& c) {
    return Each(c, " processing apply thread\n", [this](Node& n) { Work(n, n.apply_work, false); });
  }
  base::Status ProcessReadies(const Command& c) {
    return Each(c, " handling Ready\n", [this](Node& n) { ProcessReady(n); });
  }
  template <class F>
  base::Status Each(const Command& c, const std::string& title, F f) {
    std::vector<uint64_t> ids = c.Numbers();
    for (uint64_t id : ids) {
      if (ids.size() == 1) {
        f(At(id));
      } else {
        Write("> " + std::to_string(id) + title);
        Indented([&] { f(At(id)); });
      }
    }
    return base::Ok();
  }

  base::Status Stabilize(const Command& c) {
    int before = level_;
    if (const Command::Arg* a = c.Find("log-level")) {
      Command set;
      set.args.push_back({a->values[0], {}});
      (void)SetLogLevel(set);
    }
    std::vector<uint64_t> ids = c.Numbers();
    if (ids.empty()) {
      for (size_t i = 1; i <= nodes_.size(); ++i) ids.push_back(i);
    }
    while (StabilizeRound(ids)) {
    }
    level_ = before;
    return base::Ok();
  }
  bool StabilizeRound(const std::vector<uint64_t>& ids) {
    bool busy = false;
    auto title = [&](uint64_t id, const char* what) {
      busy = true;
      Write("> " + std::to_string(id) + what);
    };
    for (uint64_t id : ids) {
      if (!At(id).raft->HasReady()) continue;
      title(id, " handling Ready\n");
      Indented([&] { ProcessReady(At(id)); });
    }
    for (uint64_t id : ids) {
      if (!HasMessages(id)) continue;
      title(id, " receiving messages\n");
      Indented([&] { Deliver(id, false, ""); });
    }
    for (uint64_t id : ids) {
      if (At(id).append_work.empty()) continue;
      title(id, " processing append thread\n");
      while (!At(id).append_work.empty()) Indented([&] { Work(At(id), At(id).append_work, true); });
    }
    for (uint64_t id : ids) {
      if (At(id).apply_work.empty()) continue;
      title(id, " processing apply thread\n");
      while (!At(id).apply_work.empty()) Indented([&] { Work(At(id), At(id).apply_work, false); });
    }
    return busy;
  }

  // ---- the rest

  base::Status ProposeConfChange(const Command& c) {
    bool v1 = c.Find("v1") && c.Find("v1")->values[0] == "true";
    std::string transition = c.Find("transition") ? c.Find("transition")->values[0] : "auto";
    std::string text = transition == "auto" ? "0" : transition == "implicit" ? "1" : "2";
    text += c.input.substr(0, c.input.find('\n'));
    ConfChange change = ParseChange(text);
    return First(c).raft->ProposeConfChange(v1 ? EntryType::kConfChange : EntryType::kConfChangeV2,
                                            std::make_shared<const std::string>(text), change);
  }
  base::Status RaftLog(const Command& c) {
    const MemoryStorage& s = First(c).storage;
    if (s.LastIndex() < s.FirstIndex()) {
      Write("log is empty: first index=" + std::to_string(s.FirstIndex()) +
            ", last index=" + std::to_string(s.LastIndex()));
      return base::Ok();
    }
    Write(Print(*s.Slice(s.FirstIndex(), s.LastIndex() + 1, std::numeric_limits<uint64_t>::max())));
    return base::Ok();
  }
  base::Status Compact(const Command& c) {
    First(c).storage.Compact(c.Numbers().at(1));
    return RaftLog(c);
  }
  base::Status RaftState(const Command&) {
    for (const auto& n : nodes_) {
      const Raft& r = *n->raft;
      Write(std::to_string(r.id()) + ": " + std::string(RoleName(r.role())) +
            (r.membership().voters.Contains(r.id()) ? " (Voter)" : " (Non-Voter)") +
            " Term:" + std::to_string(r.term()) + " Lead:" + std::to_string(r.leader()) + "\n");
    }
    return base::Ok();
  }
  base::Status Status(const Command& c) {
    const Raft& r = *First(c).raft;
    if (r.role() != Role::kLeader) return base::Ok();
    for (const auto& [id, p] : r.membership().progress) Write(std::to_string(id) + ": " + p.ToString() + "\n");
    return base::Ok();
  }
  base::Status Transfer(const Command& c) {
    At(std::stoull(c.Find("from")->values[0])).raft->TransferLeader(std::stoull(c.Find("to")->values[0]));
    return base::Ok();
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> wire_;
  int level_ = kDebug;
  std::string out_;
};

TEST(Interaction, Scripts) {
  testing::RunScripts(
      "testdata", [] { return [cluster = std::make_shared<Cluster>()](const Command& c) { return cluster->Run(c); }; });
}

}  // namespace
}  // namespace kvstore::raft
