#include "kubelet/node.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/host.h"
#include "base/log.h"
#include "base/version.h"
#include "kubelet/model/resources.h"
#include "kubelet/status_manager.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/coordination/v1/lease.pb.h"

namespace kubelet {
namespace {

namespace fs = std::filesystem;
namespace coordination = ::k8s::io::api::coordination::v1;

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (!line.empty() && isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
  return line;
}

std::string OsImage() {
  std::ifstream in("/etc/os-release");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string value = line.substr(12);
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return "Linux";
}

void ReadHugePages(MachineFacts& out) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/kernel/mm/hugepages", ec)) {
    std::string name = entry.path().filename().string();  // hugepages-2048kB
    int64_t kib = atoll(name.c_str() + std::string("hugepages-").size());
    if (kib <= 0) continue;
    int64_t count = atoll(FirstLine(entry.path().string() + "/nr_hugepages").c_str());
    out.huge_pages["hugepages-" + BytesText(kib * 1024)] = count * kib * 1024;
    bool giga = kib % (1024 * 1024) == 0;
    out.huge_page_sizes.push_back(std::to_string(giga ? kib / (1024 * 1024) : kib / 1024) + (giga ? "GB" : "MB"));
  }
}

bool Usable(const std::string& address) {
  return !address.empty() && !address.starts_with("127.") && address != "::1" && !address.starts_with("fe80");
}

void Put(google::protobuf::Map<std::string, quantity::Quantity>& list, const std::string& name, std::string text) {
  list[name].set_string(std::move(text));
}

}  // namespace

MachineFacts ReadMachine(const std::string& root_directory, const std::string& machine_id_files,
                         const std::string& boot_id_file) {
  MachineFacts out;
  out.hostname = base::HostName();
  std::istringstream files(machine_id_files);
  for (std::string file; out.machine_id.empty() && std::getline(files, file, ',');) out.machine_id = FirstLine(file);
  out.system_uuid = FirstLine("/sys/class/dmi/id/product_uuid");
  if (out.system_uuid.empty()) out.system_uuid = out.machine_id;
  out.boot_id = FirstLine(boot_id_file);
  utsname u{};
  uname(&u);
  out.kernel_version = u.release;
  out.os_image = OsImage();
  out.cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    int64_t value = 0;
    meminfo >> value;
    if (key == "MemTotal:") {
      out.memory_bytes = value * 1024;
      break;
    }
    meminfo.ignore(64, '\n');
  }
  struct statvfs st{};
  if (statvfs(root_directory.c_str(), &st) == 0)
    out.storage_bytes = static_cast<int64_t>(st.f_blocks) * static_cast<int64_t>(st.f_frsize);
  ReadHugePages(out);
  return out;
}

std::string DetectAddress() {
  // The source address the kernel would pick towards the world; nothing is sent.
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(53);
  inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
  sockaddr_in self{};
  socklen_t size = sizeof self;
  char text[INET_ADDRSTRLEN] = {};
  if (fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&self), &size) == 0)
    inet_ntop(AF_INET, &self.sin_addr, text, sizeof text);
  if (fd >= 0) close(fd);
  if (Usable(text)) return text;
  ifaddrs* list = nullptr;
  std::string found;
  if (getifaddrs(&list) == 0) {
    for (ifaddrs* i = list; i && found.empty(); i = i->ifa_next) {
      if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP)) continue;
      inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text);
      if (Usable(text)) found = text;
    }
    freeifaddrs(list);
  }
  return found.empty() ? "127.0.0.1" : found;
}

NodeKeeper::NodeKeeper(base::Executor& executor, machinery::client::Client* client, Events& events, Images& images,
                       NodeOptions options, MachineFacts facts)
    : executor_(executor),
      client_(client),
      events_(events),
      images_(images),
      options_(std::move(options)),
      facts_(std::move(facts)),
      poke_(executor) {}

