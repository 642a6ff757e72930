// ClusterRoles that gather their rules from others (admin, edit, view): whenever any ClusterRole changes, each of them
// gets the rules of all roles its selectors match, in the order of their names, each rule once.
#include <algorithm>
#include <optional>

#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "proto/k8s/rbac/v1/rbac.pb.h"

namespace controller_manager {
namespace {
using k8s::io::api::rbac::v1::ClusterRole;
using k8s::io::api::rbac::v1::PolicyRule;
using Rules = google::protobuf::RepeatedPtrField<PolicyRule>;

bool Same(const PolicyRule& a, const PolicyRule& b) { return a.SerializeAsString() == b.SerializeAsString(); }
bool Same(const Rules& a, const Rules& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) { return Same(x, y); });
}

class ClusterRoleAggregationController final : public RunnableController {
 public:
  explicit ClusterRoleAggregationController(ManagerContext& context)
      : client_(context.client),
        roles_(context.informers.Of<ClusterRole>()),
        controller_(context.executor, "clusterrole_aggregation", 1,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    // There are few roles, and any of them may feed any other.
    controller_.Watches<ClusterRole>(roles_, [this](const client::Change<ClusterRole>&) {
      std::vector<client::Key> keys;
      for (const auto& role : roles_.List())
        if (role->has_aggregationrule()) keys.push_back(role->metadata().name());
      return keys;
    });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  Rules Gather(const ClusterRole& role) const {
    auto all = roles_.List();
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a->metadata().name() < b->metadata().name(); });
    Rules out;
    for (const auto& selector : role.aggregationrule().clusterroleselectors())
      for (const auto& other : all) {
        if (other->metadata().name() == role.metadata().name() || !Matches(selector, other->metadata().labels()))
          continue;
        for (const auto& rule : other->rules())
          if (std::none_of(out.begin(), out.end(), [&](const auto& have) { return Same(have, rule); }))
            *out.Add() = rule;
      }
    return out;
  }

  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto role = roles_.Get(key);
    if (!role || !role->has_aggregationrule()) co_return client::Done{};
    Rules rules = Gather(*role);
    if (Same(rules, role->rules())) co_return client::Done{};
    ClusterRole changed = *role;
    *changed.mutable_rules() = std::move(rules);
    CO_TRY(co_await client_.Update<ClusterRole>(ctx, std::move(changed)));
    co_return client::Done{};
  }

  client::Client& client_;
  client::Informer<ClusterRole>& roles_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeClusterRoleAggregation(ManagerContext& context) {
  return std::make_unique<ClusterRoleAggregationController>(context);
}

}  // namespace controller_manager
