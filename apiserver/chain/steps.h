// The ordered steps of every request, whatever its wire. The list is in steps.cc: to add a step is to add a function
// and a line there.
//
// On the server's loop.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/authorizer.h"
#include "apiserver/chain/manners.h"
#include "apiserver/chain/request_metrics.h"
#include "apiserver/chain/scope.h"
#include "apiserver/registry/registry.h"

namespace re2 {
class RE2;
}

namespace apiserver::chain {

struct Services {
  base::Executor* executor = nullptr;
  registry::Registry* registry = nullptr;
  auth::Authenticator* authenticator = nullptr;  // null: requests keep the identity they come with (in-process)
  auth::Authorizer* authorizer = nullptr;        // null: everything is allowed
  base::MetricsRegistry* metrics = nullptr;      // may be null
};

struct Limits {
  size_t max_requests_inflight = 400;  // reading
  size_t max_mutating_requests_inflight = 200;
  size_t max_body_bytes = 3 << 20;
  base::Duration request_timeout = std::chrono::seconds(60);
  base::Duration min_request_timeout = std::chrono::seconds(1800);  // watches last this long or up to twice as long
};

// What the steps of all requests share.
struct StepState {
  StepState(Services services, Limits limits, const Manners& manners);
  ~StepState();

  Services services;
  Limits limits;
  double goaway_chance;
  std::string strict_transport_security;
  std::vector<std::unique_ptr<re2::RE2>> cors_allowed_origins;
  base::Random random;
  RequestMetrics metrics;
  size_t reading = 0, mutating = 0;  // seats taken
  size_t under_way = 0;              // requests that shutdown waits for
  std::set<Scope*> watches;          // those that shutdown ends
  bool shutting_down = false;        // new requests are sent elsewhere
  // Told of each step before it acts; tests listen here.
  std::function<void(std::string_view step, const Scope& scope)> observer;
};

// How far a request has come when a step's turn is.
enum class Stage : uint8_t {
  kHead,     // its head is there: enough to know who asks
  kMessage,  // what is asked is known: gRPC reads its message between the two, from who was identified only
};

struct Step {
  std::string_view name;  // the original's filter, without "With"
  uint8_t wires;          // which wires have it: a bit each
  Stage stage;
  std::string_view reason;  // why here
  // Lets the request pass, or ends it with an error or with scope.early. nullopt: it has to wait, see `wait`.
  std::optional<base::Status> (*pass)(StepState&, Scope&);
  base::Task<base::Status> (*wait)(StepState&, Scope&) = nullptr;
  // When the request is over: in the opposite order, for those it passed or was ended by.
  void (*leave)(StepState&, Scope&) = nullptr;
};
std::span<const Step> Steps();
constexpr uint8_t BitOf(Wire wire) { return static_cast<uint8_t>(1 << static_cast<int>(wire)); }

}  // namespace apiserver::chain
