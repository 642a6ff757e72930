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

class Chain {
 public:
  Chain(Services services, Limits limits);
  ~Chain();

  // Step 1 for wires with credentials.
  base::Task<base::Result<Identity>> Identify(base::Context ctx, const auth::Credentials& credentials,
                                              const Impersonation& impersonation);
  // All further steps. `request.identity` is set. `refusal_warnings` gets what an error answer should warn of too.
  base::Task<base::Result<Response>> Do(base::Context ctx, const Request& request,
                                        std::vector<std::string>* refusal_warnings = nullptr);
  base::Task<base::Result<std::unique_ptr<EventStream>>> Watch(base::Context ctx, const Request& request);
  // Authorization of a path that is no resource: OK or 403.
  base::Status AuthorizePath(const Identity& identity, std::string_view method, std::string_view path);
  base::Status AuthorizeRequest(const Request& request);

  const Services& services() const { return services_; }
  const Limits& limits() const { return limits_; }

 private:
  base::Status Authorize(const auth::Attributes& a);
  base::Status AuthorizeImpersonation(const Identity& identity, const Impersonation& who);
  base::Task<base::Result<Response>> DoCounted(base::Context ctx, const Request& request,
                                               std::vector<std::string>* refusal_warnings);

  struct Impl;
  Services services_;
  Limits limits_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apiserver::chain
