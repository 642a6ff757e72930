// The embedded descriptors against the tables of facts: nothing missing, nothing extra, nothing different.
// tidy: file: one test per column of the facts, over shared readers of their tables
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "proto/options/options.pb.h"
#include "proto/schema_blob.h"
#include "tests/schema/legacy_schema_blob.h"

namespace proto {
namespace {

namespace fs = std::filesystem;
namespace pb = google::protobuf;
namespace opt = keelson::options;
using Row = std::map<std::string, std::string>;
using Table = std::vector<Row>;
using Words = std::vector<std::string>;

constexpr char kMeta[] = "k8s.io.apimachinery.pkg.apis.meta.v1";

Words Split(const std::string& text, const std::string& by) {
  Words out;
  if (text.empty()) return out;
  size_t at = 0;
  for (size_t end; (end = text.find(by, at)) != std::string::npos; at = end + by.size()) {
    out.push_back(text.substr(at, end - at));
  }
  out.push_back(text.substr(at));
  return out;
}

std::string Join(const auto& words, const std::string& by = ",") {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : by) + word;
  return out;
}

fs::path SharedFolder() {
  if (const char* shared = std::getenv("KEELSON_SHARED")) return shared;
  const char* source = std::getenv("KEELSON_SOURCE");
  return fs::path(source ? source : "..") / "../shared";
}

Table ReadTable(const std::string& name) {
  Table rows;
  std::ifstream in(SharedFolder() / "facts" / name);
  std::string line;
  std::getline(in, line);
  const Words head = Split(line, "\t");
  while (std::getline(in, line)) {
    const Words cells = Split(line, "\t");
    Row row;
    for (size_t i = 0; i < head.size(); ++i) row[head[i]] = i < cells.size() ? cells[i] : "";
    rows.push_back(std::move(row));
  }
  return rows;
}

// Differences found by one test, printed together.
class Differences {
 public:
  void Add(const std::string& where, const std::string& what) { list_.push_back(where + ": " + what); }
  void Check(const std::string& where, const std::string& what, const std::string& ours, const std::string& facts) {
    ++checks_;
    if (ours != facts) Add(where, what + " is '" + ours + "', facts say '" + facts + "'");
  }
  ~Differences() {
    EXPECT_GT(checks_, 0) << "nothing was compared";
    Words shown(list_.begin(), list_.begin() + std::min<size_t>(list_.size(), 40));
    EXPECT_TRUE(list_.empty()) << list_.size() << " differences:\n" << Join(shown, "\n");
  }

 private:
  Words list_;
  int checks_ = 0;
};

class SchemaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Build(SchemaBlob(), &served_, &served_files_);
    Build(tests::LegacySchemaBlob(), &legacy_, &legacy_files_);
    std::ifstream in(KEELSON_WIRE_BLOB, std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    Build(bytes.str(), &wire_, &wire_files_);
  }

  void SetUp() override {
    if (!fs::exists(SharedFolder() / "facts/fields.tsv")) {
      GTEST_SKIP() << "no facts at " << SharedFolder() << "/facts (set KEELSON_SHARED)";
    }
  }

  static void Build(std::string_view blob, pb::DescriptorPool* pool, Words* names) {
    pb::FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromArray(blob.data(), static_cast<int>(blob.size())));
    for (const auto& file : set.file()) {
      ASSERT_NE(pool->BuildFile(file), nullptr) << file.name();
      names->push_back(file.name());
    }
  }

  static const pb::Descriptor* Find(const std::string& name) {
    const auto* found = served_.FindMessageTypeByName(name);
    return found ? found : legacy_.FindMessageTypeByName(name);
  }

  static void EachMessage(const std::function<void(const pb::Descriptor&)>& visit) {
    auto walk = [&](const pb::DescriptorPool& pool, const Words& files) {
      for (const auto& name : files) {
        if (name.find("/k8s/") == std::string::npos) continue;
        if (&pool == &legacy_ && name.starts_with("proto/")) continue;
        const auto* file = pool.FindFileByName(name);
        for (int i = 0; i < file->message_type_count(); ++i) visit(*file->message_type(i));
      }
    };
    walk(served_, served_files_);
    walk(legacy_, legacy_files_);
  }

  static std::vector<std::pair<const pb::Descriptor*, opt::Kind>> Kinds() {
    std::vector<std::pair<const pb::Descriptor*, opt::Kind>> out;
    EachMessage([&](const pb::Descriptor& message) {
      for (int i = 0; i < message.options().ExtensionSize(opt::kind); ++i) {
        out.emplace_back(&message, message.options().GetExtension(opt::kind, i));
      }
    });
    return out;
  }

  static inline pb::DescriptorPool served_, legacy_, wire_;
  static inline Words served_files_, legacy_files_, wire_files_;
};

std::string TypeName(const pb::FieldDescriptor& field) {
  if (field.is_map()) return "map<string, " + TypeName(*field.message_type()->map_value()) + ">";
  if (field.message_type()) return field.message_type()->full_name();
  if (field.enum_type()) return field.enum_type()->full_name();
  return field.type_name();
}

