#include "apiserver/paths/paths.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "base/version.h"
#include "machinery/codec/codec.h"
#include "machinery/object/api_error.h"
#include "machinery/ops/openapi_protobuf.h"

namespace apiserver::paths {

namespace object = machinery::object;
namespace version = base::version;
using base::net::Exchange;
using base::net::Headers;
using chain::RestFront;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kPlain = "text/plain; charset=utf-8";
constexpr std::string_view kPrivate = "no-cache, private";

Headers Of(std::string_view content_type, std::string_view cache_control = kPrivate) {
  Headers h;
  h.Add("cache-control", std::string(cache_control));
  h.Add("content-type", std::string(content_type));
  return h;
}

base::Task<void> NotFoundPage(Exchange& e) {
  Headers h = Of(kPlain);
  h.Add("x-content-type-options", "nosniff");
  (void)co_await e.Respond(404, std::move(h), std::string("404 page not found\n"));
}

// What the Accept header asks for first, of what discovery has: "v2", "v2beta1", or "" for the legacy documents.
std::string AggregatedVersion(std::string_view accept) {
  while (!accept.empty()) {
    size_t comma = accept.find(',');
    std::string clause(accept.substr(0, comma));
    accept = comma == accept.npos ? "" : accept.substr(comma + 1);
    std::erase(clause, ' ');
    bool aggregated =
        clause.find("g=apidiscovery.k8s.io") != clause.npos && clause.find("as=APIGroupDiscoveryList") != clause.npos;
    if (!aggregated) return "";  // an earlier clause is plain
    if (!clause.starts_with(kJson)) continue;
    if (clause.find("v=v2beta1") != clause.npos) return "v2beta1";
    if (clause.find("v=v2") != clause.npos) return "v2";
  }
  return "";
}

// Facts of the version this server is compatible with; clients compare them with their own.
Value VersionInfo() {
  return Value(Map{{"major", Value(std::string(version::kKubernetesMajor))},
                   {"minor", Value(std::string(version::kKubernetesMinor))},
                   {"emulationMajor", Value(std::string(version::kKubernetesMajor))},
                   {"emulationMinor", Value(std::string(version::kKubernetesMinor))},
                   {"minCompatibilityMajor", Value(std::string(version::kKubernetesMajor))},
                   {"minCompatibilityMinor", Value(std::string(version::kKubernetesOldestMinor))},
                   {"gitVersion", Value(std::string(version::kKubernetes))},
                   {"gitCommit", Value("$Format:%H$")},
                   {"gitTreeState", Value("")},
                   {"buildDate", Value("1970-01-01T00:00:00Z")},
                   {"goVersion", Value(std::string(version::kKubernetesGo))},
                   {"compiler", Value("gc")},
                   {"platform", Value("linux/amd64")}});
}

}  // namespace

Paths::Paths(registry::Registry& registry, Health& health, base::MetricsRegistry* metrics, PathsOptions options)
    : registry_(registry),
      health_(health),
      metrics_(metrics),
      options_(std::move(options)),
      discovery_(registry, options_.priorities, options_.server_address),
      openapi_(
          registry.schema(),
          [this](const machinery::schema::Kind& k) {
            return registry_.Find(k.group, k.version, k.resource).has_value();
          },
          std::string(version::kKubernetes)) {}
Paths::~Paths() = default;

void Paths::MountOn(RestFront& front) {
  using Who = const machinery::request::Identity&;
  front.Mount("/", [this](Exchange& e, Who) { return Root(e); });
  front.Mount("/version", [this](Exchange& e, Who) { return Version(e); });
  for (std::string root : {"/healthz", "/livez", "/readyz"}) {
    front.Mount(root, [this](Exchange& e, Who) { return ServeHealth(e); });
    front.Mount(root + "/", [this](Exchange& e, Who) { return ServeHealth(e); });
  }
  if (metrics_) front.Mount("/metrics", [this](Exchange& e, Who) { return Text(e, metrics_->ToText()); });
  front.Mount("/metrics/slis", [this](Exchange& e, Who) { return Text(e, health_.SliText()); });
  front.Mount("/flagz", [this](Exchange& e, Who) {
    std::string text =
        "\nkube-apiserver flagz\nWarning: This endpoint is not meant to be machine parseable, has no "
        "formatting compatibility guarantees and is for debugging purposes only.\n\n";
    for (const auto& flag : options_.flags) text += flag + "\n";
    return Text(e, std::move(text));
  });
  front.Mount("/statusz", [this](Exchange& e, Who) {
    return Text(e,
                "\nkube-apiserver statusz\nWarning: This endpoint is not meant to be machine parseable, has no "
                "formatting compatibility guarantees and is for debugging purposes only.\n\nBinary version: " +
                    std::string(version::kKubernetesLine) + "\n");
  });
  front.Mount("/api", [this](Exchange& e, Who) { return Api(e, true); });
  front.Mount("/apis", [this](Exchange& e, Who) { return Api(e, false); });
  front.MountDiscovery([this](Exchange& e, Who) { return Group(e); });
  front.Mount("/openapi/v2", [this](Exchange& e, Who) { return OpenApiV2(e); });
  front.Mount("/openapi/v3", [this](Exchange& e, Who) { return OpenApiV3(e); });
  front.Mount("/openapi/v3/", [this](Exchange& e, Who) { return OpenApiV3(e); });
  if (options_.issuer.empty()) return;
  front.Mount("/.well-known/openid-configuration", [this](Exchange& e, Who) { return OpenIdConfiguration(e); });
  front.Mount("/openid/v1/jwks", [this](Exchange& e, Who) { return Keys(e); });
}

