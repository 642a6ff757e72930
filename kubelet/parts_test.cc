// Small parts: admission, image names, back-off.
#include "kubelet/admission.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "kubelet/attributes.h"
#include "kubelet/images.h"

namespace kubelet {
namespace {

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

TEST(Admission, Sysctls) {
  auto list = *SysctlAllowList::Make({"kernel.msg*", "net.core.somaxconn"}, "6.1.0-30-amd64");
  auto judge = [&](std::initializer_list<const char*> names, bool host = false) {
    api::Pod pod;
    pod.mutable_spec()->set_hostnetwork(host);
    pod.mutable_spec()->set_hostipc(host);
    for (const char* n : names) pod.mutable_spec()->mutable_securitycontext()->add_sysctls()->set_name(n);
    auto r = Admit({.pod = pod, .active = {}, .allocatable = {{"pods", 9000}}, .sysctls = &list});
    return r ? r->reason + ": " + r->message : "admitted";
  };
  EXPECT_EQ(judge({}), "admitted");
  EXPECT_EQ(judge({"net.ipv4.tcp_syncookies", "net/ipv4/ping_group_range", "kernel.shm_rmid_forced"}), "admitted");
  EXPECT_EQ(judge({"kernel.msgmax", "net.core.somaxconn"}), "admitted") << "allowed here";
  EXPECT_EQ(judge({"net.ipv4.tcp_syncookies", "kernel.panic"}),
            "SysctlForbidden: forbidden sysctl: \"kernel.panic\" not allowlisted");
  EXPECT_EQ(judge({"net.ipv4.ip_forward"}),
            "SysctlForbidden: forbidden sysctl: \"net.ipv4.ip_forward\" not allowlisted");
  EXPECT_EQ(judge({"kernel/panic"}), "SysctlForbidden: forbidden sysctl: \"kernel.panic\" not allowlisted");
  EXPECT_EQ(judge({"net.ipv4.tcp_syncookies"}, true),
            "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled");
  EXPECT_EQ(judge({"kernel.msgmnb"}, true),
            "SysctlForbidden: forbidden sysctl: \"kernel.msgmnb\" not allowed with host IPC enabled");
  // What an old kernel shares between all network namespaces is not safe there.
  list = *SysctlAllowList::Make({}, "4.14.0");
  EXPECT_EQ(judge({"net.ipv4.tcp_fin_timeout"}), "admitted");
  EXPECT_EQ(judge({"net.ipv4.tcp_rmem"}), "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowlisted");
  for (const char* bad : {"vm.swappiness", "kernel.*", "*", "Net.x", "net..x", "net.x*y"})
    EXPECT_FALSE(SysctlAllowList::Make({bad}, "6.1")) << bad;
}

TEST(Admission, AppArmor) {
  auto judge = [](const api::Pod& pod, bool enabled) {
    auto r = Admit({.pod = pod, .active = {}, .allocatable = {{"pods", 9000}}, .app_armor = enabled});
    return r ? r->reason + ": " + r->message : "admitted";
  };
  const std::string refused = "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host";
  api::Pod pod;
  pod.mutable_spec()->add_containers()->set_name("c");
  EXPECT_EQ(judge(pod, false), "admitted");
  auto* own = pod.mutable_spec()->mutable_containers(0)->mutable_securitycontext()->mutable_apparmorprofile();
  own->set_type("Unconfined");
  EXPECT_EQ(judge(pod, false), "admitted");
  own->set_type("Localhost");
  own->set_localhostprofile("strict");
  EXPECT_EQ(judge(pod, false), refused);
  EXPECT_EQ(judge(pod, true), "admitted");
  own->set_localhostprofile(" ");
  EXPECT_EQ(judge(pod, true), "AppArmor: Cannot enforce AppArmor: invalid empty AppArmor profile name");
  pod.mutable_spec()->mutable_containers(0)->clear_securitycontext();
  pod.mutable_spec()->mutable_securitycontext()->mutable_apparmorprofile()->set_type("RuntimeDefault");
  EXPECT_EQ(judge(pod, false), refused);
  pod.mutable_spec()->clear_securitycontext();
  (*pod.mutable_metadata()->mutable_annotations())["container.apparmor.security.beta.kubernetes.io/c"] = "localhost/x";
  EXPECT_EQ(judge(pod, false), refused);
}

// The table of the original's reading (pkg/kubelet/server/auth.go).
TEST(Attributes, OfRequests) {
  auto of = [](const char* path) {
    std::string out;
    for (const auto& s : SubresourcesOf(path)) out += (out.empty() ? "" : ",") + s;
    return out;
  };
  EXPECT_EQ(of("/pods"), "pods,proxy");
  EXPECT_EQ(of("/pods/"), "pods,proxy");
  EXPECT_EQ(of("/runningpods/"), "pods,proxy");
  EXPECT_EQ(of("/healthz/ping"), "healthz,proxy");
  EXPECT_EQ(of("/configz"), "configz,proxy");
  EXPECT_EQ(of("/flagz"), "configz");
  EXPECT_EQ(of("/statusz"), "statusz");
  EXPECT_EQ(of("/stats/summary"), "stats");
  EXPECT_EQ(of("/metrics/cadvisor"), "metrics");
  EXPECT_EQ(of("/logs/"), "log");
  EXPECT_EQ(of("/checkpoint/ns/p/c"), "checkpoint");
  for (const char* path :
       {"/", "", "/exec/ns/p/c", "/podsx", "/statsx", "/run/ns/p/c", "//pods", "/containerLogs/a/b/c"})
    EXPECT_EQ(of(path), "proxy") << path;
  EXPECT_EQ(VerbOf("GET"), "get");
  EXPECT_EQ(VerbOf("POST"), "create");
  EXPECT_EQ(VerbOf("HEAD"), "");
  EXPECT_EQ(VerbOf("get"), "");
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
