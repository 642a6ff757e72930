#include "machinery/ops/patch.h"

#include <charconv>
#include <optional>

#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"

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

  Value* Get() const {
    if (container->is_map()) return container->map().Find(key);
    std::optional<size_t> i = ParseIndex(key, container->list().size());
    return i ? &container->list()[*i] : nullptr;
  }
  bool Add(Value v) const {
    if (container->is_map()) {
      container->map().Set(key, std::move(v));
      return true;
    }
    List& list = container->list();
    std::optional<size_t> i = key == "-" ? list.size() : ParseIndex(key, list.size() + 1);
    if (!i) return false;
    list.insert(list.begin() + static_cast<ptrdiff_t>(*i), std::move(v));
    return true;
  }
  bool Remove() const {
    if (container->is_map()) return container->map().Remove(key);
    std::optional<size_t> i = ParseIndex(key, container->list().size());
    if (!i) return false;
    container->list().erase(container->list().begin() + static_cast<ptrdiff_t>(*i));
    return true;
  }
};

std::optional<Place> Find(Value& doc, std::string_view pointer) {
  std::vector<std::string> tokens = object::Split(pointer, '/');
  if (tokens.size() < 2) return std::nullopt;
  Place place{&doc, DecodeToken(tokens.back())};
  for (size_t i = 1; i + 1 < tokens.size(); ++i) {
    if (!place.container->is_map() && !place.container->is_list()) return std::nullopt;
    place.container = Place{place.container, DecodeToken(tokens[i])}.Get();
    if (!place.container) return std::nullopt;
  }
  if (!place.container->is_map() && !place.container->is_list()) return std::nullopt;
  return place;
}

bool Replace(Value& doc, std::string_view path, const Value& v) {
  if (path.empty()) {
    if (!v.is_map() && !v.is_list()) return false;
    doc = v;
    return true;
  }
  std::optional<Place> place = Find(doc, path);
  if (!place) return false;
  if (place->container->is_map()) return place->Add(v);  // the original does not ask that the key exists
  Value* old = place->Get();
  if (old) *old = v;
  return old != nullptr;
}

bool Test(Value& doc, std::string_view path, const Value& v) {
  if (path.empty()) return doc == v;
  std::optional<Place> place = Find(doc, path);
  if (!place) return false;
  Value* have = place->Get();
  if (!have) return place->container->is_map() && v.is_null();
  return *have == v;
}

bool MoveOrCopy(Value& doc, const Value& op, bool move) {
  std::optional<Place> from = Find(doc, op.At("from").string_or());
  if (!op.At("from").is_string() || !from) return false;
  Value* found = from->Get();
  if (!found && (move || from->container->is_list())) return false;
  Value v = found ? *found : Value();
  if (move) from->Remove();
  std::optional<Place> to = Find(doc, op.At("path").string_or());
  return to && to->Add(std::move(v));
}

bool ApplyOne(Value& doc, const Value& op) {
  std::string_view kind = op.At("op").string_or();
  if (!op.At("path").is_string()) return false;
  std::string_view path = op.At("path").string_or();
  const Value& v = op.At("value");
  if (kind == "test") return Test(doc, path, v);
  if (kind == "replace") return Replace(doc, path, v);
  if (kind == "move" || kind == "copy") return MoveOrCopy(doc, op, kind == "move");
  if (kind != "add" && kind != "remove") return false;
  std::optional<Place> place = Find(doc, path);
  if (!place) return false;
  return kind == "add" ? place->Add(v) : place->Remove();
}

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

void DropNulls(Value& v) {
  if (v.is_map()) {
    auto& entries = v.map().entries();
    bool any = false;
    for (auto& e : entries) {
      any |= e.value.is_null();
      DropNulls(e.value);
    }
    if (!any) return;
    Map kept;
    for (auto& e : entries)
      if (!e.value.is_null()) kept.Append(std::move(e.key), std::move(e.value));
    v = Value(std::move(kept));
  } else if (v.is_list()) {
    for (Value& item : v.list()) DropNulls(item);
  }
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
  for (const auto& e : patch.map()) {
    if (e.value.is_null()) {
      doc.Remove(e.key);
    } else if (Value* old = doc.map().Find(e.key); old && !old->is_null()) {
      MergeInto(*old, e.value);
    } else {
      Value fresh = e.value;
      DropNulls(fresh);
      doc.Set(e.key, std::move(fresh));
    }
  }
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
  for (const Value& op : patch.list())
    if (!ApplyOne(doc, op)) return base::Err(DoesNotApply());
  return doc;
}

Result<Value> ApplyMergePatch(Value doc, const Value& patch) {
  if (patch.is_null()) return base::Err(object::BadRequest("Invalid JSON Patch"));
  if (!patch.is_map()) return base::Err(WrongPatchShape(patch, "map[string]interface {}"));
  MergeInto(doc, patch);
  return doc;
}

}  // namespace machinery::ops
