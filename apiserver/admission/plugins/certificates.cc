// Approving and signing a CertificateSigningRequest needs a permission on its signer: verbs approve and sign on
// "signers" of certificates.k8s.io, for the signer's name or for all of its domain ("example.com/*").
#include "apiserver/admission/plugin.h"
#include "apiserver/auth/authorizer.h"
#include "machinery/object/go_text.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

bool MayUse(auth::Authorizer* authorizer, const Attributes& a, const std::string& verb, const std::string& signer) {
  if (!authorizer || !a.request) return true;
  auth::Attributes ask{.identity = a.request->identity, .verb = verb, .group = "certificates.k8s.io", .version = "*",
                       .resource = "signers"};
  for (const std::string& name : {signer, signer.substr(0, signer.find('/')) + "/*"}) {
    ask.name = name;
    if (authorizer->Authorize(ask).decision == auth::Decision::kAllow) return true;
  }
  return false;
}

class SignerGate final : public Plugin {
 public:
  SignerGate(const Environment& env, bool approval) : authorizer_(env.authorizer), approval_(approval) {}
  bool Handles(Operation op) const override { return op == Operation::kUpdate; }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("certificates.k8s.io", "certificatesigningrequests")) co_return base::Ok();
    if (a.subresource != (approval_ ? "approval" : "status")) co_return base::Ok();
    // A status without anything new to the certificate or the conditions signs nothing.
    if (!approval_ && a.old_object->At("status", "certificate") == a.object->At("status", "certificate") &&
        a.old_object->At("status", "conditions") == a.object->At("status", "conditions"))
      co_return base::Ok();
    std::string signer(a.old_object->At("spec", "signerName").string_or());
    if (MayUse(authorizer_, a, approval_ ? "approve" : "sign", signer)) co_return base::Ok();
    co_return Forbid(a, std::string("user not permitted to ") + (approval_ ? "approve" : "sign") +
                            " requests with signerName " + object::GoQuote(signer));
  }

 private:
  auth::Authorizer* authorizer_;
  bool approval_;
};

}  // namespace

std::unique_ptr<Plugin> NewCertificateApproval(const Environment& env) {
  return std::make_unique<SignerGate>(env, true);
}
std::unique_ptr<Plugin> NewCertificateSigning(const Environment& env) {
  return std::make_unique<SignerGate>(env, false);
}

}  // namespace apiserver::admission
