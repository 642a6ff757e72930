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
// One connection carries them beside everything else, and the server allows it 250 streams. What is beyond is asked for
// when volumes are refreshed.
constexpr size_t kMostWatches = 160;

base::Status Standalone(const std::string& what) {
  return base::FailedPrecondition(what + " cannot be read: the kubelet runs without an API server");
}

}  // namespace

ApiSource::ApiSource(base::Executor& executor, machinery::client::Client* client)
    : executor_(executor), client_(client) {}

template <class T>
base::Task<base::Result<std::shared_ptr<const T>>> ApiSource::Get(base::Context ctx, Kind<T>& kind, std::string ns,
                                                                  std::string name) {
  std::string key = ns + "/" + name;
  if (!client_) co_return base::Err(Standalone(key));
  Cache<T>& cache = kind.cache;
  if (auto it = kind.named.find(key); it != kind.named.end()) {
    if (it->second.kept) co_return it->second.kept;
    // What the watch does not know may have been made a moment ago: only the API says that there is none.
    if (it->second.informer && it->second.informer->synced())
      if (auto object = it->second.informer->Get(ns, name)) co_return object;
  }
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

void ApiSource::Reference(const api::Pod& pod) {
  PodReferences names = ReferencesOf(pod);
  const std::string& uid = pod.metadata().uid();
  SetReferences(config_maps_, uid, pod.metadata().namespace_(), names.config_maps);
  SetReferences(secrets_, uid, pod.metadata().namespace_(), names.secrets);
}

template <class T>
void ApiSource::SetReferences(Kind<T>& kind, const std::string& uid, const std::string& ns,
                              const std::set<std::string>& names) {
  for (const auto& name : names) {
    kind.named[ns + "/" + name].pods.insert(uid);
    Watch(kind, ns, name);
  }
  for (auto it = kind.named.begin(); it != kind.named.end();) {
    bool wanted = it->first.starts_with(ns + "/") && names.contains(it->first.substr(ns.size() + 1));
    if (wanted || it->second.pods.erase(uid) == 0 || !it->second.pods.empty()) {
      ++it;
      continue;
    }
    Unwatch(it->second);
    it = kind.named.erase(it);
  }
}

template <class T>
void ApiSource::Watch(Kind<T>& kind, const std::string& ns, const std::string& name) {
  const std::string key = ns + "/" + name;
  Named<T>& named = kind.named[key];
  if (!client_ || !scope_ || named.informer || named.kept || watches_ >= kMostWatches) return;
  ++watches_;
  named.ctx = scope_->context().WithCancel();
  named.informer = std::make_shared<machinery::client::Informer<T>>(
      executor_, *client_,
      machinery::client::ListOptions{.namespace_name = ns, .field_selector = "metadata.name=" + name});
  named.informer->SetTransform([](T& object) { object.mutable_metadata()->clear_managedfields(); });
  // The watch may outlive its entry by a turn: who calls is compared with who is there.
  named.informer->AddHandler([this, &kind, key, self = named.informer.get()](const auto& change) {
    auto it = kind.named.find(key);
    if (it != kind.named.end() && it->second.informer.get() == self) Changed(kind, key, change);
  });
  scope_->Spawn([](auto informer, base::Context ctx) -> base::Task<void> { co_await informer->Run(ctx); }(
                                                         named.informer, named.ctx));
}

template <class T>
void ApiSource::Changed(Kind<T>& kind, const std::string& key, const machinery::client::Change<T>& change) {
  // What was asked for before the watch began is no news when it comes again.
  auto had = kind.cache.find(key);
  bool known = change.initial && change.current && had != kind.cache.end() &&
               had->second.object->metadata().resourceversion() == change.current->metadata().resourceversion();
  kind.cache.erase(key);
  Named<T>& named = kind.named[key];
  if (change.current && change.current->immutable()) {
    named.kept = change.current;
    Unwatch(named);
  }
  if (known || !on_change) return;
  const auto pods = named.pods;
  for (const auto& uid : pods) on_change(uid);
}

template <class T>
void ApiSource::Unwatch(Named<T>& named) {
  if (!named.informer) return;
  named.ctx.Cancel();
  named.informer.reset();
  --watches_;
}

void ApiSource::ForgetPod(const std::string& uid) {
  SetReferences(config_maps_, uid, "", {});
  SetReferences(secrets_, uid, "", {});
  std::erase_if(tokens_, [&](const auto& e) { return e.first.starts_with(uid + "/"); });
}

PodReferences ReferencesOf(const api::Pod& pod) {
  PodReferences out;
  auto add = [](std::set<std::string>& names, const std::string& name) {
    if (!name.empty()) names.insert(name);
  };
  for (const auto& v : pod.spec().volumes()) {
    const auto& source = v.volumesource();
    add(out.config_maps, source.configmap().localobjectreference().name());
    add(out.secrets, source.secret().secretname());
    for (const auto& p : source.projected().sources()) {
      add(out.config_maps, p.configmap().localobjectreference().name());
      add(out.secrets, p.secret().localobjectreference().name());
    }
  }
  auto container = [&](const api::Container& c) {
    for (const auto& e : c.envfrom()) {
      add(out.config_maps, e.configmapref().localobjectreference().name());
      add(out.secrets, e.secretref().localobjectreference().name());
    }
    for (const auto& e : c.env()) {
      add(out.config_maps, e.valuefrom().configmapkeyref().localobjectreference().name());
      add(out.secrets, e.valuefrom().secretkeyref().localobjectreference().name());
    }
  };
  for (const auto& c : pod.spec().initcontainers()) container(c);
  for (const auto& c : pod.spec().containers()) container(c);
  for (const auto& c : pod.spec().ephemeralcontainers()) container(AsContainer(c));
  for (const auto& s : pod.spec().imagepullsecrets()) add(out.secrets, s.name());
  return out;
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
