// Only who may approve for a signer approves its requests.
#include "apiserver/admission/plugin.h"
#include "apiserver/admission/signer_gate.h"
#include "machinery/object/go_text.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

class CertificateApproval final : public Plugin {
 public:
  explicit CertificateApproval(const Environment& env) : authorizer_(env.authorizer) {}
  bool Handles(Operation op) const override { return op == Operation::kUpdate; }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("certificates.k8s.io", "certificatesigningrequests") || a.subresource != "approval")
      co_return base::Ok();
    std::string signer(a.old_object->At("spec", "signerName").string_or());
    if (MayUseSigner(authorizer_, a, "approve", signer)) co_return base::Ok();
    co_return Forbid(a, "user not permitted to approve requests with signerName " + object::GoQuote(signer));
  }

 private:
  auth::Authorizer* authorizer_;
};

}  // namespace

std::unique_ptr<Plugin> NewCertificateApproval(const Environment& env) {
  return std::make_unique<CertificateApproval>(env);
}

}  // namespace apiserver::admission
