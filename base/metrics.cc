#include "base/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/json_writer.h"
#include "base/status.h"

namespace base {
namespace {

class CounterCell final : public Counter {
 public:
  explicit CounterCell(const std::vector<double>&) {}
  void Add(double by) override { value_.fetch_add(by, std::memory_order_relaxed); }
  double Value() const override { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class GaugeCell final : public Gauge {
 public:
  explicit GaugeCell(const std::vector<double>&) {}
  void Set(double v) override { value_.store(v, std::memory_order_relaxed); }
  void Add(double by) override { value_.fetch_add(by, std::memory_order_relaxed); }
  double Value() const override { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class HistogramCell final : public Histogram {
 public:
  explicit HistogramCell(const std::vector<double>& bounds)
      : bounds_(bounds), counts_(std::make_unique<std::atomic<uint64_t>[]>(bounds.size() + 1)) {}
  void Observe(double v) override {
    auto bucket = static_cast<size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin());
    counts_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(v, std::memory_order_relaxed);
  }
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double>& bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out.push_back(c);
    }
  }
}

// `{a="x",b="y"}`, with le= last when given; "" when there is nothing.
std::string LabelText(const std::vector<std::string>& names, const std::vector<std::string>& values,
                      std::string_view le = {}) {
  if (names.empty() && le.empty()) return "";
  std::string out = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out.push_back(',');
    out.append(names[i]).append("=\"");
    AppendEscaped(out, values[i], true);
    out.push_back('"');
  }
  if (!le.empty()) {
    if (!names.empty()) out.push_back(',');
    out.append("le=\"").append(le).append("\"");
  }
  out.push_back('}');
  return out;
}

constexpr size_t kMaxSeries = 20'000;  // of one family; further ones count together
constexpr std::string_view kOverflow = "overflow";
constexpr size_t kMaxLabelBytes = 256;

class AnyFamily {
 public:
  virtual ~AnyFamily() = default;
  virtual void Print(std::string& out, const std::string& name) const = 0;
};

template <class M, class CellType>
class FamilyOf final : public Family<M>, public AnyFamily {
 public:
  FamilyOf(std::string help, std::string_view type, std::vector<std::string> labels, std::vector<double> bounds)
      : help_(std::move(help)), type_(type), labels_(std::move(labels)), bounds_(std::move(bounds)) {
    if (labels_.empty()) With({});  // a metric without labels shows its zero from the start
  }

  M& With(std::initializer_list<std::string_view> values) override {
    CHECK_MSG(values.size() == labels_.size(), help_);
    std::string key;
    for (auto v : values) AppendLabel(key, v);
    {
      std::shared_lock lock(mutex_);
      if (auto it = cells_.find(key); it != cells_.end()) return it->second->cell;
    }
    std::unique_lock lock(mutex_);
    // A series lives for ever, and what names it may come from outside.
    if (cells_.size() >= kMaxSeries && !cells_.contains(key)) {
      key.clear();
      for (size_t i = 0; i < values.size(); ++i) AppendLabel(key, kOverflow);
    }
    auto& slot = cells_[key];
    if (!slot) slot = std::make_unique<Entry>(LabelsOf(key), bounds_);
    return slot->cell;
  }

  void Print(std::string& out, const std::string& name) const override {
    std::shared_lock lock(mutex_);
    if (cells_.empty()) return;
    out.append("# HELP ").append(name).append(" ");
    AppendEscaped(out, help_, false);
    out.append("\n# TYPE ").append(name).append(" ").append(type_).append("\n");
    for (const auto& [key, entry] : cells_) PrintCell(out, name, *entry);
  }

  const std::vector<std::string>& labels() const { return labels_; }

 private:
  struct Entry {
    Entry(std::vector<std::string> v, const std::vector<double>& bounds) : values(std::move(v)), cell(bounds) {}
    std::vector<std::string> values;
    CellType cell;
  };