std::string Label(const pb::FieldDescriptor& field) {
  if (field.is_map()) return "map";
  return field.is_repeated() ? "repeated" : "optional";
}

std::string ListTypeName(opt::ListType type) {
  switch (type) {
    case opt::LIST_TYPE_ATOMIC:
      return "atomic";
    case opt::LIST_TYPE_SET:
      return "set";
    case opt::LIST_TYPE_MAP:
      return "map";
    default:
      return "";
  }
}

std::string Flag(bool on) { return on ? "yes" : "no"; }

bool IsTypeMeta(const Row& row) { return row.at("go_field") == "TypeMeta" && row.at("field_number").empty(); }

void CompareField(const pb::FieldDescriptor& field, Row row, Differences* diff) {
  const std::string where = field.full_name();
  const opt::Field& option = field.options().GetExtension(opt::field);
  const bool json_only = row["field_number"].empty();
  diff->Check(where, "json_only", Flag(option.json_only()), Flag(json_only));
  if (!json_only) {
    diff->Check(where, "number", std::to_string(field.number()), row["field_number"]);
    diff->Check(where, "label", Label(field), row["label"]);
    diff->Check(where, "type", TypeName(field), row["proto_type"]);
  }
  if (!row["json_name"].empty()) diff->Check(where, "JSON name", field.json_name(), row["json_name"]);
  diff->Check(where, "inline", Flag(option.inline_()), Flag(row["inline"] == "yes"));
  diff->Check(where, "pointer", Flag(option.pointer()), Flag(row["go_pointer"] == "yes"));
  const bool always = row["json_emit"] == "always" || (json_only && row["go_omitempty"] == "no");
  diff->Check(where, "always", Flag(option.always()), Flag(always));
  diff->Check(where, "omit_zero", Flag(option.omit_zero()), Flag(row["go_omitempty"] == "yes+omitzero"));
  diff->Check(where, "list type", ListTypeName(option.list_type()), row["list_type"]);
  diff->Check(where, "list map keys", Join(option.list_map_keys()), row["list_map_keys"]);
  diff->Check(where, "patch strategy", Join(option.patch_strategy()), row["patch_strategy"]);
  diff->Check(where, "patch merge key", option.patch_merge_key(), row["patch_merge_key"]);
  const std::string map_or_struct = row["map_type"] + row["struct_type"];
  diff->Check(where, "atomic", Flag(option.atomic()), Flag(map_or_struct == "atomic"));
  diff->Check(where, "granular", Flag(option.granular()), Flag(map_or_struct == "granular"));
  // The original's OpenAPI does not list messages that are only ever inlined, so the facts do not say.
  if (!row["openapi_required"].empty()) {
    diff->Check(where, "required", Flag(option.required()), row["openapi_required"]);
  }
  if (!row["default_marker"].starts_with("ref(")) {
    diff->Check(where, "OpenAPI default", option.openapi_default(), row["default_marker"]);
  }
  diff->Check(where, "feature gate", option.feature_gate(), row["feature_gate"]);
  diff->Check(where, "closed set", Flag(option.enum_values_size() > 0), Flag(row["enum"] == "yes"));
}

TEST_F(SchemaTest, FieldsEqualFacts) {
  Differences diff;
  std::set<std::string> known;
  for (auto& row : ReadTable("fields.tsv")) {
    if (IsTypeMeta(row) || row["json_name"] == "-") continue;
    const std::string message_name = row["package"] + "." + row["message"];
    const auto* message = Find(message_name);
    if (message == nullptr) {
      diff.Add(message_name, "missing");
      continue;
    }
    const std::string name = row["proto_field_name"].empty() ? row["json_name"] : row["proto_field_name"];
    const auto* field = message->FindFieldByName(name);
    if (field == nullptr) {
      diff.Add(message_name + "." + name, "missing");
      continue;
    }
    known.insert(field->full_name());
    CompareField(*field, row, &diff);
  }
  EachMessage([&](const pb::Descriptor& message) {
    for (int i = 0; i < message.field_count(); ++i) {
      if (message.name() != "AnyValue" && !known.contains(message.field(i)->full_name())) {
        diff.Add(message.field(i)->full_name(), "facts know no such field");
      }
    }
  });
}

TEST_F(SchemaTest, FieldsStandInJsonOrder) {
  Differences diff;
  std::map<std::string, int> order;
  for (auto& row : ReadTable("fields.tsv")) {
    if (row["go_index"].empty() || IsTypeMeta(row)) continue;
    const std::string name = row["proto_field_name"].empty() ? row["json_name"] : row["proto_field_name"];
    order[row["package"] + "." + row["message"] + "." + name] = std::stoi(row["go_index"]);
  }
  EachMessage([&](const pb::Descriptor& message) {
    for (int i = 1; i < message.field_count(); ++i) {
      auto before = order.find(message.field(i - 1)->full_name());
      auto after = order.find(message.field(i)->full_name());
      if (before == order.end() || after == order.end()) continue;
      diff.Check(after->first, "order", Flag(before->second < after->second), "yes");
    }
  });
}

