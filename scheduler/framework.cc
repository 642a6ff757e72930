#include "scheduler/framework.h"

#include <algorithm>
#include <set>

namespace scheduler {

#define PLUGIN(name) std::unique_ptr<Plugin> Make##name(const PluginContext& context);
#include "scheduler/plugins.def"
#undef PLUGIN

// Filters and scorers that said they have nothing to do for this pod.
struct Framework::Skips {
  std::vector<const Plugin*> filters, scorers;
};

Framework::Framework(const PluginContext& context) {
#define PLUGIN(name) plugins_.push_back(Make##name(context));
#include "scheduler/plugins.def"
#undef PLUGIN
  Sort();
}

Framework::Framework(std::vector<std::unique_ptr<Plugin>> plugins) : plugins_(std::move(plugins)) { Sort(); }
Framework::~Framework() = default;

void Framework::Sort() {
  std::set<std::string_view> names;
  for (const auto& owned : plugins_) {
    Plugin* p = owned.get();
    CHECK_MSG(names.insert(p->name()).second, p->name());
    auto add = [p]<class H>(std::vector<Hook<H>>& list) {
      if (auto* hook = dynamic_cast<H*>(p)) list.push_back({hook, p});
    };
    add(pre_enqueue_), add(pre_filter_), add(filter_), add(post_filter_), add(pre_score_), add(score_), add(reserve_);
    add(permit_), add(pre_bind_), add(bind_), add(post_bind_);
    if (auto* sort = dynamic_cast<QueueSortPlugin*>(p)) {
      CHECK_MSG(!queue_sort_, "two plugins sort the queue");
      queue_sort_ = sort;
    }
  }
  CHECK_MSG(queue_sort_, "no plugin sorts the queue");
}

Framework::Rejection Framework::RunPreEnqueue(const PodInfo& pod) const {
  for (const auto& h : pre_enqueue_)
    if (auto v = h.hook->PreEnqueue(pod); !v.ok()) return {std::move(v), h.plugin->name()};
  return {};
}

Framework::Rejection Framework::RunPreFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes) const {
  auto& skips = state.Of<Skips>();
  for (const auto& h : pre_filter_) {
    auto v = h.hook->PreFilter(state, pod, nodes);
    if (v.code == Code::kSkip) skips.filters.push_back(h.plugin);
    if (!v.ok()) return {std::move(v), h.plugin->name()};
  }
  return {};
}

Framework::Rejection Framework::RunFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                                          NodeIndex node) const {
  const auto& skipped = state.Of<Skips>().filters;
  for (const auto& h : filter_) {
    if (std::ranges::find(skipped, h.plugin) != skipped.end()) continue;
    if (auto v = h.hook->Filter(state, pod, nodes, node); !v.ok()) return {std::move(v), h.plugin->name()};
  }
  return {};
}

Verdict Framework::RunPostFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                                 const Rejections& rejections) const {
  Verdict out{Code::kUnschedulable, {}};
  for (const auto& h : post_filter_) {
    auto v = h.hook->PostFilter(state, pod, nodes, rejections);
    if (v.code == Code::kSuccess) return v;
    out.reasons.insert(out.reasons.end(), v.reasons.begin(), v.reasons.end());
  }
  return out;
}

std::vector<int64_t> Framework::RunScore(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                                         const std::vector<NodeIndex>& feasible) const {
  auto& skips = state.Of<Skips>();
  for (const auto& h : pre_score_)
    if (h.hook->PreScore(state, pod, nodes, feasible).code == Code::kSkip) skips.scorers.push_back(h.plugin);
  std::vector<int64_t> sum(feasible.size(), 0), one(feasible.size());
  for (const auto& h : score_) {
    if (std::ranges::find(skips.scorers, h.plugin) != skips.scorers.end()) continue;
    for (size_t i = 0; i < feasible.size(); ++i) one[i] = h.hook->Score(state, pod, nodes, feasible[i]);
    h.hook->NormalizeScore(state, pod, one);
    for (size_t i = 0; i < feasible.size(); ++i) sum[i] += one[i] * h.hook->weight();
  }
  return sum;
}

Verdict Framework::RunReserve(CycleState& state, const PodInfo& pod, const std::string& node) const {
  for (const auto& h : reserve_) {
    if (auto v = h.hook->Reserve(state, pod, node); !v.ok()) {
      RunUnreserve(state, pod, node);
      return v;
    }
  }
  return {};
}

void Framework::RunUnreserve(CycleState& state, const PodInfo& pod, const std::string& node) const {
  for (auto it = reserve_.rbegin(); it != reserve_.rend(); ++it) it->hook->Unreserve(state, pod, node);
}

PermitPlugin::Answer Framework::RunPermit(CycleState& state, const PodInfo& pod, const std::string& node) const {
  PermitPlugin::Answer out;
  for (const auto& h : permit_) {
    auto a = h.hook->Permit(state, pod, node);
    if (a.verdict.ok()) continue;
    if (a.verdict.code != Code::kWait) return a;
    // Several may want to wait: the shortest patience counts.
    bool first = out.verdict.code != Code::kWait;
    out.timeout = first ? a.timeout : std::min(out.timeout, a.timeout);
    out.verdict.code = Code::kWait;
  }
  return out;
}

base::Task<base::Status> Framework::RunBind(base::Context ctx, const PodInfo& pod, std::string node) const {
  for (const auto& h : pre_bind_) CO_TRY(co_await h.hook->PreBind(ctx, pod, node));
  CHECK_MSG(!bind_.empty(), "no plugin binds");
  CO_TRY(co_await bind_.front().hook->Bind(ctx, pod, node));
  for (const auto& h : post_bind_) h.hook->PostBind(pod, node);
  co_return base::Ok();
}

bool Framework::MayHelp(const ClusterEvent& event, const PodInfo& pod,
                        const std::vector<std::string_view>& plugins) const {
  // Nobody in particular rejected the pod (its binding failed): anything may help.
  if (plugins.empty()) return true;
  return std::ranges::any_of(plugins_, [&](const auto& p) {
    return std::ranges::find(plugins, p->name()) != plugins.end() && p->MayHelp(event, pod);
  });
}

}  // namespace scheduler
