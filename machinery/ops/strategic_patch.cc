#include <algorithm>

#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/ops/patch.h"

namespace machinery::ops {
namespace {

using base::Result;
using base::Status;
using object::GoText;
using schema::Field;
using schema::Shape;
using schema::Type;
using value::Kind;
using value::List;
using value::Map;
using value::Value;

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFrom = "$deleteFromPrimitiveList";
constexpr std::string_view kSetOrder = "$setElementOrder";

// Malformed directives are the client's fault; everything else the original leaves unclassified (500).
std::unexpected<Status> BadFormat(const char* of) {
  return base::Err(object::BadRequest("invalid patch format of " + std::string(of)));
}
std::unexpected<Status> Plain(std::string message) { return base::Err(object::Unclassified(std::move(message))); }
std::unexpected<Status> NoMergeKey(const Value& item, const std::string& key) {
  return Plain("map: " + GoText(item) + " does not contain declared merge key: " + key);
}
std::unexpected<Status> BadDirective(const Value& directive, const Value& where) {
  return Plain("unknown patch type: " + GoText(directive) + " in map: " + GoText(where));
}

const char* GoType(const Value& v) {
  switch (v.kind()) {
    case Kind::kNull:
      return "<nil>";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int64";
    case Kind::kNumber:
      return "float64";
    case Kind::kString:
      return "string";
    case Kind::kList:
      return "[]interface {}";
    case Kind::kMap:
      return "map[string]interface {}";
  }
  return "";
}
std::unexpected<Status> BadArgument(const char* expected, const Value& v) {
  return Plain("expected a " + std::string(expected) + ", but received a " + GoType(v));
}

// What the schema says of one field of a map: how it merges and what it holds.
struct Rule {
  const Type* type = nullptr;  // of the field; null where the schema does not reach (any JSON)
  bool merge = false, replace = false;
  std::string key;
};

Result<Rule> RuleOf(const Type* parent, std::string_view name) {
  if (!parent) return Rule{};
  if (parent->shape == Shape::kMap) return Rule{.type = parent->element};
  if (parent->shape != Shape::kStruct) return Rule{};
  const Field* f = parent->Find(name);
  if (!f) {
    size_t dot = parent->name.rfind('.');
    return Plain("unable to find api field in struct " + parent->name.substr(dot + 1) + " for the json field " +
                 object::GoQuote(name));
  }
  Rule rule{.type = f->type, .key = f->patch_merge_key};
  for (const std::string& s : f->patch_strategy) {
    rule.merge |= s == "merge";
    rule.replace |= s == "replace";
  }
  return rule;
}

const Type* ElementOf(const Type* list) { return list && list->shape == Shape::kList ? list->element : nullptr; }

// Takes directives out of a value that is new to the object. False: the value itself is a directive.
bool StripDirectives(Value& v) {
  if (v.is_map()) {
    if (v.map().Has(kDirective)) return false;
    std::vector<std::string> drop;
    for (auto& e : v.map().entries())
      if (!StripDirectives(e.value)) drop.push_back(e.key);
    for (const std::string& key : drop) v.map().Remove(key);
  } else if (v.is_list()) {
    std::erase_if(v.list(), [](Value& item) { return !StripDirectives(item); });
  }
  return true;
}

void DropNulls(Value& v) {
  if (v.is_map()) {
    std::vector<std::string> drop;
    for (auto& e : v.map().entries()) {
      if (e.value.is_null()) drop.push_back(e.key);
      DropNulls(e.value);
    }
    for (const std::string& key : drop) v.map().Remove(key);
  } else if (v.is_list()) {
    for (Value& item : v.list()) DropNulls(item);
  }
}

// Identity of a list element: its merge key's value, or itself where there is no key.
const Value& IdentityOf(const Value& item, const std::string& key) {
  return key.empty() || !item.is_map() ? item : item.At(key);
}

ptrdiff_t IndexOf(const List& list, const Value& item, const std::string& key) {
  const Value& id = IdentityOf(item, key);
  for (size_t i = 0; i < list.size(); ++i)
    if (IdentityOf(list[i], key) == id) return static_cast<ptrdiff_t>(i);
  return -1;
}

// Elements of one merged list: those the patch names come in the patch's order, the others keep the server's, and the
// two are woven together by the server's order where both sides know it.
List Order(List merged, const List& patch_order, const List& server_order, const std::string& key) {
  List from_patch, server_only;
  for (Value& item : merged) {
    bool named = IndexOf(patch_order, item, key) >= 0;
    (named ? from_patch : server_only).push_back(std::move(item));
  }
  auto sort_by = [&](List& items, const List& order) {
    std::vector<std::pair<ptrdiff_t, size_t>> places;
    for (size_t i = 0; i < items.size(); ++i) places.emplace_back(IndexOf(order, items[i], key), i);
    std::sort(places.begin(), places.end());
    List sorted;
    for (auto& [place, i] : places) sorted.push_back(std::move(items[i]));
    items = std::move(sorted);
  };
  sort_by(from_patch, patch_order);
  sort_by(server_only, server_order);
  List out;
  size_t i = 0, j = 0;
  while (i < server_only.size() || j < from_patch.size()) {
    bool left = j >= from_patch.size();
    if (!left && i < server_only.size()) {
      ptrdiff_t li = IndexOf(server_order, server_only[i], key), ri = IndexOf(server_order, from_patch[j], key);
      left = li >= 0 && ri >= 0 && li < ri;
    }
    out.push_back(std::move(left ? server_only[i++] : from_patch[j++]));
  }
  return out;
}

// All elements of both lists are of one kind, and that is not list. Gives the kind (null when both are empty).
Result<Kind> ElementKind(const List& a, const List& b) {
  std::optional<Kind> kind;
  for (const List* list : {&a, &b}) {
    for (const Value& v : *list) {
      if (!kind && v.is_list()) return base::Err(object::GenericResponse(422));
      if (kind && *kind != v.kind())
        return Plain("list element types are not identical: [" + GoText(Value(a)) + " " + GoText(Value(b)) + "]");
      kind = v.kind();
    }
  }
  return kind.value_or(Kind::kNull);
}

Result<Value> MergeMap(const Type* type, Value original, Value patch);

// One element of a keyed list into the list.
Status MergeElement(const Type* element, List& original, Value item, const std::string& key) {
  if (!item.map().Has(key)) return NoMergeKey(item, key).error();
  ptrdiff_t at = IndexOf(original, item, key);
  if (at < 0) {
    original.push_back(std::move(item));
    return {};
  }
  Result<Value> merged = MergeMap(element, std::move(original[at]), std::move(item));
  if (!merged) return merged.error();
  original[at] = std::move(*merged);
  return {};
}

Result<List> MergeMaps(const Type* element, List original, List patch, const std::string& key) {
  if (key.empty()) return Plain("cannot merge lists without merge key for slice");
  List server_order = original, items;
  bool replace = false;
  for (Value& item : patch) {
    const Value* directive = item.map().Find(kDirective);
    if (!directive) {
      items.push_back(std::move(item));
    } else if (directive->string_or() == "delete") {
      if (!item.map().Has(key)) return NoMergeKey(item, key);
      std::erase_if(original, [&](const Value& v) { return v.At(key) == item.At(key); });
    } else if (directive->string_or() == "replace") {
      replace = true;
    } else if (directive->string_or() == "merge") {
      return Plain("merging lists cannot yet be specified in the patch");
    } else {
      return BadDirective(*directive, item);
    }
  }
  if (replace) return items;
  List patch_order = items;
  for (Value& item : items) TRY(MergeElement(element, original, std::move(item), key));
  return Order(std::move(original), patch_order, server_order, key);
}

Result<List> MergeScalars(List original, const List& patch) {
  List server_order = original, merged;
  original.insert(original.end(), patch.begin(), patch.end());
  for (Value& v : original)
    if (IndexOf(merged, v, "") < 0) merged.push_back(std::move(v));
  return Order(std::move(merged), patch, server_order, "");
}

Result<List> MergeLists(const Rule& rule, List original, List patch) {
  if (!rule.merge) return patch;
  if (original.empty() && patch.empty()) return original;
  TRY_ASSIGN(Kind kind, ElementKind(original, patch));
  if (kind != Kind::kMap) return MergeScalars(std::move(original), patch);
  return MergeMaps(ElementOf(rule.type), std::move(original), std::move(patch), rule.key);
}

// $retainKeys: what the patch does not list goes.
Status RetainKeys(Value& original, Value& patch) {
  const Value* found = patch.map().Find(kRetainKeys);
  if (!found) return {};
  if (!found->is_list()) return BadFormat("retainKeys").error();
  List keep = found->list();
  patch.map().Remove(kRetainKeys);
  auto kept = [&](const std::string& key) { return IndexOf(keep, Value(key), "") >= 0; };
  for (const auto& e : patch.map()) {
    if (e.value.is_null() || e.key.starts_with(kDeleteFrom) || e.key.starts_with(kSetOrder)) continue;
    if (!kept(e.key)) return BadFormat("retainKeys").error();
  }
  std::vector<std::string> drop;
  for (const auto& e : original.map())
    if (!kept(e.key)) drop.push_back(e.key);
  for (const std::string& key : drop) original.map().Remove(key);
  return {};
}

// The patch's list must follow the order it asks for.
Status CheckOrder(const List& patch, const List& order, const std::string& key) {
  if (order.empty() || patch.empty()) return {};
  size_t at = 0;
  for (const Value& item : patch) {
    if (item.is_map() && item.map().Has(kDirective)) continue;
    if (!key.empty() && !item.is_map()) return BadArgument("map[string]interface {}", item).error();
    if (!key.empty() && !item.map().Has(key)) return NoMergeKey(item, key).error();
    while (at < order.size() && !(IdentityOf(order[at], key) == IdentityOf(item, key))) ++at;
    if (at == order.size()) {
      return object::Unclassified("The order in patch list:\n" + GoText(Value(patch)) +
                                  "\n doesn't match $setElementOrder list:\n" + GoText(Value(order)) + "\n");
    }
    ++at;
  }
  return {};
}

// $setElementOrder/f: merges f at once and puts it in that order; f is taken out of the patch.
Status SetElementOrder(const Type* type, Value& original, Value& patch, const std::string& directive) {
  Value order = *patch.map().Find(directive);
  patch.map().Remove(directive);
  if (!order.is_list()) return BadArgument("[]interface {}", order).error();
  if (directive.size() < kSetOrder.size() + 2 || directive[kSetOrder.size()] != '/')
    return BadFormat("setElementOrder list").error();
  std::string name = directive.substr(kSetOrder.size() + 1);
  Value* old_list = original.map().Find(name);
  Value* new_list = patch.map().Find(name);
  for (Value* v : {old_list, new_list})
    if (v && !v->is_list()) return BadArgument("[]interface {}", *v).error();
  Result<Rule> rule = RuleOf(type, name);
  if (!rule) return rule.error();
  if (new_list) TRY(CheckOrder(new_list->list(), order.list(), rule->key));
  if (!old_list && !new_list) return {};
  List server_order = old_list ? old_list->list() : List{};
  List merged = server_order;
  if (old_list && new_list) {
    Result<List> both = MergeLists(*rule, server_order, new_list->list());
    if (!both) return both.error();
    merged = std::move(*both);
  } else if (new_list) {
    StripDirectives(*new_list);
    merged = new_list->list();
  }
  for (const Value& item : merged)
    if (!rule->key.empty() && item.is_map() && !item.map().Has(rule->key)) return NoMergeKey(item, rule->key).error();
  original.Set(name, Value(Order(std::move(merged), order.list(), server_order, rule->key)));
  patch.map().Remove(name);
  return {};
}

Status MergeField(const Type* type, Value& original, std::string name, Value v) {
  bool delete_from = name.starts_with(kDeleteFrom);
  if (delete_from) {
    if (name.size() < kDeleteFrom.size() + 2 || name[kDeleteFrom.size()] != '/')
      return BadFormat("primitive list").error();
    name = name.substr(kDeleteFrom.size() + 1);
  }
  if (v.is_null()) {
    original.map().Remove(name);
    return {};
  }
  Value* old = original.map().Find(name);
  bool recurse = old && old->kind() == v.kind() && (v.is_map() || v.is_list());
  if (!recurse) {
    if (delete_from) return {};
    DropNulls(v);
    if (StripDirectives(v)) {
      original.Set(name, std::move(v));
    } else {
      original.map().Remove(name);
    }
    return {};
  }
  Result<Rule> rule = RuleOf(type, name);
  if (!rule) return rule.error();
  if (v.is_map()) {
    Result<Value> merged = rule->replace ? Result<Value>(std::move(v)) : MergeMap(rule->type, *old, std::move(v));
    if (!merged) return merged.error();
    original.Set(name, std::move(*merged));
  } else if (delete_from) {
    std::erase_if(old->list(), [&](const Value& item) { return IndexOf(v.list(), item, "") >= 0; });
  } else {
    Result<List> merged = MergeLists(*rule, old->list(), std::move(v.list()));
    if (!merged) return merged.error();
    original.Set(name, Value(std::move(*merged)));
  }
  return {};
}

Result<Value> MergeMap(const Type* type, Value original, Value patch) {
  if (const Value* directive = patch.map().Find(kDirective)) {
    if (directive->string_or() == "replace") {
      patch.map().Remove(kDirective);
      return patch;
    }
    if (directive->string_or() == "delete") return Value(Map{});
    return BadDirective(*directive, patch);
  }
  TRY(RetainKeys(original, patch));
  std::vector<std::string> orders;
  for (const auto& e : patch.map())
    if (e.key.starts_with(kSetOrder)) orders.push_back(e.key);
  for (const std::string& order : orders) TRY(SetElementOrder(type, original, patch, order));
  for (auto& e : patch.map().entries()) TRY(MergeField(type, original, e.key, std::move(e.value)));
  return original;
}

}  // namespace

Result<Value> ApplyStrategicMergePatch(const Type& type, Value doc, Value patch) {
  if (patch.is_null()) return doc;
  if (!patch.is_map()) {
    const char* what = patch.is_list() ? "array" : patch.is_string() ? "string" : patch.is_bool() ? "bool" : "number";
    return base::Err(object::BadRequest("json: cannot unmarshal " + std::string(what) +
                                        " into Go value of type map[string]interface {}"));
  }
  return MergeMap(&type, std::move(doc), std::move(patch));
}

}  // namespace machinery::ops