TEST_F(SchemaTest, ClosedSetsEqualFacts) {
  std::map<std::string, std::multiset<std::string>> sets;
  for (auto& row : ReadTable("enums.tsv")) {
    if (row["closed_enum"] == "yes") sets[row["go_package"] + "." + row["go_type"]].insert(row["value"]);
  }
  Differences diff;
  for (auto& row : ReadTable("fields.tsv")) {
    if (row["enum"] != "yes") continue;
    const auto* field = Find(row["package"] + "." + row["message"])->FindFieldByName(row["proto_field_name"]);
    const auto& values = field->options().GetExtension(opt::field).enum_values();
    diff.Check(field->full_name(), "values", Join(std::multiset<std::string>(values.begin(), values.end())),
               Join(sets[row["enum_type"]]));
  }
}

// `k8s:alpha(since: "1.36")=+k8s:minimum=0 | ...` as the schema writes it: the bare rules without stage and quotes.
Words RulesOf(const std::string& markers, const std::string& others) {
  Words rules;
  for (std::string rule : Split(markers, " | ")) {
    rule = std::regex_replace(rule, std::regex("^k8s:alpha\\(since: \"[0-9.]+\"\\)=\\+| #.*"), "");
    rule = std::regex_replace(rule, std::regex("\\+?k8s:"), "");
    rule = std::regex_replace(rule, std::regex("(if\\w+)\\(\"(\\w+)\"\\)"), "$1($2)");
    rule = std::regex_replace(rule, std::regex("(format=)\"([a-z0-9-]+)\""), "$1$2");
    if (rule != "conversion-gen=false" && !rule.starts_with("listType=")) rules.push_back(rule);
  }
  for (const auto& rule : Split(others, " | ")) {
    if (!rule.starts_with("kubebuilder")) rules.push_back(rule);
  }
  return rules;
}

TEST_F(SchemaTest, RulesEqualFacts) {
  Differences diff;
  for (auto& row : ReadTable("fields.tsv")) {
    if (row["field_number"].empty() || (row["k8s_markers"].empty() && row["other_markers"].empty())) continue;
    const auto* field = Find(row["package"] + "." + row["message"])->FindFieldByName(row["proto_field_name"]);
    diff.Check(field->full_name(), "rules", Join(field->options().GetExtension(opt::field).rules(), " | "),
               Join(RulesOf(row["k8s_markers"], row["other_markers"]), " | "));
  }
}

opt::JsonForm FormOf(const std::string& facts) {
  static const std::vector<std::pair<std::string, opt::JsonForm>> kForms = {
      {"object of schema if set", opt::SCHEMA_OR_BOOL},
      {"object", opt::OBJECT},
      {"any JSON value raw", opt::ANY_JSON},
      {"array if jSONSchemas", opt::SCHEMA_OR_ARRAY},
      {"array of strings if", opt::SCHEMA_OR_STRING_ARRAY},
      {"array", opt::STRING_LIST},
      {"string canonical quantity", opt::QUANTITY},
      {"as Quantity", opt::QUANTITY},
      {"string Go duration", opt::DURATION},
      {"embedded raw JSON object", opt::FIELDS_V1},
      {"embedded raw JSON value", opt::RAW_EXTENSION},
      {"string RFC3339 with exactly 6", opt::MICRO_TIME},
      {"string RFC3339 UTC whole", opt::TIME},
      {"proto only", opt::TIMESTAMP},
      {"raw bytes as they are", opt::NO_JSON},
      {"number when type=0", opt::INT_OR_STRING},
  };
  for (const auto& [start, form] : kForms) {
    if (facts.starts_with(start)) return form;
  }
  ADD_FAILURE() << "unknown JSON form " << facts;
  return opt::OBJECT;
}

std::string Reserved(const pb::Descriptor& message) {
  Words out;
  for (int i = 0; i < message.reserved_range_count(); ++i) {
    const auto* range = message.reserved_range(i);
    for (int n = range->start; n < range->end; ++n) out.push_back(std::to_string(n));
  }
  return Join(out);
}

TEST_F(SchemaTest, MessagesEqualFacts) {
  Differences diff;
  std::set<std::string> known = {std::string(kMeta) + ".AnyValue"};
  for (auto& row : ReadTable("messages.tsv")) {
    const std::string name = row["package"] + "." + row["message"];
    const auto* message = Find(name);
    if (message == nullptr) {
      diff.Add(name, "missing");
      continue;
    }
    known.insert(name);
    const auto& options = message->options();
    const opt::JsonForm form = FormOf(row["json_form"]);
    diff.Check(name, "JSON form", opt::JsonForm_Name(options.GetExtension(opt::json_form)), opt::JsonForm_Name(form));
    // runtime.Unknown numbers its TypeMeta: there it is an ordinary field.
    const bool type_meta = row["has_typemeta"] == "yes" && form != opt::NO_JSON;
    diff.Check(name, "type_meta", Flag(options.GetExtension(opt::type_meta)), Flag(type_meta));
    diff.Check(name, "atomic", Flag(options.GetExtension(opt::atomic_struct)),
               Flag(row["struct_type_marker"] == "atomic"));
    diff.Check(name, "reserved numbers", Reserved(*message), row["unused_numbers"]);
  }
  EachMessage([&](const pb::Descriptor& message) {
    if (!known.contains(message.full_name())) diff.Add(message.full_name(), "facts know no such message");
  });
}

