#include "machinery/client/kubeconfig.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "machinery/client/discovery.h"

namespace machinery::client {
namespace {

class KubeconfigTest : public ::testing::Test {
 protected:
  KubeconfigTest() {
    char name[] = "/tmp/kubeconfig_test.XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~KubeconfigTest() override { (void)base::PosixFileSystem().RemoveAll(directory_); }
  std::string Write(const std::string& name, const std::string& text) {
    std::string path = directory_ + "/" + name;
    EXPECT_TRUE(base::WriteFileAtomically(base::PosixFileSystem(), path, text).ok());
    return path;
  }
  base::Result<Kubeconfig> Load(const std::string& user, const std::string& more = "") {
    return LoadKubeconfig(base::PosixFileSystem(),
                          Write("config",
                                "apiVersion: v1\nkind: Config\n"
                                "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1/'" +
                                    more +
                                    "}}]\n"
                                    "users: [{name: u, user: {" +
                                    user +
                                    "}}]\n"
                                    "contexts: [{name: x, context: {cluster: c, user: u, "
                                    "namespace: here}}]\ncurrent-context: x\n"));
  }
  std::string directory_;
};

TEST_F(KubeconfigTest, ServerContextAndTokens) {
  auto config = Load("token: abc");
  ASSERT_TRUE(config) << config.error().ToString();
  EXPECT_EQ(config->server, "http://127.0.0.1:1");
  EXPECT_EQ(config->namespace_name, "here");
  EXPECT_EQ(config->token(), "abc");
  EXPECT_TRUE(config->options.http2_prior_knowledge);
  // Beside the file, and without the newline.
  Write("secret", "from a file\n");
  config = Load("tokenFile: secret");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->token(), "from a file");
}

TEST_F(KubeconfigTest, WhatIsNotSupportedSaysSo) {
  EXPECT_EQ(Load("exec: {command: x}").error().message(),
            "kubeconfig " + directory_ + "/config: user field exec is not supported yet");
  EXPECT_FALSE(Load("token: a", ", proxy-url: 'http://x'"));
  EXPECT_FALSE(LoadKubeconfig(base::PosixFileSystem(), directory_ + "/none"));
  EXPECT_FALSE(LoadKubeconfig(base::PosixFileSystem(), Write("empty", "{}")));
}

TEST(Discovery, ReadsTheAggregatedDocument) {
  auto found = ParseDiscovery(R"({"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"apps"},"versions":[
      {"version":"v1","resources":[{"resource":"deployments","responseKind":{"group":"apps","version":"v1",
       "kind":"Deployment"},"scope":"Namespaced","verbs":["list","watch"]}]}]}]})");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].resource.ApiVersion(), "apps/v1");
  EXPECT_EQ((*found)[0].resource.kind, "Deployment");
  EXPECT_TRUE((*found)[0].resource.namespaced);
  EXPECT_EQ((*found)[0].verbs.size(), 2u);
  EXPECT_FALSE(ParseDiscovery(R"({"kind":"APIVersions"})"));
}

}  // namespace
}  // namespace machinery::client
