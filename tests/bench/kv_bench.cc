// Load for an etcd server (ours or the original) and what it costs: CPU of the servers' processes per operation from
// the kernel's clock of those processes, so that the client's own cost does not count. One phase a run; one line, or
// (--json) one JSON object. Its own memory does not grow with the load: latencies go into a histogram, long answers are
// counted and dropped.
//
//   kv_bench --endpoints http://127.0.0.1:2379 --pids $(pidof kvstore) --op put --clients 100 --seconds 5
//
//   put, get      one key after another (get: linearizable) from --clients callers, for --seconds
//   fill          --keys keys once, in transactions of up to 100 puts
//   list, stream, pages   everything under the prefix: by one Range, by RangeStream, by Ranges of --page keys
//   snapshot      the database, as a backup takes it
//   watch         --clients watches of the prefix from --revision on, until each has heard of --keys changes; the first
//                 --silent of them never read
//   compact       history before the present revision goes (physical: answers when it is gone)
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdio>
#include <ranges>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/grpc.h"
#include "base/strings.h"
#include "proto/etcd/rpc.pb.h"
#include "tests/bench/process_usage.h"

namespace {

using base::Task;
namespace pb = etcdserverpb;

struct Options {
  std::string endpoints = "http://127.0.0.1:2379", op = "put", pids, prefix = "/bench/key/";
  int32_t clients = 100, connections = 4, value_bytes = 256, keys = 100000, page = 500, rate = 0, silent = 0;
  int64_t revision = 0;
  double seconds = 5;
  bool json = false;
};

// Microseconds in buckets of about 1.6 %, the largest exactly.
class Latencies {
 public:
  void Add(int64_t us) {
    ++counts_[Bucket(static_cast<uint64_t>(std::max<int64_t>(us, 0)))];
    ++total_;
    max_ = std::max(max_, us);
  }
  int64_t total() const { return total_; }
  int64_t max() const { return max_; }
  int64_t Percentile(double p) const {
    int64_t left = static_cast<int64_t>(p * static_cast<double>(total_ - 1)) + 1;
    for (size_t i = 0; i < counts_.size() && total_ > 0; ++i) {
      left -= counts_[i];
      if (left <= 0) return std::min(max_, static_cast<int64_t>(UpperEnd(i)));
    }
    return max_;
  }

 private:
  static constexpr size_t kFine = 64;  // buckets per power of two
  static size_t Bucket(uint64_t v) {
    if (v < kFine) return v;
    auto shift = static_cast<size_t>(std::bit_width(v)) - 7;
    return std::min<size_t>((shift + 1) * kFine + ((v >> shift) - kFine), 64 * kFine - 1);
  }
  static uint64_t UpperEnd(size_t bucket) {
    if (bucket < kFine) return bucket;
    size_t shift = bucket / kFine - 1;
    return (((bucket % kFine) + kFine + 1) << shift) - 1;
  }
  std::array<int64_t, 64 * kFine> counts_{};
  int64_t total_ = 0, max_ = 0;
};

// The system's random device is not wanted here: runs are to be alike.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

class Bench {
 public:
  Bench(base::Daemon& daemon, const Options& o) : daemon_(daemon), o_(o) {
    std::vector<std::string> endpoints = base::SplitNonEmpty(o.endpoints, ',');
    for (int i = 0; i < std::min(o.connections, std::max(o.clients, 1)); ++i) {
      base::net::ClientOptions c{.endpoints = {endpoints[static_cast<size_t>(i) % endpoints.size()]}};
      c.http2_prior_knowledge = true;
      channels_.push_back(std::make_unique<base::net::GrpcChannel>(
          daemon.loop(), c, base::net::GrpcLimits{.max_receive_bytes = 1 << 30}));
    }
    for (const std::string& pid : base::SplitNonEmpty(o.pids, ',')) {
      int n = 0;
      std::from_chars(pid.data(), pid.data() + pid.size(), n);
      pids_.push_back(n);
    }
  }