TEST_F(SchemaTest, FilesNameTheirGroupAndVersion) {
  std::map<std::string, Row> packages;
  for (auto& row : ReadTable("packages.tsv")) packages[row["package"]] = row;
  Differences diff;
  EachMessage([&](const pb::Descriptor& message) {
    const auto& options = message.file()->options();
    Row& row = packages[message.file()->package()];
    diff.Check(message.full_name(), "group", options.GetExtension(opt::api_group), row["group"]);
    diff.Check(message.full_name(), "version", options.GetExtension(opt::api_version), row["version"]);
  });
}

// "status[Deployment](get,patch,update)", as the resources table writes a subresource.
std::string SubresourceText(const opt::Subresource& sub, const std::string& parent_kind) {
  std::string kind = sub.kind().empty() ? parent_kind : sub.kind();
  if (sub.has_version()) kind = (sub.group().empty() ? "" : sub.group() + "/") + sub.version() + "." + kind;
  return sub.name() + "[" + kind + "](" + Join(sub.verbs()) + ")";
}

std::string ApiVersion(const std::string& group, const std::string& version) {
  return group.empty() || group == "core" ? version : group + "/" + version;
}

void CompareKind(const opt::Kind& kind, const pb::Descriptor& message, Row row, Differences* diff) {
  const std::string where = ApiVersion(kind.group(), kind.version()) + " " + kind.resource();
  diff->Check(where, "kind", message.name(), row["kind"]);
  diff->Check(where, "singular", kind.singular(), row["singular"]);
  diff->Check(where, "namespaced", Flag(kind.namespaced()), row["namespaced"]);
  diff->Check(where, "short names", Join(kind.short_names()), row["short_names"]);
  diff->Check(where, "categories", Join(kind.categories()), row["categories"]);
  diff->Check(where, "verbs", Join(kind.verbs()), row["verbs"]);
  diff->Check(where, "list kind", kind.list_kind(), row["list_kind"]);
  Words subs;
  for (const auto& sub : kind.subresources()) subs.push_back(SubresourceText(sub, message.name()));
  diff->Check(where, "subresources", Join(subs, "; "), row["subresources"]);
  std::string stored = row["storage_version"];
  if (stored.starts_with("core/")) {
    stored = stored.substr(5);
  } else if (!stored.empty()) {
    stored = ApiVersion(kind.group(), stored);
  }
  diff->Check(where, "storage version", kind.storage_version(), stored);
  diff->Check(where, "storage version hash", kind.storage_version_hash(), row["storage_version_hash"]);
}

TEST_F(SchemaTest, KindsEqualFacts) {
  Differences diff;
  std::map<std::string, Row> rows;
  for (auto& row : ReadTable("resources.tsv")) {
    rows[ApiVersion(row["group"], row["version"]) + " " + row["resource"]] = row;
  }
  for (const auto& [message, kind] : Kinds()) {
    const std::string where = ApiVersion(kind.group(), kind.version()) + " " + kind.resource();
    auto row = rows.find(where);
    if (row == rows.end()) {
      diff.Add(where, "facts know no such resource");
      continue;
    }
    CompareKind(kind, *message, row->second, &diff);
    rows.erase(row);
  }
  for (const auto& [where, row] : rows) diff.Add(where, "missing");
}

TEST_F(SchemaTest, StoragePathsEqualFacts) {
  Differences diff;
  std::map<std::string, std::string> paths;
  for (auto& row : ReadTable("storage_paths.tsv")) {
    paths[row["group"] + " " + row["resource"]] = row["etcd_path"];
  }
  for (const auto& [message, kind] : Kinds()) {
    if (!kind.has_storage_version()) continue;
    const std::string tail = kind.namespaced() ? "/{namespace}/{name}" : "/{name}";
    diff.Check(message->full_name(), "path", "/registry/" + kind.storage_prefix() + tail,
               paths[kind.group() + " " + kind.resource()]);
    const bool json = kind.resource() == "customresourcedefinitions" || kind.resource() == "apiservices";
    diff.Check(message->full_name(), "stored as JSON", Flag(kind.stored_as_json()), Flag(json));
  }
}

