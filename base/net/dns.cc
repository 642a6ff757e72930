#include "base/net/dns.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/net/address.h"

namespace base::net {
namespace {

// priority, weight, port, each of 16 bits, then the name.
constexpr int kFixedPart = 6;

std::string ReasonOf(int h_error) {
  return h_error == HOST_NOT_FOUND || h_error == NO_DATA ? "no such host" : ::hstrerror(h_error);
}

Result<std::vector<ServiceRecord>> ReadAnswer(const std::vector<unsigned char>& answer) {
  ns_msg message;
  if (::ns_initparse(answer.data(), static_cast<int>(answer.size()), &message) != 0) {
    return Err(Unavailable("cannot unmarshal DNS message"));
  }
  std::vector<ServiceRecord> out;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (::ns_parserr(&message, ns_s_an, i, &record) != 0) return Err(Unavailable("cannot unmarshal DNS message"));
    if (ns_rr_type(record) != ns_t_srv || ns_rr_rdlen(record) <= kFixedPart) continue;
    const unsigned char* data = ns_rr_rdata(record);
    char target[NS_MAXDNAME];
    int size = ::dn_expand(answer.data(), answer.data() + answer.size(), data + kFixedPart, target, sizeof target);
    if (size < 0) return Err(Unavailable("cannot unmarshal DNS message"));
    auto word = [&](int at) { return static_cast<uint16_t>(data[at] << 8 | data[at + 1]); };
    out.push_back({std::string(target) + ".", word(4), word(0), word(2)});
  }
  return out;
}

class Machine final : public NameService {
 public:
  Result<std::vector<ServiceRecord>> Services(const std::string& service, const std::string& domain) override {
    std::string name = "_" + service + "._tcp." + domain;
    auto state = std::make_unique<struct __res_state>();
    if (::res_ninit(state.get()) != 0) return Err(Unavailable("lookup " + name + ": no resolver"));
    std::vector<unsigned char> answer(NS_MAXMSG);
    int size =
        ::res_nsearch(state.get(), name.c_str(), ns_c_in, ns_t_srv, answer.data(), static_cast<int>(answer.size()));
    int h_error = state->res_h_errno;
    ::res_nclose(state.get());
    if (size < 0) {
      Status why = h_error == TRY_AGAIN ? Unavailable("") : NotFound("");
      return Err(Status(why.code(), "lookup " + name + ": " + ReasonOf(h_error)));
    }
    answer.resize(std::min(static_cast<size_t>(size), answer.size()));
    TRY_ASSIGN(std::vector<ServiceRecord> out, ReadAnswer(answer));
    if (out.empty()) return Err(NotFound("lookup " + name + ": no such host"));
    std::ranges::sort(out, [](const ServiceRecord& a, const ServiceRecord& b) {
      return a.priority != b.priority ? a.priority < b.priority : a.weight > b.weight;
    });
    return out;
  }

  Result<std::string> Address(const std::string& host_and_port) override {
    TRY_ASSIGN(auto parts, SplitHostPort(host_and_port));
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    int error = ::getaddrinfo(parts.first.c_str(), parts.second.c_str(), &hints, &found);
    if (error != 0) {
      std::string why = error == EAI_NONAME || error == EAI_NODATA ? "no such host" : ::gai_strerror(error);
      return Err(NotFound("lookup " + parts.first + ": " + why));
    }
    const addrinfo* best = found;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
      if (a->ai_family == AF_INET) {
        best = a;
        break;
      }
    }
    sockaddr_storage address{};
    std::memcpy(&address, best->ai_addr, best->ai_addrlen);
    ::freeaddrinfo(found);
    return AddressText(address);
  }
};

}  // namespace

NameService& MachineNameService() {
  static Machine machine;
  return machine;
}

}  // namespace base::net
