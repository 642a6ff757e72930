// A pod as the scheduler reasons about it: what it asks for, worked out once. Immutable once made.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace k8s::io::api::core::v1 {
class Node;
class Pod;
class Taint;
class Toleration;
}  // namespace k8s::io::api::core::v1

namespace scheduler {

using k8s::io::api::core::v1::Node;
using k8s::io::api::core::v1::Pod;
using k8s::io::api::core::v1::Taint;
using k8s::io::api::core::v1::Toleration;

// CPU in thousandths, memory and ephemeral storage in bytes, whole units of extended resources by name (sorted).
struct Resources {
  int64_t milli_cpu = 0;
  int64_t memory = 0;
  int64_t ephemeral_storage = 0;
  std::vector<std::pair<std::string, int64_t>> extended;
  int64_t Extended(std::string_view name) const;
  void AddExtended(std::string_view name, int64_t amount);
  Resources& operator+=(const Resources& o);
  Resources& operator-=(const Resources& o);
  // The larger of each.
  void Max(const Resources& o);
  friend bool operator==(const Resources&, const Resources&) = default;
};

struct HostPort {
  std::string ip;  // "" and "0.0.0.0" are every address
  std::string protocol;
  int32_t port = 0;
  friend auto operator<=>(const HostPort&, const HostPort&) = default;
};

struct PodInfo {
  explicit PodInfo(std::shared_ptr<const Pod> pod);
  std::shared_ptr<const Pod> pod;
  std::string key;  // namespace/name
  std::string uid;
  int32_t priority = 0;
  Resources requests;
  // Requests with 100 thousandths of a CPU and 200 MiB where a container names none, so that scoring spreads such pods.
  int64_t nonzero_milli_cpu = 0, nonzero_memory = 0;
  std::vector<HostPort> ports;
};

// A quantity's text in thousandths, or in whole units, rounded up; 0 for what is no quantity.
int64_t MilliValue(const std::string& quantity);
int64_t WholeValue(const std::string& quantity);

// Whether `toleration` tolerates `taint` (v1 Toleration: key, operator, value, effect).
bool Tolerates(const Toleration& toleration, const Taint& taint);

}  // namespace scheduler
