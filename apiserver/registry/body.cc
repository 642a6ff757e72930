#include "apiserver/registry/body.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "machinery/codec/codec.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/ops/patch.h"

namespace apiserver::registry {

namespace codec = machinery::codec;
namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::request::PatchType;
using machinery::request::Request;
using machinery::schema::Kind;
using machinery::schema::Schema;
using machinery::schema::Type;
using machinery::value::Value;

namespace {

constexpr size_t kSummaryBytes = 30;

// The beginning of a body that could not be understood: text when it looks like JSON, else hex.
std::string Summary(std::string_view body) {
  if (body.empty()) return "<empty>";
  std::string_view head = body.substr(0, kSummaryBytes);
  std::string out = body[0] == '{' ? std::string(head) : base::HexEncode(head);
  return body.size() > kSummaryBytes ? out + " ..." : out;
}

std::string KindNameOf(const Type& type, const Kind* version) {
  if (version) return version->kind;
  return type.name.substr(type.name.rfind('.') + 1);
}

base::Status Unrecognized(std::string_view kind, std::string_view why, std::string_view body) {
  return object::BadRequest("the object provided is unrecognized (must be of type " + std::string(kind) +
                            "): " + std::string(why) + " (" + Summary(body) + ")");
}

base::Status CannotHandle(std::string_view kind, std::string_view version, std::string_view wanted,
                          std::string_view why) {
  return object::BadRequest(std::string(kind) + " in version " + object::GoQuote(version) + " cannot be handled as a " +
                            std::string(wanted) + ": " + std::string(why));
}

// The Go package that holds a group's internal types: "core", "apps", "rbac".
std::string GoPackage(const std::string& group) { return group.empty() ? "core" : group.substr(0, group.find('.')); }

// What the body claims to be; empty parts are taken from the URL.
base::Status CheckClaim(const Schema& schema, const Kind* version, std::string_view wanted, std::string_view kind,
                        std::string_view api_version) {
  if (!version) return base::Ok();
  std::string own = version->ApiVersion();
  std::string claimed_kind(kind.empty() ? version->kind : kind), claimed(api_version.empty() ? own : api_version);
  if (claimed_kind == version->kind && claimed == own) return base::Ok();
  auto gv = object::ParseGroupVersion(claimed);
  if (!schema.FindObject(gv.group, gv.version, claimed_kind))
    return CannotHandle(claimed_kind, gv.version, wanted,
                        "no kind " + object::GoQuote(claimed_kind) + " is registered for version " +
                            object::GoQuote(claimed) + " in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
  if (claimed_kind == version->kind && gv.group == version->group)
    return object::BadRequest("the API version in the data (" + claimed +
                              ") does not match the expected API version (" + own + ")");
  return CannotHandle(claimed_kind, gv.version, wanted,
                      "converting (" + gv.version + "." + claimed_kind + ") to (" + GoPackage(version->group) + "." +
                          version->kind + "): unknown conversion");
}

// Why a JSON or YAML body did not decode.
base::Status ExplainFailure(const Schema& schema, const Kind* version, std::string_view wanted, std::string_view body,
                            bool yaml, const base::Status& failure) {
  auto raw = yaml ? machinery::value::FromYaml(body) : machinery::value::FromJson(body);
  if (!raw) {
    std::string why(raw.error().message());
    return Unrecognized(wanted, yaml ? why : "couldn't get version/kind; json parse error: " + why, body);
  }
  static constexpr std::string_view kGoStruct = "couldn't get version/kind; json parse error: json: cannot unmarshal ";
  static constexpr std::string_view kGoTarget =
      " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
      "\"json:\\\"kind,omitempty\\\"\" }";
  if (!raw->is_map()) {
    std::string_view shape = raw->is_list()     ? "array"
                             : raw->is_string() ? "string"
                             : raw->is_bool()   ? "bool"
                                                : "number";
    return Unrecognized(wanted, std::string(kGoStruct) + std::string(shape) + std::string(kGoTarget), body);
  }
  std::string kind(raw->At("kind").string_or()), api_version(raw->At("apiVersion").string_or());
  TRY(CheckClaim(schema, version, wanted, kind, api_version));
  std::string v = version ? version->version : object::ParseGroupVersion(api_version).version;
  return CannotHandle(kind.empty() ? wanted : std::string_view(kind), v, wanted, failure.message());
}

// Unknown and duplicate fields as the client wants to hear of them.
base::Status Report(const codec::DecodeReport& report, const Request& r, std::string_view kind,
                    std::string_view version, std::vector<std::string>& warnings) {
  if (report.problems.empty()) return base::Ok();
  if (r.options.field_validation == "Strict")
    return CannotHandle(kind, version, kind, "strict decoding error: " + base::Join(report.problems, ", "));
  for (const auto& p : report.problems) warnings.push_back(p);
  return base::Ok();
}

}  // namespace

std::string MediaTypeOf(std::string_view content_type) {
  return base::Lower(base::Trim(content_type.substr(0, content_type.find(';'))));
}

base::Result<Value> DecodeObject(const Schema& schema, const Type& type, const Kind* version, const Request& r,
                                 std::vector<std::string>& warnings) {
  std::string media = MediaTypeOf(r.content_type);
  std::string_view body = r.body ? std::string_view(*r.body) : std::string_view();
  std::string wanted = KindNameOf(type, version);
  if (media == machinery::request::kProtobuf) {
    auto envelope = codec::OpenEnvelope(body);
    if (!envelope) return base::Err(Unrecognized(wanted, envelope.error().message(), body));
    TRY(CheckClaim(schema, version, wanted, envelope->kind, envelope->api_version));
    auto tree = codec::DecodeProtobuf(type, envelope->raw);
    if (!tree) return base::Err(CannotHandle(wanted, version ? version->version : "", wanted, tree.error().message()));
    if (!envelope->kind.empty()) object::SetKind(*tree, envelope->api_version, envelope->kind);
    if (version) object::SetKind(*tree, version->ApiVersion(), version->kind);
    return std::move(*tree);
  }
  bool yaml = media == machinery::request::kYaml;
  if (!yaml && !media.empty() && media != machinery::request::kJson)
    return base::Err(
        object::UnsupportedMediaType({std::string(machinery::request::kJson), std::string(machinery::request::kYaml),
                                      std::string(machinery::request::kProtobuf)}));
  codec::DecodeReport report;
  codec::DecodeOptions options;
  if (r.options.field_validation != "Ignore") options.report = &report;
  auto tree = yaml ? codec::DecodeYaml(type, body, options) : codec::DecodeJson(type, body, options);
  if (!tree) return base::Err(ExplainFailure(schema, version, wanted, body, yaml, tree.error()));
  if (tree->is_null()) *tree = Value(machinery::value::Map{});
  std::string_view kind = tree->At("kind").string_or(), api_version = tree->At("apiVersion").string_or();
  TRY(CheckClaim(schema, version, wanted, kind, api_version));
  TRY(Report(report, r, wanted, version ? version->version : object::ParseGroupVersion(api_version).version, warnings));
  if (version) object::SetKind(*tree, version->ApiVersion(), version->kind);
  return std::move(*tree);
}

base::Status MatchNamespace(const std::string& request_namespace, Value& obj) {
  std::string own(object::NamespaceOf(obj));
  if (own == request_namespace) return base::Ok();
  if (!own.empty() && !request_namespace.empty())
    return object::BadRequest("the namespace of the provided object does not match the namespace sent on the request");
  object::SetNamespace(obj, request_namespace);
  return base::Ok();
}

base::Status MatchName(const Request& r, const Value& obj) {
  std::string_view name = object::NameOf(obj);
  if (name == r.name) return base::Ok();
  if (name.empty())
    return object::BadRequest("the name of the object (" + r.name +
                              " based on URL) was undeterminable: name must be provided");
  return object::BadRequest("the name of the object (" + std::string(name) + ") does not match the name on the URL (" +
                            r.name + ")");
}

base::Result<Value> DecodePatch(const Request& r) {
  std::string_view body = r.body ? std::string_view(*r.body) : std::string_view();
  auto patch = machinery::value::FromJson(body);
  if (!patch) return base::Err(object::BadRequest("error decoding patch: " + std::string(patch.error().message())));
  if (patch->is_null()) {
    // Go reads null into an empty list or map; only the merge patch's own reader refuses it.
    if (r.patch_type == PatchType::kMerge) return base::Err(object::BadRequest("Invalid JSON Patch"));
    if (r.patch_type == PatchType::kJson) return Value(machinery::value::List{});
    return Value(machinery::value::Map{});
  }
  if (r.patch_type == PatchType::kJson && !patch->is_list())
    return base::Err(ops::WrongPatchShape(*patch, "[]handlers.jsonPatchOp"));
  if (r.patch_type != PatchType::kJson && !patch->is_map())
    return base::Err(ops::WrongPatchShape(*patch, "map[string]interface {}"));
  return std::move(*patch);
}

namespace {

// The original's patch library prints maps that a patch touched with their keys sorted and leaves others as they were.
void SortTouched(Value& v, const Value& patch) {
  if (!v.is_map()) return;
  v.map().SortByKey();
  if (!patch.is_map()) return;
  for (auto& e : v.map())
    if (const Value* touched = patch.map().Find(e.key)) SortTouched(e.value, *touched);
}

// A strategic merge goes from tree to object without JSON in the original, whose words for what does not fit differ:
// "json: cannot unmarshal number into Go struct field ConfigMap.data of type string" is "cannot convert int64 to
// string".
std::string ConversionText(const std::string& decoding) {
  constexpr std::string_view kBegin = "json: cannot unmarshal ", kType = " of type ";
  size_t type_at = decoding.rfind(kType);
  if (!decoding.starts_with(kBegin) || type_at == decoding.npos) return decoding;
  std::string from = decoding.substr(kBegin.size(), decoding.find(' ', kBegin.size()) - kBegin.size());
  std::string to = decoding.substr(type_at + kType.size());
  struct Word {
    std::string_view json, type, kind;
  };
  constexpr Word kWords[] = {
      {"number", "int64", "int64"}, {"object", "map[string]interface {}", "map"}, {"array", "[]interface {}", "slice"}};
  std::string type = from, kind = from;
  for (const auto& w : kWords)
    if (from == w.json) {
      type = w.type;
      kind = w.kind;
    }
  if (to.starts_with("map[")) return "cannot restore map from " + kind;
  if (to.starts_with("[]")) return "cannot restore slice from " + kind;
  if (to.find('.') != to.npos) return "cannot restore struct from: " + kind;
  return "cannot convert " + type + " to " + to;
}

}  // namespace

base::Result<Value> ApplyPatch(const Request& r, const Type& type, Value obj, const Value& patch,
                               std::vector<std::string>& warnings) {
  Value patched;
  switch (r.patch_type) {
    case PatchType::kJson: {
      TRY_ASSIGN(patched, ops::ApplyJsonPatch(std::move(obj), patch));
      break;
    }
    case PatchType::kMerge: {
      TRY_ASSIGN(patched, ops::ApplyMergePatch(std::move(obj), patch));
      break;
    }
    case PatchType::kStrategicMerge: {
      TRY_ASSIGN(patched, ops::ApplyStrategicMergePatch(type, std::move(obj), patch));
      break;
    }
    default:
      return base::Err(object::GenericResponse(415));
  }
  codec::DecodeReport report;
  codec::DecodeOptions options;
  if (r.options.field_validation != "Ignore") options.report = &report;
  auto whole = codec::Normalize(type, patched, options);
  bool strategic = r.patch_type == PatchType::kStrategicMerge;
  auto invalid = [&](const std::string& why) {
    if (!strategic) SortTouched(patched, patch);
    std::string shown = strategic ? object::GoText(patch) : machinery::value::ToJson(patched);
    return object::InvalidObject({"", ""}, "", {object::Invalid("patch", std::move(shown), why)});
  };
  if (!whole) {
    std::string why(whole.error().message());
    return base::Err(invalid(strategic ? ConversionText(why) : why));
  }
  if (!report.problems.empty()) {
    if (r.options.field_validation == "Strict")
      return base::Err(invalid("strict decoding error: " + base::Join(report.problems, ", ")));
    for (auto& p : report.problems) warnings.push_back(std::move(p));
  }
  return std::move(*whole);
}

}  // namespace apiserver::registry