TEST_F(SchemaTest, StrategiesEqualFacts) {
  Differences diff;
  std::map<std::string, Row> rows;
  for (auto& row : ReadTable("strategies.tsv")) rows[row["group"] + " " + row["kind"]] = row;
  for (const auto& [message, kind] : Kinds()) {
    const std::string group = kind.group() == "events.k8s.io" ? "" : kind.group();
    auto found = rows.find(group + " " + message->name());
    if (found == rows.end()) continue;
    Row& row = found->second;
    const std::string where = message->full_name();
    diff.Check(where, "generation at creation", Flag(kind.has_generation() || kind.generation_fixed()),
               Flag(row["generation_on_create"] == "1"));
    diff.Check(where, "generation on update", Flag(kind.has_generation() || kind.generation_on_update()),
               row["generation_bumped_on_update"]);
    diff.Check(where, "status reset", Flag(kind.reset_status_on_create()), row["status_reset_on_create"]);
    diff.Check(where, "status kept", Flag(kind.keep_status_on_update()), row["status_kept_on_update"]);
    diff.Check(where, "create on update", Flag(kind.allow_create_on_update()), row["allow_create_on_update"]);
    diff.Check(where, "unconditional update", Flag(kind.allow_unconditional_update()),
               row["allow_unconditional_update"]);
  }
}

TEST_F(SchemaTest, ColumnsEqualFacts) {
  Differences diff;
  std::map<std::string, std::vector<Row>> rows;
  for (auto& row : ReadTable("printers.tsv")) rows[row["group"] + " " + row["kind"]].push_back(row);
  for (const auto& [message, kind] : Kinds()) {
    auto& expected = rows[kind.group() + " " + message->name()];
    std::ranges::sort(expected, {}, [](Row row) { return std::stoi(row["order"]); });
    Words ours, facts;
    for (const auto& column : kind.columns()) {
      ours.push_back(column.name() + "|" + column.type() + "|" + column.format() + "|" +
                     std::to_string(column.priority()));
      if (column.value().empty()) diff.Add(message->full_name(), column.name() + " has no value");
    }
    for (auto& row : expected) {
      facts.push_back(row["column"] + "|" + row["type"] + "|" + row["format"] + "|" + row["priority"]);
    }
    diff.Check(message->full_name(), "columns", Join(ours, "; "), Join(facts, "; "));
  }
}

// The field at a path of JSON names below a message, through inlined messages; nullptr when there is none.
const pb::FieldDescriptor* FieldAt(const pb::Descriptor* message, const Words& path, size_t at = 0) {
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    if (field->options().GetExtension(opt::field).inline_()) {
      if (const auto* found = FieldAt(field->message_type(), path, at)) return found;
    }
    if (field->json_name() != path[at]) continue;
    if (at + 1 == path.size()) return field;
    const auto* next = field->is_map() ? field->message_type()->map_value()->message_type() : field->message_type();
    return next ? FieldAt(next, path, at + 1) : nullptr;
  }
  return nullptr;
}

bool IsJsonPath(const std::string& value) {
  static const std::regex kPath("[a-z][A-Za-z0-9]*(\\.[A-Za-z0-9]+)*");
  return std::regex_match(value, kPath);
}

TEST_F(SchemaTest, ColumnPathsNameFields) {
  Differences diff;
  for (const auto& [message, kind] : Kinds()) {
    for (const auto& column : kind.columns()) {
      std::string path = column.value();
      if (path.starts_with("@")) {
        const size_t colon = path.find(':');
        if (colon == std::string::npos) continue;
        path = path.substr(colon + 1, path.find('|') - colon - 1);
      }
      ASSERT_TRUE(IsJsonPath(path)) << message->full_name() << " " << column.value();
      diff.Check(message->full_name(), column.value(), Flag(FieldAt(message, Split(path, ".")) != nullptr), "yes");
    }
  }
}

TEST_F(SchemaTest, ServedByDefaultEqualsDiscovery) {
  std::ifstream in(SharedFolder() / "golden/rest-v1.36/discovery.jsonl");
  if (!in) GTEST_SKIP() << "no recorded discovery";
  Differences diff;
  std::map<std::string, nlohmann::json> listed;
  for (std::string line; std::getline(in, line);) {
    const auto exchange = nlohmann::json::parse(line);
    const auto answer = exchange.value("response", nlohmann::json());
    if (!answer.is_object() || answer.value("kind", "") != "APIResourceList") continue;
    for (const auto& resource : answer["resources"]) {
      listed[answer["groupVersion"].get<std::string>() + " " + resource["name"].get<std::string>()] = resource;
    }
  }
  auto words = [](const nlohmann::json& object, const char* key) {
    return object.contains(key) ? Join(object[key].get<Words>()) : "";
  };
  std::set<std::string> seen;
  for (const auto& [message, kind] : Kinds()) {
    const std::string gv = ApiVersion(kind.group(), kind.version());
    const std::string where = gv + " " + kind.resource();
    diff.Check(where, "served by default", Flag(kind.served_by_default()), Flag(listed.contains(where)));
    if (!listed.contains(where)) continue;
    const auto& resource = listed[where];
    seen.insert(where);
    diff.Check(where, "kind", message->name(), resource["kind"]);
    diff.Check(where, "singular", kind.singular(), resource.value("singularName", ""));
    diff.Check(where, "namespaced", Flag(kind.namespaced()), Flag(resource["namespaced"]));
    diff.Check(where, "verbs", Join(kind.verbs()), words(resource, "verbs"));
    diff.Check(where, "short names", Join(kind.short_names()), words(resource, "shortNames"));
    diff.Check(where, "categories", Join(kind.categories()), words(resource, "categories"));
    diff.Check(where, "hash", kind.storage_version_hash(), resource.value("storageVersionHash", ""));
    for (const auto& sub : kind.subresources()) {
      const std::string name = where + "/" + sub.name();
      if (!listed.contains(name)) {
        diff.Add(name, "not in discovery");
        continue;
      }
      seen.insert(name);
      const auto& entry = listed[name];
      diff.Check(name, "kind", sub.kind().empty() ? message->name() : sub.kind(), entry["kind"]);
      diff.Check(name, "group", sub.group(), entry.value("group", ""));
      diff.Check(name, "version", sub.version(), entry.value("version", ""));
      diff.Check(name, "verbs", Join(sub.verbs()), words(entry, "verbs"));
    }
  }
  for (const auto& [where, resource] : listed) {
    if (!seen.contains(where)) diff.Add(where, "in discovery only");
  }
}

