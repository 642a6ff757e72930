#include "scheduler/cycle.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace scheduler {
namespace {

std::string Available(size_t nodes) { return "0/" + std::to_string(nodes) + " nodes are available:"; }

void Remember(std::vector<std::string_view>& list, std::string_view plugin) {
  if (std::ranges::find(list, plugin) == list.end()) list.push_back(plugin);
}

// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ..."
std::string Explain(size_t nodes, const std::string& everywhere, const Rejections& rejections, const Verdict& post) {
  std::string out = Available(nodes);
  if (!everywhere.empty()) {
    out += " " + everywhere + ".";
  } else {
    std::map<std::string, int> counts;
    for (const auto& [node, verdict] : rejections)
      for (const auto& reason : verdict.reasons) ++counts[reason];
    std::vector<std::string> lines;
    for (const auto& [reason, n] : counts) lines.push_back(std::to_string(n) + " " + reason);
    std::ranges::sort(lines);
    if (!lines.empty()) out += " " + base::Join(lines, ", ") + ".";
  }
  std::string more = base::Join(post.reasons, ", ");
  if (!more.empty()) out += " " + more;
  return out;
}

NodeIndex Choose(const std::vector<NodeIndex>& feasible, const std::vector<int64_t>& scores, base::Random& random) {
  size_t best = 0;
  uint64_t equals = 1;
  for (size_t i = 1; i < feasible.size(); ++i) {
    if (scores[i] > scores[best]) {
      best = i;
      equals = 1;
    } else if (scores[i] == scores[best] && random.OneIn(++equals)) {
      best = i;  // each of the equals seen so far is the choice with the same probability
    }
  }
  return feasible[best];
}
}  // namespace

size_t FeasibleNodesToFind(size_t nodes) {
  constexpr size_t kEnough = 100;
  if (nodes <= kEnough) return nodes;
  size_t percent = nodes / 125 < 45 ? 50 - nodes / 125 : 5;
  return std::max(kEnough, nodes * percent / 100);
}

Decision Decide(const Framework& framework, CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                base::Random& random, size_t& start) {
  Decision out;
  const auto& live = nodes.live();
  if (live.empty()) {
    out.message = "no nodes available to schedule pods";
    return out;
  }
  Rejections rejections;
  auto everywhere = framework.RunPreFilter(state, pod, nodes);
  if (!everywhere.verdict.ok()) {
    out.message = base::Join(everywhere.verdict.reasons, ", ");
    out.error = !everywhere.verdict.rejected();
    out.rejected_by.push_back(everywhere.plugin);
    if (out.error) return out;
    for (NodeIndex i : live) rejections.emplace_back(i, Verdict{everywhere.verdict.code, {}});
    auto post = framework.RunPostFilter(state, pod, nodes, rejections);
    out.message = Explain(live.size(), out.message, rejections, post);
    return out;
  }

  std::vector<NodeIndex> feasible;
  size_t wanted = FeasibleNodesToFind(live.size());
  for (size_t n = 0; n < live.size() && feasible.size() < wanted; ++n, ++out.evaluated) {
    NodeIndex i = live[(start + n) % live.size()];
    auto rejection = framework.RunFilter(state, pod, nodes, i);
    if (rejection.verdict.ok()) {
      feasible.push_back(i);
      continue;
    }
    if (!rejection.verdict.rejected()) {
      out.error = true;
      out.message = base::Join(rejection.verdict.reasons, ", ");
      return out;
    }
    Remember(out.rejected_by, rejection.plugin);
    rejections.emplace_back(i, std::move(rejection.verdict));
  }
  start = (start + out.evaluated) % live.size();
  out.feasible = feasible.size();
  if (feasible.empty()) {
    auto post = framework.RunPostFilter(state, pod, nodes, rejections);
    out.message = Explain(live.size(), "", rejections, post);
    return out;
  }
  out.rejected_by.clear();
  out.node =
      feasible.size() == 1 ? feasible[0] : Choose(feasible, framework.RunScore(state, pod, nodes, feasible), random);
  return out;
}

}  // namespace scheduler