std::vector<std::string> Paths::AllPaths() const {
  std::vector<std::string> out = {"/api",        "/apis",       "/apis/",       "/flagz",   "/metrics/slis",
                                  "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/statusz", "/version"};
  if (metrics_) out.emplace_back("/metrics");
  if (!options_.issuer.empty()) {
    out.emplace_back("/.well-known/openid-configuration");
    out.emplace_back("/openid/v1/jwks");
  }
  for (const auto& g : discovery_.groups()) {
    if (!g.group.empty()) out.push_back("/apis/" + g.group);
    for (const auto& v : g.versions) out.push_back(g.group.empty() ? "/api/" + v : "/apis/" + g.group + "/" + v);
  }
  for (auto& path : health_.Paths()) out.push_back(std::move(path));
  std::sort(out.begin(), out.end());
  return out;
}

Paths::Task Paths::Text(Exchange& e, std::string body) { (void)co_await e.Respond(200, Of(kPlain), std::move(body)); }

Paths::Task Paths::Root(Exchange& e) {
  List paths;
  for (auto& path : AllPaths()) paths.emplace_back(std::move(path));
  (void)co_await e.Respond(200, Of(kJson),
                           machinery::value::ToJson(Value(Map{{"paths", Value(std::move(paths))}}), true));
}

Paths::Task Paths::Version(Exchange& e) {
  (void)co_await e.Respond(200, Of(kJson), machinery::value::ToJson(VersionInfo(), true));
}

Paths::Task Paths::ServeHealth(Exchange& e) {
  auto answer = health_.Evaluate(e.path(), e.query());
  if (answer.code == 404) {
    co_await NotFoundPage(e);
    co_return;
  }
  Headers h = Of(kPlain);
  if (answer.root || answer.code != 200) h.Add("x-content-type-options", "nosniff");
  (void)co_await e.Respond(answer.code, std::move(h), std::move(answer.body));
}

Paths::Task Paths::Answer(Exchange& e, const Value& document, std::string_view kind) {
  constexpr std::string_view kYaml = "application/yaml", kProtobuf = "application/vnd.kubernetes.protobuf";
  std::string media = RestFront::Negotiate(e.headers().Get("accept"), {kJson, kYaml, kProtobuf});
  const auto* type = registry_.schema().FindObject("", "v1", kind);
  if (media == kProtobuf && type) {
    (void)co_await e.Respond(200, Of(kProtobuf), machinery::codec::EncodeEnvelope(*type, document));
  } else if (media == kYaml) {
    (void)co_await e.Respond(200, Of(kYaml), machinery::value::ToYaml(document));
  } else if (media == kJson) {
    (void)co_await e.Respond(200, Of(kJson), machinery::value::ToJson(document) + "\n");
  } else {
    co_await RestFront::RespondError(
        e, object::NotAcceptable({std::string(kJson), std::string(kYaml), std::string(kProtobuf)}));
  }
}

Paths::Task Paths::Cached(Exchange& e, Headers headers, base::SharedBytes body, const std::string& etag) {
  std::string quoted = "\"" + etag + "\"";
  headers.Add("etag", quoted);
  for (std::string_view seen : e.headers().GetAll("if-none-match")) {
    if (seen != quoted && seen != "W/" + quoted && seen != "*") continue;
    headers.Remove("content-type");
    (void)co_await e.Respond(304, std::move(headers), std::string());
    co_return;
  }
  (void)co_await e.Respond(200, std::move(headers), std::move(body));
}

Paths::Task Paths::Api(Exchange& e, bool core) {
  std::string version = AggregatedVersion(e.headers().Get("accept"));
  if (version.empty()) {
    if (core)
      co_await Answer(e, discovery_.Versions(), "APIVersions");
    else
      co_await Answer(e, discovery_.Groups(), "APIGroupList");
    co_return;
  }
  Document& doc = documents_[(core ? "/api " : "/apis ") + version];
  if (!doc.body) {
    doc.body = base::Share(machinery::value::ToJson(discovery_.Aggregated(core, version)) + "\n");
    doc.etag = base::Upper(base::HexEncode(base::Sha256(*doc.body)));
  }
  Headers h = Of("application/json;g=apidiscovery.k8s.io;v=" + version + ";as=APIGroupDiscoveryList", "public");
  h.Add("vary", "Accept");
  co_await Cached(e, std::move(h), doc.body, doc.etag);
}

