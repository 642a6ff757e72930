#include "machinery/ops/table.h"

#include <algorithm>
#include <functional>

#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"
#include "machinery/ops/printers.h"
#include "machinery/ops/selector.h"

namespace machinery::ops {
namespace {

using schema::Column;
using schema::Kind;
using schema::Shape;
using schema::Type;
using value::List;
using value::Map;
using value::Value;

// How to fill the cells of one column; made once per table.
using Cell = std::function<Value(const Value& object, base::WallTime now)>;
using Path = std::vector<std::string>;

const Value& Get(const Value& v, const Path& path) {
  const Value* at = &v;
  for (const std::string& name : path) at = &at->At(name);
  return *at;
}

// What Go's struct holds where the writer said nothing.
Value ZeroOf(const Type* type, const Path& path) {
  for (const std::string& name : path) {
    const schema::Field* f = type && type->shape == Shape::kStruct ? type->Find(name) : nullptr;
    type = f ? f->type : type && type->shape == Shape::kMap ? type->element : nullptr;
  }
  if (!type) return Value("");
  if (type->shape == Shape::kInt32 || type->shape == Shape::kInt64) return Value(0);
  if (type->shape == Shape::kBool) return Value(false);
  return Value("");
}

bool IsEmpty(const Value& v) { return v.is_null() || (v.is_string() && v.as_string().empty()); }

std::string TextOf(const Value& v) { return v.is_string() ? v.as_string() : value::ToJson(v); }

std::string LabelsText(const Value& v) {
  std::vector<std::string> items;
  if (v.is_map())
    for (const auto& e : v.map()) items.push_back(e.key + "=" + std::string(e.value.string_or()));
  std::sort(items.begin(), items.end());
  return items.empty() ? "<none>" : base::Join(items, ",");
}

std::string SelectorText(const Value& v) {
  auto selector = LabelSelector::FromObject(v);
  if (!selector) return "<error>";
  std::string text = selector->ToString();
  return text.empty() ? "<none>" : text;
}

std::string FieldOfEach(const Value& list, std::string_view field) {
  std::vector<std::string> items;
  if (list.is_list())
    for (const Value& v : list.list()) items.emplace_back(v.At(field).string_or());
  return base::Join(items, ",");
}

int64_t Count(const Value& v) {
  if (v.is_list()) return static_cast<int64_t>(v.list().size());
  return v.is_map() ? static_cast<int64_t>(v.map().size()) : 0;
}

// The verbs of column values that take a path: "@age:metadata.creationTimestamp", "@or:spec.nodeName|<none>".
Cell PathCell(std::string_view verb, Path path, std::string otherwise) {
  if (verb == "age")
    return [path](const Value& o, base::WallTime now) { return Value(Age(Get(o, path).string_or(), now)); };
  if (verb == "time") return [path](const Value& o, base::WallTime) { return Value(Get(o, path).string_or()); };
  if (verb == "or" || verb == "text") {
    bool text = verb == "text";
    return [=](const Value& o, base::WallTime) {
      const Value& v = Get(o, path);
      return IsEmpty(v) ? Value(otherwise) : text ? Value(TextOf(v)) : v;
    };
  }
  if (verb == "count") return [path](const Value& o, base::WallTime) { return Value(Count(Get(o, path))); };
  if (verb == "join") {
    return [path](const Value& o, base::WallTime) { return Value(base::Join(object::StringsOf(Get(o, path)), ",")); };
  }
  if (verb == "labels") return [path](const Value& o, base::WallTime) { return Value(LabelsText(Get(o, path))); };
  if (verb == "selector") return [path](const Value& o, base::WallTime) { return Value(SelectorText(Get(o, path))); };
  if (verb == "container_names")
    return [path](const Value& o, base::WallTime) { return Value(FieldOfEach(Get(o, path), "name")); };
  if (verb == "container_images")
    return [path](const Value& o, base::WallTime) { return Value(FieldOfEach(Get(o, path), "image")); };
  if (verb == "trim")
    return [path](const Value& o, base::WallTime) { return Value(std::string(base::Trim(Get(o, path).string_or()))); };
  if (verb == "bool_or_true")
    return [path](const Value& o, base::WallTime) { return Value(Get(o, path).bool_or(true)); };
  return nullptr;
}

Cell MakeCell(const Kind& kind, const Column& column) {
  std::string_view text = column.value;
  if (!text.starts_with('@')) {
    Path path = base::Split(text, '.');
    Value zero = ZeroOf(kind.type, path);
    return [=](const Value& o, base::WallTime) {
      const Value& v = Get(o, path);
      return v.is_null() ? zero : v;
    };
  }
  text.remove_prefix(1);
  size_t colon = text.find(':');
  Cell cell;
  if (colon == std::string_view::npos) {
    cell = FindPrinter(text);
  } else {
    size_t bar = text.find('|');
    std::string otherwise = bar == std::string_view::npos ? "" : std::string(text.substr(bar + 1));
    cell = PathCell(text.substr(0, colon), base::Split(text.substr(colon + 1, bar - colon - 1), '.'), otherwise);
  }
  // unreachable from outside: the columns are the schema's, compiled in
  CHECK_MSG(cell, column.value);
  return cell;
}

Value Definitions(const Kind& kind) {
  List out;
  for (const Column& c : kind.columns) {
    out.push_back(Value(Map{{"name", Value(c.name)},
                            {"type", Value(c.type)},
                            {"format", Value(c.format)},
                            {"description", Value(c.description)},
                            {"priority", Value(c.priority)}}));
  }
  return Value(std::move(out));
}

// Pods that have ended are marked so that kubectl can leave them out.
void AddRowConditions(const Kind& kind, const Value& object, Value& row) {
  if (!kind.group.empty() || kind.kind != "Pod") return;
  std::string_view phase = object.At("status", "phase").string_or();
  if (phase != "Succeeded" && phase != "Failed") return;
  std::string_view message = phase == "Succeeded" ? "The pod has completed successfully." : "The pod failed.";
  row.Set("conditions", Value(List{Value(Map{{"type", Value("Completed")},
                                             {"status", Value("True")},
                                             {"reason", Value(phase)},
                                             {"message", Value(message)}})}));
}

Value RowObject(const Kind& kind, const Value& object, const TableOptions& options) {
  if (options.include == TableOptions::Include::kNone) return Value();
  if (options.include == TableOptions::Include::kMetadata) return PartialMetadata(object, options.group_version);
  Value copy = object;
  object::SetKind(copy, kind.ApiVersion(), kind.kind);
  return copy;
}

std::string Number(int64_t n, char unit) { return std::to_string(n) + unit; }

// "3h" or "3h5m": the smaller unit only where it is not zero.
std::string TwoUnits(int64_t big, char big_unit, int64_t small, char small_unit) {
  return small == 0 ? Number(big, big_unit) : Number(big, big_unit) + Number(small, small_unit);
}

}  // namespace

base::Result<TableOptions::Include> ParseIncludeObject(std::string_view text) {
  using Include = TableOptions::Include;
  if (text.empty() || text == "Metadata") return Include::kMetadata;
  if (text == "Object") return Include::kObject;
  if (text == "None") return Include::kNone;
  return base::Err(object::InvalidObject(
      {"meta.k8s.io", "TableOptions"}, "",
      {object::Invalid("includeObject", text, "must be 'Metadata', 'Object', 'None', or empty")}));
}

Value PartialMetadata(const Value& object, const std::string& group_version) {
  Value metadata = object::MetaOf(object).is_map() ? object::MetaOf(object) : Value(Map{});
  // The original keeps this one in a field of its own and makes it an annotation only in whole objects.
  if (object::KindOf(object) == "DaemonSet" && metadata.At("annotations").is_map()) {
    Value& annotations = metadata.Ensure("annotations");
    annotations.Remove("deprecated.daemonset.template.generation");
    if (annotations.map().empty()) metadata.Remove("annotations");
  }
  return Value(Map{{"kind", Value("PartialObjectMetadata")},
                   {"apiVersion", Value(group_version)},
                   {"metadata", std::move(metadata)}});
}

Value MakeTable(const Kind& kind, const Value& list_metadata, const std::vector<const Value*>& objects,
                const TableOptions& options) {
  Map metadata;
  for (const char* field : {"resourceVersion", "continue", "remainingItemCount"})
    if (const Value& v = list_metadata.At(field); !IsEmpty(v)) metadata.Set(field, v);
  std::vector<Cell> cells;
  for (const Column& c : kind.columns) cells.push_back(MakeCell(kind, c));
  // The original gives these rows one cell more than there are columns, and clients have come to expect it.
  if (kind.kind == "IPAddress") cells.push_back(PathCell("age", {"metadata", "creationTimestamp"}, ""));
  std::vector<const Value*> ordered = objects;
  if (kind.kind == "FlowSchema") {
    std::sort(ordered.begin(), ordered.end(), [](const Value* a, const Value* b) {
      auto key = [](const Value* v) {
        return std::pair(v->At("spec", "matchingPrecedence").int_or(), object::NameOf(*v));
      };
      return key(a) < key(b);
    });
  }
  List rows;
  rows.reserve(ordered.size());
  for (const Value* object : ordered) {
    List row_cells;
    for (const Cell& cell : cells) row_cells.push_back(cell(*object, options.now));
    Value row(Map{{"cells", Value(std::move(row_cells))}});
    AddRowConditions(kind, *object, row);
    row.Set("object", RowObject(kind, *object, options));
    rows.push_back(std::move(row));
  }
  return Value(Map{{"kind", Value("Table")},
                   {"apiVersion", Value(options.group_version)},
                   {"metadata", Value(std::move(metadata))},
                   {"columnDefinitions", options.columns ? Definitions(kind) : Value()},
                   {"rows", Value(std::move(rows))}});
}

std::string HumanDuration(std::chrono::seconds d) {
  int64_t seconds = d.count();
  // Clocks of two machines may differ by a little.
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return Number(seconds, 's');
  int64_t minutes = seconds / 60;
  if (minutes < 10) return TwoUnits(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return Number(minutes, 'm');
  int64_t hours = minutes / 60;
  if (hours < 8) return TwoUnits(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return Number(hours, 'h');
  int64_t days = hours / 24;
  if (hours < 192) return TwoUnits(days, 'd', hours % 24, 'h');
  if (days < 365 * 2) return Number(days, 'd');
  if (days < 365 * 8) return TwoUnits(days / 365, 'y', days % 365, 'd');
  return Number(days / 365, 'y');
}

std::string Age(std::string_view time, base::WallTime now) {
  auto parsed = time.empty() ? base::Result<object::Time>(object::Time{}) : object::ParseTime(time);
  if (!parsed || parsed->IsZero()) return "<unknown>";
  auto then = std::chrono::seconds(parsed->seconds) + std::chrono::nanoseconds(parsed->nanos);
  return HumanDuration(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch() - then));
}

}  // namespace machinery::ops
