#include "kubelet/pod/environment.h"

#include <algorithm>
#include <map>

namespace kubelet::pod {
namespace {

std::string VariableName(std::string name) {
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(toupper(c));
  return name;
}

void AddService(const api::Service& service, std::map<std::string, std::string>& out) {
  const auto& spec = service.spec();
  const std::string prefix = VariableName(service.metadata().name());
  const std::string& ip = spec.clusterip();
  if (spec.ports().empty()) return;
  const std::string host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  out[prefix + "_SERVICE_HOST"] = ip;
  out[prefix + "_SERVICE_PORT"] = std::to_string(spec.ports(0).port());
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto& p = spec.ports(i);
    std::string protocol = p.protocol().empty() ? "TCP" : p.protocol();
    std::string port = std::to_string(p.port()), lower = protocol;
    for (char& c : lower) c = static_cast<char>(tolower(c));
    std::string url = lower + "://" + host + ":" + port;
    if (!p.name().empty()) out[prefix + "_SERVICE_PORT_" + VariableName(p.name())] = port;
    if (i == 0) out[prefix + "_PORT"] = url;
    std::string link = prefix + "_PORT_" + port + "_" + VariableName(protocol);
    out[link] = url;
    out[link + "_PROTO"] = lower;
    out[link + "_PORT"] = port;
    out[link + "_ADDR"] = ip;
  }
}

struct Builder {
  base::Context ctx;
  PodPtr pod;
  const api::Container& container;
  volumes::Source& source;
  NodeFacts facts;
  std::map<std::string, std::string> base_values;  // Services and envFrom
  std::vector<Env> result;

  const std::string& ns() const { return pod->metadata().namespace_(); }

  base::Task<base::Status> AddFrom(const api::EnvFromSource& from) {
    std::map<std::string, std::string> contents;
    if (from.has_configmapref()) {
      auto map = co_await source.ConfigMap(ctx, ns(), from.configmapref().localobjectreference().name());
      if (map)
        contents = volumes::ContentsOf(**map);
      else if (!(from.configmapref().optional() && map.error().code() == base::Code::kNotFound))
        co_return map.error();
    } else if (from.has_secretref()) {
      auto secret = co_await source.Secret(ctx, ns(), from.secretref().localobjectreference().name());
      if (secret)
        contents = volumes::ContentsOf(**secret);
      else if (!(from.secretref().optional() && secret.error().code() == base::Code::kNotFound))
        co_return secret.error();
    }
    for (auto& [key, value] : contents) base_values[from.prefix() + key] = value;
    co_return base::Ok();
  }

  std::vector<Env> Known() const {
    std::vector<Env> known = result;
    std::ranges::reverse(known);  // the latest definition counts
    for (const auto& [k, v] : base_values) known.push_back({k, v});
    return known;
  }

  // nullopt: an optional reference that leads nowhere.
  base::Task<base::Result<std::optional<std::string>>> Value(const api::EnvVar& var) {
    if (!var.has_valuefrom()) co_return var.value().empty() ? "" : Expand(var.value(), Known());
    const auto& from = var.valuefrom();
    if (from.has_fieldref()) {
      auto text = FieldText(*pod, from.fieldref().fieldpath(), facts);
      if (!text) co_return base::Err(std::move(text.error()));
      co_return std::move(*text);
    }
    if (from.has_resourcefieldref()) {
      auto text = ResourceText(*pod, from.resourcefieldref(), container.name(), facts);
      if (!text) co_return base::Err(std::move(text.error()));
      co_return std::move(*text);
    }
    if (from.has_configmapkeyref()) {
      const auto& ref = from.configmapkeyref();
      auto map = co_await source.ConfigMap(ctx, ns(), ref.localobjectreference().name());
      co_return Pick(map, ref, "ConfigMap");
    }
    if (from.has_secretkeyref()) {
      const auto& ref = from.secretkeyref();
      auto secret = co_await source.Secret(ctx, ns(), ref.localobjectreference().name());
      co_return Pick(secret, ref, "Secret");
    }
    co_return base::Err(base::Unimplemented("env " + var.name() + ": this kind of reference is not supported yet"));
  }

  template <class T, class Ref>
  base::Result<std::optional<std::string>> Pick(base::Result<std::shared_ptr<const T>>& object, const Ref& ref,
                                                const char* kind) {
    if (!object) {
      if (ref.optional() && object.error().code() == base::Code::kNotFound) return std::nullopt;
      return base::Err(std::move(object.error()));
    }
    auto contents = volumes::ContentsOf(**object);
    auto it = contents.find(ref.key());
    if (it != contents.end()) return it->second;
    if (ref.optional()) return std::nullopt;
    return base::Err(base::NotFound("couldn't find key " + ref.key() + " in " + kind + " " + ns() + "/" +
                                    ref.localobjectreference().name()));
  }

  base::Task<base::Result<std::vector<Env>>> Run() {
    for (const auto& from : container.envfrom()) CO_TRY(co_await AddFrom(from));
    for (const auto& var : container.env()) {
      CO_TRY_ASSIGN(std::optional<std::string> value, co_await Value(var));
      if (!value) continue;
      std::erase_if(result, [&](const Env& e) { return e.name == var.name(); });
      result.push_back({var.name(), std::move(*value)});
    }
    for (const auto& [k, v] : base_values)
      if (std::ranges::none_of(result, [&](const Env& e) { return e.name == k; })) result.push_back({k, v});
    co_return std::move(result);
  }
};

}  // namespace

std::vector<Env> ServiceEnvironment(const std::vector<std::shared_ptr<const api::Service>>& services,
                                    const std::string& ns, bool links) {
  std::map<std::string, std::string> out;
  // A namespace's own "kubernetes" goes before the cluster's.
  for (int own = 0; own < 2; ++own)
    for (const auto& s : services) {
      const std::string& ip = s->spec().clusterip();
      if (ip.empty() || ip == "None") continue;
      const auto& m = s->metadata();
      bool master = m.namespace_() == "default" && m.name() == "kubernetes";
      if (own ? (m.namespace_() == ns && links) : master) AddService(*s, out);
    }
  std::vector<Env> list;
  for (auto& [k, v] : out) list.push_back({k, v});
  return list;
}

base::Task<base::Result<std::vector<Env>>> MakeEnvironment(base::Context ctx, PodPtr pod, std::string container,
                                                           std::vector<Env> services, volumes::Source& source,
                                                           NodeFacts facts) {
  ContainerPtr c = FindContainer(*pod, container);
  CHECK(c);
  Builder builder{ctx, pod, *c, source, std::move(facts), {}, {}};
  for (auto& e : services) builder.base_values[e.name] = std::move(e.value);
  co_return co_await builder.Run();
}

}  // namespace kubelet::pod