// "/api/v1", "/apis/apps", "/apis/apps/v1".
Paths::Task Paths::Group(Exchange& e) {
  std::string_view path = e.path();
  while (path.ends_with('/')) path.remove_suffix(1);
  bool core = path.starts_with("/api/");
  path.remove_prefix(core ? 5 : 6);
  size_t slash = path.find('/');
  std::string_view group = core ? "" : path.substr(0, slash);
  std::string_view version = core ? path : slash == path.npos ? "" : path.substr(slash + 1);
  if (!core && version.empty()) {
    if (auto doc = discovery_.Group(group))
      co_await Answer(e, *doc, "APIGroup");
    else
      co_await NotFoundPage(e);
    co_return;
  }
  if (auto doc = discovery_.Resources(group, version)) {
    co_await Answer(e, *doc, "APIResourceList");
  } else if (!core && !discovery_.Group(group)) {
    co_await NotFoundPage(e);
  } else {
    co_await RestFront::RespondError(e, object::UnknownPath());
  }
}

Paths::Task Paths::OpenApiV2(Exchange& e) {
  // The name with '@' is the older one; answers carry the other.
  constexpr std::string_view kProtobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  constexpr std::string_view kProtobufAt = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
  std::string media = RestFront::Negotiate(e.headers().Get("accept"), {kJson, kProtobufAt, kProtobuf});
  if (media.empty()) {
    (void)co_await e.Respond(406, Of(kPlain), std::string("406 Not Acceptable\n"));
    co_return;
  }
  bool protobuf = media != kJson;
  std::string name = protobuf ? "/openapi/v2 protobuf" : "/openapi/v2";
  if (last_openapi_.first != name) {
    std::string text = openapi_.V2();
    if (protobuf) {
      auto tree = machinery::value::FromJson(text);
      // unreachable from outside: the document is made here
      CHECK_MSG(tree.has_value(), "our own document parses");
      text = machinery::ops::OpenApiV2Protobuf(*tree);
    }
    auto body = base::Share(std::move(text));
    last_openapi_ = {name, {body, base::Upper(base::HexEncode(base::Sha256(*body)))}};
  }
  co_await Cached(e, Of(protobuf ? kProtobuf : kJson), last_openapi_.second.body, last_openapi_.second.etag);
}

Paths::Task Paths::OpenApiV3(Exchange& e) {
  std::string_view path = e.path();
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/openapi/v3") {
    if (openapi_index_.empty()) openapi_index_ = openapi_.V3Index();
    (void)co_await e.Respond(200, Of(kPlain), openapi_index_);
    co_return;
  }
  std::string name(path.substr(std::string_view("/openapi/v3/").size()));
  std::string media = RestFront::Negotiate(e.headers().Get("accept"), {kJson});
  if (media.empty()) {
    (void)co_await e.Respond(406, Of(kPlain), std::string("OpenAPI v3 is served as application/json only\n"));
    co_return;
  }
  if (last_openapi_.first != path) {
    auto text = openapi_.V3(name);
    if (!text) {
      co_await NotFoundPage(e);
      co_return;
    }
    last_openapi_ = {std::string(path), {base::Share(std::move(*text)), openapi_.Hash(name)}};
  }
  // A document named by its hash never changes; a hash that is not (any more) the document's leads to the right one.
  const std::string etag = last_openapi_.second.etag;
  auto body = last_openapi_.second.body;
  Headers h = Of(kJson);
  for (const auto& [key, value] : base::net::ParseQuery(e.query())) {
    if (key != "hash") continue;
    if (value != etag) {
      Headers moved = Of(kPlain);
      moved.Add("location", std::string(path) + "?hash=" + etag);
      (void)co_await e.Respond(301, std::move(moved), std::string());
      co_return;
    }
    h = Of(kJson, "public, immutable");
    h.Add("expires", "Fri, 01 Jan 2100 00:00:00 GMT");
  }
  h.Add("vary", "Accept");
  co_await Cached(e, std::move(h), std::move(body), etag);
}

Paths::Task Paths::OpenIdConfiguration(Exchange& e) {
  List algorithms;
  for (const auto& key : options_.keys)
    if (std::find(algorithms.begin(), algorithms.end(), Value(key.algorithm())) == algorithms.end())
      algorithms.emplace_back(key.algorithm());
  std::string uri =
      options_.jwks_uri.empty() ? "https://" + options_.server_address + "/openid/v1/jwks" : options_.jwks_uri;
  Value doc(Map{{"issuer", Value(options_.issuer)},
                {"jwks_uri", Value(uri)},
                {"response_types_supported", Value(List{Value("id_token")})},
                {"subject_types_supported", Value(List{Value("public")})},
                {"id_token_signing_alg_values_supported", Value(std::move(algorithms))}});
  (void)co_await e.Respond(200, Of(kJson, "public, max-age=3600"), machinery::value::ToJson(doc));
}

Paths::Task Paths::Keys(Exchange& e) {
  constexpr std::string_view kJwkSet = "application/jwk-set+json";
  if (RestFront::Negotiate(e.headers().Get("accept"), {kJwkSet}).empty()) {
    co_await RestFront::RespondError(e, object::NotAcceptable({std::string(kJwkSet)}));
    co_return;
  }
  (void)co_await e.Respond(200, Of(kJwkSet, "public, max-age=3600"), auth::JwkSet(options_.keys));
}

}  // namespace apiserver::paths
