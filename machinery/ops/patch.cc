#include "machinery/ops/patch.h"

#include <charconv>
#include <optional>

#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/ops/patch_budget.h"

namespace machinery::ops {
namespace {

using base::Result;
using base::Status;
using value::Kind;
using value::List;
using value::Map;
using value::Value;

// The original discards why an operation failed; so nothing is lost in saying it once.
Status DoesNotApply() { return object::GenericResponse(422); }

std::string DecodeToken(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
      out += token[++i] == '0' ? '~' : '/';
    } else {
      out += token[i];
    }
  }
  return out;
}

// An index into a list of `size` places; negative ones count from the end.
std::optional<size_t> ParseIndex(std::string_view token, size_t size) {
  if (token.starts_with('+')) token.remove_prefix(1);
  int64_t i = 0;
  auto [p, ec] = std::from_chars(token.data(), token.data() + token.size(), i);
  if (token.empty() || ec != std::errc() || p != token.data() + token.size()) return std::nullopt;
  if (i < 0) i += static_cast<int64_t>(size);
  if (i < 0 || i >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(i);
}

// The container that a pointer leads to, and the last token.
struct Place {
  Value* container = nullptr;
  std::string key;
  int depth = 0;  // of what stands here; the document's root has 0

  Value* Get() const {
    if (container->is_map()) return container->map().Find(key);
    std::optional<size_t> i = ParseIndex(key, container->list().size());
    return i ? &container->list()[*i] : nullptr;
  }
};

std::optional<Place> Find(Value& doc, std::string_view pointer) {
  std::vector<std::string> tokens = base::Split(pointer, '/');
  if (tokens.size() < 2 || tokens.size() > value::kMaxDepth) return std::nullopt;
  Place place{&doc, DecodeToken(tokens.back()), static_cast<int>(tokens.size()) - 1};
  for (size_t i = 1; i + 1 < tokens.size(); ++i) {
    if (!place.container->is_map() && !place.container->is_list()) return std::nullopt;
    place.container = Place{place.container, DecodeToken(tokens[i])}.Get();
    if (!place.container) return std::nullopt;
  }
  if (!place.container->is_map() && !place.container->is_list()) return std::nullopt;
  return place;
}

// Applies the operations of one patch within its budget; false: one does not apply, or costs too much.
class JsonPatcher {
 public:
  explicit JsonPatcher(Value& doc) : doc_(doc) {}

  bool Apply(const Value& op) {
    std::string_view kind = op.At("op").string_or();
    if (!op.At("path").is_string()) return false;
    std::string_view path = op.At("path").string_or();
    const Value& v = op.At("value");
    if (kind == "test") return Test(path, v);
    if (kind == "replace") return Replace(path, v);
    if (kind == "move" || kind == "copy") return MoveOrCopy(op, kind == "move");
    if (kind != "add" && kind != "remove") return false;
    std::optional<Place> place = Find(doc_, path);
    if (!place) return false;
    return kind == "add" ? Fits(*place, v) && Add(*place, v) : Remove(*place);
  }

 private:
  bool Work(size_t n) { return (work_ += static_cast<int64_t>(n)) <= kMaxPatchWork; }
  // The document stays as shallow as what is read.
  static bool Fits(const Place& place, const Value& v) { return place.depth + Measure(v).depth <= value::kMaxDepth; }

  bool Add(const Place& place, Value v) {
    if (place.container->is_map()) {
      place.container->map().Set(place.key, std::move(v));
      return true;
    }
    List& list = place.container->list();
    std::optional<size_t> i = place.key == "-" ? list.size() : ParseIndex(place.key, list.size() + 1);
    if (!i || !Work(list.size() - *i)) return false;
    list.insert(list.begin() + static_cast<ptrdiff_t>(*i), std::move(v));
    return true;
  }

  bool Remove(const Place& place) {
    if (place.container->is_map())
      return Work(place.container->map().size()) && place.container->map().Remove(place.key);
    List& list = place.container->list();
    std::optional<size_t> i = ParseIndex(place.key, list.size());
    if (!i || !Work(list.size() - *i)) return false;
    list.erase(list.begin() + static_cast<ptrdiff_t>(*i));
    return true;
  }

  bool Replace(std::string_view path, const Value& v) {
    if (path.empty()) {
      if (!v.is_map() && !v.is_list()) return false;
      doc_ = v;
      return true;
    }
    std::optional<Place> place = Find(doc_, path);
    if (!place || !Fits(*place, v)) return false;
    if (place->container->is_map()) return Add(*place, v);  // the original does not ask that the key exists
    Value* old = place->Get();
    if (old) *old = v;
    return old != nullptr;
  }

  bool Test(std::string_view path, const Value& v) {
    if (path.empty()) return doc_ == v;
    std::optional<Place> place = Find(doc_, path);
    if (!place) return false;
    Value* have = place->Get();
    if (!have) return place->container->is_map() && v.is_null();
    return *have == v;
  }

  bool MoveOrCopy(const Value& op, bool move) {
    std::optional<Place> from = Find(doc_, op.At("from").string_or());
    if (!op.At("from").is_string() || !from) return false;
    Value* found = from->Get();
    if (!found && (move || from->container->is_list())) return false;
    TreeSize size = found ? Measure(*found) : TreeSize{.bytes = 4};
    if (!Work(static_cast<size_t>(size.nodes))) return false;
    if (!move && (copied_ += size.bytes) > kMaxCopyBytes) return false;
    Value v = !found ? Value() : move ? std::move(*found) : *found;
    if (move && !Remove(*from)) return false;
    std::optional<Place> to = Find(doc_, op.At("path").string_or());
    return to && to->depth + size.depth <= value::kMaxDepth && Add(*to, std::move(v));
  }

  Value& doc_;
  int64_t work_ = 0, copied_ = 0;
};

const char* JsonTypeName(const Value& v) {
  switch (v.kind()) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kNumber:
      return "number";
    case Kind::kString:
      return "string";
    case Kind::kList:
      return "array";
    case Kind::kMap:
      return "object";
  }
  return "";
}

