#include "kubelet/model/resources.h"
#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

class EmptyDir final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~empty-dir"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_emptydir(); }

  base::Task<base::Result<Setup>> Prepare(base::Context, Request r) const override {
    const auto& source = r.volume->volumesource().emptydir();
    const std::string& medium = source.medium();
    if (!medium.empty() && medium != "Memory")
      co_return base::Err(base::Unimplemented("emptyDir medium \"" + medium + "\" is not supported yet"));
    Setup out{.path = r.directory, .make_directory = true, .tmpfs = medium == "Memory"};
    if (out.tmpfs) {
      // The smallest of what was asked for, the pod's memory limit and the node: tmpfs pages count as its memory.
      int64_t bytes = r.source->FactsFor(*r.pod).allocatable_memory;
      if (auto limit = Aggregate(*r.pod).memory_limit; limit && *limit > 0) bytes = std::min(bytes, *limit);
      int64_t size = source.has_sizelimit() ? ParseWhole(source.sizelimit().string()).value_or(0) : 0;
      if (size > 0) bytes = bytes > 0 ? std::min(bytes, size) : size;
      out.tmpfs_bytes = bytes;
    }
    co_return out;
  }
};

}  // namespace

const Plugin& EmptyDirPlugin() {
  static const EmptyDir plugin;
  return plugin;
}

}  // namespace kubelet::volumes
