// Only who may sign for a signer writes the certificates of its requests.
#include "apiserver/admission/plugin.h"
#include "apiserver/admission/signer_gate.h"
#include "machinery/object/go_text.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

class CertificateSigning final : public Plugin {
 public:
  explicit CertificateSigning(const Environment& env) : authorizer_(env.authorizer) {}
  bool Handles(Operation op) const override { return op == Operation::kUpdate; }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("certificates.k8s.io", "certificatesigningrequests") || a.subresource != "status")
      co_return base::Ok();
    // A status without anything new to the certificate or the conditions signs nothing.
    if (a.old_object->At("status", "certificate") == a.object->At("status", "certificate") &&
        a.old_object->At("status", "conditions") == a.object->At("status", "conditions"))
      co_return base::Ok();
    std::string signer(a.old_object->At("spec", "signerName").string_or());
    if (MayUseSigner(authorizer_, a, "sign", signer)) co_return base::Ok();
    co_return Forbid(a, "user not permitted to sign requests with signerName " + object::GoQuote(signer));
  }

 private:
  auth::Authorizer* authorizer_;
};

}  // namespace

std::unique_ptr<Plugin> NewCertificateSigning(const Environment& env) {
  return std::make_unique<CertificateSigning>(env);
}

}  // namespace apiserver::admission
