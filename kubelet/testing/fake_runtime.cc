#include "kubelet/testing/fake_runtime.h"

#include <algorithm>

#include "base/sync.h"

namespace kubelet::testing {
namespace {

class FakeChannel final : public runtimes::Channel {
 public:
  explicit FakeChannel(FakeRuntime& runtime) : runtime_(runtime) {}
  base::Task<base::Result<std::string>> Unary(base::Context ctx, std::string method, std::string request,
                                              base::Duration) override {
    return runtime_.Call(std::move(ctx), method.substr(method.rfind('/') + 1), std::move(request));
  }

 private:
  FakeRuntime& runtime_;
};

bool Matches(const google::protobuf::Map<std::string, std::string>& labels,
             const google::protobuf::Map<std::string, std::string>& selector) {
  return std::ranges::all_of(selector, [&](const auto& e) {
    auto it = labels.find(e.first);
    return it != labels.end() && it->second == e.second;
  });
}

// An image's id tells its name.
constexpr std::string_view kIdPrefix = "sha256:";
std::string NameOf(const std::string& id) { return id.starts_with(kIdPrefix) ? id.substr(kIdPrefix.size()) : id; }

template <class Request>
Request Parsed(const std::string& bytes) {
  Request r;
  CHECK(r.ParseFromString(bytes));
  return r;
}

template <class Response>
base::Result<std::string> Bytes(base::Result<Response> response) {
  if (!response) return base::Err(std::move(response.error()));
  return response->SerializeAsString();
}

}  // namespace

std::unique_ptr<runtimes::Channel> FakeRuntime::NewChannel() { return std::make_unique<FakeChannel>(*this); }

base::Task<base::Result<std::string>> FakeRuntime::Call(base::Context ctx, std::string method, std::string request) {
  CO_TRY(ctx.status());
  if (method == "StopContainer") {
    co_await WaitForEnd(ctx, Parsed<cri::StopContainerRequest>(request));
    CO_TRY(ctx.status());
  }
#define KUBELET_FAKE_CALL(name) \
  if (method == #name) co_return Bytes(name(Parsed<cri::name##Request>(request)));
  KUBELET_FAKE_METHODS(KUBELET_FAKE_CALL)
#undef KUBELET_FAKE_CALL
  co_return base::Err(base::Unimplemented("unknown method " + method));
}

void FakeRuntime::ExitOne(const std::string& id, int code) {
  auto it = containers.find(id);
  if (it == containers.end() || it->second.state() != cri::CONTAINER_RUNNING) return;
  if (on_exit) on_exit(id, code);
  cri::ContainerStatus& c = it->second;
  c.set_state(cri::CONTAINER_EXITED);
  c.set_exit_code(code);
  c.set_finished_at(Now());
  c.set_reason(code == 0 ? "Completed" : "Error");
}

void FakeRuntime::Exit(const std::string& name, int code) {
  for (auto& [id, c] : containers)
    if (c.metadata().name() == name) ExitOne(id, code);
}

void FakeRuntime::Reboot() {
  for (auto& [id, c] : containers) ExitOne(id, 255);
  for (auto& [id, s] : sandboxes) s.set_state(cri::SANDBOX_NOTREADY);
}

std::string FakeRuntime::Summary() const {
  static constexpr const char* kStates[] = {"created", "running", "exited", "unknown"};
  std::vector<std::string> words;
  for (const auto& [id, c] : containers)
    words.push_back(c.metadata().name() + std::to_string(c.metadata().attempt()) + ":" + kStates[c.state()]);
  std::ranges::sort(words);
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

// --- The runtime itself ---

FakeRuntime::Answer<cri::VersionResponse> FakeRuntime::Version(const cri::VersionRequest&) {
  cri::VersionResponse v;
  v.set_runtime_name("fake");
  v.set_runtime_version("1.0");
  return v;
}

FakeRuntime::Answer<cri::StatusResponse> FakeRuntime::Status(const cri::StatusRequest&) {
  cri::StatusResponse out;
  for (const char* type : {"RuntimeReady", "NetworkReady"}) {
    auto* c = out.mutable_status()->add_conditions();
    c->set_type(type);
    c->set_status(true);
  }
  return out;
}

FakeRuntime::Answer<cri::UpdateRuntimeConfigResponse> FakeRuntime::UpdateRuntimeConfig(
    const cri::UpdateRuntimeConfigRequest&) {
  return cri::UpdateRuntimeConfigResponse();
}

// --- Sandboxes ---

FakeRuntime::Answer<cri::RunPodSandboxResponse> FakeRuntime::RunPodSandbox(const cri::RunPodSandboxRequest& r) {
  const auto& config = r.config();
  for (const auto& [id, s] : sandboxes)
    if (s.metadata().uid() == config.metadata().uid() && s.metadata().attempt() == config.metadata().attempt())
      return base::Err(base::Unknown("failed to reserve sandbox name: name is reserved for \"" + id + "\""));
  std::string id = "sandbox" + std::to_string(next_++);
  calls.push_back("RunPodSandbox " + config.metadata().name());
  auto& s = sandboxes[id];
  s.set_id(id);
  *s.mutable_metadata() = config.metadata();
  *s.mutable_labels() = config.labels();
  s.set_state(cri::SANDBOX_READY);
  s.set_created_at(Now());
  const auto& namespaces = config.linux().security_context().namespace_options();
  s.mutable_linux()->mutable_namespaces()->mutable_options()->set_network(namespaces.network());
  if (namespaces.network() != cri::NODE)
    s.mutable_network()->set_ip("10.0.0." + std::to_string(2 + next_address_++ % 250));
  sandbox_configs[id] = config;
  cri::RunPodSandboxResponse out;
  out.set_pod_sandbox_id(id);
  return out;
}

FakeRuntime::Answer<cri::StopPodSandboxResponse> FakeRuntime::StopPodSandbox(const cri::StopPodSandboxRequest& r) {
  calls.push_back("StopPodSandbox");
  for (const auto& [container, sandbox] : sandbox_of)
    if (sandbox == r.pod_sandbox_id()) ExitOne(container, 137);
  if (auto it = sandboxes.find(r.pod_sandbox_id()); it != sandboxes.end()) it->second.set_state(cri::SANDBOX_NOTREADY);
  return cri::StopPodSandboxResponse();
}

FakeRuntime::Answer<cri::RemovePodSandboxResponse> FakeRuntime::RemovePodSandbox(
    const cri::RemovePodSandboxRequest& r) {
  std::vector<std::string> inside;
  for (const auto& [container, sandbox] : sandbox_of)
    if (sandbox == r.pod_sandbox_id()) inside.push_back(container);
  for (const auto& container : inside) {
    cri::RemoveContainerRequest remove;
    remove.set_container_id(container);
    (void)RemoveContainer(remove);
  }
  sandboxes.erase(r.pod_sandbox_id());
  sandbox_configs.erase(r.pod_sandbox_id());
  return cri::RemovePodSandboxResponse();
}

FakeRuntime::Answer<cri::ListPodSandboxResponse> FakeRuntime::ListPodSandbox(const cri::ListPodSandboxRequest& r) {
  cri::ListPodSandboxResponse out;
  for (const auto& [id, s] : sandboxes) {
    if (!Matches(s.labels(), r.filter().label_selector())) continue;
    auto* o = out.add_items();
    o->set_id(id);
    *o->mutable_metadata() = s.metadata();
    *o->mutable_labels() = s.labels();
    o->set_state(s.state());
    o->set_created_at(s.created_at());
  }
  return out;
}

FakeRuntime::Answer<cri::PodSandboxStatusResponse> FakeRuntime::PodSandboxStatus(
    const cri::PodSandboxStatusRequest& r) {
  auto it = sandboxes.find(r.pod_sandbox_id());
  if (it == sandboxes.end()) return base::Err(base::NotFound("no sandbox"));
  cri::PodSandboxStatusResponse out;
  *out.mutable_status() = it->second;
  return out;
}

// --- Containers ---

FakeRuntime::Answer<cri::CreateContainerResponse> FakeRuntime::CreateContainer(const cri::CreateContainerRequest& r) {
  auto sandbox = sandboxes.find(r.pod_sandbox_id());
  if (sandbox == sandboxes.end()) return base::Err(base::NotFound("failed to find sandbox id " + r.pod_sandbox_id()));
  if (sandbox->second.state() != cri::SANDBOX_READY)
    return base::Err(base::Unknown("sandbox container " + r.pod_sandbox_id() + " is not running"));
  const auto& config = r.config();
  const std::string& uid = sandbox->second.metadata().uid();
  for (const auto& [id, c] : containers)
    if (sandboxes[sandbox_of[id]].metadata().uid() == uid && c.metadata().name() == config.metadata().name() &&
        c.metadata().attempt() == config.metadata().attempt())
      return base::Err(base::Unknown("failed to reserve container name: name is reserved for \"" + id + "\""));
  std::string id = "container" + std::to_string(next_++);
  auto& c = containers[id];
  c.set_id(id);
  *c.mutable_metadata() = config.metadata();
  *c.mutable_labels() = config.labels();
  *c.mutable_annotations() = config.annotations();
  *c.mutable_mounts() = config.mounts();
  c.mutable_image()->set_image(NameOf(config.image().image()));
  c.set_image_ref(config.image().image());
  c.set_state(cri::CONTAINER_CREATED);
  c.set_created_at(Now());
  configs[id] = config;
  sandbox_of[id] = r.pod_sandbox_id();
  cri::CreateContainerResponse out;
  out.set_container_id(id);
  return out;
}

FakeRuntime::Answer<cri::StartContainerResponse> FakeRuntime::StartContainer(const cri::StartContainerRequest& r) {
  auto it = containers.find(r.container_id());
  if (it == containers.end()) return base::Err(base::NotFound("no container"));
  if (it->second.state() != cri::CONTAINER_CREATED)
    return base::Err(base::Unknown("container is not in the created state"));
  if (sandboxes[sandbox_of[it->first]].state() != cri::SANDBOX_READY)
    return base::Err(base::Unknown("sandbox container is not running"));
  calls.push_back("StartContainer " + it->second.metadata().name());
  it->second.set_state(cri::CONTAINER_RUNNING);
  it->second.set_started_at(Now());
  if (on_start) on_start(it->first);
  return cri::StartContainerResponse();
}

// A process ends in its own time, killed when the grace is over. When nobody waits any more, it has been asked all the
// same, but nobody kills it.
base::Task<void> FakeRuntime::WaitForEnd(base::Context ctx, cri::StopContainerRequest r) {
  auto it = containers.find(r.container_id());
  if (!time_to_stop || it == containers.end() || it->second.state() != cri::CONTAINER_RUNNING) co_return;
  const base::Duration own = time_to_stop(r.container_id()), grace = std::chrono::seconds(r.timeout());
  if (own <= grace) executor_.After(own, [this, id = r.container_id()] { ExitOne(id, 143); });
  (void)co_await base::Sleep(executor_, ctx, std::min(own, grace));
}

FakeRuntime::Answer<cri::StopContainerResponse> FakeRuntime::StopContainer(const cri::StopContainerRequest& r) {
  auto it = containers.find(r.container_id());
  if (it == containers.end()) return base::Err(base::NotFound("no container"));
  calls.push_back("StopContainer " + it->second.metadata().name() + " " + std::to_string(r.timeout()));
  ExitOne(r.container_id(), 137);
  return cri::StopContainerResponse();
}

FakeRuntime::Answer<cri::RemoveContainerResponse> FakeRuntime::RemoveContainer(const cri::RemoveContainerRequest& r) {
  ExitOne(r.container_id(), 137);
  containers.erase(r.container_id());
  configs.erase(r.container_id());
  sandbox_of.erase(r.container_id());
  return cri::RemoveContainerResponse();
}

FakeRuntime::Answer<cri::ListContainersResponse> FakeRuntime::ListContainers(const cri::ListContainersRequest& r) {
  cri::ListContainersResponse out;
  for (const auto& [id, c] : containers) {
    if (!Matches(c.labels(), r.filter().label_selector())) continue;
    auto* o = out.add_containers();
    o->set_id(id);
    o->set_pod_sandbox_id(sandbox_of[id]);
    *o->mutable_metadata() = c.metadata();
    *o->mutable_labels() = c.labels();
    o->set_image_ref(c.image_ref());
    o->set_state(c.state());
    o->set_created_at(c.created_at());
  }
  return out;
}

FakeRuntime::Answer<cri::ContainerStatusResponse> FakeRuntime::ContainerStatus(const cri::ContainerStatusRequest& r) {
  auto it = containers.find(r.container_id());
  if (it == containers.end()) return base::Err(base::NotFound("no container"));
  cri::ContainerStatusResponse out;
  *out.mutable_status() = it->second;
  return out;
}

FakeRuntime::Answer<cri::ReopenContainerLogResponse> FakeRuntime::ReopenContainerLog(
    const cri::ReopenContainerLogRequest& r) {
  calls.push_back("ReopenContainerLog " + r.container_id());
  return cri::ReopenContainerLogResponse();
}

FakeRuntime::Answer<cri::ExecSyncResponse> FakeRuntime::ExecSync(const cri::ExecSyncRequest&) {
  cri::ExecSyncResponse out;
  out.set_exit_code(exec_exit_code);
  return out;
}

// --- Images ---

bool FakeRuntime::Has(const std::string& image) const {
  return std::ranges::any_of(images, [&](const auto& name) { return image.ends_with(name); });
}

FakeRuntime::Answer<cri::ListImagesResponse> FakeRuntime::ListImages(const cri::ListImagesRequest&) {
  cri::ListImagesResponse out;
  for (const auto& name : images) {
    auto* i = out.add_images();
    i->set_id(std::string(kIdPrefix) + name);
    i->set_size(1000);
    i->add_repo_tags(name);
  }
  return out;
}

FakeRuntime::Answer<cri::ImageStatusResponse> FakeRuntime::ImageStatus(const cri::ImageStatusRequest& r) {
  cri::ImageStatusResponse out;
  if (!Has(r.image().image())) return out;
  out.mutable_image()->set_id(std::string(kIdPrefix) + NameOf(r.image().image()));
  out.mutable_image()->mutable_uid()->set_value(0);
  return out;
}

FakeRuntime::Answer<cri::PullImageResponse> FakeRuntime::PullImage(const cri::PullImageRequest& r) {
  calls.push_back("PullImage");
  const std::string& image = r.image().image();
  if (!registry || !registry(image)) return base::Err(base::NotFound("no such image"));
  if (!Has(image)) images.push_back(image);
  cri::PullImageResponse out;
  out.set_image_ref(image);
  return out;
}

FakeRuntime::Answer<cri::RemoveImageResponse> FakeRuntime::RemoveImage(const cri::RemoveImageRequest& r) {
  calls.push_back("RemoveImage " + r.image().image());
  return cri::RemoveImageResponse();
}

FakeRuntime::Answer<cri::ImageFsInfoResponse> FakeRuntime::ImageFsInfo(const cri::ImageFsInfoRequest&) {
  cri::ImageFsInfoResponse out;
  out.add_image_filesystems()->mutable_fs_id()->set_mountpoint("/images");
  return out;
}

}  // namespace kubelet::testing
