// Small parts: logs, admission, image names, back-off.
#include "kubelet/admission.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "kubelet/images.h"
#include "kubelet/logs.h"

namespace kubelet {
namespace {

TEST(Logs, Lines) {
  const std::string line = "2026-11-22T17:29:31.48438905Z stdout F hi there";
  EXPECT_EQ(FormatLogLine(line, {}), "hi there\n");
  EXPECT_EQ(FormatLogLine(line, {.timestamps = true}), "2026-11-22T17:29:31.48438905Z hi there\n");
  EXPECT_EQ(FormatLogLine(line, {.stream = "Stderr"}), std::nullopt);
  EXPECT_EQ(FormatLogLine(line, {.since_ns = 1795368572ll * 1'000'000'000}), std::nullopt);
  EXPECT_EQ(FormatLogLine("2026-11-22T17:29:31Z stderr P part", {}), "part");
  EXPECT_EQ(FormatLogLine("2026-11-22T17:29:31Z stderr F", {}), "\n");
  EXPECT_EQ(FormatLogLine("rubbish", {}), std::nullopt);
}

TEST(Logs, Tail) {
  char name[] = "/tmp/tailXXXXXX";
  int fd = mkstemp(name);
  ASSERT_EQ(write(fd, "one\ntwo\nthree\n", 14), 14);
  EXPECT_EQ(TailOffset(fd, 1), 8);
  EXPECT_EQ(TailOffset(fd, 2), 4);
  EXPECT_EQ(TailOffset(fd, 3), 0);
  EXPECT_EQ(TailOffset(fd, 9), 0);
  EXPECT_EQ(TailOffset(fd, 0), 14);
  close(fd);
  unlink(name);
}

TEST(Images, Names) {
  EXPECT_EQ(NormalizeImage("busybox"), "docker.io/library/busybox:latest");
  EXPECT_EQ(NormalizeImage("user/app:1"), "docker.io/user/app:1");
  EXPECT_EQ(NormalizeImage("demo.keelson.local/web:1"), "demo.keelson.local/web:1");
  EXPECT_EQ(NormalizeImage("localhost:5000/a"), "localhost:5000/a:latest");
  EXPECT_EQ(NormalizeImage("r.io/a@sha256:0"), "r.io/a@sha256:0");
}

api::Pod Asking(const char* cpu, int host_port = 0) {
  api::Pod pod;
  auto* c = pod.mutable_spec()->add_containers();
  (*c->mutable_resources()->mutable_requests())["cpu"].set_string(cpu);
  if (host_port) c->add_ports()->set_hostport(host_port);
  return pod;
}

TEST(Admission, Reasons) {
  std::map<std::string, int64_t> allocatable = {{"cpu", 2000}, {"pods", 2000}, {"memory", 1000000}};
  std::vector<PodPtr> active = {std::make_shared<const api::Pod>(Asking("1500m", 80))};
  auto judge = [&](const api::Pod& pod, const api::Node* node = nullptr) {
    auto r = Admit({.pod = pod, .active = active, .allocatable = allocatable, .node = node});
    return r ? r->reason + ": " + r->message : "admitted";
  };
  EXPECT_EQ(judge(Asking("500m")), "admitted");
  EXPECT_EQ(judge(Asking("600m")),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000");
  EXPECT_EQ(judge(Asking("1m", 80)),
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
  api::Node node;
  (*node.mutable_metadata()->mutable_labels())["zone"] = "a";
  api::Pod choosy = Asking("1m");
  (*choosy.mutable_spec()->mutable_nodeselector())["zone"] = "a";
  EXPECT_EQ(judge(choosy, &node), "admitted");
  (*choosy.mutable_spec()->mutable_nodeselector())["zone"] = "b";
  EXPECT_EQ(judge(choosy, &node),
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
  active.push_back(active[0]);
  EXPECT_EQ(judge(Asking("0")),
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2");
}

TEST(Backoff, DoublesAndForgets) {
  Backoff b(std::chrono::seconds(10), std::chrono::seconds(300));
  constexpr int64_t s = 1'000'000'000;
  EXPECT_FALSE(b.InBackoffSince("k", 0, s));
  b.Next("k", 0, s);
  EXPECT_TRUE(b.InBackoffSince("k", 2 * s, 11 * s));
  EXPECT_FALSE(b.InBackoffSince("k", 2 * s, 12 * s));
  b.Next("k", 2 * s, 12 * s);
  EXPECT_EQ(b.Get("k"), std::chrono::seconds(20));
  EXPECT_FALSE(b.InBackoffSince("k", 700 * s, 701 * s)) << "long ago";
  b.Collect(700 * s);
  EXPECT_EQ(b.Get("k"), std::chrono::seconds(0));
}

}  // namespace
}  // namespace kubelet
