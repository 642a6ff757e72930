#include "apiserver/admission/signer_gate.h"

#include "apiserver/admission/ask.h"

namespace apiserver::admission {

bool MayUseSigner(auth::Authorizer* authorizer, const Attributes& a, const std::string& verb,
                  const std::string& signer) {
  for (const std::string& name : {signer, signer.substr(0, signer.find('/')) + "/*"}) {
    Question q{.verb = verb, .group = "certificates.k8s.io", .version = "*", .resource = "signers", .name = name};
    if (MayAlso(authorizer, a.request, q)) return true;
  }
  return false;
}

}  // namespace apiserver::admission