std::map<std::string, int64_t> NodeKeeper::Allocatable() const {
  std::map<std::string, int64_t> out;
  out["cpu"] = facts_.cpus * 1000;
  out["memory"] = facts_.memory_bytes * 1000;
  out["ephemeral-storage"] = facts_.storage_bytes * 1000;
  out["pods"] = options_.max_pods * 1000;
  for (const auto& [name, bytes] : facts_.huge_pages) {
    out[name] = bytes * 1000;
    out["memory"] -= bytes * 1000;
  }
  for (const auto* reserved : {&options_.kube_reserved, &options_.system_reserved})
    for (const auto& [name, text] : *reserved)
      if (out.contains(name)) out[name] = std::max<int64_t>(0, out[name] - ParseMilli(text).value_or(0));
  auto take = [&](const char* name, const std::string& amount) {
    if (amount.ends_with('%'))
      out[name] -= static_cast<int64_t>(static_cast<double>(out[name]) * atof(amount.c_str()) / 100);
    else
      out[name] -= ParseMilli(amount).value_or(0);
  };
  if (!options_.eviction_hard_memory.empty()) take("memory", options_.eviction_hard_memory);
  if (!options_.eviction_hard_storage.empty()) take("ephemeral-storage", options_.eviction_hard_storage);
  return out;
}

api::Node NodeKeeper::Initial() const {
  api::Node node;
  auto* m = node.mutable_metadata();
  m->set_name(options_.name);
  auto& labels = *m->mutable_labels();
  labels["kubernetes.io/hostname"] = options_.name;
  for (const char* prefix : {"kubernetes.io/", "beta.kubernetes.io/"}) {
    labels[std::string(prefix) + "os"] = "linux";
#if defined(__aarch64__)
    labels[std::string(prefix) + "arch"] = "arm64";
#else
    labels[std::string(prefix) + "arch"] = "amd64";
#endif
  }
  for (const auto& [k, v] : options_.labels) labels[k] = v;
  (*m->mutable_annotations())["volumes.kubernetes.io/controller-managed-attach-detach"] = "true";
  for (const auto& t : options_.taints) *node.mutable_spec()->add_taints() = t;
  if (!options_.provider_id.empty()) node.mutable_spec()->set_providerid(options_.provider_id);
  return node;
}

base::Task<base::Status> NodeKeeper::Register(base::Context ctx) {
  api::Node node = Initial();
  co_await SetStatus(ctx, node);
  if (options_.register_node) {
    auto made = co_await client_->Create<api::Node>(ctx, node);
    if (made) {
      base::LogInfo("Successfully registered node", {{"node", options_.name}});
      co_return base::Ok();
    }
    if (!machinery::object::IsAlreadyExists(made.error())) co_return made.error();
  }
  CO_TRY_ASSIGN(api::Node have, co_await client_->Get<api::Node>(ctx, "", options_.name));
  if (!options_.register_node) co_return base::Ok();
  api::Node want = have;
  for (const auto& [k, v] : node.metadata().labels()) (*want.mutable_metadata()->mutable_labels())[k] = v;
  for (const auto& [k, v] : node.metadata().annotations()) (*want.mutable_metadata()->mutable_annotations())[k] = v;
  if (Canonical(want) != Canonical(have)) CO_TRY(co_await client_->Update<api::Node>(ctx, std::move(want)));
  base::LogInfo("Node was previously registered", {{"node", options_.name}});
  co_return base::Ok();
}