  Task<base::Status> Run() {
    double cpu = Cpu();
    from_ = Now();
    end_ = from_ + std::chrono::microseconds(static_cast<int64_t>(o_.seconds * 1e6));
    base::Status status;
    if (o_.op == "put" || o_.op == "get") {
      co_await Load();
    } else if (o_.op == "fill") {
      co_await Fill();
    } else if (o_.op == "list" || o_.op == "stream" || o_.op == "snapshot") {
      status = co_await Long();
    } else if (o_.op == "pages") {
      status = co_await Pages();
    } else if (o_.op == "watch") {
      co_await Watches();
    } else if (o_.op == "compact") {
      status = co_await Compact();
    } else {
      co_return base::InvalidArgument("unknown --op " + o_.op);
    }
    CO_TRY(status.Annotate(o_.op));
    Report(Cpu() - cpu);
    co_return failures_ == 0 ? base::Ok() : base::Unknown(fmt::format("{} calls failed: {}", failures_, failure_));
  }

 private:
  base::MonoTime Now() const { return daemon_.loop().Now(); }
  double Cpu() const {
    double sum = 0;
    for (int pid : pids_) sum += bench::CpuMicros(pid);
    return sum;
  }
  std::string KeyOf(int64_t i) const { return fmt::format("{}{:012}", o_.prefix, i); }
  base::net::GrpcChannel& channel(int i) { return *channels_[static_cast<size_t>(i) % channels_.size()]; }

  Task<base::Result<std::string>> Timed(base::net::GrpcChannel& channel, std::string_view method, std::string bytes,
                                        base::MonoTime from = {}) {
    if (from == base::MonoTime()) from = Now();
    auto out = co_await channel.Unary({}, method, base::Share(std::move(bytes)));
    latencies_.Add(std::chrono::duration_cast<std::chrono::microseconds>(Now() - from).count());
    if (!out) {
      ++failures_;
      failure_ = out.error().ToString();
    }
    co_return out;
  }

