// etcd's /debug/pprof, as far as there is something to show: the command line and CPU profiles, in the format that
// `go tool pprof` reads. What Go's runtime knows of itself (goroutines, its heap, its locks) has no counterpart here.
#include <algorithm>
#include <map>

#include "base/cpu_profile.h"
#include "base/file.h"
#include "base/gzip.h"
#include "base/protobuf_wire.h"
#include "kvstore/service/api_impl.h"

namespace kvstore::service {

namespace wire = base::wire;

using base::Task;

namespace {

constexpr std::string_view kPrefix = "/debug/pprof/";

// Of pprof's profile.proto.
class ProfileWriter {
 public:
  std::string Write(const base::CpuProfile& profile) {
    constexpr uint64_t kPeriodNs = 1000000000 / base::CpuProfile::kHertz;
    mappings_ = base::CodeMappings();
    wire::PutBytes(out_, 1, ValueType("samples", "count"));
    wire::PutBytes(out_, 1, ValueType("cpu", "nanoseconds"));
    for (const auto& [stack, count] : profile.stacks) {
      std::string places, values, sample;
      for (uint64_t address : stack) wire::PutVarint(places, Location(address));
      wire::PutVarint(values, count);
      wire::PutVarint(values, count * kPeriodNs);
      wire::PutBytes(sample, 1, places);
      wire::PutBytes(sample, 2, values);
      wire::PutBytes(out_, 2, sample);
    }
    WriteMappings();
    for (const auto& [address, id] : locations_) {
      std::string l;
      wire::PutUint(l, 1, id);
      wire::PutNonZero(l, 2, MappingOf(address));
      wire::PutUint(l, 3, address);
      wire::PutBytes(out_, 4, l);
    }
    std::string period = ValueType("cpu", "nanoseconds");
    for (const std::string& s : strings_) wire::PutBytes(out_, 6, s);
    wire::PutUint(out_, 10, static_cast<uint64_t>(std::chrono::nanoseconds(profile.duration).count()));
    wire::PutBytes(out_, 11, period);
    wire::PutUint(out_, 12, kPeriodNs);
    return std::move(out_);
  }

 private:
  uint64_t Text(const std::string& s) {
    auto it = std::ranges::find(strings_, s);
    if (it == strings_.end()) it = strings_.insert(it, s);
    return static_cast<uint64_t>(it - strings_.begin());
  }
  std::string ValueType(const std::string& type, const std::string& unit) {
    std::string v;
    wire::PutUint(v, 1, Text(type));
    wire::PutUint(v, 2, Text(unit));
    return v;
  }
  uint64_t Location(uint64_t address) { return locations_.try_emplace(address, locations_.size() + 1).first->second; }
  // Counted from 1; 0: in none.
  uint64_t MappingOf(uint64_t address) const {
    for (size_t i = 0; i < mappings_.size(); ++i) {
      if (mappings_[i].start <= address && address < mappings_[i].limit) return i + 1;
    }
    return 0;
  }
  void WriteMappings() {
    for (size_t i = 0; i < mappings_.size(); ++i) {
      std::string m;
      wire::PutUint(m, 1, i + 1);
      wire::PutUint(m, 2, mappings_[i].start);
      wire::PutUint(m, 3, mappings_[i].limit);
      wire::PutUint(m, 4, mappings_[i].offset);
      wire::PutUint(m, 5, Text(mappings_[i].file));
      wire::PutBytes(out_, 3, m);
    }
  }

  std::string out_;
  std::vector<std::string> strings_ = {""};
  std::map<uint64_t, uint64_t> locations_;
  std::vector<base::CodeMapping> mappings_;
};

std::string Packed(const std::string& bytes) { return base::GzipWriter(6).Pack(bytes, /*last=*/true); }

std::string CommandLine() {
  std::string out = base::ReadFile(base::PosixFileSystem(), "/proc/self/cmdline").value_or("");
  if (out.ends_with('\0')) out.pop_back();
  return out;
}

constexpr const char* kIndex =
    "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n<p>/debug/pprof/</p>\n<ul>\n"
    "<li><a href='cmdline'>cmdline</a>: the command line of this process</li>\n"
    "<li><a href='profile'>profile</a>: CPU profile; ?seconds=N says how long, go tool pprof reads it</li>\n"
    "</ul>\n</body>\n</html>\n";

}  // namespace

Task<bool> Api::HandlePprof(base::net::Exchange& e, base::net::Headers& headers) {
  std::string_view path = e.path();
  if (!options_.pprof || !path.starts_with(kPrefix)) co_return false;
  std::string_view what = path.substr(kPrefix.size());
  headers.Set("x-content-type-options", "nosniff");
  int status = 200;
  const char* type = "text/plain; charset=utf-8";
  std::string body;
  if (what.empty()) {
    type = "text/html; charset=utf-8";
    body = kIndex;
  } else if (what == "cmdline") {
    body = CommandLine();
  } else if (what == "symbol") {
    body = "num_symbols: 0\n";  // the reader has the binary
  } else if (what == "profile") {
    int seconds = 0;
    for (const auto& [name, value] : base::net::ParseQuery(e.query())) {
      if (name == "seconds") seconds = std::atoi(value.c_str());
    }
    constexpr int kDefault = 30, kLongest = 3600;
    auto profile = co_await base::TakeCpuProfile(
        e.context(), replica_.executor(), std::chrono::seconds(seconds <= 0 ? kDefault : std::min(seconds, kLongest)));
    if (profile) {
      type = "application/octet-stream";
      headers.Set("content-disposition", "attachment; filename=\"profile\"");
      body = Packed(ProfileWriter().Write(*profile));
    } else {
      status = 500;
      headers.Set("x-go-pprof", "1");
      body = "Could not enable CPU profiling: " + std::string(profile.error().message()) + "\n";
    }
  } else {
    status = 404;
    headers.Set("x-go-pprof", "1");
    body = "Unknown profile\n";
  }
  headers.Set("content-type", type);
  (void)co_await e.Respond(status, std::move(headers), std::move(body));
  co_return true;
}

}  // namespace kvstore::service
