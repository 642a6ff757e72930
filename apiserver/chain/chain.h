// The ordered request chain, in one place. Whatever the wire, a Request goes: identify, audit, limit, authorize, act
// (which admits), answer. REST, gRPC and in-process callers differ only in how they build the Request and send what
// comes back.
//
// Owned by the Server; on the server's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/authorizer.h"
#include "apiserver/chain/request_info.h"
#include "apiserver/registry/registry.h"
#include "base/metrics.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

using machinery::request::Identity;
using machinery::request::Request;
using machinery::request::Response;

struct Limits {
  size_t max_requests_inflight = 400;  // reading
  size_t max_mutating_requests_inflight = 200;
  size_t max_body_bytes = 3 << 20;
  base::Duration request_timeout = std::chrono::seconds(60);
  base::Duration min_request_timeout = std::chrono::seconds(1800);  // watches last this long or up to twice as long
};

struct Services {
  base::Executor* executor = nullptr;
  registry::Registry* registry = nullptr;
  auth::Authenticator* authenticator = nullptr;  // null: requests keep the identity they come with (in-process)
  auth::Authorizer* authorizer = nullptr;        // null: everything is allowed
  base::MetricsRegistry* metrics = nullptr;      // may be null
};

// What the impersonation headers ask for.
struct Impersonation {
  std::string user, uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  bool requested() const { return !user.empty() || !uid.empty() || !groups.empty() || !extra.empty(); }
};

// How events stand on a wire.
enum class Framing : uint8_t {
  kStream,   // REST: a JSON line, or length + WatchEvent in Protobuf
  kMessage,  // gRPC: one resources/v1 Event
};
// A watch being answered: encoded events in the negotiated media type.
class EventStream : public machinery::request::WatchStream {
 public:
  // The next event as bytes for the wire, shared by equal watchers; null at the end.
  virtual base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context ctx,
                                                                Framing framing = Framing::kStream) = 0;
  // From now on a frame that comes while NextFrame has nothing to give is offered to `sink` at once; what it leaves
  // (false) comes from NextFrame, in order. A stream without further events ignores this.
  virtual void OfferTo(Framing framing, std::function<bool(base::SharedBytes&)> sink) {}
};

// A place among the requests served at one time; given back when it goes. Long-running requests have none.
class Seat {
 public:
  Seat() = default;
  explicit Seat(size_t& used) : used_(&used) { ++used; }
  Seat(Seat&& o) noexcept : used_(std::exchange(o.used_, nullptr)) {}
  Seat& operator=(Seat&&) = delete;
  ~Seat() {
    if (used_) --*used_;
  }

 private:
  size_t* used_ = nullptr;
};

class Chain {
 public:
  Chain(Services services, Limits limits);
  ~Chain();

  // Step 1 for wires with credentials.
  base::Task<base::Result<Identity>> Identify(base::Context ctx, const auth::Credentials& credentials,
                                              const Impersonation& impersonation);
  // All further steps, for wires whose Request comes whole. `request.identity` is set.
  base::Task<base::Result<Response>> Do(base::Context ctx, const Request& request);
  base::Task<base::Result<std::unique_ptr<EventStream>>> Watch(base::Context ctx, const Request& request);

  // The same in pieces, for a wire that reads a body only from who has leave: 429 or 403; hold the seat to the end.
  base::Result<Seat> Admit(const Identity& identity, const RequestInfo& info);
  // 404 when nothing is served there, whatever the verb; 404 or 405 when this verb is not. Only for who was admitted.
  base::Status CheckPath(const Request& request) const;
  base::Status CheckServed(const Request& request) const;
  // What is left for an admitted Request. `refusal_warnings` gets what an error answer should warn of too.
  base::Task<base::Result<Response>> DoAdmitted(base::Context ctx, const Request& request,
                                                std::vector<std::string>* refusal_warnings);
  base::Task<base::Result<std::unique_ptr<EventStream>>> WatchAdmitted(base::Context ctx, const Request& request);

  const Services& services() const { return services_; }
  const Limits& limits() const { return limits_; }

 private:
  base::Status Authorize(const auth::Attributes& a);
  base::Task<base::Result<Response>> ActAndEncode(base::Context ctx, const Request& request,
                                                  std::vector<std::string>* refusal_warnings);
  base::Status AuthorizeImpersonation(const Identity& identity, const Impersonation& who);

  struct Impl;
  Services services_;
  Limits limits_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver::chain
