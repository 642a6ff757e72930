#include "kvstore/service/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/testing/temp_dir.h"
#include "kvstore/service/auto_tls.h"

namespace kvstore::service {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ClientAuth = base::net::TlsFiles::ClientAuth;

// What the flags come to: the error's text, "" when there is none.
struct Given {
  Config config;
  std::string error;
  explicit Given(std::vector<std::string> args) {
    base::FlagSet flags({.name = "etcd", .style = base::FlagProgram::Style::kEtcd, .config_flag = "config-file"});
    config.AddFlags(flags);
    base::Status s = flags.Parse(args);
    if (s.ok()) s = config.Check(flags);
    error = s.message();
  }
};
std::string ErrorOf(std::vector<std::string> args) { return Given(std::move(args)).error; }

TEST(ConfigTls, VersionsFitTogether) {
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.1"}),
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}),
            "min version (TLS1.3) is greater than max version (TLS1.2)");
  EXPECT_EQ(ErrorOf({"--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}),
            "cipher suites cannot be configured when only TLS1.3 is enabled");
  Given g({"--tls-min-version=", "--tls-max-version=TLS1.2"});
  EXPECT_EQ(g.error, "");
  EXPECT_EQ(g.config.tls.minimum_version, 12);
  EXPECT_EQ(g.config.tls.maximum_version, 12);
  EXPECT_EQ(g.config.PeerClientTls().maximum_version, 12);
}

TEST(ConfigTls, RestrictionsReachListenersAndPeers) {
  Given g({"--cert-file=c", "--key-file=k", "--trusted-ca-file=ca", "--client-crl-file=crl",
           "--client-cert-allowed-hostname=a,b", "--peer-cert-file=pc", "--peer-key-file=pk", "--peer-crl-file=pcrl",
           "--peer-cert-allowed-cn=m1,m2"});
  ASSERT_EQ(g.error, "");
  auto client = *g.config.ClientListenerTls(), peer = *g.config.PeerListenerTls();
  EXPECT_EQ(client.crl_file, "crl");
  EXPECT_THAT(client.allowed_hostnames, ElementsAre("a", "b"));
  // Authorities alone already ask for certificates.
  EXPECT_EQ(client.client_auth, ClientAuth::kRequireAndVerify);
  EXPECT_EQ(peer.client_auth, ClientAuth::kNone);
  EXPECT_EQ(peer.crl_file, "pcrl");
  EXPECT_THAT(g.config.PeerClientTls().allowed_common_names, ElementsAre("m1", "m2"));
  EXPECT_EQ(ErrorOf({"--peer-cert-allowed-cn=a,b", "--peer-cert-allowed-hostname=c"}),
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\" \"b\"], hostnames=[\"c\"])");
  EXPECT_EQ(ErrorOf({"--cert-file=c"}), "KeyFile and CertFile must both be present[key: , cert: c]");
  EXPECT_EQ(ErrorOf({"--peer-client-key-file=k"}),
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: k, cert: ]");
  EXPECT_THAT(ErrorOf({"--listen-peer-urls=https://127.0.0.1:1"}), StartsWith("cannot listen on TLS for 127.0.0.1:1"));
}

TEST(ConfigTls, TheConfigurationFileNamesTheSame) {
  base::testing::TempDir dir;
  std::string file = dir.path() + "/etcd.yaml";
  ASSERT_TRUE(
      base::WriteFileAtomically(base::PosixFileSystem(), file,
                                "client-transport-security:\n  allowed-cn: [root, admin]\n  client-cert-file: x\n"
                                "  client-key-file: y\n"
                                "peer-transport-security:\n  allowed-hostname: [m1.example.com]\n"
                                "tls-max-version: TLS1.3\nself-signed-cert-validity: 3\n")
          .ok());
  Given g({"--config-file=" + file});
  ASSERT_EQ(g.error, "");
  EXPECT_THAT(g.config.tls.allowed_common_names, ElementsAre("root", "admin"));
  EXPECT_EQ(g.config.client_cert_file, "x");
  EXPECT_THAT(g.config.peer_tls.allowed_hostnames, ElementsAre("m1.example.com"));
  EXPECT_EQ(g.config.tls.maximum_version, 13);
  EXPECT_EQ(g.config.self_signed_years, 3u);
}

TEST(ConfigTls, OwnCertificatesAreMadeOnceAndAskNobody) {
  base::testing::TempDir dir;
  Given g({"--data-dir=" + dir.path(), "--auto-tls", "--listen-client-urls=https://127.0.0.1:2379",
           "--advertise-client-urls=https://127.0.0.1:2379", "--trusted-ca-file=ca", "--client-crl-file=crl"});
  ASSERT_EQ(g.error, "");
  auto files = *g.config.ClientListenerTls();
  EXPECT_EQ(files.cert_file, dir.path() + "/fixtures/client/cert.pem");
  EXPECT_EQ(files.client_auth, ClientAuth::kNone);
  EXPECT_EQ(files.crl_file, "");
  struct stat st;
  ASSERT_EQ(::stat(files.key_file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  std::string first = *base::ReadFile(base::PosixFileSystem(), files.cert_file);
  EXPECT_EQ(*base::ReadFile(base::PosixFileSystem(), g.config.ClientListenerTls()->cert_file), first);
  EXPECT_EQ(ErrorOf({"--peer-auto-tls", "--self-signed-cert-validity=0"}),
            "selfSignedCertValidity is invalid,it should be greater than 0");
}

TEST(ConfigTls, PeersAreDialledFromTheAdvertisedAddress) {
  auto address = [](const std::string& urls, const std::string& gates) {
    Given g({"--initial-advertise-peer-urls=" + urls, "--feature-gates=" + gates});
    EXPECT_EQ(g.error, "");
    return g.config.PeerLocalAddress();
  };
  std::string on = "SetMemberLocalAddr=true";
  EXPECT_EQ(address("http://127.0.0.1:2380,http://name:2380,http://10.0.0.7:2380,http://10.0.0.8:2380", on),
            "10.0.0.7");
  EXPECT_EQ(address("http://[::1]:2380,http://[fd00::1]:2380", on), "fd00::1");
  EXPECT_EQ(address("http://localhost:2380", on), "");
  EXPECT_EQ(address("http://10.0.0.7:2380", ""), "");
}

TEST(ConfigLog, SeveralOutputsAtOnce) {
  Given g({"--log-outputs=stdout,/tmp/x,stdout,stderr", "--log-format=console", "--log-level=panic"});
  ASSERT_EQ(g.error, "");
  auto o = *g.config.LogOptions();
  EXPECT_THAT(o.outputs, ElementsAre("/tmp/x", "stderr", "stdout"));
  EXPECT_EQ(o.format, base::LogFormat::kEtcdConsole);
  EXPECT_EQ(o.minimum, base::LogLevel::kFatal);
  EXPECT_FALSE(o.rotation);
  EXPECT_THAT(Given({}).config.LogOptions()->outputs, ElementsAre("stderr"));
  EXPECT_THAT(Given({"--log-outputs=/tmp/x,/dev/null"}).config.LogOptions()->outputs, ElementsAre("/dev/null"));
}

TEST(ConfigLog, WhatDoesNotGoTogether) {
  EXPECT_EQ(ErrorOf({"--log-outputs=default,/tmp/x"}), "multi logoutput for \"default\" is not supported yet");
  EXPECT_EQ(ErrorOf({"--log-outputs=systemd/journal,stderr"}),
            "running with systemd/journal but other '--log-outputs' values ([\"stderr\" \"systemd/journal\"]) are "
            "configured with 'default'; override 'default' value with something else");
  EXPECT_EQ(ErrorOf({"--log-format=x"}), "unknown log format: x, supported values json, console");
  EXPECT_EQ(ErrorOf({"--logger=x"}), "unknown logger option \"x\"");
  EXPECT_EQ(ErrorOf({"--logger=capnslog"}), "--logger=capnslog is removed in v3.5");
}

TEST(ConfigLog, RotationIsOfOneFile) {
  auto rotate = [](const std::string& outputs, const std::string& json) {
    return Given({"--enable-log-rotation", "--log-outputs=" + outputs, "--log-rotation-config-json=" + json});
  };
  Given good = rotate("stderr,/tmp/path",
                      R"({"MaxSize": 1, "maxage": 2, "maxbackups": 3, "localtime": true, "compress": true, "x": []})");
  ASSERT_EQ(good.error, "");
  base::LogRotation r = *good.config.LogOptions()->rotation;
  EXPECT_EQ(r.max_megabytes, 1);
  EXPECT_EQ(r.max_days, 2);
  EXPECT_EQ(r.max_backups, 3);
  EXPECT_TRUE(r.local_time && r.compress);
  std::string one = "--log-outputs requires a single file path when --log-rotate-config-json is defined";
  EXPECT_EQ(ErrorOf({"--enable-log-rotation"}), one);
  EXPECT_EQ(rotate("stderr", "{}").error, one);
  EXPECT_EQ(rotate("/tmp/a,/tmp/b", "{}").error, one);
  EXPECT_EQ(rotate("/tmp/a", R"({"maxsize": true)").error,
            "improperly formatted log rotation config: unexpected end of JSON input");
  EXPECT_EQ(rotate("/tmp/a", "").error, "improperly formatted log rotation config: unexpected end of JSON input");
  EXPECT_THAT(rotate("/tmp/a", "{x").error, StartsWith("improperly formatted log rotation config: "));
  std::string wrong = "invalid log rotation config: json: cannot unmarshal ";
  EXPECT_EQ(rotate("/tmp/a", R"({"maxsize": true})").error,
            wrong + "bool into Go struct field logRotationConfig.Logger.maxsize of type int");
  EXPECT_EQ(rotate("/tmp/a", R"({"maxsize": 1.5})").error,
            wrong + "number 1.5 into Go struct field logRotationConfig.Logger.maxsize of type int");
  EXPECT_EQ(rotate("/tmp/a", R"({"compress": "yes"})").error,
            wrong + "string into Go struct field logRotationConfig.Logger.compress of type bool");
  EXPECT_EQ(rotate("/tmp/a", "[]").error, wrong + "array into Go value of type embed.logRotationConfig");
}

TEST(ConfigDiscovery, OneWayAtATime) {
  std::string one =
      "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
      "\"discovery-endpoints\" or \"discovery-srv\"";
  EXPECT_EQ(ErrorOf({"--discovery-srv=example.com", "--initial-cluster=default=http://localhost:2380"}), one);
  EXPECT_EQ(ErrorOf({"--discovery-srv=example.com", "--discovery-endpoints=a:1", "--discovery-token=t"}), one);
  EXPECT_EQ(ErrorOf({"--discovery-token=t"}), "both --discovery-token and --discovery-endpoints must be set");
  EXPECT_EQ(ErrorOf({"--discovery-endpoints=a:1"}), "both --discovery-token and --discovery-endpoints must be set");
  EXPECT_EQ(ErrorOf({"--discovery-fallback=proxy"}),
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  Given dns({"--discovery-srv=example.com", "--name=m1", "--initial-advertise-peer-urls=http://10.0.0.1:2380"});
  ASSERT_EQ(dns.error, "");
  EXPECT_TRUE(dns.config.DiscoversByDns());
  EXPECT_EQ(dns.config.SetInitialCluster("0=http://b:1").message(),
            "couldn't find local name \"m1\" in the initial cluster configuration");
  EXPECT_TRUE(dns.config.SetInitialCluster("m1=http://a:1,0=http://b:1").ok());
  EXPECT_THAT(dns.config.ReplicaOptions()->peer_urls, ElementsAre("http://a:1"));
  Given registry({"--discovery-endpoints=a:1,b:2", "--discovery-token=t", "--discovery-user=u"});
  ASSERT_EQ(registry.error, "");
  EXPECT_TRUE(registry.config.DiscoversByRegistry());
  EXPECT_EQ(registry.config.registry.client.user, "u");
}

TEST(ConfigDiscovery, TheFileHasItToo) {
  base::testing::TempDir dir;
  std::string path = dir.path() + "/etcd.yaml";
  ASSERT_TRUE(base::WriteFileAtomically(base::PosixFileSystem(), path,
                                        "discovery-config:\n  token: t\n  client:\n    endpoints: [a:1]\n"
                                        "    dial-timeout: 3000000000\n    request-timeout: 4s\n"
                                        "    keepalive-time: 5000000000\n    keepalive-timeout: 1500000\n"
                                        "    max-recv-bytes: 7\n    auth: {username: u, password: p}\n"
                                        "corrupt-check-time: 60000000000\n")
                  .ok());
  Given g({"--config-file=" + path});
  ASSERT_EQ(g.error, "");
  const client::ClientFlags& c = g.config.registry.client;
  EXPECT_EQ(c.dial_timeout, std::chrono::seconds(3));
  EXPECT_EQ(c.command_timeout, std::chrono::seconds(4));
  EXPECT_EQ(c.keepalive_time, std::chrono::seconds(5));
  EXPECT_EQ(c.keepalive_timeout, std::chrono::microseconds(1500));
  EXPECT_EQ(c.max_receive_bytes, 7);
  EXPECT_EQ(c.password, "p");
  EXPECT_EQ(g.config.corruption_check.every, std::chrono::minutes(1));
  EXPECT_EQ(ErrorOf({"--corrupt-check-time=60000000000"}).substr(0, 16), "invalid argument");
}

TEST(AutoTls, HostsAreThoseOfTheUrls) {
  EXPECT_THAT(
      HostsOf({"https://localhost:1", "https://[::1]:2/x", "https://10.0.0.1:3", "https://10.0.0.1:4", "unix://a:1"}),
      ElementsAre("localhost", "::1", "10.0.0.1"));
}

}  // namespace
}  // namespace kvstore::service