base::Task<void> NodeKeeper::SetStatus(base::Context ctx, api::Node& node) {
  auto* s = node.mutable_status();
  s->clear_addresses();
  for (const auto& ip : options_.addresses) {
    auto* a = s->add_addresses();
    a->set_type("InternalIP");
    a->set_address(ip);
  }
  auto* host = s->add_addresses();
  host->set_type("Hostname");
  host->set_address(options_.name);

  auto& capacity = *s->mutable_capacity();
  Put(capacity, "cpu", std::to_string(facts_.cpus));
  Put(capacity, "memory", std::to_string(facts_.memory_bytes / 1024) + "Ki");
  Put(capacity, "ephemeral-storage", std::to_string(facts_.storage_bytes / 1024) + "Ki");
  Put(capacity, "pods", std::to_string(options_.max_pods));
  for (const auto& [name, bytes] : facts_.huge_pages) Put(capacity, name, BytesText(bytes));
  auto& allocatable = *s->mutable_allocatable();
  for (const auto& [name, milli] : Allocatable()) {
    if (name == "cpu")
      Put(allocatable, name, MilliText(milli));
    else if (name == "pods")
      Put(allocatable, name, std::to_string(milli / 1000));
    else if (milli / 1000 % 1024 == 0 && milli != 0 && !name.starts_with("hugepages"))
      Put(allocatable, name, std::to_string(milli / 1000 / 1024) + "Ki");
    else
      Put(allocatable, name, name.starts_with("hugepages") ? BytesText(milli / 1000) : std::to_string(milli / 1000));
  }
  s->mutable_daemonendpoints()->mutable_kubeletendpoint()->set_port(options_.port);
  auto* info = s->mutable_nodeinfo();
  info->set_machineid(facts_.machine_id);
  info->set_systemuuid(facts_.system_uuid);
  info->set_bootid(facts_.boot_id);
  info->set_kernelversion(facts_.kernel_version);
  info->set_osimage(facts_.os_image);
  info->set_containerruntimeversion(runtime_version ? runtime_version() : "");
  info->set_kubeletversion(std::string(base::version::kKubernetes));
  info->set_kubeproxyversion("");
  info->set_operatingsystem("linux");
#if defined(__aarch64__)
  info->set_architecture("arm64");
#else
  info->set_architecture("amd64");
#endif
  auto images = co_await images_.List(ctx);
  if (images) {
    s->clear_images();
    for (const auto& image : *images) {
      if (s->images_size() == options_.max_images) break;
      api::ContainerImage one;
      for (const auto& d : image.repo_digests())
        if (one.names_size() < 5) one.add_names(d);
      for (const auto& t : image.repo_tags())
        if (one.names_size() < 5) one.add_names(t);
      if (one.names().empty()) continue;
      one.set_sizebytes(static_cast<int64_t>(image.size()));
      *s->add_images() = std::move(one);
    }
  }
  SetConditions(node);
}

void NodeKeeper::SetCondition(api::Node& node, const char* type, bool status, const char* reason,
                              const std::string& message) {
  api::NodeCondition* c = nullptr;
  for (auto& have : *node.mutable_status()->mutable_conditions())
    if (have.type() == type) c = &have;
  if (!c) c = node.mutable_status()->add_conditions();
  int64_t now = WallNanos(executor_.clock());
  const char* word = status ? "True" : "False";
  if (c->status() != word) *c->mutable_lasttransitiontime() = TimeOf(now);
  c->set_type(type);
  c->set_status(word);
  c->set_reason(reason);
  c->set_message(message);
  *c->mutable_lastheartbeattime() = TimeOf(now);
  std::string event = std::string(type) == "Ready" ? (status ? "NodeReady" : "NodeNotReady")
                                                   : "NodeHas" + std::string(reason + std::string("KubeletHas").size());
  if (told_[type] == word) return;
  told_[type] = word;
  events_.Node("Normal", event, "Node " + options_.name + " status is now: " + event);
}

void NodeKeeper::SetConditions(api::Node& node) {
  auto pressure = [&](const char* type, const std::function<bool()>& f, const char* yes, const char* no,
                      const char* yes_text, const char* no_text) {
    bool on = f && f();
    SetCondition(node, type, on, on ? yes : no, on ? yes_text : no_text);
  };
  pressure("MemoryPressure", memory_pressure, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
           "kubelet has insufficient memory available", "kubelet has sufficient memory available");
  pressure("DiskPressure", disk_pressure, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
           "kubelet has disk pressure", "kubelet has no disk pressure");
  pressure("PIDPressure", pid_pressure, "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
           "kubelet has insufficient PID available", "kubelet has sufficient PID available");
  std::vector<std::string> errors = not_ready ? not_ready() : std::vector<std::string>();
  ready_ = errors.empty();
  if (ready_) {
    SetCondition(node, "Ready", true, "KubeletReady", "kubelet is posting ready status");
    return;
  }
  std::string text;
  for (const auto& e : errors) text += (text.empty() ? "" : ", ") + e;
  if (errors.size() > 1) text = "[" + text + "]";
  SetCondition(node, "Ready", false, "KubeletNotReady", text);
}

