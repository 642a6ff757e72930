// Approving and signing a CertificateSigningRequest needs a permission on its signer: verbs approve and sign on
// "signers" of certificates.k8s.io, for the signer's name or for all of its domain ("example.com/*").
#pragma once

#include <string>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/authorizer.h"

namespace apiserver::admission {

bool MayUseSigner(auth::Authorizer* authorizer, const Attributes& a, const std::string& verb,
                  const std::string& signer);

}  // namespace apiserver::admission
