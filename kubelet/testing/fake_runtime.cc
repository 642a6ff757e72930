#include "kubelet/testing/fake_runtime.h"

#include <algorithm>

namespace kubelet::testing {
namespace {

class FakeChannel final : public runtimes::Channel {
 public:
  explicit FakeChannel(FakeRuntime& runtime) : runtime_(runtime) {}
  base::Task<base::Result<std::string>> Unary(base::Context, std::string method, std::string request,
                                              base::Duration) override {
    co_return runtime_.Call(method.substr(method.rfind('/') + 1), request);
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

std::string Bytes(const google::protobuf::MessageLite& m) { return m.SerializeAsString(); }

}  // namespace

std::unique_ptr<runtimes::Channel> FakeRuntime::NewChannel() { return std::make_unique<FakeChannel>(*this); }

template <class Request, class F>
void FakeRuntime::Method(const char* name, F f) {
  methods_[name] = [f](const std::string& bytes) -> base::Result<std::string> {
    Request r;
    CHECK(r.ParseFromString(bytes));
    return f(r);
  };
}

base::Result<std::string> FakeRuntime::Call(const std::string& method, const std::string& request) {
  if (methods_.empty()) Setup();
  auto it = methods_.find(method);
  if (it == methods_.end()) return base::Err(base::Unimplemented("unknown method " + method));
  return it->second(request);
}

void FakeRuntime::Exit(const std::string& name, int code) {
  for (auto& [id, c] : containers)
    if (c.metadata().name() == name && c.state() == cri::CONTAINER_RUNNING) {
      c.set_state(cri::CONTAINER_EXITED);
      c.set_exit_code(code);
      c.set_finished_at(Now());
      c.set_reason(code == 0 ? "Completed" : "Error");
    }
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

void FakeRuntime::Setup() {
  Method<cri::VersionRequest>("Version", [](const auto&) -> base::Result<std::string> {
    cri::VersionResponse v;
    v.set_runtime_name("fake");
    v.set_runtime_version("1.0");
    return Bytes(v);
  });
  Method<cri::RunPodSandboxRequest>("RunPodSandbox", [this](const auto& r) -> base::Result<std::string> {
    std::string id = "sandbox" + std::to_string(next_++);
    calls.push_back("RunPodSandbox " + r.config().metadata().name());
    auto& s = sandboxes[id];
    s.set_id(id);
    *s.mutable_metadata() = r.config().metadata();
    *s.mutable_labels() = r.config().labels();
    s.set_state(cri::SANDBOX_READY);
    s.set_created_at(Now());
    sandbox_configs[id] = r.config();
    cri::RunPodSandboxResponse out;
    out.set_pod_sandbox_id(id);
    return Bytes(out);
  });
  Method<cri::StopPodSandboxRequest>("StopPodSandbox", [this](const auto& r) -> base::Result<std::string> {
    calls.push_back("StopPodSandbox");
    if (auto it = sandboxes.find(r.pod_sandbox_id()); it != sandboxes.end())
      it->second.set_state(cri::SANDBOX_NOTREADY);
    return "";
  });
  Method<cri::RemovePodSandboxRequest>("RemovePodSandbox", [this](const auto& r) -> base::Result<std::string> {
    sandboxes.erase(r.pod_sandbox_id());
    return "";
  });
  Method<cri::ListPodSandboxRequest>("ListPodSandbox", [this](const auto& r) -> base::Result<std::string> {
    cri::ListPodSandboxResponse out;
    for (const auto& [id, s] : sandboxes)
      if (Matches(s.labels(), r.filter().label_selector())) *out.add_items() = s;
    return Bytes(out);
  });
  Method<cri::PodSandboxStatusRequest>("PodSandboxStatus", [this](const auto& r) -> base::Result<std::string> {
    auto it = sandboxes.find(r.pod_sandbox_id());
    if (it == sandboxes.end()) return base::Err(base::NotFound("no sandbox"));
    cri::PodSandboxStatusResponse out;
    auto* s = out.mutable_status();
    s->set_id(it->first);
    s->set_state(it->second.state());
    *s->mutable_metadata() = it->second.metadata();
    *s->mutable_labels() = it->second.labels();
    s->set_created_at(it->second.created_at());
    s->mutable_network()->set_ip("10.0.0.2");
    return Bytes(out);
  });
  Method<cri::CreateContainerRequest>("CreateContainer", [this](const auto& r) -> base::Result<std::string> {
    std::string id = "container" + std::to_string(next_++);
    auto& c = containers[id];
    c.set_id(id);
    *c.mutable_metadata() = r.config().metadata();
    *c.mutable_labels() = r.config().labels();
    *c.mutable_annotations() = r.config().annotations();
    *c.mutable_mounts() = r.config().mounts();
    c.mutable_image()->set_image("image:1");
    c.set_image_ref("sha256:1");
    c.set_state(cri::CONTAINER_CREATED);
    c.set_created_at(Now());
    configs[id] = r.config();
    sandbox_of[id] = r.pod_sandbox_id();
    cri::CreateContainerResponse out;
    out.set_container_id(id);
    return Bytes(out);
  });
  Method<cri::StartContainerRequest>("StartContainer", [this](const auto& r) -> base::Result<std::string> {
    auto& c = containers.at(r.container_id());
    calls.push_back("StartContainer " + c.metadata().name());
    c.set_state(cri::CONTAINER_RUNNING);
    c.set_started_at(Now());
    return "";
  });
  Method<cri::StopContainerRequest>("StopContainer", [this](const auto& r) -> base::Result<std::string> {
    auto it = containers.find(r.container_id());
    if (it == containers.end()) return base::Err(base::NotFound("no container"));
    calls.push_back("StopContainer " + it->second.metadata().name() + " " + std::to_string(r.timeout()));
    if (it->second.state() == cri::CONTAINER_RUNNING) Exit(it->second.metadata().name(), 137);
    return "";
  });
  Method<cri::RemoveContainerRequest>("RemoveContainer", [this](const auto& r) -> base::Result<std::string> {
    containers.erase(r.container_id());
    return "";
  });
  Method<cri::ListContainersRequest>("ListContainers", [this](const auto& r) -> base::Result<std::string> {
    cri::ListContainersResponse out;
    for (const auto& [id, c] : containers) {
      if (!Matches(c.labels(), r.filter().label_selector())) continue;
      auto* o = out.add_containers();
      o->set_id(id);
      o->set_pod_sandbox_id(sandbox_of[id]);
      *o->mutable_metadata() = c.metadata();
      *o->mutable_labels() = c.labels();
      o->set_state(c.state());
      o->set_created_at(c.created_at());
    }
    return Bytes(out);
  });
  Method<cri::ContainerStatusRequest>("ContainerStatus", [this](const auto& r) -> base::Result<std::string> {
    auto it = containers.find(r.container_id());
    if (it == containers.end()) return base::Err(base::NotFound("no container"));
    cri::ContainerStatusResponse out;
    *out.mutable_status() = it->second;
    return Bytes(out);
  });
  Method<cri::ImageStatusRequest>("ImageStatus", [this](const auto& r) -> base::Result<std::string> {
    cri::ImageStatusResponse out;
    for (const auto& name : images)
      if (r.image().image().ends_with(name)) {
        out.mutable_image()->set_id("sha256:1");
        out.mutable_image()->mutable_uid()->set_value(0);
      }
    return Bytes(out);
  });
  Method<cri::PullImageRequest>("PullImage", [this](const auto&) -> base::Result<std::string> {
    calls.push_back("PullImage");
    return base::Err(base::NotFound("no such image"));
  });
  Method<cri::ExecSyncRequest>("ExecSync", [this](const auto&) -> base::Result<std::string> {
    cri::ExecSyncResponse out;
    out.set_exit_code(exec_exit_code);
    return Bytes(out);
  });
}

}  // namespace kubelet::testing
