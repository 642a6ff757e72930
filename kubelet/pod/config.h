// What the runtime is told of a pod: sandbox and container configurations, names, labels, DNS and hosts files, as the
// original sends them. Pure functions; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "kubelet/model/types.h"

namespace kubelet::pod {

// What is the same for every pod of this node.
struct NodeSettings {
  std::string pod_logs_directory = "/var/log/pods";
  std::vector<std::string> cluster_dns;
  std::string cluster_domain;
  std::string resolv_conf;  // the file's text
  bool cpu_cfs_quota = true;
  int64_t cpu_cfs_quota_period_us = 100000;
  bool seccomp_default = false;
  std::string seccomp_directory = "/var/lib/kubelet/seccomp";  // of profiles that pods name
  int64_t memory_bytes = 0;                                    // of the node
  std::vector<std::string> huge_page_sizes;                    // "2MB", "1GB"
};

struct SandboxInput {
  const api::Pod& pod;
  const NodeSettings& node;
  uint32_t attempt = 0;
  std::string cgroup_parent;
  std::string config_source = "api";  // "file" for static pods
  int64_t seen_ns = 0;
};
base::Result<cri::PodSandboxConfig> MakeSandbox(const SandboxInput& in);

struct Env {
  std::string name, value;
};
struct ContainerInput {
  const api::Pod& pod;
  const api::Container& container;
  const NodeSettings& node;
  std::string image_id;
  const cri::Image* image = nullptr;  // for its user
  uint32_t restart_count = 0;
  std::vector<Env> env;             // complete, expanded
  std::vector<cri::Mount> mounts;   // complete
  std::string target_container_id;  // ephemeral containers: whose processes to join
};
// kFailedPrecondition with the original's text when the pod must not run so (runAsNonRoot and a root image ...).
base::Result<cri::ContainerConfig> MakeContainer(const ContainerInput& in);

std::string HostnameOf(const api::Pod& pod);
cri::DNSConfig DnsOf(const api::Pod& pod, const NodeSettings& node);
// The text of /etc/hosts; `host_file` is the node's own (for pods on its network).
std::string HostsFile(const api::Pod& pod, const std::vector<std::string>& ips, const NodeSettings& node,
                      const std::string& host_file);
std::string LogDirectory(const api::Pod& pod, const NodeSettings& node);    // /var/log/pods/ns_name_uid
std::string LogPath(const std::string& container, uint32_t restart_count);  // name/0.log
// $(NAME) references resolved against `env`; $$ is one $; what is unknown stays as it is.
std::string Expand(std::string_view text, const std::vector<Env>& env);
// The part of a volume that a mount names, its expression resolved; "" is the whole. An error when a variable of the
// expression has no value, or when it leads out of the volume.
base::Result<std::string> SubPathOf(const api::VolumeMount& mount, const std::vector<Env>& env);
// The JSON text of a handler, as it stands in a container's annotations.
std::string HandlerJson(const api::LifecycleHandler& handler);

}  // namespace kubelet::pod
