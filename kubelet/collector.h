// What is left over and goes: dead containers beyond the newest, unused sandboxes and images, directories and groups of
// pods that are gone, logs that have grown too long. One strand.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "kubelet/images.h"
#include "kubelet/workers.h"

namespace kubelet {

struct CollectorOptions {
  std::string logs_directory;       // of all pods
  std::string log_links_directory;  // by container, "" = none
  int64_t log_max_bytes = 10 << 20;
  int log_max_files = 5;
  int max_dead_per_container = 1;
  int image_gc_high = 85, image_gc_low = 80;  // percent of the disk
  base::Duration image_min_age = std::chrono::minutes(2);
};

class Collector {
 public:
  Collector(base::Executor& executor, Host& host, runtimes::Runtime& runtime, Images& images, CollectorOptions options);

  // Each looks at everything once.
  base::Task<void> CollectContainers(base::Context ctx, const Workers& workers);
  base::Task<void> CollectImages(base::Context ctx);
  base::Task<void> RotateLogs(base::Context ctx, const Workers& workers);
  // Those of pods that neither `wanted` nor the runtime knows.
  base::Task<void> CollectPodDirectories(volumes::Manager& volumes, cgroups::Manager& cgroups,
                                         std::function<bool(const std::string& uid)> wanted);

 private:
  base::Task<void> CollectContainersOf(base::Context ctx, ObservedPod observed);
  base::Task<bool> NoteUnused(base::Context ctx, const std::vector<cri::Image>& images);
  base::Task<void> RemoveContainer(base::Context ctx, ObservedContainer c);
  // A plain file below the directory of logs, reached through no link: a pod that can write there must not make us move
  // or remove other files of the node.
  bool IsLog(const std::string& path) const { return host_.IsPlain(options_.logs_directory, path); }

  base::Executor& executor_;
  Host& host_;
  runtimes::Runtime& runtime_;
  Images& images_;
  CollectorOptions options_;
  std::map<std::string, int64_t> unused_since_;  // by image id
};

}  // namespace kubelet