  // Values as scrapers take them: short, and without a byte that could make the whole text unreadable.
  static void AppendLabel(std::string& key, std::string_view value) {
    for (char c : value.substr(0, kMaxLabelBytes)) key.push_back(c >= 0x20 && c < 0x7f ? c : '?');
    key.push_back('\0');
  }
  static std::vector<std::string> LabelsOf(std::string_view key) {
    std::vector<std::string> out;
    for (size_t end; (end = key.find('\0')) != key.npos; key.remove_prefix(end + 1))
      out.emplace_back(key.substr(0, end));
    return out;
  }

  void PrintCell(std::string& out, const std::string& name, const Entry& e) const {
    if constexpr (std::is_same_v<CellType, HistogramCell>) {
      uint64_t total = 0;
      for (size_t i = 0; i <= bounds_.size(); ++i) {
        total += e.cell.count(i);
        std::string le = i < bounds_.size() ? GoFloat(bounds_[i]) : "+Inf";
        out.append(name).append("_bucket").append(LabelText(labels_, e.values, le));
        out.append(" ").append(std::to_string(total)).append("\n");
      }
      std::string labels = LabelText(labels_, e.values);
      out.append(name).append("_sum").append(labels).append(" ").append(GoFloat(e.cell.sum())).append("\n");
      out.append(name).append("_count").append(labels).append(" ").append(std::to_string(total)).append("\n");
    } else {
      out.append(name).append(LabelText(labels_, e.values)).append(" ").append(GoFloat(e.cell.Value())).append("\n");
    }
  }

  std::string help_;
  std::string_view type_;
  std::vector<std::string> labels_;
  std::vector<double> bounds_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<Entry>> cells_;
};

// The fields of /proc/self/stat after the command name; field 3 of proc(5) is the first.
std::vector<double> StatFields() {
  std::vector<double> out;
  char buffer[2048];
  FILE* f = std::fopen("/proc/self/stat", "re");
  if (f == nullptr) return out;
  size_t n = std::fread(buffer, 1, sizeof buffer - 1, f);
  std::fclose(f);
  buffer[n] = '\0';
  char* p = std::strrchr(buffer, ')');
  if (p == nullptr) return out;
  for (char* at = p + 1; *at != '\0';) {
    while (*at == ' ') ++at;
    out.push_back(std::strtod(at, nullptr));
    while (*at != ' ' && *at != '\0') ++at;
  }
  return out;
}

double BootTime() {
  double boot = 0;
  if (FILE* f = std::fopen("/proc/stat", "re")) {
    char line[512];
    while (std::fgets(line, sizeof line, f))
      if (std::sscanf(line, "btime %lf", &boot) == 1) break;
    std::fclose(f);
  }
  return boot;
}

// A counter of the network namespace, "IpExt:" in /proc/self/net/netstat: one line of names, one of values.
double NetworkOctets(std::string_view name) {
  FILE* f = std::fopen("/proc/self/net/netstat", "re");
  if (f == nullptr) return 0;
  char line[4096];
  std::vector<std::string> names;
  double out = 0;
  while (std::fgets(line, sizeof line, f) != nullptr) {
    if (std::string_view(line).substr(0, 6) != "IpExt:") continue;
    std::vector<std::string> words;
    char* rest = nullptr;
    for (char* w = ::strtok_r(line, " \n", &rest); w != nullptr; w = ::strtok_r(nullptr, " \n", &rest)) {
      words.emplace_back(w);
    }
    for (size_t i = 0; i < std::min(names.size(), words.size()); ++i) {
      if (names[i] == name) out = std::strtod(words[i].c_str(), nullptr);
    }
    names = std::move(words);
  }
  std::fclose(f);
  return out;
}

double CountOpenFiles() {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  double n = -1;  // the one that reads the directory
  while (const dirent* e = ::readdir(dir)) n += e->d_name[0] != '.';
  ::closedir(dir);
  return n;
}

}  // namespace

struct MetricsRegistry::Impl {
  template <class M, class CellType>
  Family<M>& Add(std::string name, std::string help, std::string_view type, std::vector<std::string> labels,
                 std::vector<double> bounds = {}) {
    std::lock_guard lock(mutex);
    auto& slot = families[std::move(name)];
    if (!slot) slot = std::make_unique<FamilyOf<M, CellType>>(std::move(help), type, labels, std::move(bounds));
    auto* family = dynamic_cast<FamilyOf<M, CellType>*>(slot.get());
    CHECK_MSG(family != nullptr && family->labels() == labels, "a metric's name stands for two different families");
    return *family;
  }
  Gauge& Process(const char* name, const char* help) { return Add<Gauge, GaugeCell>(name, help, "gauge", {}).With({}); }
  void RefreshProcess();

