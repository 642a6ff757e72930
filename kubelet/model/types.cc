#include "kubelet/model/types.h"

#include "base/status.h"
#include "kubelet/model/resources.h"

namespace kubelet {

const ObservedContainer* ObservedPod::Find(std::string_view container) const {
  for (const auto& c : containers)
    if (c.name == container) return &c;
  return nullptr;
}

const ObservedContainer* ObservedPod::FindId(std::string_view id) const {
  for (const auto& c : containers)
    if (c.id == id) return &c;
  return nullptr;
}

bool ObservedPod::AnyRunning() const {
  for (const auto& c : containers)
    if (c.state == ContainerState::kRunning) return true;
  return false;
}

std::string FullName(const api::Pod& pod) { return pod.metadata().namespace_() + "/" + pod.metadata().name(); }

std::string FormatPod(const api::Pod& pod) {
  const auto& m = pod.metadata();
  return m.name() + "_" + m.namespace_() + "(" + RuntimeUid(pod) + ")";
}

const std::string& RuntimeUid(const api::Pod& pod) {
  auto it = pod.metadata().annotations().find(std::string(kConfigMirror));
  if (it != pod.metadata().annotations().end()) return it->second;
  return pod.metadata().uid();
}

bool IsMirrorPod(const api::Pod& pod) { return pod.metadata().annotations().contains(std::string(kConfigMirror)); }

bool IsStaticPod(const api::Pod& pod) {
  auto it = pod.metadata().annotations().find(std::string(kConfigSource));
  return it != pod.metadata().annotations().end() && it->second != "api";
}

ContainerPtr FindContainer(const api::Pod& pod, std::string_view name) {
  for (const auto* list : {&pod.spec().initcontainers(), &pod.spec().containers()})
    for (const auto& c : *list)
      if (c.name() == name) return ContainerPtr(ContainerPtr(), &c);
  for (const auto& c : pod.spec().ephemeralcontainers())
    if (c.ephemeralcontainercommon().name() == name) return std::make_shared<const api::Container>(AsContainer(c));
  return nullptr;
}

api::Container AsContainer(const api::EphemeralContainer& container) {
  // The two messages share their field numbers; that is how the API keeps them apart and alike.
  api::Container out;
  CHECK(out.ParseFromString(container.ephemeralcontainercommon().SerializeAsString()));
  return out;
}

bool IsEphemeralContainer(const api::Pod& pod, std::string_view name) {
  for (const auto& c : pod.spec().ephemeralcontainers())
    if (c.ephemeralcontainercommon().name() == name) return true;
  return false;
}

bool IsInitContainer(const api::Pod& pod, std::string_view name) {
  for (const auto& c : pod.spec().initcontainers())
    if (c.name() == name) return true;
  return false;
}

bool IsSidecar(const api::Container& container) { return container.restartpolicy() == "Always"; }

namespace {

// JSON text of a string as Go writes it; image and container names hold nothing beyond ASCII.
std::string JsonQuote(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

uint32_t HashOf(const api::Container& container) {
  std::string json = "{\"image\":" + JsonQuote(container.image()) + ",\"name\":" + JsonQuote(container.name()) + "}";
  std::string text = "([]uint8)[";
  for (size_t i = 0; i < json.size(); ++i) {
    if (i) text += ' ';
    text += std::to_string(static_cast<unsigned char>(json[i]));
  }
  text += ']';
  uint32_t h = 0x811c9dc5;
  for (unsigned char c : text) h = (h ^ c) * 0x01000193;
  return h;
}

int64_t GracePeriodOf(const api::Pod& pod) {
  if (pod.metadata().has_deletiongraceperiodseconds()) return pod.metadata().deletiongraceperiodseconds();
  if (pod.spec().has_terminationgraceperiodseconds()) return pod.spec().terminationgraceperiodseconds();
  return 30;
}

QosClass QosOf(const api::Pod& pod) {
  if (pod.status().has_qosclass() && !pod.status().qosclass().empty()) {
    if (pod.status().qosclass() == "Guaranteed") return QosClass::kGuaranteed;
    if (pod.status().qosclass() == "BestEffort") return QosClass::kBestEffort;
    return QosClass::kBurstable;
  }
  bool any = false, guaranteed = true;
  auto look = [&](const api::Container& c) {
    for (const char* name : {"cpu", "memory"}) {
      auto request = QuantityIn(c.resources().requests(), name);
      auto limit = QuantityIn(c.resources().limits(), name);
      if ((request && *request > 0) || (limit && *limit > 0)) any = true;
      // Guaranteed: both set, equal and above zero, for every container.
      if (!limit || *limit <= 0 || (request && *request != *limit)) guaranteed = false;
    }
  };
  for (const auto& c : pod.spec().initcontainers()) look(c);
  for (const auto& c : pod.spec().containers()) look(c);
  if (!any) return QosClass::kBestEffort;
  return guaranteed ? QosClass::kGuaranteed : QosClass::kBurstable;
}

std::string_view QosName(QosClass qos) {
  switch (qos) {
    case QosClass::kGuaranteed:
      return "Guaranteed";
    case QosClass::kBurstable:
      return "Burstable";
    case QosClass::kBestEffort:
      return "BestEffort";
  }
  return "BestEffort";
}

std::string NormalSysctlName(std::string name) {
  size_t first = name.find_first_of("./");
  if (first == std::string::npos || name[first] == '.') return name;
  for (char& c : name) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return name;
}

meta::Time TimeOf(int64_t ns) {
  meta::Time t;
  if (ns > 0) {
    t.set_seconds(ns / 1'000'000'000);
    t.set_nanos(0);
  }
  return t;
}

int64_t NanosOf(const meta::Time& t) { return t.seconds() * 1'000'000'000 + t.nanos(); }

int64_t WallNanos(const base::Clock& clock) { return clock.WallNow().time_since_epoch().count(); }

}  // namespace kubelet
