#include "kubelet/pod/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/json_writer.h"
#include "base/strings.h"
#include "kubelet/model/resources.h"
#include "kubelet/paths/paths.h"
#include "kubelet/pod/app_armor.h"

namespace kubelet::pod {
namespace {

std::string Hex(uint32_t v) {
  char text[16];
  snprintf(text, sizeof text, "%x", v);
  return text;
}

// RFC 3339 with nanoseconds, trailing zeros dropped, as Go prints it.
std::string Rfc3339Nano(int64_t ns) {
  time_t seconds = ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char fraction[16];
  snprintf(fraction, sizeof fraction, ".%09ld", static_cast<long>(ns % 1'000'000'000));
  std::string f = fraction;
  while (f.ends_with('0')) f.pop_back();
  if (f == ".") f.clear();
  return text + f + "Z";
}

void SetLabels(const api::Pod& pod, google::protobuf::Map<std::string, std::string>& out) {
  out[std::string(kPodNameLabel)] = pod.metadata().name();
  out[std::string(kPodNamespaceLabel)] = pod.metadata().namespace_();
  out[std::string(kPodUidLabel)] = pod.metadata().uid();
}

void SetNamespaces(const api::Pod& pod, cri::NamespaceOption& out) {
  const auto& s = pod.spec();
  if (s.hostnetwork()) out.set_network(cri::NODE);
  if (s.hostipc()) out.set_ipc(cri::NODE);
  if (s.hostpid())
    out.set_pid(cri::NODE);
  else if (!s.shareprocessnamespace())
    out.set_pid(cri::CONTAINER);
  out.mutable_userns_options()->set_mode(cri::NODE);
}

void SetSelinux(const api::SELinuxOptions& in, cri::SELinuxOption& out) {
  out.set_user(in.user());
  out.set_role(in.role());
  out.set_type(in.type());
  out.set_level(in.level());
}

base::Status SetSeccomp(const api::SeccompProfile* profile, const NodeSettings& node, cri::SecurityProfile& out) {
  if (!profile) {
    out.set_profile_type(node.seccomp_default ? cri::SecurityProfile::RuntimeDefault
                                              : cri::SecurityProfile::Unconfined);
  } else if (profile->type() == "RuntimeDefault") {
    out.set_profile_type(cri::SecurityProfile::RuntimeDefault);
  } else if (profile->type() == "Localhost") {
    const std::string& name = profile->localhostprofile();
    if (name.empty() || !paths::IsInside(name))
      return base::FailedPrecondition("seccomp profile " + base::GoQuote(name) + " must be a path inside " +
                                      node.seccomp_directory);
    out.set_profile_type(cri::SecurityProfile::Localhost);
    out.set_localhost_ref(node.seccomp_directory + "/" + name);
  } else {
    out.set_profile_type(cri::SecurityProfile::Unconfined);
  }
  return base::Ok();
}

void SetGroups(const api::PodSecurityContext& context, google::protobuf::RepeatedField<int64_t>& out) {
  if (context.has_fsgroup()) out.Add(context.fsgroup());
  for (int64_t g : context.supplementalgroups()) out.Add(g);
}

cri::Protocol ProtocolOf(const std::string& name) {
  if (name == "UDP") return cri::UDP;
  if (name == "SCTP") return cri::SCTP;
  return cri::TCP;
}

void SetSandboxSecurity(const api::Pod& pod, cri::LinuxSandboxSecurityContext& out) {
  SetNamespaces(pod, *out.mutable_namespace_options());
  // The pause process needs nothing special; it gets the runtime's own filter.
  out.mutable_seccomp()->set_profile_type(cri::SecurityProfile::RuntimeDefault);
  const auto& context = pod.spec().securitycontext();
  if (context.has_runasuser() && !pod.spec().hostnetwork()) out.mutable_run_as_user()->set_value(context.runasuser());
  if (context.has_runasgroup() && !pod.spec().hostnetwork())
    out.mutable_run_as_group()->set_value(context.runasgroup());
  if (context.has_selinuxoptions()) SetSelinux(context.selinuxoptions(), *out.mutable_selinux_options());
  SetGroups(context, *out.mutable_supplemental_groups());
  auto privileged = [](const auto& c) { return c.securitycontext().privileged(); };
  out.set_privileged(std::ranges::any_of(pod.spec().containers(), privileged) ||
                     std::ranges::any_of(pod.spec().initcontainers(), privileged));
}

void SetPorts(const api::Pod& pod, cri::PodSandboxConfig& out) {
  auto add = [&](const api::Container& c) {
    for (const auto& p : c.ports()) {
      auto* m = out.add_port_mappings();
      m->set_container_port(p.containerport());
      m->set_host_port(p.hostport());
      m->set_host_ip(p.hostip());
      m->set_protocol(ProtocolOf(p.protocol()));
    }
  };
  for (const auto& c : pod.spec().initcontainers())
    if (IsSidecar(c)) add(c);
  for (const auto& c : pod.spec().containers()) add(c);
}

void WriteHttpGet(base::JsonWriter& w, const api::HTTPGetAction& a) {
  w.BeginObject();
  if (!a.path().empty()) w.Key("path").String(a.path());
  w.Key("port");
  if (a.port().type() == 1)
    w.String(a.port().strval());
  else
    w.Int(a.port().intval());
  if (!a.host().empty()) w.Key("host").String(a.host());
  if (!a.scheme().empty()) w.Key("scheme").String(a.scheme());
  if (!a.httpheaders().empty()) {
    w.Key("httpHeaders").BeginArray();
    for (const auto& h : a.httpheaders())
      w.BeginObject().Key("name").String(h.name()).Key("value").String(h.value()).EndObject();
    w.EndArray();
  }
  w.EndObject();
}

std::string PortsJson(const api::Container& c) {
  base::JsonWriter w;
  w.BeginArray();
  for (const auto& p : c.ports()) {
    w.BeginObject();
    if (!p.name().empty()) w.Key("name").String(p.name());
    if (p.hostport()) w.Key("hostPort").Int(p.hostport());
    w.Key("containerPort").Int(p.containerport());
    if (!p.protocol().empty()) w.Key("protocol").String(p.protocol());
    if (!p.hostip().empty()) w.Key("hostIP").String(p.hostip());
    w.EndObject();
  }
  w.EndArray();
  return std::string(w.text());
}

void SetAnnotations(const ContainerInput& in, google::protobuf::Map<std::string, std::string>& out) {
  const auto& c = in.container;
  out[std::string(kContainerHash)] = Hex(HashOf(c));
  out[std::string(kContainerRestartCount)] = std::to_string(in.restart_count);
  out[std::string(kContainerTerminationMessagePath)] = c.terminationmessagepath();
  out[std::string(kContainerTerminationMessagePolicy)] = c.terminationmessagepolicy();
  if (in.pod.metadata().has_deletiongraceperiodseconds())
    out[std::string(kPodDeletionGracePeriod)] = std::to_string(in.pod.metadata().deletiongraceperiodseconds());
  if (in.pod.spec().has_terminationgraceperiodseconds())
    out[std::string(kPodTerminationGracePeriod)] = std::to_string(in.pod.spec().terminationgraceperiodseconds());
  if (c.lifecycle().has_prestop()) out[std::string(kContainerPreStopHandler)] = HandlerJson(c.lifecycle().prestop());
  if (!c.ports().empty()) out[std::string(kContainerPorts)] = PortsJson(c);
}

void SetResources(const ContainerInput& in, cri::LinuxContainerResources& out) {
  const auto& r = in.container.resources();
  auto request = QuantityIn(r.requests(), "cpu"), limit = QuantityIn(r.limits(), "cpu");
  // A limit without a request stands for both.
  int64_t milli = request ? *request : limit.value_or(0);
  out.set_cpu_shares(SharesOf(milli));
  if (in.node.cpu_cfs_quota) {
    out.set_cpu_period(in.node.cpu_cfs_quota_period_us);
    if (limit && *limit > 0) out.set_cpu_quota(QuotaOf(*limit, in.node.cpu_cfs_quota_period_us));
  }
  if (auto memory = WholeIn(r.limits(), "memory"); memory && *memory > 0) {
    out.set_memory_limit_in_bytes(*memory);
    out.set_memory_swap_limit_in_bytes(*memory);  // no swap beyond it
  }
  out.set_oom_score_adj(OomScoreAdjust(in.pod, in.container, in.node.memory_bytes));
  for (const auto& size : in.node.huge_page_sizes) {
    auto* h = out.add_hugepage_limits();
    h->set_page_size(size);
    std::string resource = "hugepages-" + size.substr(0, size.size() - 1) + "i";  // 2MB: hugepages-2Mi
    h->set_limit(WholeIn(r.limits(), resource).value_or(0));
  }
}

constexpr const char* kMasked[] = {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                   "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                   "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                   "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
constexpr const char* kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

base::Status SetUser(const ContainerInput& in, cri::LinuxContainerSecurityContext& out) {
  const auto& own = in.container.securitycontext();
  const auto& pod = in.pod.spec().securitycontext();
  std::optional<int64_t> user;
  if (own.has_runasuser())
    user = own.runasuser();
  else if (pod.has_runasuser())
    user = pod.runasuser();
  bool non_root = own.has_runasnonroot() ? own.runasnonroot() : pod.runasnonroot();
  std::string image_user = in.image ? in.image->username() : "";
  if (!user && image_user.empty()) user = in.image && in.image->has_uid() ? in.image->uid().value() : 0;
  std::string where = " (pod: \"" + FormatPod(in.pod) + "\", container: " + in.container.name() + ")";
  if (non_root && user && *user == 0) {
    bool stated = own.has_runasuser() || pod.has_runasuser();
    return base::FailedPrecondition((stated ? "container's runAsUser breaks non-root policy"
                                            : "container has runAsNonRoot and image will run as root") +
                                    where);
  }
  if (non_root && !user)
    return base::FailedPrecondition("container has runAsNonRoot and image has non-numeric user (" + image_user +
                                    "), cannot verify user is non-root" + where);
  if (user)
    out.mutable_run_as_user()->set_value(*user);
  else
    out.set_run_as_username(image_user);
  if (own.has_runasgroup())
    out.mutable_run_as_group()->set_value(own.runasgroup());
  else if (pod.has_runasgroup())
    out.mutable_run_as_group()->set_value(pod.runasgroup());
  return base::Ok();
}

base::Status SetSecurity(const ContainerInput& in, cri::LinuxContainerSecurityContext& out) {
  const auto& own = in.container.securitycontext();
  const auto& pod = in.pod.spec().securitycontext();
  SetNamespaces(in.pod, *out.mutable_namespace_options());
  if (!in.target_container_id.empty()) {
    out.mutable_namespace_options()->set_pid(cri::TARGET);
    out.mutable_namespace_options()->set_target_id(in.target_container_id);
  }
  TRY(SetUser(in, out));
  out.set_privileged(own.privileged());
  out.set_readonly_rootfs(own.readonlyrootfilesystem());
  out.set_no_new_privs(own.has_allowprivilegeescalation() && !own.allowprivilegeescalation());
  if (own.has_capabilities()) {
    for (const auto& c : own.capabilities().add()) out.mutable_capabilities()->add_add_capabilities(c);
    for (const auto& c : own.capabilities().drop()) out.mutable_capabilities()->add_drop_capabilities(c);
  }
  SetGroups(pod, *out.mutable_supplemental_groups());
  if (pod.supplementalgroupspolicy() == "Strict") out.set_supplemental_groups_policy(cri::Strict);
  if (own.has_selinuxoptions())
    SetSelinux(own.selinuxoptions(), *out.mutable_selinux_options());
  else if (pod.has_selinuxoptions())
    SetSelinux(pod.selinuxoptions(), *out.mutable_selinux_options());
  const api::SeccompProfile* profile = own.has_seccompprofile()   ? &own.seccompprofile()
                                       : pod.has_seccompprofile() ? &pod.seccompprofile()
                                                                  : nullptr;
  TRY(SetSeccomp(profile, in.node, *out.mutable_seccomp()));
  SetAppArmor(in.pod, in.container, out);
  if (own.procmount() != "Unmasked" && !own.privileged()) {
    for (const char* p : kMasked) out.add_masked_paths(p);
    for (const char* p : kReadOnly) out.add_readonly_paths(p);
  }
  return base::Ok();
}

void ReadResolvConf(const std::string& text, cri::DNSConfig& out) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    auto words = base::Words(line);
    if (words.size() < 2 || words[0][0] == '#' || words[0][0] == ';') continue;
    if (words[0] == "nameserver") {
      out.add_servers(words[1]);
    } else if (words[0] == "search") {
      out.clear_searches();
      for (size_t i = 1; i < words.size(); ++i)
        if (words[i] != ".") out.add_searches(words[i]);
    } else if (words[0] == "options") {
      out.clear_options();
      for (size_t i = 1; i < words.size(); ++i) out.add_options(words[i]);
    }
  }
}

void AddOwnDns(const api::PodDNSConfig& own, cri::DNSConfig& out) {
  auto add = [](auto& list, const std::string& s) {
    if (std::ranges::find(list, s) == list.end()) *list.Add() = s;
  };
  for (const auto& s : own.nameservers()) add(*out.mutable_servers(), s);
  for (const auto& s : own.searches()) add(*out.mutable_searches(), s);
  for (const auto& o : own.options()) {
    // The pod's word for an option replaces the default's.
    auto& list = *out.mutable_options();
    for (int i = list.size(); i-- > 0;)
      if (list[i] == o.name() || list[i].starts_with(o.name() + ":")) list.DeleteSubrange(i, 1);
    *list.Add() = o.has_value() ? o.name() + ":" + o.value() : o.name();
  }
}

}  // namespace

std::string HandlerJson(const api::LifecycleHandler& h) {
  base::JsonWriter w;
  w.BeginObject();
  if (h.has_exec()) {
    w.Key("exec").BeginObject();
    if (!h.exec().command().empty()) {
      w.Key("command").BeginArray();
      for (const auto& c : h.exec().command()) w.String(c);
      w.EndArray();
    }
    w.EndObject();
  }
  if (h.has_httpget()) {
    w.Key("httpGet");
    WriteHttpGet(w, h.httpget());
  }
  if (h.has_tcpsocket()) {
    w.Key("tcpSocket").BeginObject().Key("port");
    if (h.tcpsocket().port().type() == 1)
      w.String(h.tcpsocket().port().strval());
    else
      w.Int(h.tcpsocket().port().intval());
    if (!h.tcpsocket().host().empty()) w.Key("host").String(h.tcpsocket().host());
    w.EndObject();
  }
  if (h.has_sleep()) w.Key("sleep").BeginObject().Key("seconds").Int(h.sleep().seconds()).EndObject();
  w.EndObject();
  return std::string(w.text());
}

std::string HostnameOf(const api::Pod& pod) {
  std::string name = pod.spec().hostname().empty() ? pod.metadata().name() : pod.spec().hostname();
  if (pod.spec().has_hostnameoverride()) name = pod.spec().hostnameoverride();
  if (name.size() > 63) name.resize(63);
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

cri::DNSConfig DnsOf(const api::Pod& pod, const NodeSettings& node) {
  cri::DNSConfig host;
  ReadResolvConf(node.resolv_conf, host);
  std::string policy = pod.spec().dnspolicy().empty() ? "ClusterFirst" : pod.spec().dnspolicy();
  if (policy == "ClusterFirst" && pod.spec().hostnetwork()) policy = "Default";
  if (policy == "ClusterFirstWithHostNet") policy = "ClusterFirst";
  // Without a cluster DNS there is nothing to put first.
  if (policy == "ClusterFirst" && node.cluster_dns.empty()) policy = "Default";
  cri::DNSConfig out;
  if (policy == "ClusterFirst") {
    for (const auto& s : node.cluster_dns) out.add_servers(s);
    if (!node.cluster_domain.empty()) {
      out.add_searches(pod.metadata().namespace_() + ".svc." + node.cluster_domain);
      out.add_searches("svc." + node.cluster_domain);
      out.add_searches(node.cluster_domain);
    }
    for (const auto& s : host.searches()) out.add_searches(s);
    out.add_options("ndots:5");
  } else if (policy == "Default") {
    out = host;
  }
  if (pod.spec().has_dnsconfig()) AddOwnDns(pod.spec().dnsconfig(), out);
  return out;
}

std::string HostsFile(const api::Pod& pod, const std::vector<std::string>& ips, const NodeSettings& node,
                      const std::string& host_file) {
  std::string out;
  if (pod.spec().hostnetwork()) {
    out = "# Kubernetes-managed hosts file (host network).\n" + host_file;
  } else {
    out =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    std::string host = HostnameOf(pod), full;
    if (!pod.spec().subdomain().empty() && !node.cluster_domain.empty())
      full = host + "." + pod.spec().subdomain() + "." + pod.metadata().namespace_() + ".svc." + node.cluster_domain;
    for (const auto& ip : ips) out += ip + "\t" + (full.empty() ? "" : full + "\t") + host + "\n";
  }
  if (!pod.spec().hostaliases().empty()) {
    out += "\n# Entries added by HostAliases.\n";
    for (const auto& a : pod.spec().hostaliases()) {
      out += a.ip();
      for (const auto& h : a.hostnames()) out += "\t" + h;
      out += "\n";
    }
  }
  return out;
}

std::string LogDirectory(const api::Pod& pod, const NodeSettings& node) {
  return node.pod_logs_directory + "/" + pod.metadata().namespace_() + "_" + pod.metadata().name() + "_" +
         RuntimeUid(pod);
}

std::string LogPath(const std::string& container, uint32_t restart_count) {
  return container + "/" + std::to_string(restart_count) + ".log";
}

base::Result<cri::PodSandboxConfig> MakeSandbox(const SandboxInput& in) {
  const auto& spec = in.pod.spec();
  if (spec.has_hostusers() && !spec.hostusers())
    return base::Err(base::Unimplemented("user namespaces (hostUsers: false) are not supported yet"));
  if (spec.has_runtimeclassname() && !spec.runtimeclassname().empty())
    return base::Err(base::Unimplemented("runtime classes are not supported yet"));
  cri::PodSandboxConfig out;
  out.mutable_metadata()->set_name(in.pod.metadata().name());
  out.mutable_metadata()->set_namespace_(in.pod.metadata().namespace_());
  out.mutable_metadata()->set_uid(in.pod.metadata().uid());
  out.mutable_metadata()->set_attempt(in.attempt);
  if (!spec.hostnetwork()) out.set_hostname(HostnameOf(in.pod));
  out.set_log_directory(LogDirectory(in.pod, in.node));
  *out.mutable_dns_config() = DnsOf(in.pod, in.node);
  SetPorts(in.pod, out);
  for (const auto& [k, v] : in.pod.metadata().labels()) (*out.mutable_labels())[k] = v;
  SetLabels(in.pod, *out.mutable_labels());
  for (const auto& [k, v] : in.pod.metadata().annotations()) (*out.mutable_annotations())[k] = v;
  (*out.mutable_annotations())[std::string(kConfigSource)] = in.config_source;
  (*out.mutable_annotations())[std::string(kConfigSeen)] = Rfc3339Nano(in.seen_ns);
  auto* linux = out.mutable_linux();
  linux->set_cgroup_parent(in.cgroup_parent);
  SetSandboxSecurity(in.pod, *linux->mutable_security_context());
  for (const auto& s : spec.securitycontext().sysctls())
    (*linux->mutable_sysctls())[NormalSysctlName(s.name())] = s.value();
  linux->mutable_overhead();
  PodResources r = Aggregate(in.pod);
  auto* resources = linux->mutable_resources();
  resources->set_cpu_period(in.node.cpu_cfs_quota_period_us);
  resources->set_cpu_shares(SharesOf(r.cpu_request_milli.value_or(0)));
  if (r.cpu_limit_milli) resources->set_cpu_quota(QuotaOf(*r.cpu_limit_milli, in.node.cpu_cfs_quota_period_us));
  if (r.memory_limit) resources->set_memory_limit_in_bytes(*r.memory_limit);
  return out;
}

base::Result<cri::ContainerConfig> MakeContainer(const ContainerInput& in) {
  const auto& c = in.container;
  cri::ContainerConfig out;
  out.mutable_metadata()->set_name(c.name());
  out.mutable_metadata()->set_attempt(in.restart_count);
  out.mutable_image()->set_image(in.image_id);
  for (const auto& a : c.command()) out.add_command(Expand(a, in.env));
  for (const auto& a : c.args()) out.add_args(Expand(a, in.env));
  out.set_working_dir(c.workingdir());
  for (const auto& e : in.env) {
    auto* kv = out.add_envs();
    kv->set_key(e.name);
    kv->set_value(e.value);
  }
  for (const auto& m : in.mounts) *out.add_mounts() = m;
  (*out.mutable_labels())[std::string(kContainerNameLabel)] = c.name();
  SetLabels(in.pod, *out.mutable_labels());
  SetAnnotations(in, *out.mutable_annotations());
  out.set_log_path(LogPath(c.name(), in.restart_count));
  out.set_stdin(c.stdin());
  out.set_stdin_once(c.stdinonce());
  out.set_tty(c.tty());
  SetResources(in, *out.mutable_linux()->mutable_resources());
  TRY(SetSecurity(in, *out.mutable_linux()->mutable_security_context()));
  return out;
}

namespace {

// Calls `value` for each $(NAME) of the text.
template <class F>
std::string ExpandWith(std::string_view text, F value) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    size_t close;
    if (text[i + 1] != '(' || (close = text.find(')', i)) == std::string_view::npos) {
      out += '$';
      continue;
    }
    out += value(text.substr(i + 2, close - i - 2));
    i = close;
  }
  return out;
}

const Env* FindEnv(const std::vector<Env>& env, std::string_view name) {
  auto it = std::ranges::find_if(env, [&](const Env& e) { return e.name == name; });
  return it == env.end() ? nullptr : &*it;
}

}  // namespace

std::string Expand(std::string_view text, const std::vector<Env>& env) {
  return ExpandWith(text, [&](std::string_view name) {
    const Env* e = FindEnv(env, name);
    return e ? e->value : "$(" + std::string(name) + ")";
  });
}

base::Result<std::string> SubPathOf(const api::VolumeMount& mount, const std::vector<Env>& env) {
  std::string path = mount.subpath();
  if (!mount.subpathexpr().empty()) {
    std::set<std::string> missing;
    path = ExpandWith(mount.subpathexpr(), [&](std::string_view name) -> std::string {
      const Env* e = FindEnv(env, name);
      if (!e || e->value.empty()) missing.emplace(name);
      return e ? e->value : "";
    });
    if (!missing.empty())
      return base::Err(base::FailedPrecondition(fmt::format("missing value for {}", fmt::join(missing, ", "))));
  }
  if (path.starts_with('/'))
    return base::Err(base::FailedPrecondition("error SubPath `" + path + "` must not be an absolute path"));
  if (!paths::IsInside(path))
    return base::Err(base::FailedPrecondition("unable to provision SubPath `" + path + "`: must not contain '..'"));
  return path;
}

}  // namespace kubelet::pod
