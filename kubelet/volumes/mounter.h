// What volumes need done on the machine: directories, mounts, files that change all at once. Nothing here decides
// anything; a simulation hands in one that only remembers.
//
// All calls block; the manager makes them on its pool.
#pragma once

#include <string>
#include <vector>

#include "kubelet/volumes/volume.h"

namespace kubelet::volumes {

// Where a volume belongs.
struct Place {
  std::string pod_directory, volume;
  int64_t group = -1;  // fsGroup, -1: none
  int64_t now_ns = 0;
};

class Mounter {
 public:
  virtual ~Mounter() = default;
  // Makes a volume as the plug-in wants it, or brings it up to date.
  virtual base::Status Make(const Setup& setup, const Place& place) = 0;
  // See Manager::BindSubPath; `target` is a mount point of the kubelet's own.
  virtual base::Result<std::string> BindSubPath(const SubPath& sub, const std::string& target) = 0;
  // Unmounts what is mounted below a pod's directory and removes it.
  virtual base::Status Remove(const std::string& directory) = 0;
  // Names in the directory of pods.
  virtual std::vector<std::string> List(const std::string& pods_directory) = 0;
};

// This machine's. Thread-safe.
Mounter& MachineMounter();

}  // namespace kubelet::volumes
