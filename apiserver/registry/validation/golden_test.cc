// Against what a real server refused: every recorded 422 that the rules of a kind cause, with all its causes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "apiserver/registry/validation/validation.h"
#include "base/strings.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/ops/conversion.h"
#include "machinery/ops/defaulting.h"
#include "machinery/ops/patch.h"
#include "machinery/ops/validation.h"
#include "proto/schema_blob.h"

namespace apiserver::registry::validation {
namespace {

namespace fs = std::filesystem;
namespace codec = machinery::codec;
namespace object = machinery::object;
namespace ops = machinery::ops;
namespace schema = machinery::schema;
using machinery::value::List;

fs::path Recorded() {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  fs::path root = shared ? fs::path(shared) : source ? fs::path(source) / ".." / "shared" : fs::path();
  return root / "golden" / "rest-v1.36";
}

const schema::Schema& TheSchema() {
  static const schema::Schema& schema = *schema::Schema::FromDescriptors({::proto::SchemaBlob()}).release();
  return schema;
}

const schema::Kind* FindKind(std::string_view api_version, std::string_view kind) {
  for (const schema::Kind& k : TheSchema().kinds())
    if (k.kind == kind && k.ApiVersion() == api_version) return &k;
  return nullptr;
}

// The version whose trees the rules read.
const schema::Kind* StorageKind(const schema::Kind& kind) {
  if (kind.kind == "Event") return FindKind("v1", "Event");
  if (kind.kind == "HorizontalPodAutoscaler") return FindKind("autoscaling/v2", kind.kind);
  return &kind;
}

// What other parts of the server refuse: options, bodies no object can be made of, patches, allocation.
const std::set<std::string> kNotOfRules = {
    "crud-019",     "crud-022",     "crud-023",     "crud-032",     "crud-035",    "crud-068",
    "patches-004",  "patches-005",  "patches-008",  "patches-009",  "patches-017", "patches-018",
    "services-002", "services-003", "services-011", "services-012", "services-021"};
// Ends with a diff of two whole pod specs as Go prints them.
const std::set<std::string> kKnownDifferent = {"patches-021"};

// The recording has normalised what differs from run to run; the rules must read it again.
void FillIn(std::string& line) {
  constexpr std::string_view kTexts[][2] = {
      {"<time>", "2026-01-01T00:00:00Z"}, {"<uid>", "5c2c8d0e-0000-4000-8000-000000000000"}, {"<random>", "abcde"}};
  for (const auto& text : kTexts)
    for (size_t at; (at = line.find(text[0])) != std::string::npos;) line.replace(at, text[0].size(), text[1]);
}

// What the server does with a new object before it looks at it: namespace, allocation, selectors.
void Prepare(const schema::Kind& kind, const std::string& path, Value& o) {
  auto parts = base::Split(path, '/');
  for (size_t i = 0; i + 2 < parts.size(); ++i)
    if (kind.namespaced && parts[i] == "namespaces") object::SetNamespace(o, parts[i + 1]);
  if (kind.kind == "Service" && o.At("spec", "clusterIP").is_string()) {
    List ips = {o.At("spec", "clusterIP")};
    o.Ensure("spec").Set("clusterIPs", Value(std::move(ips)));
  }
  if (kind.kind == "Job" && o.At("spec").is_map()) {
    object::SetUid(o, "u");
    Value labels;
    for (const char* key : {"controller-uid", "batch.kubernetes.io/controller-uid"}) labels.Set(key, "u");
    for (const char* key : {"job-name", "batch.kubernetes.io/job-name"}) labels.Set(key, object::NameOf(o));
    o.Ensure("spec").Ensure("template").Ensure("metadata").Set("labels", labels);
    o.Ensure("spec").Ensure("selector").Ensure("matchLabels").Set("controller-uid", "u");
  }
}

std::multiset<std::string> Ours(const FieldErrors& errors) {
  std::multiset<std::string> out;
  for (const auto& e : errors) out.insert(e.field + " | " + std::string(e.Reason()) + " | " + e.Message());
  return out;
}
std::multiset<std::string> Theirs(const Value& answer) {
  std::multiset<std::string> out;
  const Value& causes = answer.At("details", "causes");
  for (size_t i = 0; causes.is_list() && i < causes.list().size(); ++i) {
    const Value& c = causes.At(i);
    out.insert(std::string(c.At("field").string_or()) + " | " + std::string(c.At("reason").string_or()) + " | " +
               std::string(c.At("message").string_or()));
  }
  return out;
}

class Replay {
 public:
  // Compares one refused write; false: nothing of it can be rebuilt here.
  bool Refused(const Value& e, FieldErrors* errors) {
    const Value &request = e.At("request"), &body = request.At("body");
    std::string method(request.At("method").string_or()), path = PathOf(request);
    if (path.ends_with("/log")) {
      *errors = ValidatePodLogOptions(LogOptions(std::string(request.At("path").string_or())));
      return true;
    }
    if (path.ends_with("/token")) {
      *errors = ValidateTokenRequest(body);
      return true;
    }
    if (method == "POST") {
      std::string kind_name(object::KindOf(body)), version(object::ApiVersionOf(body));
      const schema::Kind* kind = FindKind(version, kind_name);
      if (!kind || !body.is_map()) return false;
      Value o = Complete(*kind, body);
      Prepare(*kind, path, o);
      *errors = Create(*kind, std::move(o));
      return true;
    }
    bool is_scale = path.ends_with("/scale"), is_status = path.ends_with("/status");
    if (is_scale || is_status) path.resize(path.rfind('/'));
    auto found = state_.find(path);
    if (found == state_.end()) return false;
    const Value& before = found->second;
    if (is_scale) {
      Value scale;
      scale.Set("metadata", object::MetaOf(before));
      scale.Set("spec", body.At("spec"));
      *errors = ValidateScale(scale);
      return true;
    }
    const schema::Kind* kind = FindKind(object::ApiVersionOf(before), object::KindOf(before));
    if (!kind) return false;
    auto after = Changed(method, request, *kind, before);
    if (!after) return false;
    if (is_status) {
      // The single address leads the list.
      const Value& address = after->At("status", "podIP");
      if (address.is_string() && !(address == after->At("status", "podIPs").At(size_t{0}).At("ip"))) {
        Value ip;
        ip.Set("ip", address);
        after->Ensure("status").Set("podIPs", Value(List{ip}));
      }
      *errors = ValidateStatusUpdate(*kind, *after, before);
      return true;
    }
    *errors = Update(*kind, Complete(*kind, *after), Complete(*kind, before));
    return true;
  }