void MergeInto(Value& doc, const Value& patch) {
  if (!patch.is_map()) {
    doc = patch;
    return;
  }
  if (!doc.is_map()) {
    doc = patch;
    DropNulls(doc);
    return;
  }
  doc.map().EnsureIndex();
  bool drop = false;
  for (const auto& e : patch.map()) {
    Value* old = doc.map().Find(e.key);
    if (e.value.is_null()) {
      drop = true;
    } else if (old && !old->is_null()) {
      MergeInto(*old, e.value);
    } else {
      Value fresh = e.value;
      DropNulls(fresh);
      doc.Set(e.key, std::move(fresh));
    }
  }
  if (!drop) return;
  doc.map().RemoveIf([&](const auto& e) {
    const Value* asked = patch.map().Find(e.key);
    return asked != nullptr && asked->is_null();
  });
}

}  // namespace

Status WrongPatchShape(const Value& patch, std::string_view wanted) {
  return object::BadRequest("error decoding patch: json: cannot unmarshal " + std::string(JsonTypeName(patch)) +
                            " into Go value of type " + std::string(wanted));
}

Result<Value> ApplyJsonPatch(Value doc, const Value& patch) {
  if (patch.is_null()) return doc;
  if (!patch.is_list()) return base::Err(WrongPatchShape(patch, "[]handlers.jsonPatchOp"));
  for (const Value& op : patch.list())
    if (!op.is_map()) return base::Err(WrongPatchShape(op, "handlers.jsonPatchOp"));
  if (patch.list().size() > kMaxJsonPatchOperations) {
    return base::Err(object::RequestEntityTooLarge("The allowed maximum operations in a JSON patch is " +
                                                   std::to_string(kMaxJsonPatchOperations) + ", got " +
                                                   std::to_string(patch.list().size())));
  }
  JsonPatcher patcher(doc);
  for (const Value& op : patch.list())
    if (!patcher.Apply(op)) return base::Err(DoesNotApply());
  return doc;
}

Result<Value> ApplyMergePatch(Value doc, const Value& patch) {
  if (patch.is_null()) return base::Err(object::BadRequest("Invalid JSON Patch"));
  if (!patch.is_map()) return base::Err(WrongPatchShape(patch, "map[string]interface {}"));
  MergeInto(doc, patch);
  return doc;
}

}  // namespace machinery::ops
