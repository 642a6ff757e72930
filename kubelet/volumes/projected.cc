#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

// A token is the pod's own: readable by its user where the pod names exactly one, by its group where it has one, else
// by everybody inside.
PayloadFile TokenFile(const api::Pod& pod, std::string text, int default_mode) {
  PayloadFile file{std::move(text), default_mode, -1};
  if (pod.spec().securitycontext().has_fsgroup()) {
    file.mode = 0600;
    return file;
  }
  std::optional<int64_t> user;
  bool same = true;
  auto look = [&](const api::Container& c) {
    std::optional<int64_t> own;
    if (c.securitycontext().has_runasuser())
      own = c.securitycontext().runasuser();
    else if (pod.spec().securitycontext().has_runasuser())
      own = pod.spec().securitycontext().runasuser();
    if (!own || (user && *user != *own)) same = false;
    user = own;
  };
  for (const auto& c : pod.spec().initcontainers()) look(c);
  for (const auto& c : pod.spec().containers()) look(c);
  if (same && user) {
    file.mode = 0600;
    file.owner = *user;
  }
  return file;
}

class Projected final : public Plugin {
 public:
  std::string_view directory_name() const override { return "kubernetes.io~projected"; }
  bool Handles(const api::VolumeSource& s) const override { return s.has_projected(); }
  bool refreshes() const override { return true; }

  base::Task<base::Result<Setup>> Prepare(base::Context ctx, Request r) const override {
    const auto& projected = r.volume->volumesource().projected();
    int mode = projected.has_defaultmode() ? projected.defaultmode() : 0644;
    Setup out{.path = r.directory, .tmpfs = true, .wrapped = true, .payload = Payload()};
    for (const auto& source : projected.sources()) CO_TRY(co_await Add(ctx, r, source, mode, *out.payload));
    co_return out;
  }

 private:
  static base::Task<base::Status> Add(base::Context ctx, Request r, const api::VolumeProjection& source, int mode,
                                      Payload& out) {
    const std::string& ns = r.pod->metadata().namespace_();
    if (source.has_serviceaccounttoken()) {
      const auto& t = source.serviceaccounttoken();
      int64_t seconds = t.has_expirationseconds() ? t.expirationseconds() : 3600;
      CO_TRY_ASSIGN(Token token, co_await r.source->ServiceAccountToken(ctx, r.pod, t.audience(), seconds));
      out[t.path()] = TokenFile(*r.pod, std::move(token.text), mode);
      co_return base::Ok();
    }
    if (source.has_configmap()) {
      const auto& s = source.configmap();
      auto map = co_await r.source->ConfigMap(ctx, ns, s.localobjectreference().name());
      if (!map) {
        if (s.optional() && map.error().code() == base::Code::kNotFound) co_return base::Ok();
        co_return map.error();
      }
      co_return AddItems(s.items(), ContentsOf(**map), mode, s.optional(), "configmap", out);
    }
    if (source.has_secret()) {
      const auto& s = source.secret();
      auto secret = co_await r.source->Secret(ctx, ns, s.localobjectreference().name());
      if (!secret) {
        if (s.optional() && secret.error().code() == base::Code::kNotFound) co_return base::Ok();
        co_return secret.error();
      }
      co_return AddItems(s.items(), ContentsOf(**secret), mode, s.optional(), "secret", out);
    }
    if (source.has_downwardapi())
      co_return AddDownward(source.downwardapi().items(), *r.pod, r.source->FactsFor(*r.pod), mode, out);
    co_return base::Unimplemented("this source of a projected volume is not supported yet");
  }
};

}  // namespace

const Plugin& ProjectedPlugin() {
  static const Projected plugin;
  return plugin;
}

}  // namespace kubelet::volumes
