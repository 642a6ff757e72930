// Amounts of CPU and memory as the kubelet needs them: thousandths of a CPU, bytes, shares, quotas. Quantities are read
// to thousandths (rounded up); texts written are canonical. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kubelet/model/types.h"

namespace kubelet {

// Thousandths of the number a quantity's text says, rounded up; nullopt when it is none. Saturates.
std::optional<int64_t> ParseMilli(std::string_view text);
// The whole number, rounded up.
std::optional<int64_t> ParseWhole(std::string_view text);
std::string MilliText(int64_t milli);  // "100m", "2"
// Binary where it divides evenly ("64Mi"), else the plain number.
std::string BytesText(int64_t bytes);

using ResourceList = google::protobuf::Map<std::string, quantity::Quantity>;
// Thousandths of the named resource, nullopt when absent.
std::optional<int64_t> QuantityIn(const ResourceList& list, const std::string& name);
std::optional<int64_t> WholeIn(const ResourceList& list, const std::string& name);

// cpu.shares for so many thousandths of a CPU (at least 2), cpu.cfs_quota_us for a limit (0: none).
int64_t SharesOf(int64_t milli_cpu);
int64_t QuotaOf(int64_t milli_cpu, int64_t period_us = 100000);
// The container's place when memory runs out, as the original computes it.
int64_t OomScoreAdjust(const api::Pod& pod, const api::Container& container, int64_t node_memory_bytes);

// What a pod asks for as a whole: the larger of its containers' sum and the biggest step of its initialization
// (sidecars started so far counted with it), plus overhead.
struct PodResources {
  std::optional<int64_t> cpu_request_milli, memory_request, cpu_limit_milli, memory_limit;
  // A container without the limit leaves the pod without it.
  bool cpu_limited = false, memory_limited = false;
  std::map<std::string, int64_t> requests;  // every resource: thousandths
};
PodResources Aggregate(const api::Pod& pod);

}  // namespace kubelet
