// What a writer is told about volumes: plug-ins that are gone, and files of one volume that would stand in each other's
// way.
#include <algorithm>
#include <map>

#include "apiserver/registry/validation/warn.h"

namespace apiserver::registry::validation {
namespace {

struct OldVolume {
  const char *field, *since;
};
constexpr OldVolume kOldVolumes[] = {
    {"photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
    {"gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
    {"scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
    {"flocker", "deprecated in v1.22, non-functional in v1.25+"},
    {"storageos", "deprecated in v1.22, non-functional in v1.25+"},
    {"quobyte", "deprecated in v1.22, non-functional in v1.25+"},
    {"glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
    {"cephfs", "deprecated in v1.28, non-functional in v1.31+"},
    {"rbd", "deprecated in v1.28, non-functional in v1.31+"},
};

// A file of a volume and what puts it there.
struct Source {
  std::string path, origin;
  std::string Quoted() const { return object::GoQuote(path) + (origin.empty() ? "" : " (" + origin + ")"); }
};

Source Of(std::string path, std::string origin) {
  while (path.ends_with('/')) path.pop_back();
  return {std::move(path), std::move(origin)};
}

std::vector<Source> SourcesOf(const Value& items, const std::string& origin) {
  std::vector<Source> out;
  for (const Value& item : Items(items)) out.push_back(Of(Text(item.At("path")), origin));
  return out;
}

// Files by path with a slash at its end, in the order of paths: what lies below a path follows it.
using Places = std::multimap<std::string, size_t>;

// The files that one would stand in the way of: at its path, above it, below it; in the order in which they came.
std::vector<size_t> InTheWay(const Places& places, const std::string& path) {
  std::vector<size_t> out;
  std::string below = path + "/";
  for (auto it = places.lower_bound(below); it != places.end() && it->first.starts_with(below); ++it)
    out.push_back(it->second);
  for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
    auto [first, last] = places.equal_range(path.substr(0, slash + 1));
    for (auto it = first; it != last; ++it) out.push_back(it->second);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void WarnOfOverlaps(const std::string& volume, const std::string& what, const std::vector<Source>& files,
                    Warnings& out) {
  constexpr size_t kMaxPath = 1024;  // nobody writes longer ones, and each costs its length times its depth
  Places places;
  for (size_t i = 0; i < files.size() && !out.full(); ++i) {
    if (files[i].path.empty() || files[i].path.size() > kMaxPath) continue;
    for (size_t j : InTheWay(places, files[i].path))
      out.Add("volume " + object::GoQuote(volume) + " (" + what + "): overlapping paths: " + files[i].Quoted() +
              " with " + files[j].Quoted());
    places.emplace(files[i].path + "/", i);
  }
}

std::vector<Source> SourcesOfProjection(const Value& p) {
  auto named = [](const char* what, const Value& v) {
    return std::string(what) + " " + object::GoQuote(v.string_or());
  };
  if (const Value& v = p.At("configMap"); v.At("items").is_list())
    return SourcesOf(v.At("items"), named("ConfigMap", v.At("name")));
  if (const Value& v = p.At("secret"); v.At("items").is_list())
    return SourcesOf(v.At("items"), named("Secret", v.At("name")));
  if (const Value& v = p.At("downwardAPI"); v.At("items").is_list()) return SourcesOf(v.At("items"), "DownwardAPI");
  if (const Value& v = p.At("serviceAccountToken"); v.is_map()) return {Of(Text(v.At("path")), "ServiceAccountToken")};
  if (const Value& v = p.At("clusterTrustBundle"); v.is_map()) {
    const Value& name = v.At("name").is_string() ? v.At("name") : v.At("signerName");
    return {Of(Text(v.At("path")), named("ClusterTrustBundle", name))};
  }
  std::vector<Source> out;
  const Value& certificate = p.At("podCertificate");
  for (auto [field, what] :
       {std::pair{"certificateChainPath", "PodCertificate chain"}, std::pair{"keyPath", "PodCertificate key"},
        std::pair{"credentialBundlePath", "PodCertificate credential bundle"}})
    if (!NoText(certificate.At(field))) out.push_back(Of(Text(certificate.At(field)), what));
  return out;
}

bool SaysNothing(const Value& projection) {
  if (!projection.is_map()) return true;
  for (const auto& e : projection.map())
    if (!e.value.is_null()) return false;
  return true;
}

void WarnOfFiles(const Value& volume, Warnings& out) {
  std::string name = Text(volume.At("name"));
  if (const Value& v = volume.At("configMap"); v.is_map())
    WarnOfOverlaps(name, "ConfigMap " + object::GoQuote(v.At("name").string_or()), SourcesOf(v.At("items"), ""), out);
  if (const Value& v = volume.At("secret"); v.is_map())
    WarnOfOverlaps(name, "Secret " + object::GoQuote(v.At("secretName").string_or()), SourcesOf(v.At("items"), ""),
                   out);
  if (const Value& v = volume.At("downwardAPI"); v.is_map())
    WarnOfOverlaps(name, "DownwardAPI", SourcesOf(v.At("items"), ""), out);
  std::vector<Source> all;
  for (const Value& projection : Items(volume.At("projected", "sources"))) {
    if (SaysNothing(projection)) out.Add("volume " + object::GoQuote(name) + " (Projected) has no sources provided");
    for (Source& s : SourcesOfProjection(projection)) all.push_back(std::move(s));
  }
  WarnOfOverlaps(name, "Projected", all, out);
}

}  // namespace

void WarnOfVolumes(const Value& volumes, const std::string& path, Warnings& out) {
  const List& list = Items(volumes);
  for (size_t i = 0; i < list.size(); ++i) {
    std::string at = Index(path, i);
    for (const OldVolume& old : kOldVolumes)
      if (list[i].At(old.field).is_map())
        // The field's own path is spelt in the original's words, which for one of them is not the JSON name.
        out.Add(Child(at, std::string_view(old.field) == "storageos" ? "storageOS" : old.field) + ": " + old.since);
    WarnOfClaimSpec(list[i].At("ephemeral", "volumeClaimTemplate", "spec"),
                    Child(Child(at, "ephemeral"), "volumeClaimTemplate", "spec"), out);
  }
  for (const Value& volume : list) WarnOfFiles(volume, out);
}

}  // namespace apiserver::registry::validation
