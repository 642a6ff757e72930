#include "machinery/client/discovery.h"

#include <iterator>

#include "machinery/value/value.h"

namespace machinery::client {
namespace {
constexpr size_t kMaxDocument = 16 << 20;
constexpr char kAccept[] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

base::Task<base::Result<std::vector<DiscoveredResource>>> Ask(base::Context ctx, base::net::Client& http,
                                                              base::net::Headers headers, std::string path) {
  base::net::ClientRequest request;
  request.path = path;
  request.headers = std::move(headers);
  request.headers.Add("accept", kAccept);
  CO_TRY_ASSIGN(auto response, co_await http.Do(ctx, std::move(request)));
  CO_TRY_ASSIGN(auto body, co_await response->ReadAll(ctx, kMaxDocument));
  if (response->status() != 200)
    co_return base::Err(base::Unavailable("discovery of " + path + ": HTTP " + std::to_string(response->status())));
  co_return ParseDiscovery(body);
}
}  // namespace

base::Result<std::vector<DiscoveredResource>> ParseDiscovery(std::string_view json) {
  TRY_ASSIGN(auto document, value::FromJson(json));
  if (document.At("kind").string_or() != "APIGroupDiscoveryList")
    return base::Err(base::Unavailable("the server does not speak aggregated discovery"));
  std::vector<DiscoveredResource> out;
  if (!document.At("items").is_list()) return out;
  for (const auto& group : document.At("items").list()) {
    if (!group.At("versions").is_list()) continue;
    for (const auto& version : group.At("versions").list()) {
      if (!version.At("resources").is_list()) continue;
      for (const auto& r : version.At("resources").list()) {
        DiscoveredResource found;
        found.resource.group = group.At("metadata", "name").string_or();
        found.resource.version = version.At("version").string_or();
        found.resource.resource = r.At("resource").string_or();
        found.resource.kind = r.At("responseKind", "kind").string_or();
        found.resource.namespaced = r.At("scope").string_or() == "Namespaced";
        if (r.At("verbs").is_list())
          for (const auto& verb : r.At("verbs").list()) found.verbs.emplace_back(verb.string_or());
        out.push_back(std::move(found));
      }
    }
  }
  return out;
}

base::Task<base::Result<std::vector<DiscoveredResource>>> Discover(base::Context ctx, base::net::Client& http,
                                                                   base::net::Headers credentials) {
  CO_TRY_ASSIGN(auto out, co_await Ask(ctx, http, credentials, "/api"));
  CO_TRY_ASSIGN(auto groups, co_await Ask(ctx, http, std::move(credentials), "/apis"));
  out.insert(out.end(), std::make_move_iterator(groups.begin()), std::make_move_iterator(groups.end()));
  co_return out;
}

}  // namespace machinery::client
