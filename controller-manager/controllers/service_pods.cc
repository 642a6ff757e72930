// helper: which pods belong to which Service, for endpoints.cc and endpointslice.cc.
#include "controller-manager/controllers/service_pods.h"

#include <algorithm>
#include <ctime>

#include "machinery/object/names.h"

namespace controller_manager {

std::vector<client::Key> ServicesOf(const client::Informer<core::Service>& services,
                                    const client::Change<core::Pod>& change) {
  std::vector<client::Key> out;
  if (!EndpointChanged(change)) return out;
  for (const auto& s : services.ListNamespace(change.any().metadata().namespace_())) {
    const auto& selector = s->spec().selector();
    if (selector.empty()) continue;
    bool before = change.old && Contains(change.old->metadata().labels(), selector);
    bool after = change.current && Contains(change.current->metadata().labels(), selector);
    if (before || after) out.push_back(client::KeyOf(*s));
  }
  return out;
}

bool EndpointChanged(const client::Change<core::Pod>& change) {
  if (!change.old || !change.current) return true;
  const auto &a = *change.old, &b = *change.current;
  if (a.metadata().labels_size() != b.metadata().labels_size()) return true;
  for (const auto& [key, value] : a.metadata().labels()) {
    auto it = b.metadata().labels().find(key);
    if (it == b.metadata().labels().end() || it->second != value) return true;
  }
  if (a.status().podips_size() != b.status().podips_size()) return true;
  for (int i = 0; i < a.status().podips_size(); ++i)
    if (a.status().podips(i).ip() != b.status().podips(i).ip()) return true;
  return a.metadata().has_deletiontimestamp() != b.metadata().has_deletiontimestamp() || IsReady(a) != IsReady(b) ||
         IsTerminal(a) != IsTerminal(b) || a.spec().nodename() != b.spec().nodename() ||
         a.status().podip() != b.status().podip() || a.spec().hostname() != b.spec().hostname();
}

bool BelongsToEndpoints(const core::Pod& pod, bool terminating) {
  if (IsTerminal(pod) || (pod.status().podip().empty() && pod.status().podips().empty())) return false;
  return terminating || !pod.metadata().has_deletiontimestamp();
}

std::optional<int32_t> TargetPort(const core::Pod& pod, const core::ServicePort& port) {
  const auto& target = port.targetport();
  if (target.type() == 0) return target.intval() ? target.intval() : port.port();
  auto find = [&](const auto& containers, bool sidecars_only) -> std::optional<int32_t> {
    for (const auto& c : containers) {
      if (sidecars_only && c.restartpolicy() != "Always") continue;
      for (const auto& p : c.ports())
        if (p.name() == target.strval() && p.protocol() == port.protocol()) return p.containerport();
    }
    return std::nullopt;
  };
  if (auto n = find(pod.spec().containers(), false)) return n;
  return find(pod.spec().initcontainers(), true);
}

std::string HostnameFor(const core::Pod& pod, const core::Service& service) {
  return pod.spec().subdomain() == service.metadata().name() ? pod.spec().hostname() : std::string();
}

std::string AddressOf(const core::Pod& pod, std::string_view family) {
  bool v6 = family == "IPv6";
  // One pod with a text that is no address must not cost the Service its other endpoints.
  auto fits = [&](const std::string& text) {
    auto ip = machinery::object::ParseIp(text);
    return ip && ip->v4 != v6;
  };
  for (const auto& ip : pod.status().podips())
    if (fits(ip.ip())) return ip.ip();
  const auto& only = pod.status().podip();
  return pod.status().podips().empty() && fits(only) ? only : std::string();
}

bool IsHeadless(const core::Service& service) { return service.spec().clusterip() == "None"; }

std::string TriggerTime(const core::Service& service, const std::vector<std::shared_ptr<const core::Pod>>& pods) {
  int64_t newest = service.metadata().creationtimestamp().seconds();
  for (const auto& pod : pods) {
    const auto* c = Condition(*pod, "Ready");
    if (c) newest = std::max(newest, c->lasttransitiontime().seconds());
  }
  char text[32];
  std::time_t t = std::clamp<int64_t>(newest, 0, 253402300799);  // the year 9999
  std::tm parts{};
  gmtime_r(&t, &parts);
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
}

}  // namespace controller_manager
