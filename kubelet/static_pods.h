// Static pods: those of a directory of manifests. A changed file is another pod; its content's hash is its identity.
// One strand.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "kubelet/workers.h"

namespace kubelet {

struct StaticPodOptions {
  std::string directory;  // "" = none
  base::Duration frequency = std::chrono::seconds(20);
  std::string node_name;
  // Reads one manifest.
  std::function<base::Result<api::Pod>(const std::string& text)> parse;
};

class StaticPods {
 public:
  StaticPods(base::Executor& executor, Host& host, StaticPodOptions options);

  // Called when the set of pods has changed.
  std::function<void()> on_change;
  // Reads the directory again and again until the context ends. Does nothing without one.
  base::Task<void> Run(base::Context ctx, Workers& workers);

  const std::map<std::string, PodPtr>& all() const { return pods_; }  // by uid
  PodPtr Find(const std::string& uid) const;
  // The directory has been read once, or there is none.
  bool ready() const { return options_.directory.empty() || read_; }

 private:
  void Read(Workers& workers);
  base::Result<api::Pod> Make(const std::string& path, const std::string& text) const;

  base::Executor& executor_;
  Host& host_;
  StaticPodOptions options_;
  std::map<std::string, PodPtr> pods_;
  std::map<std::string, std::string> texts_;  // by path
  bool read_ = false;
};

// Names become directories of pods, volumes and logs. The API checks them; the kubelet does not rely on it.
bool CanBePaths(const api::Pod& pod);

}  // namespace kubelet
