#include "apiserver/paths/discovery.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace apiserver::paths {

using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

// The group of API services itself stands before all others.
constexpr int64_t kRegistrationPriority = 20000;

Value Strings(const std::vector<std::string>& list) { return Value(List(list.begin(), list.end())); }

std::string GroupVersionText(const std::string& group, const std::string& version) {
  return group.empty() ? version : group + "/" + version;
}

// GA before beta before alpha, higher numbers first: "v2" > "v1" > "v1beta2" > "v1alpha1".
std::tuple<int, int, int> VersionRank(std::string_view v) {
  int major = 0, minor = 0;
  size_t i = 1;
  for (; i < v.size() && std::isdigit(static_cast<unsigned char>(v[i])); ++i) major = major * 10 + (v[i] - '0');
  int stage = v.find("alpha") != v.npos ? 0 : v.find("beta") != v.npos ? 1 : 2;
  while (i < v.size() && !std::isdigit(static_cast<unsigned char>(v[i]))) ++i;
  for (; i < v.size(); ++i) minor = minor * 10 + (v[i] - '0');
  return {stage, major, minor};
}

Value VersionEntry(const std::string& group, const std::string& version) {
  return Value(Map{{"groupVersion", Value(GroupVersionText(group, version))}, {"version", Value(version)}});
}

Value GroupEntry(const Discovery::GroupVersions& g, bool standalone) {
  Map out;
  if (standalone) {
    out.Set("kind", "APIGroup");
    out.Set("apiVersion", "v1");
  }
  out.Set("name", g.group);
  List versions;
  for (const auto& v : g.versions) versions.push_back(VersionEntry(g.group, v));
  out.Set("versions", Value(std::move(versions)));
  out.Set("preferredVersion", VersionEntry(g.group, g.versions.front()));
  return Value(std::move(out));
}

// What a subresource speaks, where it is not its parent's kind.
struct Spoken {
  std::string group, version, kind;
};
Spoken SpokenBy(const Kind& kind, const machinery::schema::Subresource& sub) {
  Spoken out{"", "", sub.kind.empty() ? kind.kind : sub.kind};
  if (sub.kind.empty() || sub.version.empty()) return out;
  if (sub.group == kind.group && sub.version == kind.version) return out;
  out.group = sub.group;
  out.version = sub.version;
  return out;
}

Value ResourceEntry(const Kind& kind) {
  Map out{{"name", Value(kind.resource)},
          {"singularName", Value(kind.singular)},
          {"namespaced", Value(kind.namespaced)},
          {"kind", Value(kind.kind)},
          {"verbs", Strings(kind.verbs)}};
  if (!kind.short_names.empty()) out.Set("shortNames", Strings(kind.short_names));
  if (!kind.categories.empty()) out.Set("categories", Strings(kind.categories));
  if (!kind.storage_version_hash.empty()) out.Set("storageVersionHash", kind.storage_version_hash);
  return Value(std::move(out));
}

Value SubresourceEntry(const Kind& kind, const machinery::schema::Subresource& sub) {
  Spoken spoken = SpokenBy(kind, sub);
  Map out{{"name", Value(kind.resource + "/" + sub.name)},
          {"singularName", Value("")},
          {"namespaced", Value(kind.namespaced)}};
  if (!spoken.version.empty()) {
    out.Set("group", spoken.group);
    out.Set("version", spoken.version);
  }
  out.Set("kind", spoken.kind);
  out.Set("verbs", Strings(sub.verbs));
  return Value(std::move(out));
}

Value KindTriple(const Spoken& s) {
  return Value(Map{{"group", Value(s.group)}, {"version", Value(s.version)}, {"kind", Value(s.kind)}});
}

Value AggregatedResource(const Kind& kind) {
  Map out{{"resource", Value(kind.resource)},
          {"responseKind", KindTriple({"", "", kind.kind})},
          {"scope", Value(kind.namespaced ? "Namespaced" : "Cluster")},
          {"singularResource", Value(kind.singular)},
          {"verbs", Strings(kind.verbs)}};
  if (!kind.short_names.empty()) out.Set("shortNames", Strings(kind.short_names));
  if (!kind.categories.empty()) out.Set("categories", Strings(kind.categories));
  std::vector<const machinery::schema::Subresource*> subs;
  for (const auto& s : kind.subresources) subs.push_back(&s);
  std::sort(subs.begin(), subs.end(), [](auto* a, auto* b) { return a->name < b->name; });
  List list;
  for (const auto* s : subs)
    list.push_back(Value(Map{{"subresource", Value(s->name)},
                             {"responseKind", KindTriple(SpokenBy(kind, *s))},
                             {"verbs", Strings(s->verbs)}}));
  if (!list.empty()) out.Set("subresources", Value(std::move(list)));
  return Value(std::move(out));
}

}  // namespace

