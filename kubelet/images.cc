#include "kubelet/images.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/go_duration.h"
#include "base/json_writer.h"

namespace kubelet {
namespace {

std::string PolicyOf(const api::Container& c) {
  if (!c.imagepullpolicy().empty()) return c.imagepullpolicy();
  const std::string& image = c.image();
  size_t slash = image.rfind('/'), colon = image.rfind(':');
  bool tagged = colon != std::string::npos && (slash == std::string::npos || colon > slash);
  return !tagged || image.ends_with(":latest") ? "Always" : "IfNotPresent";
}

}  // namespace

std::string NormalizeImage(const std::string& image) {
  std::string out = image;
  size_t slash = out.find('/');
  std::string first = slash == std::string::npos ? "" : out.substr(0, slash);
  bool domain = first.find('.') != std::string::npos || first.find(':') != std::string::npos || first == "localhost";
  if (!domain) out = "docker.io/" + std::string(slash == std::string::npos ? "library/" : "") + out;
  if (out.find('@') == std::string::npos && out.find(':', out.rfind('/')) == std::string::npos) out += ":latest";
  return out;
}

Images::Images(base::Executor& executor, runtimes::Runtime& runtime, Events& events, bool serialize)
    : executor_(executor),
      runtime_(runtime),
      events_(events),
      serialize_(serialize),
      one_pull_(executor),
      backoff_(std::chrono::seconds(10), std::chrono::seconds(300)) {}

base::Task<Images::Outcome> Images::Ensure(base::Context ctx, PodPtr pod, const api::Container& container,
                                           cri::PodSandboxConfig sandbox, std::vector<cri::AuthConfig> credentials) {
  const std::string policy = PolicyOf(container), quoted = base::GoQuote(container.image());
  cri::ImageStatusRequest ask;
  ask.mutable_image()->set_image(NormalizeImage(container.image()));
  auto have = co_await runtime_.ImageStatus(ctx, std::move(ask));
  if (!have) {
    std::string text = "Failed to inspect image " + quoted + ": " + runtimes::RpcErrorText(have.error());
    events_.Pod(*pod, container.name(), "Warning", "InspectFailed", text);
    co_return Outcome{{}, {"ImageInspectError", text}};
  }
  bool present = have->has_image() && !have->image().id().empty();
  if (present && policy != "Always") {
    events_.Pod(*pod, container.name(), "Normal", "Pulled",
                "Container image " + quoted + " already present on machine and can be accessed by the pod");
    co_return Outcome{have->image(), {}};
  }
  if (policy == "Never") {
    std::string text = "Container image " + quoted + " is not present with pull policy of Never";
    events_.Pod(*pod, container.name(), "Warning", "ErrImageNeverPull", text);
    co_return Outcome{{}, {"ErrImageNeverPull", text}};
  }
  co_return co_await Pull(ctx, pod, container, std::move(sandbox), std::move(credentials));
}

base::Task<Images::Outcome> Images::Pull(base::Context ctx, PodPtr pod, const api::Container& container,
                                         cri::PodSandboxConfig sandbox, std::vector<cri::AuthConfig> credentials) {
  const std::string quoted = base::GoQuote(container.image());
  const std::string key = pod->metadata().uid() + "_" + container.image();
  int64_t now = WallNanos(executor_.clock());
  if (backoff_.InBackoff(key, now)) {
    std::string text = "Back-off pulling image " + quoted;
    events_.Pod(*pod, container.name(), "Normal", "BackOff", text);
    if (auto last = last_errors_.find(key); last != last_errors_.end()) text += ": " + last->second;
    co_return Outcome{{}, {"ImagePullBackOff", text}};
  }
  backoff_.Collect(now);
  std::erase_if(last_errors_, [&](const auto& e) { return backoff_.Get(e.first) == base::Duration(0); });
  events_.Pod(*pod, container.name(), "Normal", "Pulling", "Pulling image " + quoted);
  base::MonoTime asked = executor_.Now(), begun = asked;
  base::Mutex::Guard guard;
  if (serialize_) {
    auto lock = co_await one_pull_.Lock(ctx);
    if (!lock) co_return Outcome{{}, {"ErrImagePull", std::string(lock.error().message())}};
    guard = std::move(*lock);
    begun = executor_.Now();
  }
  cri::PullImageRequest request;
  request.mutable_image()->set_image(NormalizeImage(container.image()));
  *request.mutable_sandbox_config() = std::move(sandbox);
  if (credentials.empty()) credentials.emplace_back();
  base::Result<cri::PullImageResponse> pulled = base::Err(base::Unknown(""));
  for (const auto& auth : credentials) {
    cri::PullImageRequest attempt = request;
    if (auth.ByteSizeLong() > 0) *attempt.mutable_auth() = auth;
    pulled = co_await runtime_.PullImage(ctx, std::move(attempt), std::chrono::minutes(30));
    if (pulled) break;
  }
  guard.Release();
  if (!pulled) {
    std::string text = runtimes::RpcErrorText(pulled.error());
    events_.Pod(*pod, container.name(), "Warning", "Failed", "Failed to pull image " + quoted + ": " + text);
    backoff_.Next(key, now, WallNanos(executor_.clock()));
    last_errors_[key] = "ErrImagePull: " + text;
    co_return Outcome{{}, {"ErrImagePull", text}};
  }
  cri::ImageStatusRequest ask;
  ask.mutable_image()->set_image(pulled->image_ref());
  auto have = co_await runtime_.ImageStatus(ctx, std::move(ask));
  if (!have || !have->has_image())
    co_return Outcome{{}, {"ErrImagePull", "image " + quoted + " vanished after it was pulled"}};
  auto rounded = [](base::Duration d) {
    return base::FormatGoDuration(std::chrono::duration_cast<std::chrono::milliseconds>(d));
  };
  events_.Pod(*pod, container.name(), "Normal", "Pulled",
              fmt::format("Successfully pulled image {} in {} ({} including waiting). Image size: {} bytes.", quoted,
                          rounded(executor_.Now() - begun), rounded(executor_.Now() - asked), have->image().size()));
  co_return Outcome{have->image(), {}};
}

base::Task<base::Result<std::vector<cri::Image>>> Images::List(base::Context ctx) {
  CO_TRY_ASSIGN(auto listed, co_await runtime_.ListImages(ctx, {}));
  std::vector<cri::Image> out(listed.images().begin(), listed.images().end());
  std::ranges::stable_sort(out, [](const auto& a, const auto& b) { return a.size() > b.size(); });
  co_return out;
}

}  // namespace kubelet
