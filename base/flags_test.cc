#include "base/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing/temp_dir.h"

namespace base {
namespace {

using ::testing::HasSubstr;

struct Options {
  bool elect = true;
  int32_t port = 10259;
  std::string name = "default", format = "text", config;
  std::vector<std::string> paths = {"/healthz"};
  Duration period = std::chrono::seconds(2);
  std::map<std::string, bool> gates;
  std::map<std::string, std::string> labels;
  double rate = 50;
  int32_t v = 0;
};

class FlagsTest : public ::testing::Test {
 protected:
  std::unique_ptr<FlagSet> Make(FlagProgram program = {.name = "prog", .version = "Kubernetes v1.0.0"}) {
    program.config_flag = "config";
    auto flags = std::make_unique<FlagSet>(program);
    flags->Section("Leader election");
    flags->Add("leader-elect", &o.elect, "Elect.").Config("leaderElection.leaderElect");
    flags->Add("leader-elect-retry-period", &o.period, "Period.");
    flags->Section("Misc");
    flags->Add("secure-port", &o.port, "Port.");
    flags->Add("name", &o.name, "Name.");
    flags->Add("paths", &o.paths, "Paths.");
    flags->Add("feature-gates", &o.gates, "Gates.").Config("featureGates");
    flags->Add("labels", &o.labels, "Labels.");
    flags->Add("rate", &o.rate, "Rate.");
    flags->Add("v", &o.v, "Verbosity.").Short('v').Type("Level");
    flags->Add("config", &o.config, "File.");
    flags->AddChoice("logging-format", &o.format, {"json", "text"}, "Format.");
    flags->Unsupported({"profiling"});
    return flags;
  }
  std::string Error(std::vector<std::string> args) { return std::string(Make()->Parse(args).message()); }
  Options o;
};

TEST_F(FlagsTest, Spellings) {
  auto flags = Make();
  Status s = flags->Parse({"--leader-elect=false", "--secure-port", "1", "--name=a=b", "--paths", "/a,/b", "--paths=/c",
                           "--leader_elect_retry_period=1m", "--feature-gates=A=true,B=false", "--labels",
                           "x=y,z=", "--rate=0.5", "-v2", "--logging-format=json"});
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_FALSE(o.elect);
  EXPECT_EQ(o.port, 1);
  EXPECT_EQ(o.name, "a=b");
  EXPECT_EQ(o.paths, (std::vector<std::string>{"/a", "/b", "/c"}));
  EXPECT_EQ(o.period, std::chrono::minutes(1));
  EXPECT_EQ(o.gates, (std::map<std::string, bool>{{"A", true}, {"B", false}}));
  EXPECT_EQ(o.labels, (std::map<std::string, std::string>{{"x", "y"}, {"z", ""}}));
  EXPECT_EQ(o.rate, 0.5);
  EXPECT_EQ(o.v, 2);
  EXPECT_TRUE(flags->Changed("v"));
  EXPECT_FALSE(flags->Changed("config"));
  ASSERT_TRUE(Make()->Parse({"-v", "4", "--leader-elect"}).ok());
  EXPECT_EQ(o.v, 4);
  EXPECT_TRUE(o.elect);
}

TEST_F(FlagsTest, Errors) {
  EXPECT_EQ(Error({"--nope"}), "unknown flag: --nope");
  EXPECT_EQ(Error({"-x"}), "unknown shorthand flag: 'x' in -x");
  EXPECT_EQ(Error({"--name"}), "flag needs an argument: --name");
  EXPECT_EQ(Error({"--profiling"}), "flag --profiling is not supported yet by keelson");
  EXPECT_EQ(Error({"--secure-port=x"}),
            "invalid argument \"x\" for \"--secure-port\" flag: strconv.ParseInt: parsing \"x\": invalid syntax");
  EXPECT_EQ(Error({"--secure-port=99999999999"}),
            "invalid argument \"99999999999\" for \"--secure-port\" flag: strconv.ParseInt: parsing \"99999999999\": "
            "value out of range");
  EXPECT_EQ(
      Error({"--leader-elect=maybe"}),
      "invalid argument \"maybe\" for \"--leader-elect\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax");
  EXPECT_EQ(Error({"--logging-format=xml"}),
            "invalid argument \"xml\" for \"--logging-format\" flag: must be one of: json,text");
  EXPECT_EQ(Error({"stray"}), "unknown command \"stray\" for \"prog\"");
}

TEST_F(FlagsTest, FileThenEnvironmentThenCommandLine) {
  testing::TempDir dir;
  std::string path = dir.path() + "/config.yaml";
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), path,
                                  "apiVersion: x/v1\nkind: X\nleaderElection:\n  leaderElect: false\nname: file\n"
                                  "secure-port: 5\npaths: [/x, /y]\nfeatureGates: {A: true}\n")
                  .ok());
  ::setenv("PROG_NAME", "environment", 1);
  ::setenv("PROG_PATHS", "/e", 1);
  auto flags = Make({.name = "prog", .env_prefix = "PROG_"});
  Status s = flags->Parse({"--paths=/c", "--config", path});
  ::unsetenv("PROG_NAME");
  ::unsetenv("PROG_PATHS");
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_FALSE(o.elect);
  EXPECT_EQ(o.name, "environment");
  EXPECT_EQ(o.port, 5);
  EXPECT_EQ(o.paths, std::vector<std::string>{"/c"});
  EXPECT_EQ(o.gates, (std::map<std::string, bool>{{"A", true}}));
  EXPECT_THAT(std::string(Make()->ParseConfigText("a: {b: 1}").message()), HasSubstr("unknown field \"a.b\""));
  EXPECT_THAT(std::string(Make()->ParseConfigText("profiling: 1").message()), HasSubstr("not supported yet"));
  EXPECT_FALSE(Make()->ParseConfigText("{").ok());
  EXPECT_FALSE(Make()->ParseConfigText("a: &x {b: *x}").ok());
  EXPECT_TRUE(Make()->ParseConfigText("").ok());
  EXPECT_TRUE(Make()->ParseConfigText("name: ~\nsecure-port:").ok());
  EXPECT_FALSE(Make()->ParseConfigText("- a").ok());
}