  std::mutex mutex;
  std::map<std::string, std::unique_ptr<AnyFamily>> families;
  std::vector<std::function<void()>> collectors;
};

void MetricsRegistry::Impl::RefreshProcess() {
  std::vector<double> stat = StatFields();
  if (stat.size() < 22) return;
  double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  auto& cpu = Add<Counter, CounterCell>("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                                        "counter", {})
                  .With({});
  cpu.Add(std::max(0.0, (stat[11] + stat[12]) / tick - cpu.Value()));
  auto count = [this](const char* name, const char* help, double v) {
    auto& c = Add<Counter, CounterCell>(name, help, "counter", {}).With({});
    c.Add(std::max(0.0, v - c.Value()));
  };
  count("process_network_receive_bytes_total", "Number of bytes received by the process over the network.",
        NetworkOctets("InOctets"));
  count("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network.",
        NetworkOctets("OutOctets"));
  Process("process_virtual_memory_bytes", "Virtual memory size in bytes.").Set(stat[20]);
  Process("process_resident_memory_bytes", "Resident memory size in bytes.")
      .Set(stat[21] * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  static const double boot = BootTime();
  Process("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
      .Set(boot + stat[19] / tick);
  Process("process_open_fds", "Number of open file descriptors.").Set(CountOpenFiles());
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0)
    Process("process_max_fds", "Maximum number of open file descriptors.").Set(static_cast<double>(limit.rlim_cur));
  if (::getrlimit(RLIMIT_AS, &limit) == 0)
    Process("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.")
        .Set(static_cast<double>(limit.rlim_cur));
}

MetricsRegistry::MetricsRegistry() : impl_(std::make_unique<Impl>()) {}
MetricsRegistry::~MetricsRegistry() = default;

Family<Counter>& MetricsRegistry::AddCounter(std::string name, std::string help, std::vector<std::string> labels) {
  return impl_->Add<Counter, CounterCell>(std::move(name), std::move(help), "counter", std::move(labels));
}
Family<Gauge>& MetricsRegistry::AddGauge(std::string name, std::string help, std::vector<std::string> labels) {
  return impl_->Add<Gauge, GaugeCell>(std::move(name), std::move(help), "gauge", std::move(labels));
}
Family<Histogram>& MetricsRegistry::AddHistogram(std::string name, std::string help, std::vector<double> buckets,
                                                 std::vector<std::string> labels) {
  return impl_->Add<Histogram, HistogramCell>(std::move(name), std::move(help), "histogram", std::move(labels),
                                              std::move(buckets));
}

void MetricsRegistry::AddCollector(std::function<void()> refresh) {
  std::lock_guard lock(impl_->mutex);
  impl_->collectors.push_back(std::move(refresh));
}

std::string MetricsRegistry::ToText() {
  std::vector<std::function<void()>> collectors;
  {
    std::lock_guard lock(impl_->mutex);
    collectors = impl_->collectors;
  }
  for (auto& refresh : collectors) refresh();
  impl_->RefreshProcess();
  std::string out;
  std::lock_guard lock(impl_->mutex);
  for (const auto& [name, family] : impl_->families) family->Print(out, name);
  return out;
}

std::vector<double> ExponentialBuckets(double start, double factor, int count) {
  std::vector<double> out;
  for (double v = start; count-- > 0; v *= factor) out.push_back(v);
  return out;
}

}  // namespace base