std::string DocComment(const auto& descriptor) {
  pb::SourceLocation at;
  return descriptor.GetSourceLocation(&at) ? at.leading_comments : "";
}

TEST_F(SchemaTest, EveryKindHasADocComment) {
  Differences diff;
  for (const auto& [message, kind] : Kinds()) {
    diff.Check(message->full_name(), "doc comment", Flag(!DocComment(*message).empty()), "yes");
  }
}

// Messages reached from the kinds that users ask `explain` about most.
std::set<const pb::Descriptor*> MainMessages(const pb::DescriptorPool& pool) {
  Words names = {"apps.v1.Deployment",         "apps.v1.ReplicaSet",  "coordination.v1.Lease",
                 "discovery.v1.EndpointSlice", "events.v1.Event",     "rbac.v1.Role",
                 "rbac.v1.ClusterRole",        "rbac.v1.RoleBinding", "rbac.v1.ClusterRoleBinding",
                 "scheduling.v1.PriorityClass"};
  for (const char* kind :
       {"Pod", "Service", "Node", "Namespace", "ConfigMap", "Secret", "ServiceAccount", "Endpoints", "Event"}) {
    names.push_back(std::string("core.v1.") + kind);
  }
  std::vector<const pb::Descriptor*> todo;
  for (const auto& name : names) todo.push_back(pool.FindMessageTypeByName("k8s.io.api." + name));
  std::set<const pb::Descriptor*> seen;
  while (!todo.empty()) {
    const auto* message = todo.back();
    todo.pop_back();
    if (message->options().map_entry()) {
      message = message->map_value()->message_type();
    }
    if (message == nullptr || message->options().GetExtension(opt::json_form) != opt::OBJECT) continue;
    if (!seen.insert(message).second) continue;
    for (int i = 0; i < message->field_count(); ++i) {
      if (message->field(i)->message_type()) todo.push_back(message->field(i)->message_type());
    }
  }
  return seen;
}

TEST_F(SchemaTest, FieldsOfMainKindsHaveDocComments) {
  Differences diff;
  for (const auto* message : MainMessages(served_)) {
    for (int i = 0; i < message->field_count(); ++i) {
      const auto& field = *message->field(i);
      if (field.options().GetExtension(opt::field).inline_()) continue;
      diff.Check(field.full_name(), "doc comment", Flag(!DocComment(field).empty()), "yes");
    }
  }
}

// A default as the facts write it, as JSON text.
std::string DefaultJson(const std::string& facts, const pb::FieldDescriptor& field) {
  static const std::map<std::string, std::string> kSpecial = {
      {"420 (0644)", "420"},
      {"[Persistent]", R"(["Persistent"])"},
      {"{strategy:None}", R"({"strategy":"None"})"},
      {"[{type:Resource,resource:{name:cpu,target:{type:Utilization,averageUtilization:80}}}]",
       R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}])"}};
  if (auto found = kSpecial.find(facts); found != kSpecial.end()) return found->second;
  if (facts == "{}" || facts.starts_with("\"")) return facts;
  if (field.cpp_type() != pb::FieldDescriptor::CPPTYPE_STRING && field.message_type() == nullptr) return facts;
  return nlohmann::json(facts).dump();
}

// Rows whose default stands for itself: no other field decides, and the value is written out.
bool IsUnconditional(Row& row) {
  static const std::set<std::string> kConditions = {
      "nil", "empty", "0", "empty or zero", "parameters set and scope nil", "empty (parent created if nil)"};
  static const std::regex kComputed(
      "^= .*|.*(Always when|now, whole|internal only|lower-case|first version|\\+ \"List\"|stays).*");
  return kConditions.contains(row["condition"]) && !row["gate_state_1_36"].starts_with("off") &&
         !std::regex_match(row["default"], kComputed) && row["field_path"].find('<') == std::string::npos;
}

