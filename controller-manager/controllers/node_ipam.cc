// Node IPAM: gives each node its range of pod addresses out of the cluster's (RangeAllocator). One worker, so that two
// nodes never race for a range. Also keeps the annotation by which kubelets know how long to trust their caches.
#include <algorithm>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/writes.h"
#include "controller-manager/controllers/node_ranges.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace controller_manager {
namespace {
using k8s::io::api::core::v1::Node;

constexpr base::Duration kRecheck = std::chrono::seconds(1);

class NodeIpamController final : public RunnableController {
 public:
  explicit NodeIpamController(ManagerContext& context)
      : client_(context.client),
        events_(context.events("node-ipam-controller")),
        nodes_(context.informers.Of<Node>()),
        writes_(context.executor),
        controller_(context.executor, "node_ipam", 1,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    const auto& o = context.options;
    std::string rest = o.allocate_node_cidrs ? o.cluster_cidr : "";
    while (!rest.empty()) {
      auto comma = rest.find(',');
      auto range = NodeRanges::Parse(rest.substr(0, comma), o.node_cidr_mask_size, o.node_cidr_mask_size_ipv6);
      if (range)
        ranges_.push_back(std::move(*range));
      else
        base::LogError("Cannot allocate node CIDRs", range.error());
      rest = comma == rest.npos ? "" : rest.substr(comma + 1);
    }
    nodes_.AddHandler([this](const client::Change<Node>& c) { Track(c); });
    controller_.For<Node>(nodes_);
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  // Ranges in use are known before the first allocation: the controller waits for the whole list.
  void Track(const client::Change<Node>& c) {
    for (size_t i = 0; i < ranges_.size(); ++i) {
      const auto& name = c.any().metadata().name();
      // One without a range may have been given one that it does not show yet.
      if (!c.current || !c.current->spec().podcidrs().empty()) ranges_[i].Release(name);
      if (c.current)
        for (const auto& cidr : c.current->spec().podcidrs()) ranges_[i].Use(name, cidr);
    }
  }

  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto node = nodes_.Get(key);
    if (!node || ranges_.empty() || !node->spec().podcidrs().empty() || !node->spec().podcidr().empty())
      co_return client::Done{};
    // The copy is from before our own patch.
    if (!writes_.SeenBy(key, nodes_.resource_version())) co_return client::Done{kRecheck};
    std::vector<std::string> given;
    for (auto& range : ranges_) {
      auto cidr = range.Allocate(key);
      if (!cidr) {
        GiveBack(key, given);
        events_.Event(client::ReferenceTo(*node), "Normal", "CIDRNotAvailable",
                      "Node " + key + " status is now: CIDRNotAvailable");
        co_return base::Err(base::ResourceExhausted("no node CIDRs left"));
      }
      given.push_back(*cidr);
    }
    std::string list;
    for (const auto& cidr : given) list += (list.empty() ? "\"" : ",\"") + cidr + "\"";
    // A patch of these fields alone: others write the node at the same time.
    auto updated =
        co_await client_.Patch<Node>(ctx, "", key, machinery::request::PatchType::kStrategicMerge,
                                     R"({"spec":{"podCIDR":")" + given[0] + R"(","podCIDRs":[)" + list + "]}}");
    if (updated) {
      writes_.Created(key, updated->metadata().resourceversion());
      co_return client::Done{};
    }
    // An answer that was lost may have been a success: the ranges stay taken until the node shows what it got.
    if (machinery::object::AsApiError(updated.error())) GiveBack(key, given);
    co_return base::Err(updated.error());
  }

  void GiveBack(const std::string& node, const std::vector<std::string>& given) {
    for (size_t i = 0; i < given.size(); ++i) ranges_[i].GiveBack(node, given[i]);
  }

  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<Node>& nodes_;
  std::vector<NodeRanges> ranges_;
  Writes writes_;
  client::Controller controller_;
};

class TtlController final : public RunnableController {
 public:
  explicit TtlController(ManagerContext& context)
      : client_(context.client),
        nodes_(context.informers.Of<Node>()),
        controller_(context.executor, "ttl", 1,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    controller_.For<Node>(nodes_);
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  // The larger the cluster the longer kubelets keep secrets and config maps; steps overlap so that a cluster at a
  // boundary does not flap.
  int Seconds() {
    struct Step {
      size_t from, to;
      int seconds;
    };
    constexpr Step kSteps[] = {{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300}};
    size_t n = nodes_.size();
    while (n > kSteps[step_].to) ++step_;
    while (n < kSteps[step_].from) --step_;
    return kSteps[step_].seconds;
  }
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    constexpr char kTtl[] = "node.alpha.kubernetes.io/ttl";
    auto node = nodes_.Get(key);
    if (!node) co_return client::Done{};
    std::string wanted = std::to_string(Seconds());
    auto it = node->metadata().annotations().find(kTtl);
    if (it != node->metadata().annotations().end() && it->second == wanted) co_return client::Done{};
    CO_TRY(co_await client_.Patch<Node>(
        ctx, "", key, machinery::request::PatchType::kMerge,
        std::string(R"({"metadata":{"annotations":{")") + kTtl + "\":\"" + wanted + "\"}}}"));
    co_return client::Done{};
  }
  client::Client& client_;
  client::Informer<Node>& nodes_;
  size_t step_ = 0;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeNodeIpam(ManagerContext& context) {
  return std::make_unique<NodeIpamController>(context);
}
std::unique_ptr<RunnableController> MakeTtl(ManagerContext& context) {
  return std::make_unique<TtlController>(context);
}

}  // namespace controller_manager
