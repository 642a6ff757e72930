#include "apiserver/admission/signer_gate.h"

#include "apiserver/auth/question.h"

namespace apiserver::admission {

bool MayUseSigner(auth::Authorizer* authorizer, const Attributes& a, const std::string& verb,
                  const std::string& signer) {
  auth::Attributes ask{.verb = verb, .group = "certificates.k8s.io", .version = "*", .resource = "signers"};
  for (const std::string& name : {signer, signer.substr(0, signer.find('/')) + "/*"}) {
    ask.name = name;
    if (auth::MayAlso(authorizer, a.request, ask)) return true;
  }
  return false;
}

}  // namespace apiserver::admission
