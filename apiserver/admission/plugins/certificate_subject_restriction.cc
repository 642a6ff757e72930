// Nobody gets a client certificate of group system:masters signed through the API: such a user cannot be shut out
// again.
#include "apiserver/admission/plugin.h"
#include "base/bytes.h"
#include "base/net/certificate_request.h"

namespace apiserver::admission {

namespace {

constexpr std::string_view kSigner = "kubernetes.io/kube-apiserver-client";

class CertificateSubjectRestriction final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("certificates.k8s.io", "certificatesigningrequests") || !a.subresource.empty())
      co_return base::Ok();
    const auto& spec = a.object->At("spec");
    if (spec.At("signerName").string_or() != kSigner) co_return base::Ok();
    auto pem = base::Base64Decode(spec.At("request").string_or());
    auto subject = base::net::ReadCertificateRequest(pem ? *pem : std::string());
    if (!subject) co_return Forbid(a, "failed to parse CSR: " + std::string(subject.error().message()));
    for (const auto& group : subject->organizations)
      if (group == "system:masters")
        co_return Forbid(a, "use of " + std::string(kSigner) + " signer with system:masters group is not allowed");
    co_return base::Ok();
  }
};

}  // namespace

std::unique_ptr<Plugin> NewCertificateSubjectRestriction(const Environment&) {
  return std::make_unique<CertificateSubjectRestriction>();
}

}  // namespace apiserver::admission
