// Metrics with the original's names, printed in Prometheus text format at /metrics. A Registry belongs to a daemon and
// is handed down; there is no global one. Thread-safe; updating is lock-free.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace base {

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void Add(double by = 1) = 0;
  virtual double Value() const = 0;
};
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double v) = 0;
  virtual void Add(double by) = 0;
  virtual double Value() const = 0;
};
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double v) = 0;
};

// A family: one metric name, a cell per combination of label values (in the order the labels were declared). References
// stay valid as long as the registry. With() locks: keep the reference where it is hot. A family holds 20,000 cells at
// most; what would be more counts under the label values "overflow". Values are cut at 256 bytes, and bytes that are no
// printable ASCII become question marks.
template <class M>
class Family {
 public:
  virtual ~Family() = default;
  virtual M& With(std::initializer_list<std::string_view> label_values) = 0;
  M& Get() { return With({}); }
};

class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  // A name may be asked for again with the same labels; it is the same family.
  Family<Counter>& AddCounter(std::string name, std::string help, std::vector<std::string> labels = {});
  Family<Gauge>& AddGauge(std::string name, std::string help, std::vector<std::string> labels = {});
  Family<Histogram>& AddHistogram(std::string name, std::string help, std::vector<double> buckets,
                                  std::vector<std::string> labels = {});
  // `refresh` runs at every ToText, before printing, on its caller's thread: for gauges that are cheaper to read than
  // to keep.
  void AddCollector(std::function<void()> refresh);
  // process_* (CPU, RSS, open files, start time) are refreshed at each call.
  std::string ToText();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// `count` bounds from `start`, each `factor` times the one before.
std::vector<double> ExponentialBuckets(double start, double factor, int count);

}  // namespace base
