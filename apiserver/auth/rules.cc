#include "apiserver/auth/rules.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::auth {

namespace object = machinery::object;
using machinery::request::Identity;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

using Strings = std::vector<std::string>;

bool Has(const Strings& list, std::string_view one) { return std::find(list.begin(), list.end(), one) != list.end(); }
bool HasAll(const Strings& list, const Strings& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& w) { return Has(list, w); });
}

Value ListOf(const Strings& strings) { return Value(List(strings.begin(), strings.end())); }

// ["a", "b"]
std::string Quoted(const Strings& list, std::string_view separator) {
  std::string out = "[";
  for (const auto& s : list) {
    if (out.size() > 1) out += separator;
    out += object::GoQuote(s);
  }
  return out + "]";
}

bool PathMatches(const std::string& rule, std::string_view path) {
  if (rule == "*" || rule == path) return true;
  return rule.ends_with('*') && path.starts_with(std::string_view(rule).substr(0, rule.find_last_not_of('*') + 1));
}

bool ResourceMatches(const PolicyRule& rule, const std::string& resource, const std::string& subresource) {
  std::string combined = subresource.empty() ? resource : resource + "/" + subresource;
  for (const auto& r : rule.resources) {
    if (r == "*" || r == combined) return true;
    if (!subresource.empty() && r.size() == subresource.size() + 2 && r.starts_with("*/") && r.ends_with(subresource))
      return true;
  }
  return false;
}

// One rule into rules of one verb and one resource (or path) each.
void BreakDown(const PolicyRule& rule, std::vector<PolicyRule>& out) {
  for (const auto& group : rule.groups)
    for (const auto& resource : rule.resources)
      for (const auto& verb : rule.verbs) {
        if (rule.names.empty()) out.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const auto& name : rule.names) out.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
  for (const auto& path : rule.paths)
    for (const auto& verb : rule.verbs) out.push_back({{verb}, {}, {}, {}, {path}});
}

bool PathsCover(const Strings& held, const Strings& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
    if (Has(held, w)) return true;
    return std::any_of(held.begin(), held.end(), [&](const std::string& h) {
      return h.ends_with('*') && w.starts_with(h.substr(0, h.find_last_not_of('*') + 1));
    });
  });
}

// Whether `held` covers the broken-down rule `w`.
bool Covers(const PolicyRule& held, const PolicyRule& w) {
  if (!Has(held.verbs, "*") && !HasAll(held.verbs, w.verbs)) return false;
  if (!w.paths.empty()) return PathsCover(held.paths, w.paths);
  if (!Has(held.groups, "*") && !HasAll(held.groups, w.groups)) return false;
  if (!held.names.empty() && !(!w.names.empty() && HasAll(held.names, w.names))) return false;
  if (Has(held.resources, "*") || HasAll(held.resources, w.resources)) return true;
  return std::all_of(w.resources.begin(), w.resources.end(), [&](const std::string& r) {
    size_t slash = r.find('/');
    return Has(held.resources, r) || (slash != r.npos && Has(held.resources, "*" + r.substr(slash)));
  });
}

}  // namespace

PolicyRule PolicyRule::FromTree(const Value& v) {
  return {object::StringsOf(v.At("verbs")), object::StringsOf(v.At("apiGroups")), object::StringsOf(v.At("resources")),
          object::StringsOf(v.At("resourceNames")), object::StringsOf(v.At("nonResourceURLs"))};
}

Value PolicyRule::ToTree() const {
  Map out;
  out.Set("verbs", ListOf(verbs));
  if (!groups.empty()) out.Set("apiGroups", ListOf(groups));
  if (!resources.empty()) out.Set("resources", ListOf(resources));
  if (!names.empty()) out.Set("resourceNames", ListOf(names));
  if (!paths.empty()) out.Set("nonResourceURLs", ListOf(paths));
  return Value(std::move(out));
}

std::string PolicyRule::ToCompactText() const {
  std::string out;
  auto add = [&](const char* name, const Strings& list) {
    if (!list.empty()) out += (out.empty() ? "" : ", ") + std::string(name) + ":" + Quoted(list, " ");
  };
  add("APIGroups", groups);
  add("Resources", resources);
  add("NonResourceURLs", paths);
  add("ResourceNames", names);
  add("Verbs", verbs);
  return "{" + out + "}";
}

std::vector<PolicyRule> RulesFromTree(const Value& list) {
  std::vector<PolicyRule> out;
  if (!list.is_list()) return out;
  for (const auto& rule : list.list()) out.push_back(PolicyRule::FromTree(rule));
  return out;
}

bool RuleAllows(const PolicyRule& rule, const Attributes& a) {
  if (!Has(rule.verbs, a.verb) && !Has(rule.verbs, "*")) return false;
  if (!a.resource_request)
    return std::any_of(rule.paths.begin(), rule.paths.end(), [&](const auto& p) { return PathMatches(p, a.path); });
  return (Has(rule.groups, a.group) || Has(rule.groups, "*")) && ResourceMatches(rule, a.resource, a.subresource) &&
         (rule.names.empty() || Has(rule.names, a.name));
}

std::vector<PolicyRule> Uncovered(const std::vector<PolicyRule>& held, const std::vector<PolicyRule>& wanted) {
  std::vector<PolicyRule> single, out;
  for (const auto& rule : wanted) BreakDown(rule, single);
  for (auto& rule : single)
    if (std::none_of(held.begin(), held.end(), [&](const auto& h) { return Covers(h, rule); }))
      out.push_back(std::move(rule));
  return out;
}

std::vector<PolicyRule> Compact(std::vector<PolicyRule> rules) {
  std::map<std::string, PolicyRule> merged;  // in the order of their texts, as the original sorts them
  for (auto& rule : rules) {
    PolicyRule key = rule;
    key.verbs.clear();
    auto [it, fresh] = merged.emplace(key.ToCompactText(), rule);
    if (!fresh)
      for (auto& verb : rule.verbs)
        if (!Has(it->second.verbs, verb)) it->second.verbs.push_back(verb);
  }
  std::vector<PolicyRule> out;
  for (auto& [key, rule] : merged) out.push_back(std::move(rule));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.ToCompactText() < b.ToCompactText(); });
  return out;
}

std::string Subject::UserName() const {
  return kind == "ServiceAccount" ? "system:serviceaccount:" + namespace_name + ":" + name : name;
}

std::string Subject::ToText() const {
  return kind + " " + object::GoQuote(namespace_name.empty() ? name : name + "/" + namespace_name);
}

base::Status CheckNoEscalation(RuleResolver& resolver, const Identity& user, const std::string& ns,
                               const std::vector<PolicyRule>& wanted) {
  if (user.InGroup("system:masters")) return base::Ok();
  std::vector<std::string> errors;
  auto missing = Compact(Uncovered(resolver.RulesFor(user, ns, &errors), wanted));
  if (missing.empty()) return base::Ok();
  std::string text = "user " + object::GoQuote(user.name) + " (groups=" + Quoted(user.groups, " ") +
                     ") is attempting to grant RBAC permissions not currently held:";
  for (const auto& rule : missing) text += "\n" + rule.ToCompactText();
  if (!errors.empty()) text += "; resolution errors: [" + base::Join(errors, " ") + "]";
  return base::PermissionDenied(std::move(text));
}

}  // namespace apiserver::auth
