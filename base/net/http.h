// The values of an HTTP exchange, the same for HTTP/1.1 and HTTP/2, server and client.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/context.h"
#include "base/task.h"

namespace base::net {

// Field names are lower case; order is kept; a name may stand more than once.
class Headers {
 public:
  void Add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void Reserve(size_t fields) { fields_.reserve(fields); }
  void Set(std::string_view name, std::string value);
  void Remove(std::string_view name);
  // The first value, or "".
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;
  // All values, in order.
  std::vector<std::string_view> GetAll(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }
  size_t bytes() const {
    size_t total = 0;
    for (const auto& [name, value] : fields_) total += name.size() + value.size() + 32;
    return total;
  }
  // Makes the fields fit into `limit` bytes (as RFC 9113 counts them), which are few: long values are cut, binary ones
  // dropped, then fields from the end.
  void Fit(size_t limit);

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Who is at the other end of a connection. Certificates have been verified against the listener's client CA when
// `verified_chain` is true.
struct Peer {
  std::string address;  // "10.0.0.1:4711", "unix"
  bool tls = false;
  bool verified_chain = false;
  std::string certificate_der;                 // leaf, "" when none
  std::vector<std::string> intermediates_der;  // what a client sent after it
  std::string common_name;                     // of the leaf's subject
  std::vector<std::string> organizations;      // of the leaf's subject
  std::vector<std::string> dns_names;          // subject alternative names
  std::vector<std::string> ip_addresses;       // likewise
  bool local = false;                          // loopback or a unix socket
};

// Bytes both ways: what is left of a connection after an upgrade (HTTP/1.1 101) or a CONNECT, and what the client half
// of a proxy gets. One strand.
class ByteStream {
 public:
  virtual ~ByteStream() = default;  // resets when not closed
  // Up to `max` bytes; "" at the end of the peer's half.
  virtual Task<Result<std::string>> Read(Context ctx, size_t max) = 0;
  // Waits while the peer is slow (flow control, socket buffer).
  virtual Task<Status> Write(Context ctx, std::string bytes) = 0;
  // Ends our half; the peer may go on sending.
  virtual Task<Status> CloseWrite(Context ctx) = 0;
};

// Copies both ways, byte for byte, until both halves ended or one failed. Both streams are consumed.
Task<Status> Splice(Executor& executor, Context ctx, std::unique_ptr<ByteStream> a, std::unique_ptr<ByteStream> b);

struct UrlPath {
  std::string path;   // percent-decoded? no: as sent, without the query
  std::string query;  // without '?'
};
// Percent-decoding; '+' stays unless `form`.
std::string PercentDecode(std::string_view text, bool form = false);
std::string PercentEncode(std::string_view text);
// Query parameters in order, decoded as forms are.
std::vector<std::pair<std::string, std::string>> ParseQuery(std::string_view query);

}  // namespace base::net