TEST_F(FlagsTest, EtcdStyle) {
  FlagProgram program{.name = "etcd", .version = "etcd Version: 3.7.1", .style = FlagProgram::Style::kEtcd};
  auto flags = Make(program);
  ASSERT_TRUE(flags->Parse({"-name", "n1", "--secure-port=2"}).ok());
  EXPECT_EQ(o.name, "n1");
  EXPECT_EQ(Make(program)->Parse({"--nope"}).message(), "flag provided but not defined: -nope");
  EXPECT_EQ(Make(program)->Parse({"x"}).message(), "'x' is not a valid flag");
  EXPECT_TRUE(Make(program)->ParseConfigText("discovery: x\nproxy: {a: b}\nname: n2").ok());
  EXPECT_EQ(o.name, "n2");
}

TEST_F(FlagsTest, HelpAndVersion) {
  auto flags = Make();
  ASSERT_TRUE(flags->Parse({"--help"}).ok());
  EXPECT_TRUE(flags->help_requested());
  EXPECT_THAT(flags->Help(), HasSubstr("Leader election flags:\n\n"
                                       "      --leader-elect                         Elect. (default true)\n"
                                       "      --leader-elect-retry-period duration   Period. (default 2s)\n"));
  EXPECT_THAT(flags->Help(), HasSubstr("  -v, --v Level"));
  EXPECT_THAT(flags->Help(), HasSubstr("(default [/healthz])"));
  flags = Make();
  ASSERT_TRUE(flags->Parse({"--version"}).ok());
  EXPECT_TRUE(flags->version_requested());
}

}  // namespace
}  // namespace base