base::Task<base::Status> NodeKeeper::Report(base::Context ctx) {
  constexpr int kForbidden = 403;
  base::Status refused;
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto have = co_await client_->Get<api::Node>(ctx, "", options_.name);
    if (!have) {
      if (machinery::object::IsNotFound(have.error())) registered_ = false;
      co_return have.error();
    }
    api::Node node = *have;
    co_await SetStatus(ctx, node);
    api::NodeStatus bare = node.status();
    for (auto& c : *bare.mutable_conditions()) c.clear_lastheartbeattime();
    std::string content = Canonical(bare);
    int64_t now = WallNanos(executor_.clock());
    if (content == reported_ && now - reported_ns_ < options_.report_frequency.count()) co_return base::Ok();
    auto answer = co_await client_->UpdateStatus<api::Node>(ctx, std::move(node));
    if (answer) {
      reported_ = std::move(content);
      reported_ns_ = now;
      co_return base::Ok();
    }
    refused = answer.error();
    // Admission sees the whole object before its version is compared: taints that others set in between look as if
    // they were changed here.
    bool stale = machinery::object::IsConflict(refused) || machinery::object::HttpCodeOf(refused) == kForbidden;
    if (!stale) break;
  }
  co_return refused;
}

base::Task<void> NodeKeeper::Run(base::Context ctx) {
  if (!client_) co_return;
  base::Duration retry = std::chrono::milliseconds(100);
  while (ctx.status().ok()) {
    base::Context bounded = ctx.WithTimeout(executor_, std::chrono::seconds(10));
    if (!registered_) {
      base::Status s = co_await Register(bounded);
      registered_ = s.ok();
      if (!s.ok()) {
        if (ctx.status().ok())
          base::LogWarning("Unable to register node with API server", {{"node", options_.name}, {"err", s}});
        if (!(co_await base::Sleep(executor_, ctx, retry)).ok()) co_return;
        retry = std::min<base::Duration>(retry * 2, std::chrono::seconds(7));
        continue;
      }
      retry = std::chrono::milliseconds(100);
    }
    base::Status s = co_await Report(bounded);
    if (!s.ok() && ctx.status().ok()) base::LogWarning("Error updating node status, will retry", {{"err", s}});
    // Until the node is ready somebody waits for it: look often.
    base::Duration wait = ready_ && s.ok() ? options_.status_frequency : base::Duration(std::chrono::milliseconds(500));
    (void)co_await poke_.Wait(ctx.WithTimeout(executor_, wait));
  }
}

base::Task<void> NodeKeeper::RunLease(base::Context ctx) {
  if (!client_) co_return;
  const base::Duration renew = std::chrono::milliseconds(options_.lease_seconds * 250);
  std::optional<coordination::Lease> held;
  while (ctx.status().ok()) {
    base::Context bounded = ctx.WithTimeout(executor_, std::chrono::seconds(10));
    base::Status error;
    if (!held) {
      auto have = co_await client_->Get<coordination::Lease>(bounded, "kube-node-lease", options_.name);
      if (have)
        held = std::move(*have);
      else
        error = have.error();
    }
    coordination::Lease lease = held ? *held : coordination::Lease();
    auto* m = lease.mutable_metadata();
    m->set_name(options_.name);
    m->set_namespace_("kube-node-lease");
    if (current && m->ownerreferences().empty()) {
      auto* o = m->add_ownerreferences();
      o->set_apiversion("v1");
      o->set_kind("Node");
      o->set_name(options_.name);
      o->set_uid(current->metadata().uid());
    }
    lease.mutable_spec()->set_holderidentity(options_.name);
    lease.mutable_spec()->set_leasedurationseconds(options_.lease_seconds);
    int64_t now = WallNanos(executor_.clock());
    auto* renewed = lease.mutable_spec()->mutable_renewtime();
    renewed->set_seconds(now / 1'000'000'000);
    renewed->set_nanos(static_cast<int32_t>(now % 1'000'000'000 / 1000 * 1000));
    base::Result<coordination::Lease> answer = base::Err(base::Unknown(""));
    if (held)
      answer = co_await client_->Update<coordination::Lease>(bounded, std::move(lease));
    else if (machinery::object::IsNotFound(error))
      answer = co_await client_->Create<coordination::Lease>(bounded, std::move(lease));
    else
      answer = base::Err(error);
    if (answer) {
      held = std::move(*answer);
      if (!(co_await base::Sleep(executor_, ctx, renew)).ok()) co_return;
      continue;
    }
    held.reset();
    if (!ctx.status().ok()) co_return;
    base::LogV(1, "Failed to ensure lease exists, will retry", {{"err", answer.error()}});
    if (!(co_await base::Sleep(executor_, ctx, std::chrono::seconds(1))).ok()) co_return;
  }
}

}  // namespace kubelet
