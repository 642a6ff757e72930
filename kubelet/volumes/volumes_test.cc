// First: CRI has enum values named as the signal macros that other headers bring in.
#include "kubelet/volumes/volume.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/testing/sim_executor.h"
#include "kubelet/volumes/atomic_writer.h"

namespace kubelet::volumes {
namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/volumesXXXXXX";
    path_ = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string Read(const std::string& file) const {
    std::ifstream in(path_ + "/" + file);
    std::string text;
    std::getline(in, text);
    return text;
  }

 private:
  std::string path_;
};

TEST(AtomicWriter, LayoutAndUpdate) {
  Directory d;
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, -1, 1795368570000000000).ok());
  EXPECT_EQ(d.Read("a"), "1");
  EXPECT_EQ(d.Read("sub/b"), "2");
  EXPECT_EQ(fs::read_symlink(d.path() + "/a"), "..data/a");
  std::string data = fs::read_symlink(d.path() + "/..data");
  EXPECT_TRUE(data.starts_with("..2026_11_22_17_29_30.")) << data;
  struct stat st{};
  ASSERT_EQ(stat((d.path() + "/sub/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  // The same again changes nothing; other content swaps the directory and leaves nothing behind.
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, -1, 0).ok());
  EXPECT_EQ(fs::read_symlink(d.path() + "/..data"), data);
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"3", 0644}}}, -1, 1795368571000000000).ok());
  EXPECT_EQ(d.Read("a"), "3");
  EXPECT_FALSE(fs::exists(d.path() + "/sub"));
  EXPECT_FALSE(fs::exists(d.path() + "/" + data));
}

TEST(AtomicWriter, RefusesToLeave) {
  Directory d;
  EXPECT_FALSE(WritePayload(d.path(), {{"../x", {"1", 0644}}}, -1, 0).ok());
  EXPECT_FALSE(WritePayload(d.path(), {{"/x", {"1", 0644}}}, -1, 0).ok());
  EXPECT_FALSE(WritePayload(d.path(), {{"a/../../x", {"1", 0644}}}, -1, 0).ok());
}

class FakeSource final : public Source {
 public:
  std::map<std::string, std::string> config;
  base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ConfigMap(base::Context, std::string,
                                                                            std::string name) override {
    if (config.empty()) co_return base::Err(base::NotFound("configmap \"" + name + "\" not found"));
    auto map = std::make_shared<api::ConfigMap>();
    for (auto& [k, v] : config) (*map->mutable_data())[k] = v;
    co_return std::shared_ptr<const api::ConfigMap>(map);
  }
  base::Task<base::Result<std::shared_ptr<const api::Secret>>> Secret(base::Context, std::string,
                                                                      std::string name) override {
    co_return base::Err(base::NotFound("secret \"" + name + "\" not found"));
  }
  base::Task<base::Result<Token>> ServiceAccountToken(base::Context, PodPtr, std::string, int64_t) override {
    co_return Token{"token", 0};
  }
  NodeFacts FactsFor(const api::Pod&) override { return {.node_name = "n1"}; }
};

TEST(Manager, KindsAndErrors) {
  Directory d;
  base::testing::SimExecutor executor(1, base::testing::SimExecutor::Order::kFifo);
  base::testing::SimBlockingPool pool;
  FakeSource source;
  Manager manager(executor, pool, source, d.path());
  auto pod = std::make_shared<api::Pod>();
  pod->mutable_metadata()->set_uid("u1");
  pod->mutable_metadata()->set_namespace_("ns");
  (*pod->mutable_metadata()->mutable_labels())["app"] = "x";
  auto* e = pod->mutable_spec()->add_volumes();
  e->set_name("e");
  e->mutable_volumesource()->mutable_emptydir();
  auto* c = pod->mutable_spec()->add_volumes();
  c->set_name("c");
  c->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("m");
  auto* h = pod->mutable_spec()->add_volumes();
  h->set_name("h");
  h->mutable_volumesource()->mutable_hostpath()->set_path(d.path());
  h->mutable_volumesource()->mutable_hostpath()->set_type("File");
  auto* n = pod->mutable_spec()->add_volumes();
  n->set_name("n");
  n->mutable_volumesource()->mutable_nfs()->set_path("/x");
  Manager::Outcome outcome;
  auto run = [&] {
    base::Spawn(executor, [](Manager& m, PodPtr p, Manager::Outcome& out) -> base::Task<void> {
      out = co_await m.SetUp(base::Context(), p);
    }(manager, pod, outcome));
    while (executor.Step()) {
    }
  };
  run();
  ASSERT_EQ(outcome.errors.size(), 3u);
  EXPECT_EQ(outcome.errors[0].status.message(), "configmap \"m\" not found");
  EXPECT_EQ(outcome.errors[1].status.message(), "hostPath type check failed: " + d.path() + " is not a file");
  EXPECT_EQ(outcome.errors[2].status.message(), "volumes of type nfs are not supported yet");
  EXPECT_TRUE(fs::is_directory(d.path() + "/u1/volumes/kubernetes.io~empty-dir/e"));
  EXPECT_TRUE(fs::exists(d.path() + "/u1/plugins/kubernetes.io~empty-dir/e/ready"));

  source.config = {{"k", "v"}};
  h->mutable_volumesource()->mutable_hostpath()->set_type("Directory");
  pod->mutable_spec()->mutable_volumes()->RemoveLast();
  run();
  ASSERT_TRUE(outcome.errors.empty());
  EXPECT_EQ(d.Read("u1/volumes/kubernetes.io~configmap/c/k"), "v");
  EXPECT_TRUE(fs::exists(d.path() + "/u1/plugins/kubernetes.io~empty-dir/wrapped_c/ready"));
  EXPECT_TRUE(outcome.mounted["c"].read_only);
  EXPECT_FALSE(outcome.mounted["e"].read_only);

  base::Spawn(executor, [](Manager& m) -> base::Task<void> { EXPECT_TRUE((co_await m.TearDown("u1")).ok()); }(manager));
  while (executor.Step()) {
  }
  EXPECT_FALSE(fs::exists(d.path() + "/u1"));
}

}  // namespace
}  // namespace kubelet::volumes
