// The plan as a table: a pod, what the runtime holds, what is to be done. One line of text per side, so that a case can
// be read aloud.
#include "kubelet/plan/plan.h"

#include <gtest/gtest.h>

#include <sstream>

namespace kubelet::plan {
namespace {

// "Always init:i1 sidecar:s1 c1 c2"
api::Pod MakePod(const std::string& text) {
  api::Pod pod;
  std::istringstream in(text);
  std::string word;
  in >> word;
  pod.mutable_spec()->set_restartpolicy(word);
  while (in >> word) {
    if (word == "deleted") {
      pod.mutable_metadata()->mutable_deletiontimestamp()->set_seconds(1);
      continue;
    }
    if (word == "host") {
      pod.mutable_spec()->set_hostnetwork(true);
      continue;
    }
    api::Container* c;
    size_t colon = word.find(':');
    if (word.starts_with("debug:")) {
      pod.mutable_spec()->add_ephemeralcontainers()->mutable_ephemeralcontainercommon()->set_name(word.substr(6));
      continue;
    }
    if (colon == std::string::npos) {
      c = pod.mutable_spec()->add_containers();
      c->set_name(word);
    } else {
      c = pod.mutable_spec()->add_initcontainers();
      c->set_name(word.substr(colon + 1));
      if (word.starts_with("sidecar")) c->set_restartpolicy("Always");
    }
    c->set_image("image");
  }
  return pod;
}

// Newest first: "S1 c1:run c2:exit0 i1:exit3 c3:unknown c4:created c5:changed"; "s1" is a sandbox that is not ready;
// "S1- " one without an address. Containers belong to the sandbox before them.
ObservedPod MakeObserved(const std::string& text) {
  ObservedPod out;
  std::istringstream in(text);
  std::string word;
  while (in >> word) {
    if ((word[0] == 'S' || word[0] == 's') && !word.contains(':')) {
      ObservedSandbox s;
      s.ready = word[0] == 'S';
      s.attempt = word[1] - '0';
      s.id = "sandbox" + std::string(1, word[1]);
      if (!word.ends_with('-')) s.ips = {"10.0.0.1"};
      out.sandboxes.push_back(s);
      continue;
    }
    ObservedContainer c;
    size_t colon = word.find(':');
    c.name = word.substr(0, colon);
    std::string state = word.substr(colon + 1);
    c.id = c.name + "-id";
    c.sandbox_id = out.sandboxes.empty() ? "" : out.sandboxes.back().id;
    api::Container spec;
    spec.set_name(c.name);
    spec.set_image("image");
    c.hash = HashOf(spec);
    if (state == "run") c.state = ContainerState::kRunning;
    if (state == "changed") c.state = ContainerState::kRunning, c.hash = 1;
    if (state == "created") c.state = ContainerState::kCreated;
    if (state.starts_with("exit")) c.state = ContainerState::kExited, c.exit_code = std::stoi(state.substr(4));
    out.containers.push_back(c);
  }
  return out;
}

std::string ToText(const Actions& a) {
  std::string out;
  auto add = [&](const std::string& s) { out += (out.empty() ? "" : " ") + s; };
  if (a.kill_pod) add("killpod");
  if (a.create_sandbox) add("sandbox" + std::to_string(a.attempt));
  for (const auto& k : a.kill) add("kill:" + k.name);
  for (const auto& n : a.start_init) add("init:" + n);
  for (const auto& n : a.start) add("start:" + n);
  for (const auto& n : a.start_ephemeral) add("debug:" + n);
  return out.empty() ? "nothing" : out;
}

struct Case {
  const char* what;
  const char* pod;
  const char* observed;
  const char* expected;
  const char* liveness_failed = "";
};

const Case kCases[] = {
    {"a new pod", "Always c1 c2", "", "killpod sandbox0 start:c1 start:c2"},
    {"a new pod with initialization", "Always init:i1 c1", "", "killpod sandbox0 init:i1"},
    {"everything runs", "Always c1 c2", "S0 c1:run c2:run", "nothing"},
    {"sandbox made, containers not yet", "Always c1 c2", "S0", "start:c1 start:c2"},
    {"initialization runs", "Always init:i1 c1", "S0 i1:run", "nothing"},
    {"initialization is done", "Always init:i1 c1", "S0 i1:exit0", "start:c1"},
    {"next step", "Always init:i1 init:i2 c1", "S0 i1:exit0", "init:i2"},
    {"initialization failed and is retried", "Always init:i1 c1", "S0 i1:exit1", "init:i1"},
    {"initialization failed for good", "Never init:i1 c1", "S0 i1:exit1", "killpod"},
    {"initialization is not repeated for a restart", "Always init:i1 c1", "S0 c1:exit1 i1:exit0", "start:c1"},
    {"nor when its container was collected", "Always init:i1 c1", "S0 c1:run", "nothing"},
    {"a crash", "Always c1 c2", "S0 c1:exit1 c2:run", "start:c1"},
    {"success restarts under Always", "Always c1", "S0 c1:exit0", "start:c1"},
    {"but not under OnFailure", "OnFailure c1 c2", "S0 c1:exit0 c2:run", "nothing"},
    {"failure does", "OnFailure c1 c2", "S0 c1:exit2 c2:run", "start:c1"},
    {"Never is never", "Never c1 c2", "S0 c1:exit2 c2:run", "nothing"},
    {"a pod that is done", "Never c1", "S0 c1:exit0", "killpod"},
    {"a pod that is done, with a sidecar", "Never sidecar:s c1", "S0 c1:exit0 s:run", "killpod"},
    {"a done pod whose sandbox is gone stays done", "Never c1", "s0 c1:exit0", "killpod"},
    {"likewise OnFailure", "OnFailure c1", "s0 c1:exit0", "killpod"},
    {"OnFailure repeats what failed", "OnFailure c1 c2", "s0 c1:exit0 c2:exit1", "killpod sandbox1 start:c2"},
    {"the sandbox died", "Always c1", "s0 c1:run", "killpod sandbox1 start:c1"},
    {"the sandbox died, initialization runs again", "Always init:i1 c1", "s3 c1:run i1:exit0",
     "killpod sandbox4 init:i1"},
    {"two sandboxes are one too many", "Always c1", "S1 c1:run S0", "killpod sandbox2 start:c1"},
    {"a sandbox without address", "Always c1", "S0- c1:run", "killpod sandbox1 start:c1"},
    {"the spec changed", "Always c1 c2", "S0 c1:changed c2:run", "kill:c1 start:c1"},
    {"the spec changed, even under Never", "Never c1 c2", "S0 c1:changed c2:run", "kill:c1 start:c1"},
    {"a failed liveness probe", "Always c1 c2", "S0 c1:run c2:run", "kill:c1 start:c1", "c1"},
    {"a failed liveness probe under Never", "Never c1 c2", "S0 c1:run c2:run", "kill:c1", "c1"},
    {"a lost container is stopped first", "Always c1 c2", "S0 c1:unknown c2:run", "kill:c1 start:c1"},
    {"a created one is made again", "Always c1", "S0 c1:created", "start:c1"},
    {"a sidecar starts first", "Always sidecar:s c1", "S0", "init:s"},
    {"and holds the others until it has started", "Always sidecar:s init:i c1", "S0 s:run", "init:i"},
    {"a sidecar comes back beside running containers", "Always sidecar:s c1", "S0 c1:run s:exit1", "init:s"},
    {"a pod being deleted starts nothing", "Always c1 deleted", "S0 c1:exit1", "killpod"},
    {"an ephemeral container starts beside the others", "Always c1 debug:d", "S0 c1:run", "debug:d"},
    {"also where initialization hangs", "Always init:i c1 debug:d", "S0 i:run", "debug:d"},
    {"it is not restarted", "Always c1 debug:d", "S0 c1:run d:exit1", "nothing"},
    {"it does not keep a pod alive", "Never c1 debug:d", "S0 c1:exit0", "killpod"},
    {"the newest observation counts", "Always c1", "S0 c1:run c1:exit1", "nothing"},
};

TEST(Plan, Table) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.what);
    ObservedPod observed = MakeObserved(c.observed);
    ProbeView probes;
    for (const auto& o : observed.containers)
      if (o.state == ContainerState::kRunning) probes.started.insert(o.id);
    if (*c.liveness_failed) probes.liveness_failed.insert(std::string(c.liveness_failed) + "-id");
    EXPECT_EQ(ToText(Compute(MakePod(c.pod), observed, probes)), c.expected);
  }
}

TEST(Plan, SidecarNotYetStarted) {
  ProbeView probes;
  EXPECT_EQ(ToText(Compute(MakePod("Always sidecar:s init:i c1"), MakeObserved("S0 s:run"), probes)), "nothing");
}

TEST(Plan, Hash) {
  api::Container c;
  c.set_name("init");
  c.set_image("registry.k8s.io/e2e-test-images/busybox:1.37.0-1");
  EXPECT_EQ(HashOf(c), 0x6908ec1bu);  // as recorded from the original
  c.set_name("main");
  EXPECT_EQ(HashOf(c), 0xa785d335u);
}

TEST(Plan, KillTexts) {
  ProbeView probes;
  probes.liveness_failed.insert("c1-id");
  Actions a = Compute(MakePod("Always c1"), MakeObserved("S0 c1:run"), probes);
  ASSERT_EQ(a.kill.size(), 1u);
  EXPECT_EQ(a.kill[0].message, "Container c1 failed liveness probe, will be restarted");
}

}  // namespace
}  // namespace kubelet::plan
