// A machine in memory, for tests and the cluster simulation: disk, volumes, control groups and the network that probes
// take. One strand.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/testing/sim_disk.h"
#include "kubelet/cgroups/cgroups.h"
#include "kubelet/checks.h"
#include "kubelet/host/host.h"
#include "kubelet/volumes/mounter.h"

namespace kubelet::testing {

class SimHost final : public Host {
 public:
  explicit SimHost(uint64_t seed) : Host(disk), disk(seed) {}

  base::testing::SimDisk disk;
  std::optional<Space> space;  // of every file system

  base::Status MakeDirectory(const std::string& path, mode_t mode) override;
  base::Status WriteFile(const std::string& path, std::string_view content, mode_t mode) override;
  base::Result<std::string> ReadPlain(const std::string& root, const std::string& path, size_t limit) override;
  base::Result<std::string> LastWords(const std::string& root, const std::string& path) override;
  bool IsPlain(const std::string& root, const std::string& path) override;
  base::Status RemoveTree(const std::string& directory) override { return disk.RemoveAll(directory); }
  void Link(const std::string&, const std::string&) override {}
  void RemoveDeadLinks(const std::string&) override {}
  std::vector<std::string> ListFiles(const std::string& directory) override;
  int64_t SizeOf(const std::string& path) override;
  std::optional<Space> SpaceAt(const std::string&) override { return space; }
};

// Remembers what was made; directories of pods are on the host's disk.
class SimMounter final : public volumes::Mounter {
 public:
  explicit SimMounter(SimHost& host) : host_(host) {}

  std::map<std::string, volumes::Payload> payloads;  // by path of the volume

  base::Status Make(const volumes::Setup& setup, const volumes::Place& place) override;
  base::Result<std::string> BindSubPath(const volumes::SubPath& sub, const std::string& target) override;
  base::Status Remove(const std::string& directory) override;
  std::vector<std::string> List(const std::string& pods_directory) override;

 private:
  SimHost& host_;
};

class SimCgroups final : public cgroups::Manager {
 public:
  std::map<std::string, Usage> usage;  // by uid

  cgroups::Version version() const override { return cgroups::Version::kV2; }
  std::string PodPath(const api::Pod& pod) const override { return "/kubepods/pod" + RuntimeUid(pod); }
  base::Status EnsureNode(const cgroups::Limits&) override { return base::Ok(); }
  base::Status SetBurstableShares(int64_t) override { return base::Ok(); }
  base::Status EnsurePod(const api::Pod& pod, int64_t) override {
    pods_.insert(RuntimeUid(pod));
    return base::Ok();
  }
  base::Status RemovePod(const std::string& uid) override {
    pods_.erase(uid);
    return base::Ok();
  }
  std::vector<std::string> Pods() const override { return {pods_.begin(), pods_.end()}; }
  std::optional<int64_t> PodMemoryLimit(const api::Pod&) const override { return std::nullopt; }
  std::optional<Usage> PodUsage(const api::Pod& pod) const override;
  std::optional<Usage> NodeUsage() const override { return std::nullopt; }

 private:
  std::set<std::string> pods_;
};

// Every look from outside gets the answer of one function.
class SimNetwork final : public checks::Network {
 public:
  // Whether something answers at that address; unset: nothing does.
  std::function<bool(const std::string& host)> answers;

  base::Task<checks::Outcome> HttpGet(base::Context ctx, checks::HttpTarget target, base::Duration timeout,
                                      checks::Judge judge) override;
  base::Task<checks::Outcome> TcpConnect(base::Context ctx, std::string host, int port,
                                         base::Duration timeout) override;
  base::Task<checks::Outcome> GrpcHealth(base::Context ctx, std::string host, int port, std::string service,
                                         base::Duration timeout) override;

 private:
  checks::Outcome Look(const std::string& host) const;
};

}  // namespace kubelet::testing
