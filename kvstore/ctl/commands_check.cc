// check perf, check datascale.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/json_writer.h"
#include "base/prefix_end.h"
#include "base/random.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

struct Load {
  int puts_a_second, clients, seconds;
};
const std::map<std::string, Load> kLoads = {
    {"s", {150, 50, 60}},   {"small", {150, 50, 60}},   {"m", {1000, 200, 60}},    {"medium", {1000, 200, 60}},
    {"l", {8000, 500, 60}}, {"large", {8000, 500, 60}}, {"xl", {15000, 1000, 60}}, {"xLarge", {15000, 1000, 60}}};

struct Scale {
  int64_t keys;
  int clients;
};
const std::map<std::string, Scale> kScales = {
    {"s", {10000, 50}},    {"small", {10000, 50}},    {"m", {100000, 200}},    {"medium", {100000, 200}},
    {"l", {1000000, 500}}, {"large", {1000000, 500}}, {"xl", {3000000, 1000}}, {"xLarge", {3000000, 1000}}};

// What the puts of a check look like.
struct Shape {
  std::string prefix;
  size_t key_bytes, value_bytes;
};

// The puts of a check from so many callers, and how long each took.
class PutLoad {
 public:
  PutLoad(Run& run, Connection& c, Load load, Shape shape)
      : run_(run),
        c_(c),
        load_(load),
        shape_(std::move(shape)),
        tickets_(run.loop, static_cast<size_t>(load.clients)),
        tasks_(run.loop, run.ctx) {}
  // So many a second for so long.
  Task<void> Go() {
    for (int i = 0; i < load_.clients; ++i) tasks_.Spawn(Caller());
    base::MonoTime start = run_.loop.Now(), end = start + std::chrono::seconds(load_.seconds);
    int64_t sent = 0;
    int shown = 0;
    while (run_.loop.Now() < end && !run_.ctx.done()) {
      std::chrono::duration<double> passed = run_.loop.Now() - start;
      for (auto due = static_cast<int64_t>(passed.count() * load_.puts_a_second); sent < due; ++sent) {
        if (!(co_await tickets_.Push(run_.ctx, sent)).ok()) break;
      }
      if (static_cast<int>(passed.count()) / 10 > shown) {
        shown = static_cast<int>(passed.count()) / 10;
        std::fprintf(stderr, "%d / %d s\n", shown * 10, load_.seconds);
      }
      (void)co_await base::Sleep(run_.loop, run_.ctx, std::chrono::milliseconds(1));
    }
    tickets_.Close();
    co_await tasks_.Join();
    seconds_ = std::chrono::duration<double>(run_.loop.Now() - start).count();
  }
  // So many as fast as they go.
  Task<void> GoThrough(int64_t puts) {
    for (int i = 0; i < load_.clients; ++i) tasks_.Spawn(Caller());
    for (int64_t sent = 0; sent < puts; ++sent) {
      if (!(co_await tickets_.Push(run_.ctx, sent)).ok()) break;
      if ((sent + 1) % (puts / 10) == 0) std::fprintf(stderr, "%ld / %ld\n", sent + 1, puts);
    }
    tickets_.Close();
    co_await tasks_.Join();
  }
  size_t errors() const { return errors_; }
  int Report() const {
    double sum = 0, squares = 0, slowest = 0;
    for (double t : took_) {
      sum += t;
      squares += t * t;
      slowest = std::max(slowest, t);
    }
    double n = std::max<double>(1, static_cast<double>(took_.size())), mean = sum / n;
    double deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
    int rate = static_cast<int>(static_cast<double>(took_.size()) / seconds_) + 1;
    bool good = true;
    auto line = [&](bool ok, const char* pass, const char* fail, double v) {
      std::printf(ok ? pass : fail, v);
      good &= ok;
    };
    if (errors_ > 0) line(false, "", "FAIL: too many errors: %.0f\n", static_cast<double>(errors_));
    line(rate > 0.9 * load_.puts_a_second, "PASS: Throughput is %.0f writes/s\n",
         "FAIL: Throughput too low: %.0f writes/s\n", rate);
    line(slowest <= 0.5, "PASS: Slowest request took %fs\n", "Slowest request took too long: %fs\n", slowest);
    line(deviation <= 0.1, "PASS: Stddev is %fs\n", "Stddev too high: %fs\n", deviation);
    Out(good ? "PASS\n" : "FAIL\n");
    return good ? 0 : kExitError;
  }

 private:
  Task<void> Caller() {
    base::Random random = base::Random::System();
    for (;;) {
      auto ticket = co_await tickets_.Pop(tasks_.context());
      if (!ticket) co_return;
      pb::PutRequest r;
      std::string key = std::to_string(random.Next());
      key.resize(shape_.key_bytes, '\0');
      r.set_key(shape_.prefix + key);
      r.set_value(std::string(shape_.value_bytes, '\0'));
      base::MonoTime from = run_.loop.Now();
      auto out = co_await c_.Call<pb::PutResponse>(tasks_.context(), "/etcdserverpb.KV/Put", r);
      if (!out) ++errors_;
      took_.push_back(std::chrono::duration<double>(run_.loop.Now() - from).count());
    }
  }
  Run& run_;
  Connection& c_;
  Load load_;
  Shape shape_;
  base::Channel<int64_t> tickets_;
  base::TaskScope tasks_;
  std::vector<double> took_;
  size_t errors_ = 0;
  double seconds_ = 1;
};

