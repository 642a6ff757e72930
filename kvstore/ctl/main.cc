// kvctl: etcdctl and etcdutl for kvstore (and for etcd).
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

#include "base/daemon.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/net/dns.h"
#include "base/version.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/ctl/help.h"

namespace kvstore::ctl {
namespace {

constexpr std::string_view kGlobalsWithValue[] = {"--endpoints",
                                                  "--cacert",
                                                  "--cert",
                                                  "--key",
                                                  "--write-out",
                                                  "--dial-timeout",
                                                  "--command-timeout",
                                                  "--user",
                                                  "--password",
                                                  "--keepalive-time",
                                                  "--auth-jwt-token",
                                                  "--keepalive-timeout",
                                                  "--max-request-bytes",
                                                  "--discovery-srv",
                                                  "--discovery-srv-name",
                                                  "-d",
                                                  "-w",
                                                  "--max-recv-bytes",
                                                  "--timeout"};

// A command's words: the first two that are neither flags nor values of global flags.
std::vector<std::string> WordsOf(const std::vector<std::string>& args) {
  std::vector<std::string> words;
  for (size_t i = 0; i < args.size() && words.size() < 2; ++i) {
    if (!args[i].starts_with("-")) {
      words.push_back(args[i]);
    } else if (std::ranges::find(kGlobalsWithValue, args[i]) != std::end(kGlobalsWithValue)) {
      ++i;
    }
  }
  return words;
}

const Command* CommandOf(const std::vector<std::string>& words) {
  if (words.empty()) return nullptr;
  const Command* one = FindCommand(words[0]);
  return one != nullptr || words.size() < 2 ? one : FindCommand(words[0] + " " + words[1]);
}

void AddGlobals(base::FlagSet& set, Flags& flags) {
  ClientFlags& c = flags.client;
  set.Section("Global");
  set.Add("endpoints", &c.endpoints, "gRPC endpoints");
  set.Add("cacert", &c.cacert, "verify certificates of TLS-enabled secure servers using this CA bundle");
  set.Add("cert", &c.cert, "identify secure client using this TLS certificate file");
  set.Add("key", &c.key, "identify secure client using this TLS key file");
  set.Add("insecure-skip-tls-verify", &c.insecure_skip_tls_verify, "skip server certificate verification");
  set.Add("insecure-transport", &c.insecure_transport, "disable transport security for client connections");
  set.Add("user", &c.user, "username[:password] for authentication");
  set.Add("password", &c.password, "password for authentication");
  set.Add("auth-jwt-token", &c.token, "JWT token used for authentication");
  set.Add("command-timeout", &c.command_timeout, "timeout for short running command (excluding dial timeout)");
  set.Add("dial-timeout", &c.dial_timeout, "dial timeout for client connections");
  set.Add("keepalive-time", &c.keepalive_time, "keepalive time for client connections");
  set.Add("keepalive-timeout", &c.keepalive_timeout, "keepalive timeout for client connections");
  set.Add("max-request-bytes", &c.max_request_bytes, "client-side request send limit in bytes");
  set.Add("max-recv-bytes", &c.max_receive_bytes, "client-side response receive limit in bytes");
  set.Add("write-out", &flags.write_out, "set the output format (fields, json, protobuf, simple, table)").Short('w');
  set.Add("hex", &flags.hex, "print byte strings as hex encoded strings");
  set.Add("debug", &flags.debug, "enable client-side debug logging");
  set.Add("timeout", &flags.lock_timeout, "accepted; commands on files wait for no lock").Hidden();
  set.Add("discovery-srv", &flags.discovery_domain, "domain name to query for SRV records describing cluster endpoints")
      .Short('d');
  set.Add("discovery-srv-name", &flags.discovery_service, "service name to query when using DNS discovery");
  set.Add("insecure-discovery", &flags.insecure_discovery, "accept insecure SRV records describing cluster endpoints");
}

// Endpoints from DNS, in place of those of the flag where there are any.
base::Status Discover(Flags& flags) {
  if (flags.discovery_domain.empty()) return base::Ok();
  std::string suffix = flags.discovery_service.empty() ? "" : "-" + flags.discovery_service, errors;
  std::vector<std::string> found;
  bool any = false;
  for (const auto& [scheme, service] : {std::pair("https", "etcd-client-ssl"), std::pair("http", "etcd-client")}) {
    auto records = base::net::MachineNameService().Services(service + suffix, flags.discovery_domain);
    if (!records) {
      errors += (errors.empty() ? "" : " and ") + std::string(records.error().message());
      continue;
    }
    any = true;
    for (const base::net::ServiceRecord& r : *records) {
      std::string endpoint = std::string(scheme) + "://" + r.target + ":" + std::to_string(r.port);
      if (flags.insecure_discovery || endpoint.starts_with("https://")) {
        found.push_back(std::move(endpoint));
      } else {
        std::fprintf(stderr, "ignoring discovered insecure endpoint %s\n", base::GoQuote(endpoint).c_str());
      }
    }
  }
  if (!any) return base::NotFound("dns lookup errors: " + errors);
  if (!flags.insecure_discovery) flags.client.server_name = flags.discovery_domain;
  if (!found.empty()) flags.client.endpoints = std::move(found);
  return base::Ok();
}

base::Task<base::Status> RunCommand(const Command& command, Run run, int& code) {
  code = co_await command.run(run);
  std::fflush(stdout);
  co_return base::Ok();
}

// A user without a password is asked for it, once for all endpoints.
void AskForPassword(const Command& command, ClientFlags& c) {
  bool given = !c.password.empty() || !c.token.empty() || c.user.find(':') != std::string::npos;
  if (c.user.empty() || given || command.kind == Command::Kind::kOffline) return;
  c.password = AskSecret("Password: ");
}

int RunMain(const std::string& program_name, const Command& command, std::vector<std::string> args) {
  // What stands behind "--" is a program's, for commands that start one.
  std::vector<std::string> program;
  bool starts_program = command.run == Watch || command.run == Lock;
  if (auto dashes = std::find(args.begin(), args.end(), "--"); dashes != args.end() && starts_program) {
    program.assign(dashes + 1, args.end());
    args.erase(dashes, args.end());
  }
  Flags flags;
  base::FlagSet set({.name = std::string("kvctl ") + command.words, .env_prefix = "ETCDCTL_"});
  set.AllowPositional();
  command.add_flags(set, flags);
  AddGlobals(set, flags);
  if (base::Status s = set.Parse(args); !s.ok()) {
    std::fprintf(stderr, "Error: %s\n%s\n", std::string(s.message()).c_str(), UsageOf(program_name, command).c_str());
    return kExitError;
  }
  if (set.help_requested()) {
    Out(HelpOf(program_name, command));
    return 0;
  }
  if (base::Status s = Discover(flags); !s.ok()) return Fail(kExitError, s.message());
  auto format = ParseFormat(flags.write_out);
  if (!format) return Fail(kExitBadFeature, format.error().message());
  AskForPassword(command, flags.client);
  size_t words = 1 + static_cast<size_t>(std::count(command.words, command.words + std::strlen(command.words), ' '));
  std::vector<std::string> rest(set.positional().begin() + static_cast<long>(words), set.positional().end());
  // Only what went wrong: a signal that ends a watch is no news.
  (void)base::SetupLogging({.minimum = base::LogLevel::kError});
  int code = 0, failed = 0, signal = 0;
  {
    base::Daemon daemon;
    Run run{daemon.loop(), daemon.context(), flags, *format, std::move(rest), std::move(program)};
    failed = daemon.Run([&](base::Daemon&) { return RunCommand(command, std::move(run), code); });
    signal = daemon.signal();
  }
  // Who started this sees that a signal ended it, as with the original.
  if (signal != 0 && command.kind != Command::Kind::kSession) std::raise(signal);
  return code != 0 ? code : failed;
}

// The commands that only talk about the others; nullopt for words of another.
std::optional<int> Explain(const std::string& name, const std::vector<std::string>& args,
                           const std::vector<std::string>& words) {
  std::string first = words.empty() ? "" : words[0];
  if (first == "version") {
    Out(name + " version: " + std::string(base::version::kEtcd) +
        "\nAPI version: " + std::string(base::version::kEtcdLine) + "\n");
    return 0;
  }
  if (first == "options") {
    Flags flags;
    base::FlagSet set({.name = name});
    AddGlobals(set, flags);
    Out(set.Help());
    return 0;
  }
  bool asked = args.empty() || first == "help" || args[0] == "--help" || args[0] == "-h";
  std::vector<std::string> of = words;
  if (first == "help") of.assign(args.begin() + 1, args.end());
  if (const Command* command = CommandOf(of); command != nullptr && first == "help") {
    Out(HelpOf(name, *command));
    return 0;
  }
  std::string group = of.empty() || CommandOf(of) != nullptr ? "" : HelpOfGroup(name, of[0]);
  if (group.empty() && !asked) return std::nullopt;
  Out(group.empty() ? Overview(name) : group);
  return 0;
}

int Main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc), words = WordsOf(args);
  // Linked to under the originals' names it answers with them.
  std::string name(argv[0]);
  name = name.substr(name.rfind('/') + 1);
  if (auto code = Explain(name, args, words)) return *code;
  if (const Command* command = CommandOf(words)) return RunMain(name, *command, std::move(args));
  if (words.empty()) {
    std::fprintf(stderr, "Error: unknown flag: %s\n%s", args[0].c_str(), Overview(name).c_str());
  } else {
    std::fprintf(stderr, "Error: unknown command %s for \"%s\"\nRun '%s --help' for usage.\n",
                 base::GoQuote(words[0]).c_str(), name.c_str(), name.c_str());
  }
  return kExitError;
}

}  // namespace
}  // namespace kvstore::ctl

int main(int argc, char** argv) { return kvstore::ctl::Main(argc, argv); }
