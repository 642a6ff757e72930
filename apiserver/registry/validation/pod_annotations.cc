// Annotations of pods and templates that mean something: deletion costs, mirror pods, and the seccomp and AppArmor
// profiles that have fields of their own by now.
#include <charconv>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/pod_parts.h"

namespace apiserver::registry::validation {
namespace {

constexpr std::string_view kMirror = "kubernetes.io/config.mirror";
constexpr std::string_view kDeletionCost = "controller.kubernetes.io/pod-deletion-cost";
constexpr std::string_view kLocal = "localhost/";

// A 32-bit number without a plus sign or leading zeros; absent is fine.
bool IsDeletionCost(const Value& text) {
  if (!text.is_string()) return true;
  const std::string& s = text.as_string();
  if (s.empty() || !(s[0] == '-' || s == "0" || (s[0] >= '1' && s[0] <= '9'))) return false;
  int32_t cost;
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), cost);
  return error == std::errc() && end == s.data() + s.size();
}

FieldErrors ValidateSeccompText(const std::string& profile, const std::string& path) {
  if (profile == "runtime/default" || profile == "docker/default" || profile == "unconfined") return {};
  if (profile.starts_with(kLocal)) return ValidateLocalPath(profile.substr(kLocal.size()), path);
  return {Invalid(path, profile, "must be a valid seccomp profile")};
}

bool HasContainer(const Value& spec, std::string_view name) {
  bool found = false;
  EachContainer(spec, "", [&](const Value& c, const std::string&) { found |= c.At("name").string_or() == name; });
  return found;
}

// What annotation and field say of a profile must be the same; `what` is "seccomp" or "apparmor".
FieldErrors ValidateSame(const Value& annotation, const Value& profile, const std::string& what,
                         const std::string& path) {
  if (!annotation.is_string() || !profile.is_map()) return {};
  const std::string &text = annotation.as_string(), type = Text(profile.At("type"));
  FieldErrors type_differs = {FieldForbidden(Child(path, "type"), what + " type in annotation and field must match")};
  if (type == "Unconfined") return text == "unconfined" ? FieldErrors{} : type_differs;
  if (type == "RuntimeDefault") {
    bool same = text == "runtime/default" || (what == "seccomp" && text == "docker/default");
    return same ? FieldErrors{} : type_differs;
  }
  if (type != "Localhost") return {};
  if (!text.starts_with(kLocal)) return type_differs;
  const Value& name = profile.At("localhostProfile");
  if (name.is_string() && text.substr(kLocal.size()) == name.as_string()) return {};
  return {FieldForbidden(Child(path, "localhostProfile"), what + " profile in annotation and field must match")};
}

}  // namespace

FieldErrors ValidatePodAnnotations(const Value& annotations, const Value& spec, const std::string& path,
                                   const Value& old) {
  FieldErrors errors;
  if (!annotations.is_map()) return errors;
  if (annotations.At(kMirror).is_string() && NoText(spec.At("nodeName")))
    errors.push_back(
        Invalid(Key(path, kMirror), annotations.At(kMirror), "must set spec.nodeName if mirror pod annotation is set"));
  if (!IsDeletionCost(annotations.At(kDeletionCost)) && IsDeletionCost(old.At(kDeletionCost)))
    errors.push_back(Invalid(Key(path, kDeletionCost), annotations.At(kDeletionCost), "must be a 32bit integer"));
  for (const auto& e : annotations.map())
    if (e.key == kPodSeccomp || e.key.starts_with(kContainerSeccomp))
      Append(errors, ValidateSeccompText(Text(e.value), Child(path, e.key)));
  for (const auto& e : annotations.map()) {
    if (!e.key.starts_with(kAppArmor)) continue;
    std::string container = e.key.substr(kAppArmor.size()), profile = Text(e.value);
    if (!HasContainer(spec, container)) errors.push_back(Invalid(Key(path, e.key), container, "container not found"));
    bool known =
        profile.empty() || profile == "runtime/default" || profile == "unconfined" || profile.starts_with(kLocal);
    if (!known)
      errors.push_back(
          Invalid(Key(path, e.key), profile, "invalid AppArmor profile name: " + object::GoQuote(profile)));
  }
  return errors;
}

