// One request on its way through the server: what came in, what the steps found out about it, what its answer carries.
// A wire makes it, the steps (steps.cc) fill it in their order, whoever acts reads it. When it goes, what the steps
// hold for it (its seat, its time) is given back in the opposite order.
//
// A Request is what the client asks, the same on every wire; a Scope is one of them on its way.
//
// On the server's loop. It lives until the request is answered; on a wire a watch's lives as long as the watch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/chain/request_info.h"
#include "base/context.h"
#include "base/net/http.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

struct StepState;

enum class Wire : uint8_t { kRest, kRpc, kInProcess };

// What a wire says of a request at its beginning. Views and pointers outlive the Scope; headers and peer are null
// in-process.
struct Incoming {
  Wire wire = Wire::kInProcess;
  std::string_view method, path, query;  // REST, as sent
  int http_major = 1;
  const base::net::Headers* headers = nullptr;
  const base::net::Peer* peer = nullptr;
  base::Context context;
};

// An answer that a step gives itself.
struct EarlyAnswer {
  int code = 204;
  std::string text;  // plain; "" = no body
};

class Scope {
 public:
  Scope(StepState& state, Incoming incoming);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  const Incoming in;
  std::string audit_id;
  base::MonoTime received{};
  Query query;                            // REST
  std::optional<RequestInfo> info;        // from the step RequestInfo on
  base::Context context;                  // ends when the request's time is up or its client is gone
  machinery::request::Identity identity;  // who asks; from impersonation on who is meant
  std::optional<machinery::request::Identity> impersonator;
  base::net::Headers answer_headers;  // that an answer carries unless it has its own
  std::optional<EarlyAnswer> early;   // no further step, nothing is done
  std::vector<std::string> warnings;  // that an error answer carries; others have theirs in the Response
  int code = 0;                       // of the answer, for metrics and the log; 0: none was given
  bool dry_run = false, apply = false;
  size_t* seat = nullptr;   // among the requests served at one time
  bool waited_for = false;  // by shutdown
  // The Request, on wires whose message is one; set before the steps of Stage::kMessage.
  const machinery::request::Request* request = nullptr;

 private:
  friend class Chain;
  StepState& state_;
  size_t next_ = 0;      // step
  uint32_t passed_ = 0;  // a bit a step
};

}  // namespace apiserver::chain
