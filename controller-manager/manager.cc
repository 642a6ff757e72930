#include "controller-manager/manager.h"

#include <algorithm>

#include "base/log.h"

namespace controller_manager {

#define CONTROLLER(name, make, account) std::unique_ptr<RunnableController> Make##make(ManagerContext& context);
#include "controller-manager/controllers.def"
#undef CONTROLLER

const std::vector<std::string>& KnownControllers() {
  static const std::vector<std::string> names = {
#define CONTROLLER(name, make, account) name,
#include "controller-manager/controllers.def"
#undef CONTROLLER
  };
  return names;
}

const std::vector<std::string>& MissingControllers() {
  static const std::vector<std::string> names = {"serviceaccount-token-controller",
                                                 "endpointslice-mirroring-controller",
                                                 "replicationcontroller-controller",
                                                 "resourcequota-controller",
                                                 "daemonset-controller",
                                                 "job-controller",
                                                 "podgroup-protection-controller",
                                                 "horizontal-pod-autoscaler-controller",
                                                 "disruption-controller",
                                                 "statefulset-controller",
                                                 "cronjob-controller",
                                                 "certificatesigningrequest-signing-controller",
                                                 "certificatesigningrequest-approving-controller",
                                                 "certificatesigningrequest-cleaner-controller",
                                                 "podcertificaterequest-cleaner-controller",
                                                 "bootstrap-signer-controller",
                                                 "token-cleaner-controller",
                                                 "persistentvolume-binder-controller",
                                                 "persistentvolume-attach-detach-controller",
                                                 "persistentvolume-expander-controller",
                                                 "persistentvolumeclaim-protection-controller",
                                                 "persistentvolume-protection-controller",
                                                 "volumeattributesclass-protection-controller",
                                                 "ttl-after-finished-controller",
                                                 "kube-apiserver-serving-clustertrustbundle-publisher-controller",
                                                 "ephemeral-volume-controller",
                                                 "storageversion-garbage-collector-controller",
                                                 "resourceclaim-controller",
                                                 "device-taint-eviction-controller",
                                                 "legacy-serviceaccount-token-cleaner-controller",
                                                 "validatingadmissionpolicy-status-controller",
                                                 "service-cidr-controller",
                                                 "storage-version-migrator-controller",
                                                 "selinux-warning-controller"};
  return names;
}

base::Status CheckControllers(const std::vector<std::string>& words) {
  for (std::string word : words) {
    if (word == "*") continue;
    bool off = word.starts_with('-');
    if (off) word.erase(0, 1);
    if (std::ranges::find(KnownControllers(), word) != KnownControllers().end()) continue;
    if (std::ranges::find(MissingControllers(), word) == MissingControllers().end())
      return base::InvalidArgument("\"" + word + "\" is not in the list of known controllers");
    if (!off) return base::InvalidArgument("controller \"" + word + "\" is not supported yet by keelson");
  }
  return base::Ok();
}

bool IsEnabled(const std::vector<std::string>& words, std::string_view name) {
  bool all = false;
  for (const auto& word : words) {
    if (word == name) return true;
    if (word.starts_with('-') && std::string_view(word).substr(1) == name) return false;
    all |= word == "*";
  }
  return all;
}

Manager::Manager(base::Executor& executor, client::Client& client, base::Random random, base::MetricsRegistry& metrics,
                 ManagerOptions options, Discover discover, ClientOf client_of)
    : executor_(executor),
      client_(client),
      random_(random),
      metrics_(metrics),
      options_(std::move(options)),
      discover_(std::move(discover)),
      client_of_(std::move(client_of)),
      informers_(executor, client) {
#define CONTROLLER(name, make, account) \
  if (IsEnabled(options_.controllers, name)) controllers_.push_back(Make##make(ContextOf(account)));
#include "controller-manager/controllers.def"
#undef CONTROLLER
}

ManagerContext& Manager::ContextOf(const std::string& account) {
  auto& slot = contexts_[account];
  if (!slot)
    slot = std::make_unique<ManagerContext>(ManagerContext{
        executor_, client_of_ ? client_of_(account) : client_, informers_, random_, metrics_, options_, discover_,
        [this](const std::string& component) -> client::EventRecorder& { return Events(component); }});
  return *slot;
}

Manager::~Manager() = default;

client::EventRecorder& Manager::Events(const std::string& component) {
  auto& slot = recorders_[component];
  if (!slot) slot = std::make_unique<client::EventRecorder>(executor_, client_, component);
  return *slot;
}

base::Task<void> Manager::Run(base::Context ctx) {
  base::TaskScope scope(executor_, ctx);
  for (auto& [component, recorder] : recorders_) scope.Spawn(recorder->Run(scope.context()));
  informers_.Start(scope);
  for (auto& controller : controllers_) scope.Spawn(controller->Run(scope.context()));
  co_await scope.Join();
}

}  // namespace controller_manager