Discovery::Discovery(const registry::Registry& registry, std::vector<bootstrap::Policy::GroupVersion> priorities,
                     std::string server_address)
    : registry_(registry), server_address_(std::move(server_address)) {
  std::map<std::string, int64_t> group_priority{{"apiregistration.k8s.io", kRegistrationPriority}};
  std::map<std::string, int64_t> version_priority;
  for (const auto& p : priorities) {
    group_priority.emplace(p.group, p.group_priority);
    version_priority[GroupVersionText(p.group, p.version)] = p.version_priority;
  }
  std::map<std::string, std::vector<std::string>> versions;
  for (const auto& served : registry.served()) {
    auto& list = versions[served.kind->group];
    if (std::find(list.begin(), list.end(), served.kind->version) == list.end()) list.push_back(served.kind->version);
  }
  for (auto& [group, list] : versions) {
    std::sort(list.begin(), list.end(), [&](const auto& a, const auto& b) {
      auto rank = [&](const std::string& v) {
        auto it = version_priority.find(GroupVersionText(group, v));
        return std::tuple{std::get<0>(VersionRank(v)), it == version_priority.end() ? 0 : it->second, VersionRank(v)};
      };
      return rank(a) > rank(b);
    });
    groups_.push_back({group, std::move(list)});
  }
  std::sort(groups_.begin(), groups_.end(), [&](const auto& a, const auto& b) {
    if (a.group.empty() != b.group.empty()) return a.group.empty();
    int64_t first = group_priority[a.group], second = group_priority[b.group];
    return first != second ? first > second : a.group < b.group;
  });
}

std::vector<const Kind*> Discovery::KindsOf(std::string_view group, std::string_view version) const {
  std::vector<const Kind*> out;
  for (const auto& served : registry_.served())
    if (served.kind->group == group && served.kind->version == version) out.push_back(served.kind);
  std::sort(out.begin(), out.end(), [](auto* a, auto* b) { return a->resource < b->resource; });
  return out;
}

Value Discovery::Versions() const {
  List versions;
  for (const auto& g : groups_)
    if (g.group.empty())
      for (const auto& v : g.versions) versions.emplace_back(v);
  Value address(Map{{"clientCIDR", Value("0.0.0.0/0")}, {"serverAddress", Value(server_address_)}});
  return Value(Map{{"kind", Value("APIVersions")},
                   {"versions", Value(std::move(versions))},
                   {"serverAddressByClientCIDRs", Value(List{address})}});
}

Value Discovery::Groups() const {
  List groups;
  for (const auto& g : groups_)
    if (!g.group.empty()) groups.push_back(GroupEntry(g, false));
  return Value(Map{{"kind", Value("APIGroupList")}, {"apiVersion", Value("v1")}, {"groups", Value(std::move(groups))}});
}

std::optional<Value> Discovery::Group(std::string_view group) const {
  for (const auto& g : groups_)
    if (!g.group.empty() && g.group == group) return GroupEntry(g, true);
  return std::nullopt;
}

std::optional<Value> Discovery::Resources(std::string_view group, std::string_view version) const {
  auto kinds = KindsOf(group, version);
  if (kinds.empty()) return std::nullopt;
  std::map<std::string, Value> entries;
  for (const Kind* kind : kinds) {
    entries.emplace(kind->resource, ResourceEntry(*kind));
    for (const auto& sub : kind->subresources)
      entries.emplace(kind->resource + "/" + sub.name, SubresourceEntry(*kind, sub));
  }
  List list;
  for (auto& [name, entry] : entries) list.push_back(std::move(entry));
  Map out{{"kind", Value("APIResourceList")}};
  if (!group.empty()) out.Set("apiVersion", "v1");
  out.Set("groupVersion", GroupVersionText(std::string(group), std::string(version)));
  out.Set("resources", Value(std::move(list)));
  return Value(std::move(out));
}

Value Discovery::Aggregated(bool core, std::string_view version) const {
  List items;
  for (const auto& g : groups_) {
    if (g.group.empty() != core) continue;
    List versions;
    for (const auto& v : g.versions) {
      List resources;
      for (const Kind* kind : KindsOf(g.group, v)) resources.push_back(AggregatedResource(*kind));
      versions.push_back(Value(
          Map{{"version", Value(v)}, {"resources", Value(std::move(resources))}, {"freshness", Value("Current")}}));
    }
    Map meta;
    if (!g.group.empty()) meta.Set("name", g.group);
    items.push_back(Value(Map{{"metadata", Value(std::move(meta))}, {"versions", Value(std::move(versions))}}));
  }
  return Value(Map{{"kind", Value("APIGroupDiscoveryList")},
                   {"apiVersion", Value("apidiscovery.k8s.io/" + std::string(version))},
                   {"metadata", Value(Map{})},
                   {"items", Value(std::move(items))}});
}

}  // namespace apiserver::paths
