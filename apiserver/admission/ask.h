// A second question to the authorizer: what a request needs beside what its path says (to approve for a signer, to
// bind or escalate a role, to have a token for an audience). The one way by which admission and strategies ask; the
// asker is always the request's own user.
#pragma once

#include <string>

#include "apiserver/auth/authorizer.h"
#include "machinery/request/request.h"

namespace apiserver::admission {

struct Question {
  std::string verb, group, version, resource, namespace_name, name;
};

// True where there is no authorizer (simulations). A null request is the server's own.
bool MayAlso(auth::Authorizer* authorizer, const machinery::request::Request* request, const Question& question);

}  // namespace apiserver::admission
