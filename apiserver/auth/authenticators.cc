#include "apiserver/auth/authenticators.h"

#include <algorithm>

#include "base/strings.h"
#include "machinery/object/api_error.h"

namespace apiserver::auth {

using machinery::request::Identity;
using Answer = base::Result<std::optional<Identity>>;

Union::Union(std::vector<std::unique_ptr<Authenticator>> members, bool anonymous)
    : members_(std::move(members)), anonymous_(anonymous) {}

base::Task<Answer> Union::Authenticate(base::Context ctx, const Credentials& credentials) {
  bool refused = !credentials.bearer_token.empty();
  for (auto& member : members_) {
    auto answer = co_await member->Authenticate(ctx, credentials);
    refused = refused || !answer;
    if (!answer || !*answer) continue;
    std::optional<Identity> identity = std::move(*answer);
    if (!identity->InGroup("system:unauthenticated") && !identity->InGroup("system:authenticated"))
      identity->groups.push_back("system:authenticated");
    co_return identity;
  }
  if (refused) co_return base::Err(machinery::object::Unauthorized());
  if (!anonymous_) co_return std::nullopt;
  co_return Identity{.name = "system:anonymous", .groups = {"system:unauthenticated"}};
}

namespace {

class Certificates final : public Authenticator {
 public:
  Certificates(std::shared_ptr<CaFile> authorities, base::Executor& executor)
      : judge_(std::move(authorities), executor) {}

  base::Task<Answer> Authenticate(base::Context, const Credentials& c) override {
    if (!c.peer || c.peer->certificate_der.empty()) co_return std::nullopt;
    CO_TRY_ASSIGN(std::string credential, judge_.Judge(*c.peer));
    if (c.peer->common_name.empty()) co_return std::nullopt;
    Identity out;
    out.name = c.peer->common_name;
    out.groups = c.peer->organizations;
    out.extra["authentication.kubernetes.io/credential-id"] = {std::move(credential)};
    co_return out;
  }

 private:
  CertificateJudge judge_;
};

class Proxy final : public Authenticator {
 public:
  Proxy(FrontProxyOptions options, std::shared_ptr<CaFile> authorities, base::Executor& executor)
      : options_(std::move(options)), judge_(std::move(authorities), executor) {}

  base::Task<Answer> Authenticate(base::Context, const Credentials& c) override {
    if (!c.peer || !c.headers || c.peer->certificate_der.empty()) co_return std::nullopt;
    if (auto good = judge_.Judge(*c.peer); !good) co_return base::Err(good.error());
    const auto& names = options_.allowed_names;
    bool named = names.empty() || std::find(names.begin(), names.end(), c.peer->common_name) != names.end();
    if (!named)
      co_return base::Err(
          base::Unauthenticated("x509: subject with cn=" + c.peer->common_name + " is not in the allowed list"));
    std::string user = First(*c.headers, options_.username_headers);
    if (user.empty()) co_return std::nullopt;
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
  CertificateJudge judge_;
};

}  // namespace

std::unique_ptr<Authenticator> ClientCertificates(std::shared_ptr<CaFile> authorities, base::Executor& executor) {
  return std::make_unique<Certificates>(std::move(authorities), executor);
}

std::unique_ptr<Authenticator> FrontProxy(FrontProxyOptions options, std::shared_ptr<CaFile> authorities,
                                          base::Executor& executor) {
  auto lower = [](std::vector<std::string>& names) {
    for (auto& name : names) name = base::Lower(name);
  };
  lower(options.username_headers);
  lower(options.uid_headers);
  lower(options.group_headers);
  lower(options.extra_prefixes);
  return std::make_unique<Proxy>(std::move(options), std::move(authorities), executor);
}

}  // namespace apiserver::auth
