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
    TRY_ASSIGN(std::vector<sockaddr_storage> all, Find(parts.first, parts.second, 0));
    auto v4 = std::ranges::find(all, AF_INET, &sockaddr_storage::ss_family);
    return AddressText(v4 != all.end() ? *v4 : all[0]);
  }

  Result<std::vector<std::string>> Addresses(const std::string& host) override {
    TRY_ASSIGN(std::vector<sockaddr_storage> all, Find(host, "", 0));
    std::vector<std::string> out;
    for (const sockaddr_storage& a : all) {
      char text[NI_MAXHOST];
      int error =
          ::getnameinfo(reinterpret_cast<const sockaddr*>(&a), sizeof a, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
      if (error == 0) out.emplace_back(text);
    }
    return out;
  }

  Result<std::string> Name(const std::string& address) override {
    TRY_ASSIGN(std::vector<sockaddr_storage> all, Find(address, "", AI_NUMERICHOST));
    char text[NI_MAXHOST];
    int error = ::getnameinfo(reinterpret_cast<const sockaddr*>(&all[0]), sizeof all[0], text, sizeof text, nullptr, 0,
                              NI_NAMEREQD);
    if (error != 0) return Err(LookupFailure(address, error));
    return std::string(text);
  }

 private:
  static Status LookupFailure(const std::string& host, int error) {
    bool unknown = error == EAI_NONAME || error == EAI_NODATA;
    return NotFound("lookup " + host + ": " + (unknown ? "no such host" : ::gai_strerror(error)));
  }
  // At least one.
  static Result<std::vector<sockaddr_storage>> Find(const std::string& host, const std::string& port, int flags) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    int error = ::getaddrinfo(host.c_str(), port.empty() ? nullptr : port.c_str(), &hints, &found);
    if (error != 0) return Err(LookupFailure(host, error));
    std::vector<sockaddr_storage> out;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
      std::memcpy(&out.emplace_back(), a->ai_addr, a->ai_addrlen);
    }
    ::freeaddrinfo(found);
    return out;
  }
};

}  // namespace

NameService& MachineNameService() {
  static Machine machine;
  return machine;
}

}  // namespace base::net