  void Remember(const Value& e) {
    const Value& answer = e.At("response");
    int64_t status = e.At("status").int_or();
    if (status >= 300 || !answer.is_map() || e.At("request", "path").string_or().find("dryRun") != std::string::npos)
      return;
    if (object::NameOf(answer).empty() || object::KindOf(answer) == "Table" || object::KindOf(answer) == "Scale")
      return;
    std::string path = PathOf(e.At("request"));
    for (const char* sub : {"/status", "/ephemeralcontainers", "/resize"})
      if (path.ends_with(sub)) path.resize(path.size() - std::string_view(sub).size());
    std::string name(object::NameOf(answer));
    state_[path.ends_with("/" + name) ? path : path + "/" + name] = answer;
  }

 private:
  // The query of a path as PodLogOptions.
  static Value LogOptions(const std::string& path) {
    Value options;
    for (const std::string& pair : base::Split(path.substr(path.find('?') + 1), '&')) {
      auto parts = base::Split(pair, '=');
      bool number = parts[0] == "tailLines" || parts[0] == "sinceSeconds" || parts[0] == "limitBytes";
      options.Set(parts[0], number ? Value(int64_t{std::stoll(parts[1])}) : Value(parts[1]));
    }
    return options;
  }
  static std::string PathOf(const Value& request) {
    std::string path(request.At("path").string_or());
    return path.substr(0, path.find('?'));
  }
  Value Complete(const schema::Kind& kind, const Value& body) {
    auto o = codec::Normalize(*kind.type, body);
    EXPECT_TRUE(o.has_value());
    if (!o) return body;
    defaulter_.Apply(kind, *o, "2026-01-01T00:00:00Z");
    return *o;
  }
  static Value Stored(const schema::Kind& kind, Value o) {
    const schema::Kind* storage = StorageKind(kind);
    if (storage == &kind) return o;
    auto converted = ops::Convert(kind.kind, kind.ApiVersion(), storage->ApiVersion(), std::move(o));
    return converted ? *converted : Value();
  }
  static FieldErrors Create(const schema::Kind& kind, Value o) {
    o = Stored(kind, std::move(o));
    if (kind.kind == "Event" && kind.group == "events.k8s.io") return ValidateEventOfEventsGroup(o);
    FieldErrors errors = Validate(*StorageKind(kind), o);
    if (errors.empty())
      errors = ops::ValidateObjectMeta(o, {.namespaced = kind.namespaced, .name = object::NameIsPathSegment});
    return errors;
  }
  static FieldErrors Update(const schema::Kind& kind, Value now, Value before) {
    now = Stored(kind, std::move(now));
    before = Stored(kind, std::move(before));
    if (kind.kind == "Service" && !(now.At("spec", "clusterIP") == before.At("spec", "clusterIP"))) {
      List ips = {now.At("spec", "clusterIP")};  // the older field leads
      now.Ensure("spec").Set("clusterIPs", Value(std::move(ips)));
    }
    if (kind.kind == "Node" && !(now.At("spec", "podCIDR") == before.At("spec", "podCIDR"))) {
      List cidrs = {now.At("spec", "podCIDR")};
      now.Ensure("spec").Set("podCIDRs", Value(std::move(cidrs)));
    }
    FieldErrors errors = ops::ValidateObjectMetaUpdate(now, before);
    object::Append(errors, ValidateUpdate(*StorageKind(kind), now, before));
    return errors;
  }
  static base::Result<Value> Changed(const std::string& method, const Value& request, const schema::Kind& kind,
                                     const Value& before) {
    const Value& body = request.At("body");
    std::string type(request.At("headers", "Content-Type").string_or());
    if (method == "PATCH" && type.starts_with("application/json-patch")) return ops::ApplyJsonPatch(before, body);
    if (method == "PATCH" && type.starts_with("application/merge-patch")) return ops::ApplyMergePatch(before, body);
    if (method == "PATCH") return ops::ApplyStrategicMergePatch(*kind.type, before, body);
    Value after = body;
    for (const char* field :
         {"uid", "creationTimestamp", "resourceVersion", "namespace", "managedFields", "generation"})
      object::SetMeta(after, field, object::MetaOf(before).At(field));
    return after;
  }

