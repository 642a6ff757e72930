#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>

#include "base/file.h"
#include "deploy/keelson/certs.h"
#include "deploy/keelson/supervise.h"

namespace deploy::keelson {
namespace {

std::string TempDir() {
  std::string path = ::testing::TempDir() + "/keelsonXXXXXX";
  return mkdtemp(path.data());
}

X509* Load(const std::string& path) {
  auto pem = base::ReadFile(base::PosixFileSystem(), path);
  if (!pem) return nullptr;
  BIO* bio = BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size()));
  X509* out = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return out;
}

CertOptions Options(const std::string& directory) {
  CertOptions o;
  o.directory = directory;
  o.node_name = "n1";
  o.addresses = {"192.0.2.10"};
  o.service_ip = "10.96.0.1";
  return o;
}

TEST(Certs, ServeTheirNamesUnderTheirAuthorities) {
  std::string dir = TempDir();
  auto written = MakeControlPlaneCerts(Options(dir));
  ASSERT_TRUE(written.has_value()) << written.error().ToString();
  X509* api = Load(dir + "/apiserver.crt");
  X509* ca = Load(dir + "/ca.crt");
  X509* store_ca = Load(dir + "/etcd/ca.crt");
  ASSERT_TRUE(api && ca && store_ca);
  EXPECT_EQ(X509_verify(api, X509_get0_pubkey(ca)), 1);
  EXPECT_NE(X509_verify(api, X509_get0_pubkey(store_ca)), 1);
  EXPECT_EQ(X509_check_ip_asc(api, "10.96.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(api, "192.0.2.10", 0), 1);
  EXPECT_EQ(X509_check_host(api, "kubernetes.default.svc", 0, 0, nullptr), 1);
  EXPECT_NE(X509_check_host(api, "example.org", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ca(ca), 1);
  EXPECT_EQ(X509_check_ca(api), 0);
  for (X509* c : {api, ca, store_ca}) X509_free(c);
}

TEST(Certs, ASecondRunKeepsWhatIsThereAndAddsAnAddress) {
  std::string dir = TempDir();
  CertOptions options = Options(dir);
  ASSERT_TRUE(MakeControlPlaneCerts(options).has_value());
  auto again = MakeControlPlaneCerts(options);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->empty());
  options.addresses.push_back("192.0.2.11");
  auto moved = MakeControlPlaneCerts(options);
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(*moved, (std::vector<std::string>{"apiserver.crt", "etcd/server.crt", "etcd/peer.crt", "kubelet.crt"}));
}

TEST(Units, AreReadAsSystemdReadsThem) {
  auto unit = ParseUnit("kubelet", R"([Unit]
Description=node agent
After=network.target containerd.service kube-apiserver.service

[Service]
Type=notify
EnvironmentFile=-/etc/keelson/kubelet.env
Environment=A=1 B=two
ExecStart=/opt/bin/kubelet \
  --v=2 $KUBELET_ARGS
Restart=always
RestartSec=500ms
KillMode=process
MemoryMax=1G
)");
  ASSERT_TRUE(unit.has_value());
  EXPECT_EQ(unit->after, (std::vector<std::string>{"containerd", "kube-apiserver"}));
  EXPECT_EQ(unit->type, "notify");
  EXPECT_EQ(unit->environment.at("B"), "two");
  EXPECT_DOUBLE_EQ(unit->restart_seconds, 0.5);
  auto words = SplitCommand(unit->exec_start, {{"KUBELET_ARGS", "--a=1 --b=2"}});
  EXPECT_EQ(*words, (std::vector<std::string>{"/opt/bin/kubelet", "--v=2", "--a=1", "--b=2"}));
}

TEST(Units, CommandLinesKnowQuotesAndVariables) {
  std::map<std::string, std::string> env{{"X", "a b"}};
  EXPECT_EQ(*SplitCommand("p 'one two' \"${X}\" $X", env), (std::vector<std::string>{"p", "one two", "a b", "a", "b"}));
  EXPECT_FALSE(SplitCommand("p 'open", env).has_value());
  EXPECT_FALSE(SplitCommand("", env).has_value());
}

TEST(Units, StartInTheOrderOfAfter) {
  std::vector<Unit> units(3);
  units[0].name = "c";
  units[0].after = {"b", "elsewhere"};
  units[1].name = "b";
  units[1].after = {"a"};
  units[2].name = "a";
  auto order = StartOrder(units);
  ASSERT_TRUE(order.has_value());
  EXPECT_EQ((*order)[0].name, "a");
  EXPECT_EQ((*order)[2].name, "c");
  units[2].after = {"c"};
  EXPECT_FALSE(StartOrder(units).has_value());
}

}  // namespace
}  // namespace deploy::keelson
