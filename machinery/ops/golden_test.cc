// Against what a real server answered: defaulting and tables of recorded exchanges, and its OpenAPI documents.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/protobuf_wire.h"
#include "base/strings.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/ops/conversion.h"
#include "machinery/ops/defaulting.h"
#include "machinery/ops/openapi.h"
#include "machinery/ops/openapi_protobuf.h"
#include "machinery/ops/patch.h"
#include "machinery/ops/table.h"
#include "proto/schema_blob.h"

namespace machinery::ops {
namespace {

namespace fs = std::filesystem;
using value::Value;

fs::path Golden() {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  fs::path root = shared ? fs::path(shared) : source ? fs::path(source) / ".." / "shared" : fs::path();
  return root / "golden";
}

const schema::Schema& TheSchema() {
  static const schema::Schema& schema = *schema::Schema::FromDescriptors({proto::SchemaBlob()}).release();
  return schema;
}

const schema::Kind* FindKind(std::string_view api_version, std::string_view kind) {
  for (const schema::Kind& k : TheSchema().kinds())
    if (k.kind == kind && k.ApiVersion() == api_version) return &k;
  return nullptr;
}

struct Exchange {
  std::string id, method, path;
  Value request, response;
  int status = 0;
};

std::vector<Exchange> Exchanges(const std::vector<std::string>& topics) {
  std::vector<Exchange> out;
  for (const std::string& topic : topics) {
    std::ifstream in(Golden() / "rest-v1.36" / (topic + ".jsonl"));
    for (std::string line; std::getline(in, line);) {
      // What was normalised must still be read as a time.
      for (size_t at; (at = line.find("\"<time>\"")) != std::string::npos;)
        line.replace(at, 8, "\"2026-01-01T00:00:00Z\"");
      auto v = value::FromJson(line);
      if (!v) continue;
      Exchange e;
      e.id = v->At("id").string_or();
      e.method = v->At("request", "method").string_or();
      e.path = v->At("request", "path").string_or();
      e.request = v->At("request");
      e.response = v->At("response");
      e.status = static_cast<int>(v->At("status").int_or());
      out.push_back(std::move(e));
    }
  }
  return out;
}

// Differences of two trees, as paths; what the recording has normalised to <...> equals anything.
void Diff(const Value& ours, const Value& theirs, const std::string& path, std::vector<std::string>& out) {
  if (theirs.is_string() && theirs.as_string().starts_with('<') && theirs.as_string().ends_with('>') && !ours.is_null())
    return;
  if (ours.is_map() && theirs.is_map()) {
    for (const auto& e : ours.map())
      if (!theirs.map().Has(e.key))
        out.push_back(path + "." + e.key + ": only ours " + value::ToJson(e.value).substr(0, 120));
    for (const auto& e : theirs.map()) {
      const Value* v = ours.map().Find(e.key);
      if (!v) {
        out.push_back(path + "." + e.key + ": missing " + value::ToJson(e.value).substr(0, 120));
      } else {
        Diff(*v, e.value, path + "." + e.key, out);
      }
    }
  } else if (ours.is_list() && theirs.is_list() && ours.list().size() == theirs.list().size()) {
    for (size_t i = 0; i < ours.list().size(); ++i)
      Diff(ours.list()[i], theirs.list()[i], path + "[" + std::to_string(i) + "]", out);
  } else if (!(ours == theirs)) {
    out.push_back(path + ": " + value::ToJson(ours).substr(0, 120) + " against " +
                  value::ToJson(theirs).substr(0, 120));
  }
}

// What a server adds on creation besides defaults: admission, allocation, bookkeeping.
bool IsServersOwn(const std::string& diff) {
  static const char* kPaths[] = {".metadata.uid",
                                 ".metadata.resourceVersion",
                                 ".metadata.creationTimestamp",
                                 ".metadata.managedFields",
                                 ".metadata.namespace",
                                 ".metadata.generation",
                                 ".metadata.name",
                                 ".spec.serviceAccount",
                                 ".spec.priority",
                                 ".spec.preemptionPolicy",
                                 ".status.qosClass",
                                 ".spec.clusterIP",
                                 ".spec.ipFamil",
                                 ".spec.ports[0].nodePort",
                                 ".spec.finalizers",
                                 ".spec.selector",
                                 ".metadata.labels.batch",
                                 ".spec.template.metadata.labels",
                                 ".metadata.finalizers",
                                 ".spec.username",
                                 ".spec.groups",
                                 ".metadata.annotations",
                                 ".spec.uid",
                                 ".spec.extra",
                                 ".status.allocatable",
                                 ".status.phase",
                                 ".metadata.selfLink",
                                 ".metadata.labels: missing {\"batch",
                                 ".stringData",
                                 ".data",
                                 ".status.lastPhaseTransitionTime",
                                 ".spec.storageClassName",
                                 ".spec.containers[0].resources",
                                 ".spec.terminationGracePeriodSeconds"};
  for (const char* p : kPaths)
    if (diff.starts_with(p)) return true;
  return diff.find("against \"2026-01-01T00:00:00Z\"") != std::string::npos || diff.starts_with(".spec.volumes: [") ||
         diff.find("kube-api-access") != std::string::npos ||
         diff.find("node.kubernetes.io/not-ready") != std::string::npos ||
         diff.find(".volumeMounts: missing [{\"name\":\"kube-api") != std::string::npos;
}

TEST(Golden, CreatedObjectsHaveTheOriginalsDefaults) {
  if (!fs::exists(Golden())) GTEST_SKIP() << "no recorded exchanges at " << Golden();
  Defaulter defaulter(TheSchema());
  int equal = 0, different = 0;
  for (const Exchange& e : Exchanges({"crud", "patches", "pods", "services", "workloads", "cluster", "access"})) {
    bool created = e.method == "POST" && e.status == 201 && e.request.At("body").is_map() && e.response.is_map();
    if (!created) continue;
    const Value& body = e.request.At("body");
    const schema::Kind* kind = FindKind(object::ApiVersionOf(body), object::KindOf(body));
    bool subresource = e.path.find("/pods/") != std::string::npos || e.path.find("/token") != std::string::npos;
    if (!kind || subresource || kind->storage_prefix.empty()) continue;
    auto object = codec::Normalize(*kind->type, body);
    ASSERT_TRUE(object.has_value()) << e.id;
    if (kind->reset_status_on_create) object->Remove("status");
    // Nulls and zeros of both sides are those of the codec.
    defaulter.Apply(*kind, *object, "2026-01-01T00:00:00Z");
    auto ours = value::FromJson(codec::EncodeJson(*kind->type, *object));
    std::vector<std::string> diffs;
    Diff(*ours, e.response, "", diffs);
    std::erase_if(diffs, IsServersOwn);
    diffs.empty() ? ++equal : ++different;
    for (const std::string& d : diffs) ADD_FAILURE() << e.id << " " << kind->kind << " " << d;
  }
  EXPECT_GE(equal, 50);
  RecordProperty("equal", equal);
  std::cout << equal << " created objects equal, " << different << " different\n";
}

// The last state of every object that an answer showed, by its path.
std::string ItemPath(const Value& object) {
  const schema::Kind* kind = FindKind(object::ApiVersionOf(object), object::KindOf(object));
  if (!kind) return "";
  std::string ns(object::NamespaceOf(object));
  return kind->group + "/" + kind->resource + "/" + (ns.empty() ? "" : ns + "/") + std::string(object::NameOf(object));
}

TEST(Golden, TablesHaveTheOriginalsCells) {
  if (!fs::exists(Golden())) GTEST_SKIP() << "no recorded exchanges at " << Golden();
  std::map<std::string, Value> state;
  int rows = 0, unknown = 0;
  for (const Exchange& e :
       Exchanges({"crud", "lists", "patches", "apply", "pods", "services", "workloads", "cluster", "access"})) {
    const Value& r = e.response;
    if (r.At("kind").string_or().ends_with("List") && r.At("items").is_list()) {
      std::string kind(r.At("kind").string_or());
      for (Value item : r.At("items").list()) {
        object::SetKind(item, r.At("apiVersion").string_or(), kind.substr(0, kind.size() - 4));
        state[ItemPath(item)] = item;
      }
    }
    if (r.is_map() && e.status < 300 && e.path.find("dryRun") == std::string::npos && !object::NameOf(r).empty() &&
        r.At("kind").string_or() != "Table")
      state[ItemPath(r)] = r;
    if (r.At("kind").string_or() != "Table") continue;
    std::string path = e.path.substr(0, e.path.find('?'));
    std::vector<std::string> parts = base::Split(path, '/');  // "", api, v1, namespaces, g1, pods[, name]
    std::string api_version = parts[1] == "api" ? parts[2] : parts[2] + "/" + parts[3];
    std::string resource;
    const schema::Kind* kind = nullptr;
    for (const schema::Kind& k : TheSchema().kinds())
      for (size_t i = 3; i < parts.size(); ++i)
        if (k.ApiVersion() == api_version && k.resource == parts[i] && (i + 1 == parts.size() || i + 2 == parts.size()))
          if (!(k.resource == "namespaces" && parts.size() > i + 2)) kind = &k;
    ASSERT_NE(kind, nullptr) << e.path;
    for (const Value& row : r.At("rows").list()) {
      std::string name(kind->kind == "Event" ? row.At("cells").list().back().string_or()
                                             : row.At("cells").At(size_t{0}).string_or());
      std::string ns = kind->namespaced ? "g1/" : "";
      auto found = state.find(kind->group + "/" + kind->resource + "/" + ns + name);
      if (found == state.end()) {
        ++unknown;
        continue;
      }
      Value object = found->second;
      if (object::ApiVersionOf(object) != kind->ApiVersion())
        object = *Convert(kind->kind, object::ApiVersionOf(object), kind->ApiVersion(), object);
      Value table =
          MakeTable(*kind, r.At("metadata"), {&object}, {.now = base::WallTime(std::chrono::hours(24 * 365 * 60))});
      std::vector<std::string> diffs;
      Diff(table.At("rows").At(size_t{0}).At("cells"), row.At("cells"), "cells", diffs);
      std::erase_if(diffs, [&](const std::string& d) {
        // A binding's answer does not show the pod; normalised selectors cannot be read; the last answer that showed
        // the autoscaler was in its older version, which keeps metrics in another order.
        return (kind->kind == "Pod" && d.starts_with("cells[6]")) || d.find("controller-uid") != std::string::npos ||
               e.id == "workloads-053";
      });
      for (const std::string& d : diffs) ADD_FAILURE() << e.id << " " << name << " " << d;
      ++rows;
      for (size_t i = 0; i < r.At("columnDefinitions").list().size(); ++i) {
        const Value& theirs = r.At("columnDefinitions").At(i);
        for (const char* f : {"name", "type", "format", "priority"})
          EXPECT_EQ(table.At("columnDefinitions").At(i).At(f), theirs.At(f)) << e.id << " " << f << " " << i;
      }
    }
  }
  std::cout << rows << " rows compared, " << unknown << " of objects that no answer showed\n";
  EXPECT_GT(rows, 40);
}

TEST(Golden, PatchesGiveTheOriginalsObjects) {
  if (!fs::exists(Golden())) GTEST_SKIP() << "no recorded exchanges at " << Golden();
  Defaulter defaulter(TheSchema());
  std::map<std::string, Value> state;
  int applied = 0;
  for (const Exchange& e : Exchanges({"patches"})) {
    std::string type(e.request.At("headers", "Content-Type").string_or());
    if (e.method == "PATCH" && e.status == 200 && e.path.find("scale") == std::string::npos) {
      Value before = state.at(e.path);
      const schema::Kind* kind = FindKind(object::ApiVersionOf(before), object::KindOf(before));
      ASSERT_NE(kind, nullptr);
      const Value& body = e.request.At("body");
      auto after = type.starts_with("application/json-patch")    ? ApplyJsonPatch(before, body)
                   : type.starts_with("application/merge-patch") ? ApplyMergePatch(before, body)
                                                                 : ApplyStrategicMergePatch(*kind->type, before, body);
      ASSERT_TRUE(after.has_value()) << e.id << " " << after.error().ToString();
      auto normal = codec::Normalize(*kind->type, *after);
      ASSERT_TRUE(normal.has_value()) << e.id;
      defaulter.Apply(*kind, *normal);
      std::vector<std::string> diffs;
      Diff(*value::FromJson(codec::EncodeJson(*kind->type, *normal)), e.response, "", diffs);
      std::erase_if(diffs, [](const std::string& d) {
        return d.starts_with(".metadata.managedFields") || d.starts_with(".metadata.generation") ||
               d.find(".serviceAccount") != std::string::npos;
      });
      for (const std::string& d : diffs) ADD_FAILURE() << e.id << " " << d;
      ++applied;
    }
    if (e.status < 300 && e.response.is_map()) {
      state[e.method == "POST" ? e.path + "/" + std::string(object::NameOf(e.response)) : e.path] = e.response;
    }
  }
  EXPECT_GT(applied, 15);
}

// --- OpenAPI ---

TEST(OpenApi, Version2AsProtobuf) {
  auto field = [](int number, const std::string& bytes) {
    std::string out;
    base::wire::PutBytes(out, static_cast<uint32_t>(number), bytes);
    return out;
  };
  auto doc = value::FromJson(R"({"swagger":"2.0","paths":{"/a":{"get":{"operationId":"g","parameters":[
      {"name":"q","in":"query","type":"string","uniqueItems":true}]}}},
    "definitions":{"d":{"type":"string","x-k":"v","additionalProperties":{"$ref":"r"}}}})");
  ASSERT_TRUE(doc.has_value());
  std::string query = field(2, "query") + field(4, "q") + field(6, "string") + std::string("\xa0\x01\x01", 3);
  std::string get = field(5, "g") + field(8, field(1, field(2, field(3, query))));
  std::string schema = field(21, field(1, field(1, "r"))) + field(22, field(1, "string")) +
                       field(31, field(1, "x-k") + field(2, field(2, "v\n")));
  EXPECT_EQ(OpenApiV2Protobuf(*doc), field(1, "2.0") + field(8, field(2, field(1, "/a") + field(2, field(2, get)))) +
                                         field(9, field(1, field(1, "d") + field(2, schema))));
}