  ops::Defaulter defaulter_{TheSchema()};
  std::map<std::string, Value> state_;  // last answers by path
};

TEST(Golden, RefusedWritesHaveTheOriginalsCauses) {
  if (!fs::exists(Recorded())) GTEST_SKIP() << "no recorded exchanges at " << Recorded();
  Replay replay;
  int equal = 0, unknown = 0;
  for (const char* topic : {"crud", "patches", "pods", "services", "workloads", "cluster", "access"}) {
    std::ifstream in(Recorded() / (std::string(topic) + ".jsonl"));
    for (std::string line; std::getline(in, line);) {
      FillIn(line);
      auto e = machinery::value::FromJson(line);
      if (!e) continue;
      std::string id(e->At("id").string_or());
      if (e->At("status").int_or() != 422) {
        replay.Remember(*e);
        continue;
      }
      if (kNotOfRules.count(id) || kKnownDifferent.count(id)) continue;
      FieldErrors errors;
      if (!replay.Refused(*e, &errors)) {
        ++unknown;
        std::cout << id << " cannot be rebuilt\n";
        continue;
      }
      auto ours = Ours(errors), theirs = Theirs(e->At("response"));
      equal += ours == theirs;
      std::vector<std::string> extra, missing;
      std::set_difference(ours.begin(), ours.end(), theirs.begin(), theirs.end(), std::back_inserter(extra));
      std::set_difference(theirs.begin(), theirs.end(), ours.begin(), ours.end(), std::back_inserter(missing));
      for (const std::string& m : extra) ADD_FAILURE() << id << " only ours: " << m;
      for (const std::string& m : missing) ADD_FAILURE() << id << " missing: " << m;
    }
  }
  std::cout << equal << " refused writes equal, " << unknown << " cannot be rebuilt from the answers\n";
  EXPECT_GE(equal, 100);
}

// What was accepted must pass.
TEST(Golden, AcceptedCreatesPass) {
  if (!fs::exists(Recorded())) GTEST_SKIP() << "no recorded exchanges at " << Recorded();
  Replay replay;
  int passed = 0;
  for (const char* topic : {"crud", "patches", "pods", "services", "workloads", "cluster", "access"}) {
    std::ifstream in(Recorded() / (std::string(topic) + ".jsonl"));
    for (std::string line; std::getline(in, line);) {
      FillIn(line);
      auto e = machinery::value::FromJson(line);
      if (!e || e->At("status").int_or() != 201 || e->At("request", "method").string_or() != "POST") continue;
      // As answered: with everything that the server adds.
      const Value& answer = e->At("response");
      const schema::Kind* kind = FindKind(object::ApiVersionOf(answer), object::KindOf(answer));
      if (!kind || kind->storage_prefix.empty() || kind != StorageKind(*kind)) continue;
      auto o = codec::Normalize(*kind->type, answer);
      if (!o) continue;
      FieldErrors errors = Validate(*kind, *o);
      passed += errors.empty();
      for (const auto& error : errors)
        ADD_FAILURE() << e->At("id").string_or() << " " << kind->kind << " " << error.ToString();
    }
  }
  std::cout << passed << " accepted objects pass\n";
  EXPECT_GT(passed, 50);
}

}  // namespace
}  // namespace apiserver::registry::validation
