#include "kubelet/sysctls.h"

#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <utility>

#include "base/json_writer.h"

namespace kubelet {
namespace {

struct Safe {
  const char* name;
  std::pair<int, int> since;  // the kernel that gave each network namespace its own
};
constexpr Safe kSafe[] = {
    {"kernel.shm_rmid_forced", {0, 0}},
    {"net.ipv4.ip_local_port_range", {0, 0}},
    {"net.ipv4.tcp_syncookies", {0, 0}},
    {"net.ipv4.ping_group_range", {0, 0}},
    {"net.ipv4.ip_unprivileged_port_start", {0, 0}},
    {"net.ipv4.ip_local_reserved_ports", {3, 16}},
    {"net.ipv4.tcp_keepalive_time", {4, 5}},
    {"net.ipv4.tcp_fin_timeout", {4, 6}},
    {"net.ipv4.tcp_keepalive_intvl", {4, 5}},
    {"net.ipv4.tcp_keepalive_probes", {4, 5}},
    {"net.ipv4.tcp_rmem", {4, 15}},
    {"net.ipv4.tcp_wmem", {4, 15}},
};
constexpr const char* kIpc[] = {
    "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
    "kernel.shm", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg"};
constexpr size_t kLongest = 253;

std::string NamespaceOf(std::string_view name) {
  if (std::ranges::find(kIpc, name) != std::end(kIpc) || name.starts_with("fs.mqueue.")) return "IPC";
  return name.starts_with("net.") ? "Net" : "";
}

bool LowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// Segments of lower-case words between dots or slashes; the last may end in, or be, a star.
bool IsPattern(std::string_view text) {
  if (text.empty() || text.size() > kLongest) return false;
  bool star = text.ends_with('*');
  if (star) text.remove_suffix(1);
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find_first_of("./", at), text.size());
    std::string_view part = text.substr(at, end - at);
    bool last = end == text.size();
    if (last && star && part.empty()) return true;
    bool inner = std::ranges::all_of(part, [](char c) { return LowerOrDigit(c) || c == '-' || c == '_'; });
    if (part.empty() || !inner || !LowerOrDigit(part.front()) || (!(last && star) && !LowerOrDigit(part.back())))
      return false;
    at = end + 1;
  }
  return true;
}

}  // namespace

base::Result<SysctlAllowList> SysctlAllowList::Make(const std::vector<std::string>& unsafe,
                                                    std::string_view kernel_release) {
  std::pair<int, int> kernel;
  (void)sscanf(std::string(kernel_release).c_str(), "%d.%d", &kernel.first, &kernel.second);
  std::vector<std::string> patterns;
  for (const Safe& s : kSafe)
    if (kernel >= s.since) patterns.emplace_back(s.name);
  patterns.insert(patterns.end(), unsafe.begin(), unsafe.end());
  SysctlAllowList out;
  for (const auto& pattern : patterns) {
    if (!IsPattern(pattern))
      return base::Err(
          base::InvalidArgument(fmt::format("sysctl {} must have at most {} characters and match regex "
                                            "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]",
                                            base::GoQuote(pattern), kLongest)));
    std::string name = NormalSysctlName(pattern);
    size_t star = name.find('*');
    name = name.substr(0, star);
    std::string ns = NamespaceOf(name);
    if (ns.empty())
      return base::Err(base::InvalidArgument("the sysctls " + base::GoQuote(name) + " are not known to be namespaced"));
    (star == std::string::npos ? out.names_ : out.prefixes_)[name] = ns;
  }
  return out;
}

std::optional<std::string> SysctlAllowList::Judge(const std::string& name, const api::PodSpec& spec) const {
  std::string ns;
  if (auto it = names_.find(name); it != names_.end()) ns = it->second;
  for (const auto& [prefix, owner] : prefixes_)
    if (ns.empty() && name.starts_with(prefix)) ns = owner;
  if (ns.empty()) return base::GoQuote(name) + " not allowlisted";
  bool shared = ns == "IPC" ? spec.hostipc() : spec.hostnetwork();
  if (shared) return base::GoQuote(name) + " not allowed with host " + ns + " enabled";
  return std::nullopt;
}

std::optional<std::string> SysctlAllowList::Forbidden(const api::Pod& pod) const {
  for (const auto& s : pod.spec().securitycontext().sysctls())
    if (auto why = Judge(NormalSysctlName(s.name()), pod.spec())) return "forbidden sysctl: " + *why;
  return std::nullopt;
}

}  // namespace kubelet