TEST_F(SchemaTest, DefaultsEqualFacts) {
  std::map<std::string, std::string> packages;
  for (auto& row : ReadTable("packages.tsv")) packages[ApiVersion(row["group"], row["version"])] = row["package"];
  packages["v1"] = "k8s.io.api.core.v1";
  Differences diff;
  std::set<std::string> known;
  for (auto& row : ReadTable("defaults.tsv")) {
    const auto* message = Find(packages[row["group_version"]] + "." + row["type"]);
    if (message == nullptr || !IsUnconditional(row)) continue;
    const std::string path = std::regex_replace(row["field_path"], std::regex("\\[\\*\\]|\\{\\*\\}"), "");
    const auto* field = FieldAt(message, Split(path, "."));
    const std::string where = message->full_name() + " " + path;
    if (field == nullptr) {
      diff.Add(where, "no such field");
      continue;
    }
    std::string ours = field->options().GetExtension(opt::field).default_json();
    for (int i = 0; ours.empty() && i < message->options().ExtensionSize(opt::kind); ++i) {
      for (const auto& rooted : message->options().GetExtension(opt::kind, i).defaults()) {
        if (rooted.path() == path) ours = rooted.json();
      }
    }
    known.insert(field->full_name());
    diff.Check(where, "default", ours, DefaultJson(row["default"], *field));
  }
  EachMessage([&](const pb::Descriptor& message) {
    for (int i = 0; i < message.field_count(); ++i) {
      const auto& option = message.field(i)->options().GetExtension(opt::field);
      const bool parent_of_defaults = option.default_json() == "{}";
      if (option.has_default_json() && !parent_of_defaults && !known.contains(message.field(i)->full_name())) {
        diff.Add(message.field(i)->full_name(), "facts know no default");
      }
    }
  });
}

const pb::Descriptor* MessageOf(const pb::FieldDescriptor& field) {
  return field.is_map() ? field.message_type()->map_value()->message_type() : field.message_type();
}

using PathDefaults = std::set<std::string>;  // "spec.replicas = 1"

void AddSchemaDefaults(const pb::Descriptor& message, const std::string& path, Words above, PathDefaults* out) {
  if (std::ranges::find(above, message.full_name()) != above.end()) return;  // JSONSchemaProps holds itself
  above.push_back(message.full_name());
  for (int i = 0; i < message.field_count(); ++i) {
    const auto& field = *message.field(i);
    const auto& option = field.options().GetExtension(opt::field);
    const std::string here = option.inline_() ? path : path + (path.empty() ? "" : ".") + field.json_name();
    if (option.has_default_json()) out->insert(here + " = " + option.default_json());
    if (const auto* next = MessageOf(field)) AddSchemaDefaults(*next, here, above, out);
  }
}

// The message itself or the one inlined into it that has the name.
const pb::Descriptor* InlinedAs(const pb::Descriptor* message, const std::string& name) {
  if (message->name() == name) return message;
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    if (!field->options().GetExtension(opt::field).inline_()) continue;
    if (const auto* found = InlinedAs(field->message_type(), name)) return found;
  }
  return nullptr;
}

// What the facts' rows for one root kind come to: a row names a path and either a value or a type whose defaults apply.
PathDefaults FactDefaults(const pb::Descriptor& root, std::vector<Row> rows,
                          std::map<std::string, std::vector<Row>> by_type) {
  PathDefaults out;
  for (auto& row : rows) {
    const std::string path = std::regex_replace(row["json_path"], std::regex("\\[\\*\\]|\\{\\*\\}"), "");
    const auto* field = path == "." ? nullptr : FieldAt(&root, Split(path, "."));
    if (row["action"] == "literal") {
      out.insert(path + " = " + DefaultJson(row["value_or_type"], *field));
      continue;
    }
    const auto* type = path == "." ? &root : MessageOf(*field);
    // Types without a message (ResourceList) have no default of their own here.
    if (type) type = InlinedAs(type, row["value_or_type"]);
    if (type == nullptr) continue;
    for (auto& fact : by_type[type->full_name()]) {
      const std::string below = std::regex_replace(fact["field_path"], std::regex("\\[\\*\\]|\\{\\*\\}"), "");
      const std::string whole = (path == "." ? "" : path + ".") + below;
      out.insert(whole + " = " + DefaultJson(fact["default"], *FieldAt(type, Split(below, "."))));
      if (fact["condition"].find("parent created") != std::string::npos) {
        out.insert(whole.substr(0, whole.rfind('.')) + " = {}");
      }
    }
  }
  return out;
}

// A default on a field applies wherever the field's message is used: that must be just where the original applies it.
TEST_F(SchemaTest, DefaultsApplyWhereFactsSay) {
  std::map<std::string, std::string> packages;
  for (auto& row : ReadTable("packages.tsv")) packages[ApiVersion(row["group"], row["version"])] = row["package"];
  packages["v1"] = "k8s.io.api.core.v1";
  std::map<std::string, std::vector<Row>> by_type, by_root;
  for (auto& row : ReadTable("defaults.tsv")) {
    if (IsUnconditional(row)) by_type[packages[row["group_version"]] + "." + row["type"]].push_back(row);
  }
  for (auto& row : ReadTable("defaults_paths.tsv")) by_root[row["package"] + "." + row["root_kind"]].push_back(row);
  Differences diff;
  for (const auto& [message, kind] : Kinds()) {
    PathDefaults ours;
    AddSchemaDefaults(*message, "", {}, &ours);
    for (const auto& rooted : kind.defaults()) ours.insert(rooted.path() + " = " + rooted.json());
    const PathDefaults facts = FactDefaults(*message, by_root[message->full_name()], by_type);
    for (const auto& one : ours) {
      diff.Check(message->full_name(), one, "applied", facts.contains(one) ? "applied" : "not applied");
    }
    for (const auto& one : facts) {
      if (!ours.contains(one)) diff.Add(message->full_name(), one + " is missing");
    }
  }
}

