#include "tests/sim/cluster/runtime_judge.h"

#include <algorithm>

#include "kubelet/model/types.h"

namespace sim::cluster {

using namespace std::chrono_literals;

// "pod/uid/container"
std::string RuntimeJudge::KeyOf(const kubelet::cri::ContainerStatus& c) {
  auto label = [&](std::string_view name) {
    auto it = c.labels().find(std::string(name));
    return it == c.labels().end() ? std::string() : it->second;
  };
  return label(kubelet::kPodNameLabel) + "/" + label(kubelet::kPodUidLabel) + "/" + c.metadata().name();
}

void RuntimeJudge::OnKubelet() {
  for (auto& [key, h] : history_) h.crashes = 0;
}

void RuntimeJudge::OnStart(const std::string& id) {
  ++starts_;
  const std::string key = KeyOf(runtime_.containers.at(id));
  History& h = history_[key];
  if (!h.running.empty()) violation_(key + " is started a second time while " + h.running + " runs");
  if (h.ran) {
    ++restarts_;
    CheckPolicy(key, h);
    CheckBackoff(key, h);
  }
  h.ran = true;
  h.running = id;
}

void RuntimeJudge::OnExit(const std::string& id, int code) {
  History& h = history_[KeyOf(runtime_.containers.at(id))];
  if (h.running == id) h.running.clear();
  h.last_code = code;
  h.ended = executor_.Now();
}

void RuntimeJudge::CheckPolicy(const std::string& key, const History& h) {
  if (key.starts_with("never-")) violation_(key + " may never restart");
  if (key.starts_with("onfailure-") && h.last_code == 0) violation_(key + " is restarted after it succeeded");
}

// The first restart is at once, the next waits 10 s, each further one twice as long as the one before, at most 300 s.
void RuntimeJudge::CheckBackoff(const std::string& key, History& h) {
  const base::Duration since = executor_.Now() - h.ended;
  if (since > 10min) h.crashes = 0;
  if (++h.crashes < 2) return;
  const base::Duration least = std::min<base::Duration>(10s * (1 << std::min(h.crashes - 2, 6)), 300s);
  // The runtime's books and the kubelet's clock may differ by the way between them.
  if (since + 1s < least)
    violation_(key + " is restarted " + std::to_string(since / 1ms) + " ms after it ended, its restart number " +
               std::to_string(h.crashes));
  else
    ++waited_;
}

}  // namespace sim::cluster
