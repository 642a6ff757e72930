#include "kubelet/runtimes/runtime.h"

#include <algorithm>
#include <charconv>

#include "kubelet/runtimes/socket_channel.h"

namespace kubelet::runtimes {
namespace {

// A class per code as Go's codes package prints it.
constexpr const char* kGoCode[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// Methods whose metric label the original words differently from the method.
std::string OperationName(std::string_view method) {
  std::string out;
  for (size_t i = 0; i < method.size(); ++i) {
    char c = method[i];
    if (c >= 'A' && c <= 'Z') {
      if (i) out += '_';
      c = static_cast<char>(c - 'A' + 'a');
    }
    out += c;
  }
  if (out == "run_pod_sandbox") return "run_podsandbox";
  if (out == "stop_pod_sandbox") return "stop_podsandbox";
  if (out == "remove_pod_sandbox") return "remove_podsandbox";
  if (out == "list_pod_sandbox") return "list_podsandbox";
  if (out == "pod_sandbox_status") return "podsandbox_status";
  if (out == "exec_sync") return "exec_sync";
  return out;
}

std::string LabelOf(const google::protobuf::Map<std::string, std::string>& labels, std::string_view name) {
  auto it = labels.find(std::string(name));
  return it == labels.end() ? std::string() : it->second;
}

ContainerState StateOf(cri::ContainerState s) {
  switch (s) {
    case cri::CONTAINER_CREATED:
      return ContainerState::kCreated;
    case cri::CONTAINER_RUNNING:
      return ContainerState::kRunning;
    case cri::CONTAINER_EXITED:
      return ContainerState::kExited;
    default:
      return ContainerState::kUnknown;
  }
}

ObservedContainer ToObserved(const cri::ContainerStatus& s, const std::string& sandbox_id) {
  ObservedContainer out;
  out.id = s.id();
  out.sandbox_id = sandbox_id;
  out.name = LabelOf(s.labels(), kContainerNameLabel);
  out.state = StateOf(s.state());
  std::string text = LabelOf(s.annotations(), kContainerRestartCount);
  std::from_chars(text.data(), text.data() + text.size(), out.restart_count);
  text = LabelOf(s.annotations(), kContainerHash);
  std::from_chars(text.data(), text.data() + text.size(), out.hash, 16);
  out.created_at = s.created_at();
  out.started_at = s.started_at();
  out.finished_at = s.finished_at();
  out.exit_code = s.exit_code();
  out.reason = s.reason();
  out.message = s.message();
  out.image = s.image().image();
  out.image_id = s.image_ref();
  out.log_path = s.log_path();
  const std::string message_path = LabelOf(s.annotations(), kContainerTerminationMessagePath);
  for (const auto& m : s.mounts())
    if (!message_path.empty() && m.container_path() == message_path) out.termination_file = m.host_path();
  return out;
}

ObservedSandbox ToObserved(const cri::PodSandboxStatus& s) {
  ObservedSandbox out;
  out.id = s.id();
  out.ready = s.state() == cri::SANDBOX_READY;
  out.attempt = s.metadata().attempt();
  out.created_at = s.created_at();
  out.host_network = s.linux().namespaces().options().network() == cri::NODE;
  if (!s.network().ip().empty()) out.ips.push_back(s.network().ip());
  for (const auto& ip : s.network().additional_ips())
    if (!ip.ip().empty()) out.ips.push_back(ip.ip());
  return out;
}

}  // namespace

Runtime::Runtime(base::Executor& executor, std::unique_ptr<Channel> runtime, std::unique_ptr<Channel> images,
                 base::Duration timeout, base::MetricsRegistry* metrics)
    : executor_(executor), runtime_(std::move(runtime)), images_(std::move(images)), timeout_(timeout) {
  if (!metrics) return;
  operations_ = &metrics->AddCounter("kubelet_runtime_operations_total",
                                     "Cumulative number of runtime operations by operation type.", {"operation_type"});
  errors_ =
      &metrics->AddCounter("kubelet_runtime_operations_errors_total",
                           "Cumulative number of runtime operation errors by operation type.", {"operation_type"});
}

Runtime::~Runtime() = default;

template <class Response, class Request>
Runtime::Answer<Response> Runtime::Call(base::Context ctx, Channel& channel, const char* service, const char* method,
                                        Request request, base::Duration timeout) {
  std::string operation = OperationName(method);
  if (operations_) operations_->With({operation}).Add();
  auto bytes = co_await channel.Unary(std::move(ctx), std::string("/runtime.v1.") + service + "/" + method,
                                      request.SerializeAsString(), timeout);
  if (!bytes) {
    if (errors_) errors_->With({operation}).Add();
    co_return base::Err(std::move(bytes.error()));
  }
  Response response;
  if (!response.ParseFromString(*bytes))
    co_return base::Err(base::Internal(std::string("the runtime's answer to ") + method + " cannot be read"));
  co_return response;
}

#define KUBELET_CRI_DEFINE(name)                                                                             \
  Runtime::Answer<cri::name##Response> Runtime::name(base::Context ctx, cri::name##Request request,          \
                                                     base::Duration extra) {                                 \
    return Call<cri::name##Response>(std::move(ctx), *runtime_, "RuntimeService", #name, std::move(request), \
                                     timeout_ + extra);                                                      \
  }