void CompareWireField(const pb::FieldDescriptor& field, Row row, Differences* diff) {
  const std::string where = field.full_name();
  std::string type = TypeName(field);
  if (type.starts_with("runtime.v1.")) type = type.substr(11);
  type = std::regex_replace(type, std::regex("<string, runtime\\.v1\\."), "<string, ");
  diff->Check(where, "number", std::to_string(field.number()), row["number"]);
  diff->Check(where, "type", type, row["type"]);
  const bool repeated = row["label"] == "repeated" || row["label"] == "map";
  diff->Check(where, "repeated", Flag(field.is_repeated()), Flag(repeated));
  diff->Check(where, "oneof", field.containing_oneof() ? field.containing_oneof()->name() : "", row["oneof"]);
}

void CompareWire(const pb::DescriptorPool& pool, const std::string& prefix, const std::string& tables) {
  Differences diff;
  std::map<std::string, int> counts;
  for (auto& row : ReadTable(tables + "_fields.tsv")) {
    const auto* message = pool.FindMessageTypeByName(prefix + row["message"]);
    const auto* field = message && !row["field"].empty() ? message->FindFieldByName(row["field"]) : nullptr;
    if (message == nullptr || (field == nullptr && !row["field"].empty())) {
      diff.Add(row["message"] + "." + row["field"], "missing");
      continue;
    }
    if (field == nullptr) continue;
    ++counts[message->full_name()];
    CompareWireField(*field, row, &diff);
  }
  for (const auto& [name, count] : counts) {
    diff.Check(name, "field count", std::to_string(pool.FindMessageTypeByName(name)->field_count()),
               std::to_string(count));
  }
  for (auto& row : ReadTable(tables + "_enums.tsv")) {
    const auto* set = pool.FindEnumTypeByName(prefix + row["enum"]);
    const auto* value = set ? set->FindValueByName(row["value"]) : nullptr;
    diff.Check(row["enum"], row["value"], value ? std::to_string(value->number()) : "missing", row["number"]);
  }
}

void CompareServices(const pb::DescriptorPool& pool, const std::string& prefix, const std::string& table) {
  Differences diff;
  for (auto& row : ReadTable(table)) {
    const std::string where = row["service"] + "." + row["rpc"];
    const auto* service = pool.FindServiceByName(prefix + row["service"]);
    const auto* method = service ? service->FindMethodByName(row["rpc"]) : nullptr;
    if (method == nullptr) {
      diff.Add(where, "missing");
      continue;
    }
    diff.Check(where, "request", method->input_type()->full_name(), prefix + row["request"]);
    diff.Check(where, "response", method->output_type()->full_name(), prefix + row["response"]);
    const std::string& streaming = row["streaming"];
    diff.Check(where, "client streaming", Flag(method->client_streaming()),
               Flag(streaming == "client" || streaming == "bidi"));
    diff.Check(where, "server streaming", Flag(method->server_streaming()),
               Flag(streaming == "server" || streaming == "bidi"));
  }
}

TEST_F(SchemaTest, EtcdEqualsFacts) {
  CompareWire(wire_, "", "etcd");
  CompareServices(wire_, "", "etcd_rpc.tsv");
}

TEST_F(SchemaTest, ContainerRuntimeInterfaceEqualsFacts) {
  CompareWire(wire_, "runtime.v1.", "cri");
  CompareServices(wire_, "runtime.v1.", "cri.tsv");
}

// Rows of the Raft table read "| Entry | 1 Type EntryType · 2 Term u64 · ... |"; a name may share the type behind it.
TEST_F(SchemaTest, RaftMessagesEqualFacts) {
  Differences diff;
  std::ifstream in(SharedFolder() / "facts/etcd_files.md");
  for (std::string line; std::getline(in, line);) {
    std::smatch row;
    if (!std::regex_match(line, row, std::regex("\\| (\\w+) \\| (\\d.*) \\|"))) continue;
    const auto* message = wire_.FindMessageTypeByName("raftpb." + row[1].str());
    ASSERT_NE(message, nullptr) << row[1];
    const Words fields = Split(row[2], " · ");
    diff.Check(message->name(), "field count", std::to_string(message->field_count()), std::to_string(fields.size()));
    for (const auto& field : fields) {
      const Words words = Split(field, " ");
      const auto* found = message->FindFieldByNumber(std::stoi(words[0]));
      diff.Check(message->name(), words[0], found ? found->name() : "missing", words[1]);
    }
  }
}

}  // namespace
}  // namespace proto
