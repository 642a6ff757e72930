#include "kubelet/api_source.h"

#include "base/bytes.h"
#include "machinery/object/api_error.h"
#include "machinery/value/value.h"
#include "proto/k8s/authentication/v1/authentication.pb.h"

namespace kubelet {
namespace {

namespace authentication = ::k8s::io::api::authentication::v1;
constexpr auto kFresh = std::chrono::seconds(5);  // shared by askers within this time
constexpr auto kForget = std::chrono::minutes(2);

base::Status Standalone(const std::string& what) {
  return base::FailedPrecondition(what + " cannot be read: the kubelet runs without an API server");
}

}  // namespace

ApiSource::ApiSource(base::Executor& executor, machinery::client::Client* client)
    : executor_(executor), client_(client) {}

template <class T>
base::Task<base::Result<std::shared_ptr<const T>>> ApiSource::Get(base::Context ctx, Cache<T>& cache, std::string ns,
                                                                  std::string name) {
  std::string key = ns + "/" + name;
  if (!client_) co_return base::Err(Standalone(key));
  base::MonoTime now = executor_.Now();
  std::erase_if(cache, [&](const auto& e) { return now - e.second.at > kForget; });
  if (auto it = cache.find(key); it != cache.end() && now - it->second.at < kFresh) co_return it->second.object;
  auto got = co_await client_->template Get<T>(ctx.WithTimeout(executor_, std::chrono::seconds(30)), ns, name);
  if (!got) {
    // A server that does not answer is no reason to take away what is known.
    auto it = cache.find(key);
    if (it != cache.end() && got.error().code() == base::Code::kUnavailable) co_return it->second.object;
    // The original's words name the kind, where the API's name the resource.
    if (machinery::object::IsNotFound(got.error())) {
      const char* kind = std::is_same_v<T, api::Secret> ? "secret" : "configmap";
      co_return base::Err(base::NotFound(std::string(kind) + " \"" + name + "\" not found"));
    }
    co_return base::Err(std::move(got.error()));
  }
  auto object = std::make_shared<const T>(std::move(*got));
  cache[key] = {object, executor_.Now()};
  co_return object;
}

base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ApiSource::ConfigMap(base::Context ctx, std::string ns,
                                                                                     std::string name) {
  return Get<api::ConfigMap>(std::move(ctx), config_maps_, std::move(ns), std::move(name));
}

base::Task<base::Result<std::shared_ptr<const api::Secret>>> ApiSource::Secret(base::Context ctx, std::string ns,
                                                                               std::string name) {
  return Get<api::Secret>(std::move(ctx), secrets_, std::move(ns), std::move(name));
}

base::Task<base::Result<volumes::Token>> ApiSource::ServiceAccountToken(base::Context ctx, PodPtr pod,
                                                                        std::string audience,
                                                                        int64_t expiration_seconds) {
  if (!client_) co_return base::Err(Standalone("a service account token"));
  const auto& m = pod->metadata();
  std::string account = pod->spec().serviceaccountname().empty() ? "default" : pod->spec().serviceaccountname();
  std::string key = m.uid() + "/" + account + "/" + audience + "/" + std::to_string(expiration_seconds);
  int64_t now = WallNanos(executor_.clock());
  auto it = tokens_.find(key);
  if (it != tokens_.end() && now < it->second.renew_at_ns) co_return it->second.token;
  authentication::TokenRequest request;
  auto* spec = request.mutable_spec();
  if (!audience.empty()) spec->add_audiences(audience);
  spec->set_expirationseconds(expiration_seconds);
  auto* bound = spec->mutable_boundobjectref();
  bound->set_kind("Pod");
  bound->set_apiversion("v1");
  bound->set_name(m.name());
  bound->set_uid(m.uid());
  auto answer = co_await client_->CreateSubresource<api::ServiceAccount, authentication::TokenRequest,
                                                    authentication::TokenRequest>(
      ctx.WithTimeout(executor_, std::chrono::seconds(30)), m.namespace_(), account, "token", std::move(request));
  if (!answer) {
    it = tokens_.find(key);
    if (it != tokens_.end() && now < it->second.token.expires_ns) co_return it->second.token;
    co_return base::Err(
        base::Status(answer.error().code(), "failed to fetch token: " + std::string(answer.error().message())));
  }
  HeldToken held;
  held.token = {answer->status().token(), NanosOf(answer->status().expirationtimestamp())};
  // At four fifths of its life, and at the latest after a day.
  int64_t life = held.token.expires_ns - now;
  held.renew_at_ns = now + std::min<int64_t>(life / 5 * 4, int64_t{24} * 3600 * 1'000'000'000);
  tokens_[key] = held;
  co_return held.token;
}

void ApiSource::ForgetPod(const std::string& uid) {
  std::erase_if(tokens_, [&](const auto& e) { return e.first.starts_with(uid + "/"); });
}

std::vector<cri::AuthConfig> CredentialsFor(const std::vector<std::shared_ptr<const api::Secret>>& secrets) {
  std::vector<cri::AuthConfig> out;
  for (const auto& secret : secrets) {
    auto data = secret->data().find(".dockerconfigjson");
    bool wrapped = data != secret->data().end();
    if (!wrapped) data = secret->data().find(".dockercfg");
    if (data == secret->data().end()) continue;
    auto parsed = machinery::value::FromJson(data->second);
    if (!parsed) continue;
    const auto& auths = wrapped ? parsed->At("auths") : *parsed;
    if (!auths.is_map()) continue;
    for (const auto& [server, entry] : auths.map()) {
      cri::AuthConfig auth;
      auth.set_server_address(server);
      auth.set_username(std::string(entry.At("username").string_or()));
      auth.set_password(std::string(entry.At("password").string_or()));
      if (auto text = base::Base64Decode(entry.At("auth").string_or()); text && text->find(':') != std::string::npos) {
        auth.set_username(text->substr(0, text->find(':')));
        auth.set_password(text->substr(text->find(':') + 1));
      }
      out.push_back(std::move(auth));
    }
  }
  return out;
}

}  // namespace kubelet
