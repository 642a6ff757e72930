// helper: two controllers that controllers.def names ServiceAccount and RootCaCertPublisher.
// What every namespace has: the service account "default" and the ConfigMap kube-root-ca.crt with the cluster's
// certificate authority. Both come back when somebody removes or changes them.
#include "controller-manager/common/context.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/config.pb.h"
#include "proto/k8s/core/v1/namespace.pb.h"

namespace controller_manager {
namespace {
using k8s::io::api::core::v1::ConfigMap;
using k8s::io::api::core::v1::Namespace;
using k8s::io::api::core::v1::ServiceAccount;

constexpr char kRootCa[] = "kube-root-ca.crt";
constexpr char kDescription[] = "kubernetes.io/description";
constexpr char kWhatFor[] =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters.";

// A namespace that is there to stay.
bool IsActive(const std::shared_ptr<const Namespace>& ns) {
  return ns && ns->status().phase() != "Terminating" && !ns->metadata().has_deletiontimestamp();
}
// Creation lost a race, or the namespace went away: both are fine.
base::Status Settled(base::Status s) {
  bool fine = machinery::object::IsAlreadyExists(s) || machinery::object::IsNotFound(s) ||
              s.message().find("because it is being terminated") != std::string_view::npos;
  return fine ? base::Ok() : s;
}

class ServiceAccountController final : public RunnableController {
 public:
  explicit ServiceAccountController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        namespaces_(context.informers.Of<Namespace>()),
        accounts_(context.executor, context.informers.client(), {.field_selector = "metadata.name=default"}),
        controller_(context.executor, "serviceaccount", 1,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    controller_.For<Namespace>(namespaces_);
    controller_.Watches<ServiceAccount>(accounts_, [](const client::Change<ServiceAccount>& c) {
      return c.current ? std::vector<client::Key>() : std::vector{c.old->metadata().namespace_()};
    });
  }
  base::Task<void> Run(base::Context ctx) override {
    base::TaskScope scope(executor_, ctx);
    scope.Spawn(accounts_.Run(scope.context()));
    scope.Spawn(controller_.Run(scope.context()));
    co_await scope.Join();
  }

 private:
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    if (!IsActive(namespaces_.Get(key)) || accounts_.Get(key, "default")) co_return client::Done{};
    ServiceAccount account;
    account.mutable_metadata()->set_namespace_(key);
    account.mutable_metadata()->set_name("default");
    CO_TRY(Settled(base::StatusOf(co_await client_.Create<ServiceAccount>(ctx, std::move(account)))));
    co_return client::Done{};
  }
  base::Executor& executor_;
  client::Client& client_;
  client::Informer<Namespace>& namespaces_;
  client::Informer<ServiceAccount> accounts_;
  client::Controller controller_;
};

class RootCaController final : public RunnableController {
 public:
  explicit RootCaController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        root_ca_(context.options.root_ca),
        namespaces_(context.informers.Of<Namespace>()),
        maps_(context.executor, context.informers.client(),
              {.field_selector = std::string("metadata.name=") + kRootCa}),
        controller_(context.executor, "root_ca_cert_publisher", 1,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    controller_.For<Namespace>(namespaces_);
    controller_.Watches<ConfigMap>(
        maps_, [](const client::Change<ConfigMap>& c) { return std::vector{c.any().metadata().namespace_()}; });
  }
  base::Task<void> Run(base::Context ctx) override {
    base::TaskScope scope(executor_, ctx);
    scope.Spawn(maps_.Run(scope.context()));
    scope.Spawn(controller_.Run(scope.context()));
    co_await scope.Join();
  }

 private:
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    if (root_ca_.empty() || !IsActive(namespaces_.Get(key))) co_return client::Done{};
    auto known = maps_.Get(key, kRootCa);
    ConfigMap map;
    if (known) map = *known;
    bool same = known && map.data_size() == 1 && map.data().contains("ca.crt") && map.data().at("ca.crt") == root_ca_;
    if (same) co_return client::Done{};
    map.clear_data();
    (*map.mutable_data())["ca.crt"] = root_ca_;
    (*map.mutable_metadata()->mutable_annotations())[kDescription] = kWhatFor;
    if (known) {
      CO_TRY(Settled(base::StatusOf(co_await client_.Update<ConfigMap>(ctx, std::move(map)))));
      co_return client::Done{};
    }
    map.mutable_metadata()->set_namespace_(key);
    map.mutable_metadata()->set_name(kRootCa);
    CO_TRY(Settled(base::StatusOf(co_await client_.Create<ConfigMap>(ctx, std::move(map)))));
    co_return client::Done{};
  }
  base::Executor& executor_;
  client::Client& client_;
  std::string root_ca_;
  client::Informer<Namespace>& namespaces_;
  client::Informer<ConfigMap> maps_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeServiceAccount(ManagerContext& context) {
  return std::make_unique<ServiceAccountController>(context);
}
std::unique_ptr<RunnableController> MakeRootCaCertPublisher(ManagerContext& context) {
  return std::make_unique<RootCaController>(context);
}

}  // namespace controller_manager