// Nothing of ours may lie under the prefix when a check begins; an exit code then.
Task<int> MustBeEmpty(Run& run, Connection& c, std::string prefix, const char* quote) {
  pb::RangeRequest any;
  any.set_key(prefix);
  any.set_range_end(base::PrefixEnd(prefix));
  any.set_limit(1);
  auto found = co_await c.Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", any);
  if (!found) co_return Fail(found.error());
  if (found->kvs_size() == 0) co_return 0;
  co_return Fail(kExitInvalidInput, "prefix " + base::GoQuote(prefix) + " has keys. Delete with " + quote +
                                        "etcdctl del --prefix " + prefix + quote + " first");
}

// The keys go whatever became of the check; then what --auto-compact and --auto-defrag ask for.
Task<int> CleanUp(Run& run, Connection& c, std::string prefix) {
  pb::DeleteRangeRequest del;
  del.set_key(prefix);
  del.set_range_end(base::PrefixEnd(prefix));
  auto gone = co_await c.Call<pb::DeleteRangeResponse>(base::Context(), "/etcdserverpb.KV/DeleteRange", del);
  if (!gone) co_return Fail(gone.error());
  if (run.flags.auto_compact) {
    pb::CompactionRequest compact;
    compact.set_revision(gone->header().revision());
    compact.set_physical(true);
    Out("Compacting with revision " + std::to_string(compact.revision()) + "\n");
    auto done = co_await c.Call<pb::CompactionResponse>(base::Context(), "/etcdserverpb.KV/Compact", compact);
    if (!done) co_return Fail(done.error());
    Out("Compacted with revision " + std::to_string(compact.revision()) + "\n");
  }
  if (run.flags.auto_defrag) {
    for (const std::string& endpoint : run.Endpoints()) {
      Out("Defragmenting " + base::GoQuote(endpoint) + "\n");
      base::Status s = co_await DefragmentOne(run, endpoint);
      if (!s.ok()) co_return Fail(s);
      Out("Defragmented " + base::GoQuote(endpoint) + "\n");
    }
  }
  co_return 0;
}

// process_resident_memory_bytes of the endpoint's /metrics; 0 when they cannot be read.
Task<double> ResidentBytes(Run& run, std::string endpoint) {
  auto options = Connection::OptionsFor(run.flags.client, {std::move(endpoint)});
  if (!options) co_return 0;
  options->http2_prior_knowledge = false;
  options->force_http1 = true;
  base::net::Client client(run.loop, std::move(*options));
  base::net::ClientRequest get{.path = "/metrics"};
  auto answer = co_await client.Do(run.ctx, std::move(get));
  if (!answer) co_return 0;
  constexpr size_t kMost = 16 << 20;
  auto text = co_await (*answer)->ReadAll(run.ctx, kMost);
  constexpr std::string_view kName = "\nprocess_resident_memory_bytes ";
  size_t at = text ? text->find(kName) : std::string::npos;
  co_return at == std::string::npos ? 0 : std::strtod(text->c_str() + at + kName.size(), nullptr);
}

}  // namespace

Task<int> CheckPerf(Run& run) {
  auto load = kLoads.find(run.flags.load);
  if (load == kLoads.end()) co_return Fail(kExitBadFeature, "unknown load option " + run.flags.load);
  std::string prefix = run.flags.check_prefix.empty() ? "/etcdctl-check-perf/" : run.flags.check_prefix;
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  if (int code = co_await MustBeEmpty(run, **c, prefix, "'")) co_return code;
  PutLoad puts(run, **c, load->second, {prefix, 256, 1024});
  co_await puts.Go();
  if (int code = co_await CleanUp(run, **c, prefix)) co_return code;
  co_return puts.Report();
}

Task<int> CheckDatascale(Run& run) {
  auto scale = kScales.find(run.flags.load);
  if (scale == kScales.end()) co_return Fail(kExitBadFeature, "unknown load option " + run.flags.load);
  std::string prefix = run.flags.check_prefix.empty() ? "/etcdctl-check-datascale/" : run.flags.check_prefix;
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  if (int code = co_await MustBeEmpty(run, **c, prefix, "")) co_return code;
  constexpr size_t kHalf = 512;  // of a pair: key and value
  double before = co_await ResidentBytes(run, run.Endpoints()[0]);
  if (before == 0) {
    Out("FAIL: Could not read process_resident_memory_bytes before the put operations.\n");
    co_return kExitError;
  }
  Out("Start data scale check for work load [" + std::to_string(scale->second.keys) + " key-value pairs, " +
      std::to_string(2 * kHalf) + " bytes per key-value, " + std::to_string(scale->second.clients) +
      " concurrent clients].\n");
  PutLoad puts(run, **c, {0, scale->second.clients, 0}, {prefix, kHalf, kHalf});
  co_await puts.GoThrough(scale->second.keys);
  double after = co_await ResidentBytes(run, run.Endpoints()[0]);
  if (int code = co_await CleanUp(run, **c, prefix)) co_return code;
  if (after == 0) {
    Out("FAIL: Could not read process_resident_memory_bytes after the put operations.\n");
    co_return kExitError;
  }
  if (puts.errors() > 0) {
    Out("FAIL: too many errors\n");
    co_return kExitError;
  }
  char text[96];
  std::snprintf(text, sizeof text, "PASS: Approximate system memory used : %.2f MB.\n", (after - before) / (1 << 20));
  Out(text);
  co_return 0;
}

}  // namespace kvstore::ctl
