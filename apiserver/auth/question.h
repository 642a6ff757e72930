// A second question: whether who asks for one thing may also do another (create by updating, bind or escalate a role,
// use a signer, create by opening a stream, what a review asks). All of them come through here, so that who asks them
// is a short list; the first question of a request is the chain's.
#pragma once

#include "apiserver/auth/authorizer.h"

namespace apiserver::auth {

// Without an authorizer (simulations) everything is allowed.
Verdict Ask(Authorizer* authorizer, const Attributes& question);
inline bool May(Authorizer* authorizer, const Attributes& question) {
  return Ask(authorizer, question).decision == Decision::kAllow;
}

// Whether the user of `r` may do `verb` with the very thing that `r` names.
Attributes QuestionAbout(const machinery::request::Request& r, std::string verb);

// The same for the user of a request, whose identity fills the question; without a request it is the server's own.
bool MayAlso(Authorizer* authorizer, const machinery::request::Request* request, Attributes question);

// `User "u" cannot create resource "pods" in API group "" in the namespace "n": reason`, as refusals word it.
std::string RefusalText(const Attributes& question, const Verdict& verdict);
// The same as 403 of the resource, or of the path.
base::Status Refusal(const Attributes& question, const Verdict& verdict);

}  // namespace apiserver::auth
