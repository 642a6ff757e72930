#include <algorithm>
#include <set>

#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/ops/patch.h"
#include "machinery/ops/patch_budget.h"

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
    std::erase_if(v.map().entries(), [](Map::Entry& e) { return !StripDirectives(e.value); });
  } else if (v.is_list()) {
    std::erase_if(v.list(), [](Value& item) { return !StripDirectives(item); });
  }
  return true;
}

// Identity of a list element: its merge key's value, or itself where there is no key.
const Value& IdentityOf(const Value& item, const std::string& key) {
  return key.empty() || !item.is_map() ? item : item.At(key);
}

// Elements of one merged list: those the patch names come in the patch's order, the others keep the server's, and the
// two are woven together by the server's order where both sides know it.
List Order(List merged, const List& patch_order, const List& server_order, const std::string& key) {
  const IdentityIndex in_patch(patch_order, key), in_server(server_order, key);
  List from_patch, server_only;
  for (Value& item : merged) (in_patch.Has(item) ? from_patch : server_only).push_back(std::move(item));
  auto sort_by = [](List& items, const IdentityIndex& order) {
    std::vector<std::pair<ptrdiff_t, size_t>> places;
    for (size_t i = 0; i < items.size(); ++i) places.emplace_back(order.Find(items[i]), i);
    std::sort(places.begin(), places.end());
    List sorted;
    for (auto& [place, i] : places) sorted.push_back(std::move(items[i]));
    items = std::move(sorted);
  };
  sort_by(from_patch, in_patch);
  sort_by(server_only, in_server);
  List out;
  size_t i = 0, j = 0;
  while (i < server_only.size() || j < from_patch.size()) {
    bool left = j >= from_patch.size();
    if (!left && i < server_only.size()) {
      ptrdiff_t li = in_server.Find(server_only[i]), ri = in_server.Find(from_patch[j]);
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

// The elements of a keyed list into the list.
Status MergeElements(const Type* element, List& original, List items, const std::string& key) {
  IdentityIndex index(original, key);
  for (Value& item : items) {
    if (!item.map().Has(key)) return NoMergeKey(item, key).error();
    ptrdiff_t at = index.Find(item);
    if (at < 0) {
      index.Add(item, static_cast<ptrdiff_t>(original.size()));
      original.push_back(std::move(item));
      continue;
    }
    auto place = static_cast<size_t>(at);
    Result<Value> merged = MergeMap(element, std::move(original[place]), std::move(item));
    if (!merged) return merged.error();
    original[place] = std::move(*merged);
  }
  return {};
}

Result<List> MergeMaps(const Type* element, List original, List patch, const std::string& key) {
  if (key.empty()) return Plain("cannot merge lists without merge key for slice");
  List server_order = original, items, deleted;
  bool replace = false;
  for (Value& item : patch) {
    const Value* directive = item.map().Find(kDirective);
    if (!directive) {
      items.push_back(std::move(item));
    } else if (directive->string_or() == "delete") {
      if (!item.map().Has(key)) return NoMergeKey(item, key);
      deleted.push_back(std::move(item));
    } else if (directive->string_or() == "replace") {
      replace = true;
    } else if (directive->string_or() == "merge") {
      return Plain("merging lists cannot yet be specified in the patch");
    } else {
      return BadDirective(*directive, item);
    }
  }
  if (replace) return items;
  if (!deleted.empty()) {
    const IdentityIndex gone(deleted, key);
    std::erase_if(original, [&](const Value& v) { return gone.Has(v); });
  }
  List patch_order = items;
  TRY(MergeElements(element, original, std::move(items), key));
  return Order(std::move(original), patch_order, server_order, key);
}

Result<List> MergeScalars(List original, const List& patch) {
  const std::string whole;
  List server_order = original, merged;
  IdentityIndex seen({}, whole);
  original.insert(original.end(), patch.begin(), patch.end());
  for (Value& v : original) {
    if (seen.Has(v)) continue;
    seen.Add(v, 0);
    merged.push_back(std::move(v));
  }
  return Order(std::move(merged), patch, server_order, whole);
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
  const std::string whole;
  const IdentityIndex names(keep, whole);
  auto kept = [&](const std::string& key) { return names.Has(Value(key)); };
  for (const auto& e : patch.map()) {
    if (e.value.is_null() || e.key.starts_with(kDeleteFrom) || e.key.starts_with(kSetOrder)) continue;
    if (!kept(e.key)) return BadFormat("retainKeys").error();
  }
  original.map().RemoveIf([&](const auto& e) { return !kept(e.key); });
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

// Fields of a patch that an order has dealt with already, directives among them: one may name another.
using Done = std::set<std::string, std::less<>>;

// $setElementOrder/f: merges f at once and puts it in that order; f counts as done.
Status SetElementOrder(const Type* type, Value& original, Value& patch, const std::string& directive, Done& done) {
  if (!done.insert(directive).second) return {};
  const Value order = std::move(*patch.map().Find(directive));
  if (!order.is_list()) return BadArgument("[]interface {}", order).error();
  if (directive.size() < kSetOrder.size() + 2 || directive[kSetOrder.size()] != '/')
    return BadFormat("setElementOrder list").error();
  std::string name = directive.substr(kSetOrder.size() + 1);
  Value* old_list = original.map().Find(name);
  Value* new_list = done.contains(name) ? nullptr : patch.map().Find(name);
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
  done.insert(std::move(name));
  return {};
}

// Fields that go are left to the caller, in `gone`.
Status MergeField(const Type* type, Value& original, std::string name, Value v, Done& gone) {
  bool delete_from = name.starts_with(kDeleteFrom);
  if (delete_from) {
    if (name.size() < kDeleteFrom.size() + 2 || name[kDeleteFrom.size()] != '/')
      return BadFormat("primitive list").error();
    name = name.substr(kDeleteFrom.size() + 1);
  }
  if (v.is_null()) {
    gone.insert(std::move(name));
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
      gone.insert(std::move(name));
    }
    return {};
  }
  Result<Rule> rule = RuleOf(type, name);
  if (!rule) return rule.error();
  if (v.is_map()) {
    Result<Value> merged =
        rule->replace ? Result<Value>(std::move(v)) : MergeMap(rule->type, std::move(*old), std::move(v));
    if (!merged) return merged.error();
    original.Set(name, std::move(*merged));
  } else if (delete_from) {
    const std::string whole;
    const IdentityIndex listed(v.list(), whole);
    std::erase_if(old->list(), [&](const Value& item) { return listed.Has(item); });
  } else {
    Result<List> merged = MergeLists(*rule, std::move(old->list()), std::move(v.list()));
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
  original.map().EnsureIndex();
  patch.map().EnsureIndex();
  std::vector<std::string> orders;
  for (const auto& e : std::as_const(patch).map())
    if (e.key.starts_with(kSetOrder)) orders.push_back(e.key);
  Done done, gone;
  for (const std::string& order : orders) TRY(SetElementOrder(type, original, patch, order, done));
  for (auto& e : patch.map().entries())
    if (!done.contains(e.key)) TRY(MergeField(type, original, e.key, std::move(e.value), gone));
  if (!gone.empty()) original.map().RemoveIf([&](const auto& e) { return gone.contains(e.key); });
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