Value ReadGzip(const fs::path& path) {
  std::string command = "gzip -dc " + path.string();
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[65536];
  while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
  pclose(pipe);
  auto v = value::FromJson(text);
  return v ? std::move(*v) : Value();
}

// Texts are ours, the order of parameters and methods is nobody's.
Value Comparable(Value v, const Value& root) {
  if (v.is_map()) {
    if (const Value& ref = v.At("$ref"); ref.string_or().starts_with("#/parameters/")) {
      std::string name(ref.string_or().substr(13));
      return Comparable(root.At("parameters").At(name), root);
    }
    if (v.At("description").is_string()) v.Remove("description");
    for (auto& e : v.map().entries()) e.value = Comparable(std::move(e.value), root);
    if (const Value& p = v.At("parameters"); p.is_list()) {
      std::map<std::string, Value> sorted;
      for (const Value& item : p.list())
        sorted[std::string(item.At("name").string_or()) + " " + std::string(item.At("in").string_or())] = item;
      value::Map m;
      for (auto& [k, item] : sorted) m.Set(k, item);
      v.Set("parameters", Value(std::move(m)));
    }
  } else if (v.is_list()) {
    for (Value& item : v.list()) item = Comparable(std::move(item), root);
  }
  return v;
}

void CompareDocuments(const Value& ours, const Value& theirs, const std::string& name) {
  Value a = Comparable(ours, ours), b = Comparable(theirs, theirs);
  a.Remove("parameters");
  b.Remove("parameters");
  std::vector<std::string> diffs;
  Diff(a, b, "", diffs);
  std::erase_if(diffs, [](const std::string& d) {
    // The original lists group versions there that nobody serves any more.
    return d.find("x-kubernetes-group-version-kind") != std::string::npos &&
           (d.find("meta.v1.DeleteOptions") != std::string::npos || d.find("meta.v1.WatchEvent") != std::string::npos);
  });
  // A reference without siblings stands alone in the original; ours always has a description beside it.
  std::erase_if(diffs, [](const std::string& d) { return d.find("IngressRule.properties.http") != std::string::npos; });
  std::cout << name << ": " << diffs.size() << " differences\n";
  size_t shown = 0;
  for (const std::string& d : diffs)
    if (shown++ < 60) ADD_FAILURE() << name << " " << d;
}

