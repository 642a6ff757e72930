// The way of every request, whatever its wire: the steps (steps.cc, one list), then act, then encode. REST, gRPC and
// in-process callers differ only in how they make the Scope and the Request and send what comes back.
//
// Owned by the Server; on the server's loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/chain/steps.h"
#include "apiserver/chain/watch_stream.h"

namespace apiserver::chain {

using machinery::request::Identity;
using machinery::request::Request;
using machinery::request::Response;

class Chain {
 public:
  Chain(Services services, Limits limits, const Manners& manners = {});

  // Takes the request through the steps up to and with `stage` that it has not taken yet. An error, or scope.early, is
  // its answer. REST goes through all at once; a wire of messages sets scope.request between the two stages.
  base::Task<base::Status> Pass(Scope& scope, Stage stage);

  // 404 when nothing is served there, whatever the verb; 404 or 405 when this verb is not. Only for who has passed.
  base::Status CheckPath(const Request& request) const;
  base::Status CheckServed(const Request& request) const;
  // What is left for a Request that has passed; any verb but watch and connect, or watch. What an error answer should
  // warn of is in scope.warnings.
  base::Task<base::Result<Response>> Do(Scope& scope, const Request& request);
  base::Task<base::Result<std::unique_ptr<EventStream>>> Watch(Scope& scope, const Request& request);

  // All of it for callers in the process, as request.identity. The way of a watch ends once it is open: its stream may
  // outlive the server.
  base::Task<base::Result<Response>> Do(base::Context ctx, const Request& request);
  base::Task<base::Result<std::unique_ptr<EventStream>>> Watch(base::Context ctx, const Request& request);

  // What all requests share; a wire makes its Scopes with it.
  StepState& state() { return state_; }
  const Services& services() const { return state_.services; }
  const Limits& limits() const { return state_.limits; }

 private:
  base::Result<registry::Served> Resolve(const Request& r) const;
  base::Task<base::Result<Response>> ActAndEncode(Scope& scope, const Request& request);
  base::Task<base::Result<std::unique_ptr<EventStream>>> Open(Scope& scope, const Request& request);

  StepState state_;
};

}  // namespace apiserver::chain
