// The cluster's PKI: CAs, certificates and the service-account key, in the places kubeadm made familiar
// (/etc/kubernetes/pki). Existing files are kept, so running it again only adds what is missing; certificates that
// expire within 30 days are made anew. Keys are ECDSA P-256 (the service-account key RSA 2048), mode 0600.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace deploy::keelson {

struct CertOptions {
  std::string directory = "/etc/kubernetes/pki";
  std::string node_name;
  // Addresses and names the API server, the store and the kubelet are reached by, besides loopback.
  std::vector<std::string> addresses;
  std::string service_ip;  // of the kubernetes Service
  int ca_days = 3650;
  int days = 365;
};

// Everything a master with a worker on it needs; the paths written, relative to the directory.
base::Result<std::vector<std::string>> MakeControlPlaneCerts(const CertOptions& options);
// kubelet.crt/.key (serving) and kubelet-client.crt/.key of one node, signed by the directory's ca.
base::Result<std::vector<std::string>> MakeNodeCerts(const CertOptions& options);

// A kubeconfig with everything embedded. `cert` names the client certificate below the directory, without suffix.
base::Result<std::string> MakeKubeconfig(const std::string& directory, const std::string& server,
                                         const std::string& user, const std::string& cert);

}  // namespace deploy::keelson
