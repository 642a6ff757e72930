#include "apiserver/registry/list_options.h"

#include <charconv>

#include "base/bytes.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/value/value.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::request::Options;
using machinery::request::PatchType;
using machinery::request::Request;
using machinery::request::Verb;
using machinery::value::Value;
using object::FieldErrors;

namespace {

base::Status Invalid(std::string kind, const FieldErrors& errors) {
  if (errors.empty()) return base::Ok();
  return object::InvalidObject({"meta.k8s.io", std::move(kind)}, "", errors);
}

Value Strings(const std::vector<std::string>& texts) {
  machinery::value::List list;
  for (const auto& t : texts) list.emplace_back(t);
  return list;
}

}  // namespace

namespace {

// As Go reads tokens: without padding, left-over bits of the last character ignored.
std::optional<std::string> LenientBase64Url(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  for (char c : text) {
    auto digit = kAlphabet.find(c);
    if (digit == kAlphabet.npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out += static_cast<char>(bits >> have);
  }
  if (text.size() % 4 == 1) return std::nullopt;
  return out;
}

}  // namespace

base::Result<uint64_t> ParseOwnRevision(const std::string& text) {
  if (text.empty()) return 0;
  uint64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error == std::errc() && end == text.data() + text.size()) return v;
  std::string_view why = error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax";
  return base::Err(
      object::Unclassified("strconv.ParseUint: parsing " + object::GoQuote(text) + ": " + std::string(why)));
}

base::Result<uint64_t> ParseRevision(const std::string& text) {
  auto v = ParseOwnRevision(text);
  if (v) return v;
  return base::Err(object::Unclassified("resourceVersion: Invalid value: " + object::GoQuote(text) + ": " +
                                        std::string(v.error().message())));
}

base::Status CheckListOptions(const Options& o) {
  FieldErrors errors;
  const std::string& match = o.resource_version_match;
  const std::string field = "resourceVersionMatch";
  if (!match.empty()) {
    if (o.resource_version.empty())
      errors.push_back(
          object::FieldForbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    if (!o.continue_token.empty())
      errors.push_back(object::FieldForbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
    if (match != "Exact" && match != "NotOlderThan")
      errors.push_back(object::NotSupported(field, match, {"Exact", "NotOlderThan", ""}));
    if (match == "Exact" && o.resource_version == "0")
      errors.push_back(
          object::FieldForbidden(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  }
  if (o.send_initial_events)
    errors.push_back(object::FieldForbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
  return Invalid("ListOptions", errors);
}

base::Status CheckWatchOptions(const Options& o) {
  FieldErrors errors;
  const std::string& match = o.resource_version_match;
  const std::string field = "resourceVersionMatch";
  if (o.send_initial_events && match != "NotOlderThan")
    errors.push_back(
        object::FieldForbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  if (!match.empty()) {
    if (!o.send_initial_events)
      errors.push_back(object::FieldForbidden(
          field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
    if (match != "NotOlderThan") errors.push_back(object::NotSupported(field, match, {"NotOlderThan"}));
    if (!o.continue_token.empty())
      errors.push_back(object::FieldForbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
  }
  return Invalid("ListOptions", errors);
}

base::Status CheckWriteOptions(const Request& r) {
  FieldErrors errors;
  const Options& o = r.options;
  auto check_dry_run = [&] {
    if (o.dry_run.empty() || (o.dry_run.size() == 1 && o.dry_run[0] == "All")) return;
    bool all = true;
    for (const auto& d : o.dry_run) all = all && d == "All";
    if (!all) errors.push_back(object::NotSupported("dryRun", Strings(o.dry_run), {"All"}));
  };
  auto check_manager = [&] {
    if (o.field_manager.size() > 128) errors.push_back(object::TooLong("fieldManager", 128));
  };
  auto check_validation = [&] {
    const auto& v = o.field_validation;
    if (!v.empty() && v != "Ignore" && v != "Warn" && v != "Strict")
      errors.push_back(object::NotSupported("fieldValidation", v, {"", "Ignore", "Strict", "Warn"}));
  };
  switch (r.verb) {
    case Verb::kCreate:
    case Verb::kUpdate:
      check_manager();
      check_dry_run();
      check_validation();
      return Invalid(r.verb == Verb::kCreate ? "CreateOptions" : "UpdateOptions", errors);
    case Verb::kPatch:
      if (r.patch_type == PatchType::kApplyYaml) {
        if (o.field_manager.empty()) errors.push_back(object::Required("fieldManager", "is required for apply patch"));
      } else if (o.force) {
        errors.push_back(object::FieldForbidden("force", "may not be specified for non-apply patch"));
      }
      check_manager();
      check_dry_run();
      check_validation();
      return Invalid("PatchOptions", errors);
    default: {
      if (o.orphan_dependents && !o.propagation_policy.empty())
        errors.push_back(object::Invalid("propagationPolicy", o.propagation_policy,
                                         "orphanDependents and deletionPropagation cannot be both set"));
      const auto& p = o.propagation_policy;
      if (!p.empty() && p != "Foreground" && p != "Background" && p != "Orphan")
        errors.push_back(object::NotSupported("propagationPolicy", p, {"Foreground", "Background", "Orphan", "nil"}));
      check_dry_run();
      return Invalid("DeleteOptions", errors);
    }
  }
}

std::string EncodeContinue(const ContinueToken& token) {
  std::string revision = token.revision == kInconsistent ? "-1" : std::to_string(token.revision);
  return base::Base64UrlEncode("{\"v\":\"meta.k8s.io/v1\",\"rv\":" + revision +
                               ",\"start\":" + machinery::value::ToJson(Value(token.start)) + "}");
}

base::Result<ContinueToken> DecodeContinue(const std::string& text) {
  auto bad = [](const std::string& why) {
    return base::Err(object::BadRequest("invalid continue token: continue key is not valid: " + why));
  };
  auto bytes = LenientBase64Url(text);
  if (!bytes) return bad("illegal base64 data at input byte " + std::to_string(text.size()));
  auto tree = machinery::value::FromJson(*bytes);
  if (!tree) return bad(std::string(tree.error().message()));
  if (tree->At("v").string_or() != "meta.k8s.io/v1")
    return bad("server does not recognize this encoded version " + object::GoQuote(tree->At("v").string_or()));
  int64_t revision = tree->At("rv").int_or();
  if (revision == 0) return bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  if (tree->At("start").string_or().empty()) return bad("encoded start key empty (version meta.k8s.io/v1)");
  std::string start(tree->At("start").string_or());
  if (start.find("../") != start.npos) return bad(object::GoQuote(start));
  return ContinueToken{revision < 0 ? kInconsistent : static_cast<uint64_t>(revision), std::move(start)};
}

base::Status ContinueExpired(const std::string& text) {
  base::Status s = object::ResourceExpired(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list "
      "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
      "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
      "modified, or deleted between the time the first chunk was returned and now may show up in the list.");
  return s;
}

}  // namespace apiserver::registry
