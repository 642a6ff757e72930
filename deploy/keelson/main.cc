// keelson: sets clusters up. Each command is one idea: pki, kubeconfig, cni-template, supervise.
#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include "base/file.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/version.h"
#include "deploy/keelson/certs.h"
#include "deploy/keelson/supervise.h"

namespace deploy::keelson {
namespace {

std::string Version() {
  return "keelson " + std::string(base::version::kKeelson) + " (Kubernetes v" +
         std::string(base::version::kKubernetesLine) + ")";
}

int Fail(const base::Status& error) {
  std::fprintf(stderr, "Error: %s\n", std::string(error.message()).c_str());
  return 1;
}

// A command's flags with the options every command shares.
std::unique_ptr<base::FlagSet> Flags(const char* name, const char* description) {
  return std::make_unique<base::FlagSet>(
      base::FlagProgram{.name = name, .description = description, .version = Version(), .env_prefix = ""});
}

int Pki(int argc, char** argv) {
  CertOptions options;
  bool node_only = false;
  auto flags =
      Flags("keelson pki",
            "Makes the certificates of a control plane (or of one node) that are missing or expire within 30 "
            "days.\n\nExample:\n  keelson pki --node-name master1 --addresses 192.0.2.10 --service-ip 10.96.0.1");
  flags->Add("cert-dir", &options.directory, "Where the certificates are.");
  flags->Add("node-name", &options.node_name, "Name of this node.");
  flags->Add("addresses", &options.addresses, "More names and addresses for the serving certificates.");
  flags->Add("service-ip", &options.service_ip, "Address of the kubernetes Service.");
  flags->Add("node-only", &node_only, "Only the kubelet's and the proxy's certificates; needs ca.crt and ca.key.");
  if (auto code = flags->ParseOrExitCode(argc, argv)) return *code;
  if (options.node_name.empty()) return Fail(base::InvalidArgument("--node-name is required"));
  auto written = node_only ? MakeNodeCerts(options) : MakeControlPlaneCerts(options);
  if (!written) return Fail(written.error());
  for (const auto& path : *written) std::printf("%s/%s\n", options.directory.c_str(), path.c_str());
  return 0;
}

int Kubeconfig(int argc, char** argv) {
  std::string directory = "/etc/kubernetes/pki", server, user, cert, out;
  auto flags =
      Flags("keelson kubeconfig",
            "Writes a kubeconfig with an embedded client certificate.\n\nExample:\n  keelson kubeconfig --server "
            "https://192.0.2.10:6443 --user kubernetes-admin --cert admin --out /etc/kubernetes/admin.conf");
  flags->Add("cert-dir", &directory, "Where the certificates are.");
  flags->Add("server", &server, "URL of the API server.");
  flags->Add("user", &user, "Name of the user entry.");
  flags->Add("cert", &cert, "The client certificate in the directory, without .crt.");
  flags->Add("out", &out, "File to write, mode 0600; standard output when empty.");
  if (auto code = flags->ParseOrExitCode(argc, argv)) return *code;
  if (server.empty() || user.empty() || cert.empty())
    return Fail(base::InvalidArgument("--server, --user and --cert are required"));
  auto text = MakeKubeconfig(directory, server, user, cert);
  if (!text) return Fail(text.error());
  if (out.empty()) {
    std::fputs(text->c_str(), stdout);
    return 0;
  }
  auto status = base::WriteFileAtomically(base::PosixFileSystem(), out, *text, 0600);
  return status.ok() ? 0 : Fail(status);
}

int CniTemplate(int argc, char** argv) {
  std::string bridge = "cni0";
  int32_t mtu = 0;
  auto flags =
      Flags("keelson cni-template",
            "Prints the CNI template of a bridge per node for containerd's conf_template: the runtime fills in "
            "the pod CIDR that the kubelet hands it.\n\nExample:\n  keelson cni-template "
            ">/etc/keelson/cni.conflist.tmpl");
  flags->Add("bridge", &bridge, "Name of the bridge.");
  flags->Add("mtu", &mtu, "MTU of the pods' interfaces; 0 = the kernel's choice.");
  if (auto code = flags->ParseOrExitCode(argc, argv)) return *code;
  std::string mtu_line = mtu > 0 ? "\n      \"mtu\": " + std::to_string(mtu) + "," : "";
  std::printf(R"({
  "cniVersion": "0.4.0",
  "name": "keelson",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "%s",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,%s
      "ipam": {
        "type": "host-local",
        "ranges": [{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}],
        "routes": [{{range $i, $route := .Routes}}{{if $i}}, {{end}}{"dst": "{{$route}}"}{{end}}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
)",
              bridge.c_str(), mtu_line.c_str());
  return 0;
}

int SuperviseCommand(int argc, char** argv) {
  SuperviseOptions options;
  auto flags = Flags("keelson supervise",
                     "Runs systemd units where systemd is not PID 1: ordered start, readiness, restarts, logs and pid "
                     "files.\n\nExample:\n  keelson supervise --units kvstore,kube-apiserver,kubelet");
  flags->Add("unit-dir", &options.unit_directory, "Where the unit files are.");
  flags->Add("units", &options.units, "Units to run, without .service.");
  flags->Add("log-dir", &options.log_directory, "Each unit's output goes to <unit>.log here.");
  flags->Add("run-dir", &options.run_directory, "Each unit's <unit>.pid is here.");
  if (auto code = flags->ParseOrExitCode(argc, argv)) return *code;
  if (options.units.empty()) return Fail(base::InvalidArgument("--units is required"));
  return Supervise(options);
}

struct Command {
  const char* name;
  const char* summary;
  int (*run)(int, char**);
};
constexpr Command kCommands[] = {
    {"pki", "make the cluster's certificates", Pki},
    {"kubeconfig", "write a kubeconfig for a client certificate", Kubeconfig},
    {"cni-template", "print the CNI template of a bridge per node", CniTemplate},
    {"supervise", "run systemd units where systemd is not PID 1", SuperviseCommand},
};

int Usage(std::FILE* out) {
  std::fprintf(out, "keelson sets up Keelson clusters.\n\nUsage:\n  keelson COMMAND [flags]\n\nCommands:\n");
  for (const auto& c : kCommands) std::fprintf(out, "  %-14s %s\n", c.name, c.summary);
  std::fprintf(out,
               "\nExample, a one-node cluster of the binaries in build/release/bin:\n  sudo deploy/up\n\n"
               "keelson COMMAND --help tells more about a command.\n");
  return out == stdout ? 0 : 2;
}

}  // namespace
}  // namespace deploy::keelson

int main(int argc, char** argv) {
  using namespace deploy::keelson;
  std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h" || name == "help") return Usage(stdout);
  if (name == "--version" || name == "version") {
    std::puts(Version().c_str());
    return 0;
  }
  for (const auto& c : kCommands)
    if (name == c.name) return c.run(argc - 1, argv + 1);
  if (!name.empty()) std::fprintf(stderr, "Error: unknown command \"%s\"\n\n", argv[1]);
  return Usage(stderr);
}
