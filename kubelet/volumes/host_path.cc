#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

class HostPath final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~host-path"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_hostpath(); }

  base::Task<base::Result<Setup>> Prepare(base::Context, Request r) const override {
    const auto& source = r.volume->volumesource().hostpath();
    co_return Setup{.path = source.path(), .path_type = source.type(), .check_path = true};
  }
};

}  // namespace

const Plugin& HostPathPlugin() {
  static const HostPath plugin;
  return plugin;
}

}  // namespace kubelet::volumes
