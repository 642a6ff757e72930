#include "kubelet/model/resources.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kubelet {
namespace {

// value = mantissa * scale, in thousandths. Suffixes of resource.Quantity.
std::optional<__int128> Scaled(std::string_view text) {
  if (text.empty()) return std::nullopt;
  bool negative = false;
  size_t i = 0;
  if (text[0] == '+' || text[0] == '-') negative = text[i++] == '-';
  __int128 mantissa = 0;
  int fraction = 0;
  bool dot = false, digits = false;
  for (; i < text.size(); ++i) {
    char c = text[i];
    if (c == '.' && !dot) {
      dot = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    digits = true;
    if (mantissa > (static_cast<__int128>(1) << 90)) continue;  // far beyond what can matter
    mantissa = mantissa * 10 + (c - '0');
    if (dot) ++fraction;
  }
  if (!digits) return std::nullopt;
  std::string_view suffix = text.substr(i);
  __int128 numerator = 1000;  // thousandths
  int exponent = 0;
  static constexpr std::string_view kBinary[] = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  static constexpr std::pair<std::string_view, int> kDecimal[] = {
      {"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3}, {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}, {"E", 18}};
  bool known = false;
  for (size_t b = 0; b < std::size(kBinary); ++b)
    if (suffix == kBinary[b]) {
      numerator <<= 10 * (b + 1);
      known = true;
    }
  for (const auto& [name, e] : kDecimal)
    if (suffix == name) {
      exponent = e;
      known = true;
    }
  if (!known && suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E')) {
    exponent = std::atoi(std::string(suffix.substr(1)).c_str());
    known = true;
  }
  if (!known || exponent > 30 || exponent < -30) return std::nullopt;
  exponent -= fraction;
  __int128 value = mantissa * numerator;
  for (; exponent > 0; --exponent) {
    if (value > (static_cast<__int128>(1) << 100)) break;
    value *= 10;
  }
  for (; exponent < 0; ++exponent) value = (value + 9) / 10;  // rounds up, as Quantity does
  return negative ? -value : value;
}

int64_t Saturate(__int128 v) {
  if (v > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (v < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}

}  // namespace

std::optional<int64_t> ParseMilli(std::string_view text) {
  auto v = Scaled(text);
  if (!v) return std::nullopt;
  return Saturate(*v);
}

std::optional<int64_t> ParseWhole(std::string_view text) {
  auto v = Scaled(text);
  if (!v) return std::nullopt;
  return Saturate(*v >= 0 ? (*v + 999) / 1000 : *v / 1000);
}

std::string MilliText(int64_t milli) {
  if (milli % 1000 == 0) {
    int64_t whole = milli / 1000;
    if (whole != 0 && whole % 1000 == 0) return std::to_string(whole / 1000) + "k";
    return std::to_string(whole);
  }
  return std::to_string(milli) + "m";
}

std::string BytesText(int64_t bytes) {
  static constexpr const char* kSuffix[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  int i = 0;
  while (bytes != 0 && bytes % 1024 == 0 && i < 6) {
    bytes /= 1024;
    ++i;
  }
  return std::to_string(bytes) + kSuffix[i];
}

std::optional<int64_t> QuantityIn(const ResourceList& list, const std::string& name) {
  auto it = list.find(name);
  if (it == list.end()) return std::nullopt;
  return ParseMilli(it->second.string());
}

std::optional<int64_t> WholeIn(const ResourceList& list, const std::string& name) {
  auto it = list.find(name);
  if (it == list.end()) return std::nullopt;
  return ParseWhole(it->second.string());
}

int64_t SharesOf(int64_t milli_cpu) {
  if (milli_cpu <= 0) return 2;
  return std::clamp<int64_t>(milli_cpu * 1024 / 1000, 2, 262144);
}

int64_t QuotaOf(int64_t milli_cpu, int64_t period_us) {
  if (milli_cpu <= 0) return 0;
  return std::max<int64_t>(milli_cpu * period_us / 1000, 1000);  // the kernel takes no less than a millisecond
}

int64_t OomScoreAdjust(const api::Pod& pod, const api::Container& container, int64_t node_memory_bytes) {
  if (pod.spec().priority() >= 2000000000) return -997;  // critical to the node
  QosClass qos = QosOf(pod);
  if (qos == QosClass::kGuaranteed) return -997;
  if (qos == QosClass::kBestEffort) return 1000;
  int64_t request = WholeIn(container.resources().requests(), "memory").value_or(0);
  int64_t score = node_memory_bytes > 0 ? 1000 - (1000 * request) / node_memory_bytes : 999;
  if (IsSidecar(container)) {
    // A sidecar must not die before the containers it serves.
    int64_t smallest = -1;
    for (const auto& c : pod.spec().containers()) {
      int64_t r = WholeIn(c.resources().requests(), "memory").value_or(0);
      if (smallest < 0 || r < smallest) smallest = r;
    }
    if (smallest > request && node_memory_bytes > 0)
      score = std::min(score, 1000 - 1000 * smallest / node_memory_bytes);
  }
  if (score < 3) return 3;        // guaranteed pods go last
  if (score == 1000) return 999;  // best-effort pods go first
  return score;
}

namespace {

using Sum = std::map<std::string, int64_t>;

void Add(Sum& into, const ResourceList& list) {
  for (const auto& [name, q] : list) into[name] += ParseMilli(q.string()).value_or(0);
}
void Max(Sum& into, const Sum& other) {
  for (const auto& [name, v] : other) into[name] = std::max(into[name], v);
}

Sum Total(const api::Pod& pod, bool limits) {
  auto list = [&](const api::Container& c) -> const ResourceList& {
    return limits ? c.resources().limits() : c.resources().requests();
  };
  Sum running, sidecars, peak;
  for (const auto& c : pod.spec().initcontainers()) {
    Sum step = sidecars;
    Add(step, list(c));
    if (IsSidecar(c)) sidecars = step;
    Max(peak, step);
  }
  running = sidecars;
  for (const auto& c : pod.spec().containers()) Add(running, list(c));
  Max(running, peak);
  Add(running, pod.spec().overhead());
  if (pod.spec().has_resources())
    for (const auto& [name, q] : limits ? pod.spec().resources().limits() : pod.spec().resources().requests())
      running[name] = ParseMilli(q.string()).value_or(0);
  return running;
}

}  // namespace

PodResources Aggregate(const api::Pod& pod) {
  PodResources out;
  out.requests = Total(pod, false);
  Sum limits = Total(pod, true);
  auto whole = [](int64_t milli) { return milli / 1000 + (milli % 1000 ? 1 : 0); };
  auto get = [](const Sum& s, const char* name) -> std::optional<int64_t> {
    auto it = s.find(name);
    if (it == s.end()) return std::nullopt;
    return it->second;
  };
  out.cpu_request_milli = get(out.requests, "cpu");
  if (auto m = get(out.requests, "memory")) out.memory_request = whole(*m);
  out.cpu_limit_milli = get(limits, "cpu");
  if (auto m = get(limits, "memory")) out.memory_limit = whole(*m);
  out.cpu_limited = out.memory_limited = true;
  auto look = [&](const api::Container& c) {
    if (!c.resources().limits().contains("cpu")) out.cpu_limited = false;
    if (!c.resources().limits().contains("memory")) out.memory_limited = false;
  };
  for (const auto& c : pod.spec().containers()) look(c);
  for (const auto& c : pod.spec().initcontainers()) look(c);
  return out;
}

}  // namespace kubelet
