#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

class ConfigMap final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~configmap"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_configmap(); }
  bool refreshes() const override { return true; }

  base::Task<base::Result<Setup>> Prepare(base::Context ctx, Request r) const override {
    const auto& source = r.volume->volumesource().configmap();
    Setup out{.path = r.directory, .wrapped = true, .payload = Payload()};
    auto map = co_await r.source->ConfigMap(ctx, r.pod->metadata().namespace_(), source.localobjectreference().name());
    if (!map) {
      if (source.optional() && map.error().code() == base::Code::kNotFound) co_return out;
      co_return base::Err(std::move(map.error()));
    }
    int mode = source.has_defaultmode() ? source.defaultmode() : 0644;
    CO_TRY(AddItems(source.items(), ContentsOf(**map), mode, source.optional(), "configmap", *out.payload));
    co_return out;
  }
};

}  // namespace

const Plugin& ConfigMapPlugin() {
  static const ConfigMap plugin;
  return plugin;
}

}  // namespace kubelet::volumes