KUBELET_CRI_METHODS(KUBELET_CRI_DEFINE)
#define KUBELET_CRI_DEFINE_IMAGE(name)                                                                      \
  Runtime::Answer<cri::name##Response> Runtime::name(base::Context ctx, cri::name##Request request,         \
                                                     base::Duration extra) {                                \
    return Call<cri::name##Response>(std::move(ctx), images_ ? *images_ : *runtime_, "ImageService", #name, \
                                     std::move(request), timeout_ + extra);                                 \
  }
KUBELET_CRI_IMAGE_METHODS(KUBELET_CRI_DEFINE_IMAGE)

base::Task<base::Status> Runtime::Handshake(base::Context ctx) {
  auto answer = co_await Version(ctx, {});
  if (!answer) {
    if (answer.error().code() == base::Code::kUnimplemented)
      co_return base::FailedPrecondition("the container runtime does not implement CRI v1 runtime API");
    co_return answer.error();
  }
  name_ = answer->runtime_name();
  version_ = answer->runtime_version();
  if (version_.starts_with("v")) version_.erase(0, 1);
  // The numbers alone: distributions add words of their own ("1.6.20~ds1").
  version_.erase(std::min(version_.find_first_not_of("0123456789."), version_.size()));
  co_return base::Ok();
}

std::string RpcErrorText(const base::Status& status) {
  return std::string("rpc error: code = ") + kGoCode[static_cast<size_t>(status.code())] +
         " desc = " + std::string(status.message());
}

base::Task<base::Result<Relist>> ListAll(base::Context ctx, Runtime& runtime) {
  Relist out;
  CO_TRY_ASSIGN(auto sandboxes, co_await runtime.ListPodSandbox(ctx, {}));
  CO_TRY_ASSIGN(auto containers, co_await runtime.ListContainers(ctx, {}));
  for (auto& s : *sandboxes.mutable_items())
    if (s.labels().contains(std::string(kPodUidLabel))) out.sandboxes.push_back(std::move(s));
  for (auto& c : *containers.mutable_containers())
    if (c.labels().contains(std::string(kPodUidLabel))) out.containers.push_back(std::move(c));
  co_return out;
}

base::Task<base::Result<ObservedPod>> Observe(base::Context ctx, Runtime& runtime, std::string uid) {
  ObservedPod out;
  out.uid = uid;
  cri::ListPodSandboxRequest sandboxes;
  (*sandboxes.mutable_filter()->mutable_label_selector())[std::string(kPodUidLabel)] = uid;
  CO_TRY_ASSIGN(auto listed, co_await runtime.ListPodSandbox(ctx, std::move(sandboxes)));
  for (const auto& s : listed.items()) {
    cri::PodSandboxStatusRequest ask;
    ask.set_pod_sandbox_id(s.id());
    auto status = co_await runtime.PodSandboxStatus(ctx, std::move(ask));
    if (!status) {
      if (status.error().code() == base::Code::kNotFound) continue;  // removed meanwhile
      co_return base::Err(std::move(status.error()));
    }
    out.name = s.metadata().name();
    out.namespace_name = s.metadata().namespace_();
    out.sandboxes.push_back(ToObserved(status->status()));
  }
  cri::ListContainersRequest containers;
  (*containers.mutable_filter()->mutable_label_selector())[std::string(kPodUidLabel)] = uid;
  CO_TRY_ASSIGN(auto all, co_await runtime.ListContainers(ctx, std::move(containers)));
  for (const auto& c : all.containers()) {
    cri::ContainerStatusRequest ask;
    ask.set_container_id(c.id());
    auto status = co_await runtime.ContainerStatus(ctx, std::move(ask));
    if (!status) {
      if (status.error().code() == base::Code::kNotFound) continue;
      co_return base::Err(std::move(status.error()));
    }
    out.name = LabelOf(c.labels(), kPodNameLabel);
    out.namespace_name = LabelOf(c.labels(), kPodNamespaceLabel);
    out.containers.push_back(ToObserved(status->status(), c.pod_sandbox_id()));
  }
  auto newer = [](const auto& a, const auto& b) { return a.created_at > b.created_at; };
  std::ranges::stable_sort(out.sandboxes, newer);
  std::ranges::stable_sort(out.containers, newer);
  co_return out;
}

base::Result<std::unique_ptr<Channel>> NewChannel(base::Loop& loop, const std::string& endpoint) {
  struct Scheme {
    std::string_view prefix;
    std::unique_ptr<Channel> (*make)(base::Loop&, const std::string&);
  };
#define RUNTIME(prefix, make) {prefix, make},
  static constexpr Scheme kSchemes[] = {
#include "kubelet/runtimes/runtimes.def"
  };
#undef RUNTIME
  for (const Scheme& s : kSchemes)
    if (endpoint.starts_with(s.prefix)) return s.make(loop, endpoint);
  return base::Err(
      base::InvalidArgument("container runtime endpoint \"" + endpoint + "\": only unix:// endpoints are supported"));
}

}  // namespace kubelet::runtimes
