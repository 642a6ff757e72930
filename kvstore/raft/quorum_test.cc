// The scripts about majorities and about changes of the configuration.
#include "kvstore/raft/quorum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "kvstore/raft/membership.h"
#include "kvstore/raft/script.h"

namespace kvstore::raft {
namespace {

using testing::Command;

std::set<NodeId> Ids(const Command& c, const std::string& key) {
  std::set<NodeId> out;
  const Command::Arg* arg = c.Find(key);
  if (!arg) return out;
  for (const std::string& v : arg->values) {
    if (v != "zero") out.insert(std::stoull(v));
  }
  return out;
}

// A bar per voter: how many others are behind it.
std::string Draw(const std::set<NodeId>& ids, const std::map<NodeId, uint64_t>& acked) {
  if (ids.empty()) return "<empty majority quorum>";
  size_t n = ids.size();
  auto at = [&](NodeId id) { return acked.contains(id) ? acked.at(id) : 0; };
  std::string out = std::string(n, ' ') + "    idx\n";
  for (NodeId id : ids) {
    auto bar = static_cast<size_t>(std::count_if(ids.begin(), ids.end(), [&](NodeId o) { return at(o) < at(id); }));
    out += acked.contains(id) ? std::string(bar, 'x') + ">" + std::string(n - bar, ' ') : "?" + std::string(n, ' ');
    char text[64];
    std::snprintf(text, sizeof text, " %5lu    (id=%lx)\n", at(id), id);
    out += text;
  }
  return out;
}

std::string RunQuorum(const Command& c) {
  JointConfig config{{Ids(c, "cfg")}, {Ids(c, "cfgj")}};
  std::vector<NodeId> order;
  for (const char* key : {"cfg", "cfgj"}) {
    const Command::Arg* arg = c.Find(key);
    for (const std::string& v : arg ? arg->values : std::vector<std::string>()) {
      if (v != "zero" && std::find(order.begin(), order.end(), std::stoull(v)) == order.end()) {
        order.push_back(std::stoull(v));
      }
    }
  }
  const Command::Arg* given = c.Find(c.name == "vote" ? "votes" : "idx");
  std::vector<std::string> values = given ? given->values : std::vector<std::string>();
  if (values.size() != order.size()) return "error: mismatched input (explicit or _) for voters";
  if (c.name == "vote") {
    std::map<NodeId, bool> votes;
    for (size_t i = 0; i < order.size(); ++i) {
      if (values[i] != "_") votes[order[i]] = values[i] == "y";
    }
    static constexpr const char* kNames[] = {"VotePending", "VoteLost", "VoteWon"};
    return kNames[static_cast<size_t>(config.Vote(votes))];
  }
  std::map<NodeId, uint64_t> acked;
  for (size_t i = 0; i < order.size(); ++i) {
    if (values[i] != "_") acked[order[i]] = std::stoull(values[i]);
  }
  uint64_t index = config.CommittedIndex([&](NodeId id) { return acked.contains(id) ? acked[id] : 0; });
  return Draw(config.Ids(), acked) + (index == kNoLimit ? "∞" : std::to_string(index));
}

TEST(Quorum, Scripts) {
  testing::RunScripts("quorum/testdata", [] { return RunQuorum; });
}

Changes ParseChanges(const std::string& text) {
  Changes out;
  std::stringstream words(text);
  for (std::string w; words >> w;) {
    ConfChangeType type = w[0] == 'v'   ? ConfChangeType::kAddNode
                          : w[0] == 'l' ? ConfChangeType::kAddLearnerNode
                          : w[0] == 'r' ? ConfChangeType::kRemoveNode
                                        : ConfChangeType::kUpdateNode;
    out.push_back({type, std::stoull(w.substr(1))});
  }
  return out;
}

TEST(Membership, Scripts) {
  testing::RunScripts("confchange/testdata", [] {
    struct State {
      Membership m;
      uint64_t last_index = 0;
      MembershipLimits limits{.max_inflight_messages = 10};
    };
    return [s = std::make_shared<State>()](const Command& c) -> std::string {
      Basis basis{s->last_index++, s->limits};
      Changes changes = ParseChanges(c.input);
      const Command::Arg* leave = c.Find("autoleave");
      auto next = c.name == "simple"        ? SimpleChange(s->m, changes, basis)
                  : c.name == "enter-joint" ? EnterJoint(s->m, changes, leave && leave->values[0] == "true", basis)
                                            : LeaveJoint(s->m, s->limits);
      if (!next) return std::string(next.error().message());
      s->m = std::move(*next);
      std::string out = s->m.ToString() + "\n";
      for (const auto& [id, p] : s->m.progress) out += std::to_string(id) + ": " + p.ToString() + "\n";
      return out;
    };
  });
}

}  // namespace
}  // namespace kvstore::raft
