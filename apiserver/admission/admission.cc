#include "apiserver/admission/admission.h"

#include <algorithm>
#include <array>

namespace apiserver::admission {

#define PLUGIN(name, factory, on) std::unique_ptr<Plugin> factory(const Environment& env);
#include "apiserver/admission/plugins.def"
#undef PLUGIN

namespace {

// Names of the original that we do not implement; asked for explicitly they are an error, not a silent nothing.
constexpr std::array<std::string_view, 40> kKnown = {
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceLifecycle",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodSecurity",
    "PodNodeSelector",
    "Priority",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PodGroupProtection",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "NodeDeclaredFeatureValidator",
    "JobValidation",
    "PodResizeValidator",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
    "AlwaysDeny",
};

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

base::Status CheckNames(const std::vector<std::string>& names, bool enable) {
  for (const auto& name : names) {
    bool known = std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end();
    bool ours = std::any_of(Plugins().begin(), Plugins().end(), [&](const auto& p) { return p.name == name; });
    if (!known && !ours) return base::InvalidArgument("unknown admission plugin \"" + name + "\"");
    if (enable && !ours) return base::Unimplemented("admission plugin \"" + name + "\" is not supported yet");
  }
  return base::Ok();
}

}  // namespace

std::string_view OperationName(Operation op) {
  switch (op) {
    case Operation::kCreate:
      return "CREATE";
    case Operation::kUpdate:
      return "UPDATE";
    case Operation::kDelete:
      return "DELETE";
    case Operation::kConnect:
      return "CONNECT";
  }
  return "";
}

base::Task<base::Status> Plugin::Admit(base::Context, Attributes&) { co_return base::Ok(); }
base::Task<base::Status> Plugin::Validate(base::Context, const Attributes&) { co_return base::Ok(); }

const std::vector<Registration>& Plugins() {
  static const std::vector<Registration> plugins = {
#define PLUGIN(name, factory, on) {name, factory, on},
#include "apiserver/admission/plugins.def"
#undef PLUGIN
  };
  return plugins;
}

base::Result<std::unique_ptr<Chain>> Chain::Make(const Environment& env, const std::vector<std::string>& enable,
                                                 const std::vector<std::string>& disable) {
  TRY(CheckNames(enable, true));
  TRY(CheckNames(disable, false));
  auto chain = std::make_unique<Chain>();
  for (const auto& p : Plugins())
    if ((p.on_by_default || Contains(enable, p.name)) && !Contains(disable, p.name))
      chain->plugins_.push_back(p.make(env));
  return chain;
}

base::Task<base::Status> Chain::Admit(base::Context ctx, Attributes& a) {
  for (auto& plugin : plugins_)
    if (plugin->Handles(a.operation)) CO_TRY(co_await plugin->Admit(ctx, a));
  co_return base::Ok();
}

base::Task<base::Status> Chain::Validate(base::Context ctx, const Attributes& a) {
  for (auto& plugin : plugins_)
    if (plugin->Handles(a.operation)) CO_TRY(co_await plugin->Validate(ctx, a));
  co_return base::Ok();
}

bool Chain::Handles(Operation op) const {
  return std::any_of(plugins_.begin(), plugins_.end(), [&](const auto& p) { return p->Handles(op); });
}

}  // namespace apiserver::admission
