#include "apiserver/admission/signer_gate.h"

namespace apiserver::admission {

bool MayUseSigner(auth::Authorizer* authorizer, const Attributes& a, const std::string& verb,
                  const std::string& signer) {
  if (!authorizer || !a.request) return true;
  auth::Attributes ask{.identity = a.request->identity,
                       .verb = verb,
                       .group = "certificates.k8s.io",
                       .version = "*",
                       .resource = "signers"};
  for (const std::string& name : {signer, signer.substr(0, signer.find('/')) + "/*"}) {
    ask.name = name;
    if (authorizer->Authorize(ask).decision == auth::Decision::kAllow) return true;
  }
  return false;
}

}  // namespace apiserver::admission
