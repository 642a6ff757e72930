// What a program asks the name service for before it serves: records of services (SRV) and addresses. Every call
// blocks, as long as the machine's resolver likes. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace base::net {

struct ServiceRecord {
  std::string target;  // "node1.example.com.", as it stands there
  uint16_t port = 0, priority = 0, weight = 0;
};

class NameService {
 public:
  virtual ~NameService() = default;
  // Of "_service._tcp.domain", by priority, the heavier first. kNotFound when there is none.
  virtual Result<std::vector<ServiceRecord>> Services(const std::string& service, const std::string& domain) = 0;
  // "host:port" -> "10.0.0.1:2380": the first address, an IPv4 one where there is one.
  virtual Result<std::string> Address(const std::string& host_and_port) = 0;
  // All addresses of a name.
  virtual Result<std::vector<std::string>> Addresses(const std::string& host) = 0;
  // The name of an address.
  virtual Result<std::string> Name(const std::string& address) = 0;
};

// The machine's, by /etc/resolv.conf and /etc/hosts.
NameService& MachineNameService();

}  // namespace base::net