FieldErrors ValidatePodAnnotationUpdates(const Value& pod, const Value& old) {
  const Value &now = object::AnnotationsOf(pod), &before = object::AnnotationsOf(old);
  const std::string path = "metadata.annotations";
  FieldErrors errors;
  auto refuse = [&](const std::string& key, const std::string& verb) {
    if (key.starts_with(kAppArmor))
      errors.push_back(FieldForbidden(Key(path, key), "may not " + verb + " AppArmor annotations"));
    if (key == kMirror) errors.push_back(FieldForbidden(Key(path, key), "may not " + verb + " mirror pod annotation"));
  };
  if (before.is_map())
    for (const auto& e : before.map())
      if (!(now.At(e.key) == e.value)) refuse(e.key, "remove or update");
  if (now.is_map())
    for (const auto& e : now.map())
      if (before.At(e.key).is_null()) refuse(e.key, "add");
  Append(errors, ValidatePodAnnotations(now, pod.At("spec"), path, before));
  return errors;
}

FieldErrors ValidateProfilesMatch(const Value& annotations, const Value& spec, const std::string& path) {
  FieldErrors errors;
  if (!annotations.is_map()) return errors;
  const Value& whole = spec.At("securityContext");
  Append(errors, ValidateSame(annotations.At(kPodSeccomp), whole.At("seccompProfile"), "seccomp",
                              Child(path, "securityContext", "seccompProfile")));
  EachContainer(spec, path, [&](const Value& c, const std::string& at) {
    Append(errors, ValidateSame(annotations.At(std::string(kContainerSeccomp) + Text(c.At("name"))),
                                c.At("securityContext", "seccompProfile"), "seccomp",
                                Child(at, "securityContext", "seccompProfile")));
  });
  if (spec.At("os", "name").string_or() == "windows") return errors;
  EachContainer(spec, path, [&](const Value& c, const std::string& at) {
    const Value& own = c.At("securityContext", "appArmorProfile");
    Append(errors, ValidateSame(annotations.At(std::string(kAppArmor) + Text(c.At("name"))),
                                own.is_map() ? own : whole.At("appArmorProfile"), "apparmor",
                                Child(at, "securityContext", "appArmorProfile")));
  });
  return errors;
}

FieldErrors ValidateAppArmorProfile(const Value& profile, const std::string& path) {
  constexpr size_t kMaxName = 4095;
  if (!profile.is_map()) return {};
  FieldErrors errors;
  std::string_view type = profile.At("type").string_or();
  const Value& name = profile.At("localhostProfile");
  std::string at = Child(path, "localhostProfile");
  if (type == "Localhost") {
    constexpr const char *kMissing = "must be set when AppArmor type is Localhost", *kSpace = " \t\n\v\f\r";
    const std::string text = Text(name);
    if (!name.is_string() || text.empty()) {
      errors.push_back(Required(at, kMissing));
    } else if (text.find_first_of(kSpace) == 0 || text.find_last_of(kSpace) == text.size() - 1) {
      errors.push_back(Invalid(at, name, "must not be padded with whitespace"));
    }
    if (text.size() > kMaxName) errors.push_back(object::TooLong(at, kMaxName));
  } else if (type == "RuntimeDefault" || type == "Unconfined") {
    if (name.is_string()) errors.push_back(Invalid(at, name, "can only be set when AppArmor type is Localhost"));
  } else if (type.empty()) {
    errors.push_back(Required(Child(path, "type"), "type is required when appArmorProfile is set"));
  } else {
    errors.push_back(
        NotSupported(Child(path, "type"), profile.At("type"), {"Localhost", "RuntimeDefault", "Unconfined"}));
  }
  return errors;
}

}  // namespace apiserver::registry::validation
