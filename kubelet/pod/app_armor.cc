#include "kubelet/pod/app_armor.h"

#include <algorithm>
#include <fstream>

namespace kubelet::pod {
namespace {

constexpr std::string_view kAnnotation = "container.apparmor.security.beta.kubernetes.io/";
constexpr std::string_view kLocalhost = "localhost/";

std::vector<api::Container> AllContainers(const api::Pod& pod) {
  std::vector<api::Container> out(pod.spec().initcontainers().begin(), pod.spec().initcontainers().end());
  out.insert(out.end(), pod.spec().containers().begin(), pod.spec().containers().end());
  for (const auto& e : pod.spec().ephemeralcontainers()) out.push_back(AsContainer(e));
  return out;
}

bool Enforced(const api::AppArmorProfile& profile) { return profile.type() != "Unconfined"; }

bool Required(const api::Pod& pod) {
  const auto& context = pod.spec().securitycontext();
  if (context.has_apparmorprofile() && Enforced(context.apparmorprofile())) return true;
  for (const auto& c : AllContainers(pod))
    if (c.securitycontext().has_apparmorprofile() && Enforced(c.securitycontext().apparmorprofile())) return true;
  return std::ranges::any_of(pod.metadata().annotations(), [](const auto& a) {
    return a.first.starts_with(kAnnotation) && a.second != "unconfined";
  });
}

std::optional<api::AppArmorProfile> FromAnnotation(const std::string& value) {
  api::AppArmorProfile out;
  if (value == "runtime/default") {
    out.set_type("RuntimeDefault");
  } else if (value == "unconfined") {
    out.set_type("Unconfined");
  } else if (value.starts_with(kLocalhost)) {
    out.set_type("Localhost");
    out.set_localhostprofile(value.substr(kLocalhost.size()));
  } else {
    return std::nullopt;
  }
  return out;
}

}  // namespace

std::optional<api::AppArmorProfile> AppArmorProfileOf(const api::Pod& pod, const api::Container& container) {
  if (container.securitycontext().has_apparmorprofile()) return container.securitycontext().apparmorprofile();
  auto it = pod.metadata().annotations().find(std::string(kAnnotation) + container.name());
  if (it != pod.metadata().annotations().end())
    if (auto profile = FromAnnotation(it->second)) return profile;
  if (pod.spec().securitycontext().has_apparmorprofile()) return pod.spec().securitycontext().apparmorprofile();
  return std::nullopt;
}

void SetAppArmor(const api::Pod& pod, const api::Container& container, cri::LinuxContainerSecurityContext& out) {
  auto profile = AppArmorProfileOf(pod, container);
  if (!profile) return;
  // The second form is for runtimes that know only it.
  if (profile->type() == "RuntimeDefault") {
    out.mutable_apparmor()->set_profile_type(cri::SecurityProfile::RuntimeDefault);
    out.set_apparmor_profile("runtime/default");
  } else if (profile->type() == "Localhost") {
    out.mutable_apparmor()->set_profile_type(cri::SecurityProfile::Localhost);
    out.mutable_apparmor()->set_localhost_ref(profile->localhostprofile());
    out.set_apparmor_profile(std::string(kLocalhost) + profile->localhostprofile());
  } else {
    out.mutable_apparmor()->set_profile_type(cri::SecurityProfile::Unconfined);
    out.set_apparmor_profile("unconfined");
  }
}

std::optional<std::string> AppArmorRefusal(const api::Pod& pod, bool enabled) {
  if (!Required(pod)) return std::nullopt;
  if (!enabled) return "Cannot enforce AppArmor: AppArmor is not enabled on the host";
  for (const auto& c : AllContainers(pod)) {
    auto profile = AppArmorProfileOf(pod, c);
    if (profile && profile->type() == "Localhost" &&
        profile->localhostprofile().find_first_not_of(" \t\r\n") == std::string::npos)
      return "Cannot enforce AppArmor: invalid empty AppArmor profile name";
  }
  return std::nullopt;
}

bool AppArmorEnabled() {
  char answer = 'N';
  std::ifstream("/sys/module/apparmor/parameters/enabled") >> answer;
  return answer == 'Y' && std::ifstream("/sys/kernel/security/apparmor/profiles").good();
}

}  // namespace kubelet::pod
