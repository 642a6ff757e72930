#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

class DownwardApi final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~downward-api"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_downwardapi(); }
  bool refreshes() const override { return true; }

  base::Task<base::Result<Setup>> Prepare(base::Context, Request r) const override {
    const auto& source = r.volume->volumesource().downwardapi();
    Setup out{.path = r.directory, .tmpfs = true, .wrapped = true, .payload = Payload()};
    int mode = source.has_defaultmode() ? source.defaultmode() : 0644;
    CO_TRY(AddDownward(source.items(), *r.pod, r.source->FactsFor(*r.pod), mode, *out.payload));
    co_return out;
  }
};

}  // namespace

const Plugin& DownwardApiPlugin() {
  static const DownwardApi plugin;
  return plugin;
}

}  // namespace kubelet::volumes
