#include "proto/k8s/core/v1/pod.pb.h"
#include "proto/k8s/meta/v1/status.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {
using k8s::io::api::core::v1::Binding;
using MetaStatus = k8s::io::apimachinery::pkg::apis::meta::v1::Status;

class DefaultBinder final : public Plugin, public BindPlugin {
 public:
  explicit DefaultBinder(machinery::client::Client& client) : client_(client) {}
  std::string_view name() const override { return "DefaultBinder"; }
  base::Task<base::Status> Bind(base::Context ctx, const PodInfo& pod, std::string node) override {
    Binding binding;
    const auto& meta = pod.pod->metadata();
    binding.mutable_metadata()->set_namespace_(meta.namespace_());
    binding.mutable_metadata()->set_name(meta.name());
    // The uid makes the server refuse a pod that was deleted and made again under this name.
    binding.mutable_metadata()->set_uid(meta.uid());
    binding.mutable_target()->set_kind("Node");
    binding.mutable_target()->set_name(std::move(node));
    auto done = co_await client_.CreateSubresource<Pod, Binding, MetaStatus>(ctx, meta.namespace_(), meta.name(),
                                                                             "binding", std::move(binding));
    co_return base::StatusOf(done);
  }

 private:
  machinery::client::Client& client_;
};
}  // namespace

std::unique_ptr<Plugin> MakeDefaultBinder(const PluginContext& context) {
  return std::make_unique<DefaultBinder>(context.client);
}

}  // namespace scheduler