  // With --rate the callers together start no more than so many calls a second, evenly. When the call is due: its
  // latency counts from there, so that one long stall counts for all the calls that it kept from being made.
  Task<base::MonoTime> Pace(int64_t call) {
    if (o_.rate <= 0) co_return Now();
    base::MonoTime due = from_ + std::chrono::nanoseconds(call * 1'000'000'000 / o_.rate);
    if (due > Now()) (void)co_await base::Sleep(daemon_.loop(), daemon_.context(), due - Now());
    co_return due;
  }

  Task<void> Caller(int number) {
    bool put = o_.op == "put";
    std::string value(static_cast<size_t>(o_.value_bytes), 'v');
    while (Now() < end_ && !daemon_.context().done()) {
      int64_t call = next_++;
      base::MonoTime due = co_await Pace(call);
      if (put) {
        pb::PutRequest r;
        r.set_key(KeyOf(call % o_.keys));
        r.set_value(value);
        (void)co_await Timed(channel(number), "/etcdserverpb.KV/Put", r.SerializeAsString(), due);
      } else {
        pb::RangeRequest r;
        r.set_key(KeyOf(static_cast<int64_t>(Mix(static_cast<uint64_t>(call)) % static_cast<uint64_t>(o_.keys))));
        (void)co_await Timed(channel(number), "/etcdserverpb.KV/Range", r.SerializeAsString(), due);
      }
    }
  }
  Task<void> Load() {
    base::TaskScope tasks(daemon_.loop(), daemon_.context());
    for (int i = 0; i < o_.clients; ++i) tasks.Spawn(Caller(i));
    co_await tasks.Join();
  }

  Task<void> Filler(int number) {
    int64_t batch = std::clamp<int64_t>((1 << 20) / std::max(o_.value_bytes, 1), 1, 100);
    uint64_t seed = 0;
    while (next_ < o_.keys && failures_ == 0) {
      int64_t first = std::exchange(next_, next_ + batch);
      pb::TxnRequest txn;
      for (int64_t i = first; i < std::min<int64_t>(first + batch, o_.keys); ++i) {
        auto* put = txn.add_success()->mutable_request_put();
        put->set_key(KeyOf(i));
        std::string& value = *put->mutable_value();
        while (value.size() < static_cast<size_t>(o_.value_bytes)) {
          seed = Mix(seed + static_cast<uint64_t>(i) + 1);
          value.append(reinterpret_cast<const char*>(&seed), sizeof seed);
        }
        value.resize(static_cast<size_t>(o_.value_bytes));
      }
      (void)co_await Timed(channel(number), "/etcdserverpb.KV/Txn", txn.SerializeAsString());
    }
  }
  Task<void> Fill() {
    base::TaskScope tasks(daemon_.loop(), daemon_.context());
    for (int i = 0; i < std::min(o_.clients, 8); ++i) tasks.Spawn(Filler(i));
    co_await tasks.Join();
  }

  pb::RangeRequest Everything() const {
    pb::RangeRequest r;
    r.set_key(o_.prefix);
    r.set_range_end(o_.prefix);
    ++r.mutable_range_end()->back();
    return r;
  }

  // One call whose answer is larger than one would keep.
  Task<base::Status> Long() {
    std::string message = o_.op == "snapshot" ? "" : Everything().SerializeAsString(), body(1, '\0');
    base::PutBigEndian32(body, static_cast<uint32_t>(message.size()));
    base::net::ClientRequest request{.method = "POST", .path = "/etcdserverpb.KV/Range", .body = {}};
    if (o_.op == "stream") request.path += "Stream";
    if (o_.op == "snapshot") request.path = "/etcdserverpb.Maintenance/Snapshot";
    request.headers.Add("content-type", "application/grpc");
    request.headers.Add("te", "trailers");
    request.body = base::Share(body + message);
    CO_TRY_ASSIGN(auto response, co_await channel(0).client().Do(daemon_.context(), std::move(request)));
    for (;;) {
      CO_TRY_ASSIGN(std::string piece, co_await response->Read(daemon_.context()));
      if (piece.empty()) break;
      bytes_ += piece.size();
    }
    Count();
    for (const auto* headers : {&response->headers(), &response->trailers()}) {
      std::string_view code = headers->Get("grpc-status");
      if (!code.empty() && code != "0") co_return base::Unknown(std::string(headers->Get("grpc-message")));
    }
    co_return base::Ok();
  }

  Task<base::Status> Pages() {
    pb::RangeRequest r = Everything();
    r.set_limit(o_.page);
    for (bool more = true; more;) {
      CO_TRY_ASSIGN(std::string bytes, co_await Timed(channel(0), "/etcdserverpb.KV/Range", r.SerializeAsString()));
      pb::RangeResponse page;
      if (!page.ParseFromString(bytes)) co_return base::Unknown("unreadable answer");
      bytes_ += bytes.size();
      more = page.more();
      if (more) r.set_key(page.kvs(page.kvs_size() - 1).key() + '\0');
      if (r.revision() == 0) r.set_revision(page.header().revision());
    }
    co_return base::Ok();
  }

  Task<base::Status> Compact() {
    pb::RangeRequest any;
    any.set_key("x");
    CO_TRY_ASSIGN(std::string bytes,
                  co_await channel(0).Unary({}, "/etcdserverpb.KV/Range", base::Share(any.SerializeAsString())));
    pb::RangeResponse now;
    if (!now.ParseFromString(bytes)) co_return base::Unknown("unreadable answer");
    pb::CompactionRequest r;
    r.set_revision(now.header().revision());
    r.set_physical(true);
    co_return StatusOf(co_await Timed(channel(0), "/etcdserverpb.KV/Compact", r.SerializeAsString()));
  }

  // The ones that do not read have connections of their own, as far as there are enough.
  Task<void> Watcher(int number) {
    auto& mine = channel(static_cast<int>(int64_t{number} * o_.connections / o_.clients));
    base::MonoTime from = Now();
    auto heard = co_await Hear(mine, number >= o_.silent);
    if (!heard.ok()) {
      ++failures_;
      failure_ = heard.ToString();
    } else if (number >= o_.silent) {
      latencies_.Add(std::chrono::duration_cast<std::chrono::microseconds>(Now() - from).count());
    }
  }
  Task<base::Status> Hear(base::net::GrpcChannel& channel, bool reads) {
    CO_TRY_ASSIGN(auto opened, co_await channel.Open(daemon_.context(), "/etcdserverpb.Watch/Watch"));
    base::net::GrpcClientStream& stream = *watches_.emplace_back(std::move(opened));
    pb::RangeRequest range = Everything();
    pb::WatchRequest r;
    r.mutable_create_request()->set_key(range.key());
    r.mutable_create_request()->set_range_end(range.range_end());
    r.mutable_create_request()->set_start_revision(o_.revision);
    CO_TRY(co_await stream.Write(daemon_.context(), base::Share(r.SerializeAsString())));
    for (int64_t events = 0; reads && events < o_.keys;) {
      CO_TRY_ASSIGN(auto message, co_await stream.Read(daemon_.context()));
      pb::WatchResponse w;
      if (!message || !w.ParseFromString(*message)) co_return base::Unknown("unreadable answer");
      if (w.canceled()) co_return base::Unknown("the watch was cancelled");
      events += w.events_size();
      bytes_ += message->size();
    }
    co_return base::Ok();
  }
  Task<void> Watches() {
    base::TaskScope tasks(daemon_.loop(), daemon_.context());
    for (int i = 0; i < o_.clients; ++i) tasks.Spawn(Watcher(i));
    co_await tasks.Join();
  }

  void Count() { latencies_.Add(std::chrono::duration_cast<std::chrono::microseconds>(Now() - from_).count()); }

  void Report(double cpu) const {
    double seconds = std::chrono::duration<double>(Now() - from_).count(), rss = 0;
    for (int pid : pids_) rss += bench::RssBytes(pid) / 1e6;
    double n = static_cast<double>(latencies_.total());
    const char* form =
        o_.json
            ? R"({{"op":"{}","clients":{},"calls":{:.0f},"seconds":{:.3f},"per_second":{:.1f},"p50_us":{},"p99_us":{},)"
              R"("max_us":{},"failures":{},"cpu_us":{:.1f},"rss_mb":{:.1f},"mb":{:.1f}}})"
              "\n"
            : "{}: {} clients: {:.0f} calls in {:.2f} s, {:.0f}/s, p50 {} us, p99 {} us, max {} us, failures {}, "
              "server CPU {:.1f} us each, RSS {:.1f} MB, {:.1f} MB\n";
    fmt::print(fmt::runtime(form), o_.op, o_.clients, n, seconds, n / seconds, latencies_.Percentile(0.5),
               latencies_.Percentile(0.99), latencies_.max(), failures_, cpu / std::max(n, 1.0), rss,
               static_cast<double>(bytes_) / 1e6);
  }

  base::Daemon& daemon_;
  const Options& o_;
  std::vector<std::unique_ptr<base::net::GrpcChannel>> channels_;
  std::vector<std::unique_ptr<base::net::GrpcClientStream>> watches_;  // open until the figures are taken
  std::vector<int> pids_;
  base::MonoTime from_, end_;
  int64_t next_ = 0, failures_ = 0;
  std::string failure_;
  size_t bytes_ = 0;
  Latencies latencies_;
};

Task<base::Status> Serve(base::Daemon& daemon, const Options& o) {
  Bench bench(daemon, o);
  co_return co_await bench.Run();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  base::FlagSet flags({.name = "kv_bench",
                       .description = "Measures an etcd server under load. One phase (--op) a run.",
                       .version = "1",
                       .env_prefix = ""});
  flags.Add("endpoints", &o.endpoints, "URLs of the members, comma-separated; connections go to them in turn.");
  flags.Add("op", &o.op, "put, get, fill, list, stream, pages, snapshot, watch or compact.");
  flags.Add("pids", &o.pids, "The servers' processes, comma-separated, for their CPU time and memory.");
  flags.Add("prefix", &o.prefix, "What the keys begin with.");
  flags.Add("clients", &o.clients, "Calls under way at once.");
  flags.Add("connections", &o.connections, "TCP connections.");
  flags.Add("value-bytes", &o.value_bytes, "Size of values.");
  flags.Add("keys", &o.keys, "Different keys.");
  flags.Add("page", &o.page, "Keys per page of pages.");
  flags.Add("rate", &o.rate, "put, get: at most so many calls per second; 0 = as fast as they are answered.");
  flags.Add("silent", &o.silent, "watch: how many of them never read.");
  flags.Add("revision", &o.revision, "watch: the first revision to hear of; 0 = from now on.");
  flags.Add("seconds", &o.seconds, "put, get: how long.");
  flags.Add("json", &o.json, "One JSON object instead of a line.");
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return Serve(d, o); });
}
