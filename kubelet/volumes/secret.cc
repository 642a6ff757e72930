#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

class Secret final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~secret"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_secret(); }
  bool refreshes() const override { return true; }

  base::Task<base::Result<Setup>> Prepare(base::Context ctx, Request r) const override {
    const auto& source = r.volume->volumesource().secret();
    // Secrets never touch the disk.
    Setup out{.path = r.directory, .tmpfs = true, .wrapped = true, .payload = Payload()};
    auto secret = co_await r.source->Secret(ctx, r.pod->metadata().namespace_(), source.secretname());
    if (!secret) {
      if (source.optional() && secret.error().code() == base::Code::kNotFound) co_return out;
      co_return base::Err(std::move(secret.error()));
    }
    int mode = source.has_defaultmode() ? source.defaultmode() : 0644;
    CO_TRY(AddItems(source.items(), ContentsOf(**secret), mode, source.optional(), "secret", *out.payload));
    co_return out;
  }
};

}  // namespace

const Plugin& SecretPlugin() {
  static const Secret plugin;
  return plugin;
}

}  // namespace kubelet::volumes
