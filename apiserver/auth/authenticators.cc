#include "apiserver/auth/authenticators.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <unordered_map>

#include "base/bytes.h"
#include "machinery/object/api_error.h"

namespace apiserver::auth {

using machinery::request::Identity;
using Answer = base::Result<std::optional<Identity>>;

Union::Union(std::vector<std::unique_ptr<Authenticator>> members, bool anonymous)
    : members_(std::move(members)), anonymous_(anonymous) {}

base::Task<Answer> Union::Authenticate(base::Context ctx, const Credentials& credentials) {
  for (auto& member : members_) {
    CO_TRY_ASSIGN(std::optional<Identity> identity, co_await member->Authenticate(ctx, credentials));
    if (!identity) continue;
    if (!identity->InGroup("system:unauthenticated") && !identity->InGroup("system:authenticated"))
      identity->groups.push_back("system:authenticated");
    co_return identity;
  }
  if (!credentials.bearer_token.empty()) co_return base::Err(machinery::object::Unauthorized());
  if (!anonymous_) co_return std::nullopt;
  co_return Identity{.name = "system:anonymous", .groups = {"system:unauthenticated"}};
}

namespace {

class Certificates final : public Authenticator {
 public:
  base::Task<Answer> Authenticate(base::Context, const Credentials& c) override {
    if (!c.peer || !c.peer->verified_chain || c.peer->common_name.empty()) co_return std::nullopt;
    Identity out;
    out.name = c.peer->common_name;
    out.groups = c.peer->organizations;
    out.extra["authentication.kubernetes.io/credential-id"] = {CredentialId(c.peer->certificate_der)};
    co_return out;
  }

 private:
  static constexpr size_t kMaxRemembered = 256;
  // Hashing a certificate at every request would cost more than everything else here.
  const std::string& CredentialId(const std::string& der) {
    auto it = ids_.find(der);
    if (it != ids_.end()) return it->second;
    if (ids_.size() >= kMaxRemembered) ids_.clear();
    return ids_[der] = "X509SHA256=" + base::HexEncode(base::Sha256(der));
  }
  std::unordered_map<std::string, std::string> ids_;
};

using Store = std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)>;

Store LoadStore(const std::string& ca_pem) {
  Store store(X509_STORE_new(), X509_STORE_free);
  BIO* bio = BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size()));
  while (X509* ca = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(store.get(), ca);
    X509_free(ca);
  }
  BIO_free(bio);
  ERR_clear_error();
  return store;
}

class Proxy final : public Authenticator {
 public:
  explicit Proxy(FrontProxyOptions options) : options_(std::move(options)) {}

  base::Task<Answer> Authenticate(base::Context, const Credentials& c) override {
    if (!c.peer || !c.headers || c.peer->certificate_der.empty()) co_return std::nullopt;
    std::string user = First(*c.headers, options_.username_headers);
    if (user.empty()) co_return std::nullopt;
    const auto& names = options_.allowed_names;
    bool named = names.empty() || std::find(names.begin(), names.end(), c.peer->common_name) != names.end();
    if (!named || !SignedBy(c.peer->certificate_der, options_.ca_pem)) co_return std::nullopt;
    Identity out;
    out.name = std::move(user);
    out.uid = First(*c.headers, options_.uid_headers);
    for (const auto& h : options_.group_headers)
      for (std::string_view group : c.headers->GetAll(h)) out.groups.emplace_back(group);
    for (const auto& [name, value] : c.headers->fields())
      for (const auto& prefix : options_.extra_prefixes)
        if (name.starts_with(prefix)) out.extra[base::net::PercentDecode(name.substr(prefix.size()))].push_back(value);
    co_return out;
  }

 private:
  static std::string First(const base::net::Headers& headers, const std::vector<std::string>& names) {
    for (const auto& name : names)
      if (auto v = headers.Get(name); !v.empty()) return std::string(v);
    return "";
  }
  FrontProxyOptions options_;
};

}  // namespace

std::unique_ptr<Authenticator> ClientCertificates() { return std::make_unique<Certificates>(); }

bool SignedBy(const std::string& der, const std::string& ca_pem) {
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  X509* leaf = d2i_X509(nullptr, &p, static_cast<long>(der.size()));
  if (!leaf) return false;
  Store store = LoadStore(ca_pem);
  X509_STORE_CTX* ctx = X509_STORE_CTX_new();
  bool good = false;
  if (X509_STORE_CTX_init(ctx, store.get(), leaf, nullptr) == 1) {
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
    good = X509_verify_cert(ctx) == 1;
  }
  X509_STORE_CTX_free(ctx);
  X509_free(leaf);
  ERR_clear_error();
  return good;
}

base::Result<std::unique_ptr<Authenticator>> FrontProxy(FrontProxyOptions options) {
  if (options.ca_pem.find("BEGIN CERTIFICATE") == options.ca_pem.npos)
    return base::Err(base::InvalidArgument("--requestheader-client-ca-file holds no certificate"));
  auto lower = [](std::vector<std::string>& names) {
    for (auto& name : names)
      for (char& ch : name) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  };
  lower(options.username_headers);
  lower(options.uid_headers);
  lower(options.group_headers);
  lower(options.extra_prefixes);
  return std::make_unique<Proxy>(std::move(options));
}

}  // namespace apiserver::auth