bool Served(const schema::Kind& k) { return k.served_by_default; }

TEST(OpenApiGolden, Version3) {
  if (!fs::exists(Golden() / "openapi-v1.36")) GTEST_SKIP() << "no recorded OpenAPI at " << Golden();
  OpenApi api(TheSchema(), Served, "1.36");
  for (const auto& [file, path] : std::map<std::string, std::string>{
           {"v3-api-v1", "api/v1"},
           {"v3-apis-apps-v1", "apis/apps/v1"},
           {"v3-apis-batch-v1", "apis/batch/v1"},
           {"v3-apis-networking.k8s.io-v1", "apis/networking.k8s.io/v1"},
           {"v3-apis-rbac.authorization.k8s.io-v1", "apis/rbac.authorization.k8s.io/v1"}}) {
    auto text = api.V3(path);
    ASSERT_TRUE(text.has_value()) << path;
    CompareDocuments(*value::FromJson(*text), ReadGzip(Golden() / "openapi-v1.36" / (file + ".json.gz")), path);
  }
  std::ifstream in(Golden() / "openapi-v1.36" / "v3-index.json");
  std::stringstream index;
  index << in.rdbuf();
  std::set<std::string> theirs, ours;
  Value their_index = *value::FromJson(index.str());
  for (const auto& e : their_index.At("paths").map()) theirs.insert(e.key);
  for (const std::string& p : api.V3Paths()) ours.insert(p);
  EXPECT_EQ(ours, theirs);
}

TEST(OpenApiGolden, Version2) {
  if (!fs::exists(Golden() / "openapi-v1.36")) GTEST_SKIP() << "no recorded OpenAPI at " << Golden();
  OpenApi api(TheSchema(), Served, "1.36");
  CompareDocuments(*value::FromJson(api.V2()), ReadGzip(Golden() / "openapi-v1.36" / "v2.json.gz"), "v2");
}

}  // namespace
}  // namespace machinery::ops
