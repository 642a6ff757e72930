// Load for an etcd server (ours or the original): puts or linearizable gets from many clients over a few connections;
// prints operations per second, latency percentiles and, with --pid, the server's CPU time per operation and its RSS.
//
//   kv_bench --endpoint http://127.0.0.1:2379 --pid $(pidof kvstore) --op put --clients 100 --seconds 5
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/grpc.h"
#include "proto/etcd/rpc.pb.h"

namespace {

using base::Task;

struct Options {
  std::string endpoint = "http://127.0.0.1:2379";
  std::string op = "put";
  int64_t pid = 0;
  int32_t clients = 100, connections = 4, value_bytes = 256, keys = 100000;
  double seconds = 5;
};

struct Usage {
  double cpu_seconds = 0;
  double rss_mb = 0;
};
Usage ReadUsage(int64_t pid) {
  Usage u;
  if (pid == 0) return u;
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string word;
  for (int i = 1; i <= 24 && stat >> word; ++i) {
    if (i == 14 || i == 15) u.cpu_seconds += std::stod(word) / static_cast<double>(sysconf(_SC_CLK_TCK));
    if (i == 24) u.rss_mb = std::stod(word) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
  }
  return u;
}

struct Bench {
  base::Loop& loop;
  const Options& options;
  base::MonoTime end;
  int64_t next_key = 0;
  int64_t failures = 0;
  std::vector<int64_t> micros;
};

std::string KeyOf(int64_t i) {
  char buf[32];
  std::snprintf(buf, sizeof buf, "/bench/key/%012ld", i);
  return buf;
}

Task<void> Client(Bench& b, base::net::GrpcChannel& channel) {
  bool put = b.options.op == "put";
  while (b.loop.Now() < b.end) {
    std::string bytes;
    int64_t i = b.next_key++ % b.options.keys;
    if (put) {
      etcdserverpb::PutRequest r;
      r.set_key(KeyOf(i));
      r.set_value(std::string(static_cast<size_t>(b.options.value_bytes), 'v'));
      bytes = r.SerializeAsString();
    } else {
      etcdserverpb::RangeRequest r;
      r.set_key(KeyOf(i * 7919 % b.options.keys));
      bytes = r.SerializeAsString();
    }
    base::MonoTime from = b.loop.Now();
    auto out = co_await channel.Unary({}, put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range",
                                      base::Share(std::move(bytes)));
    b.failures += !out.has_value();
    b.micros.push_back(std::chrono::duration_cast<std::chrono::microseconds>(b.loop.Now() - from).count());
  }
}

Task<base::Status> Run(base::Daemon& daemon, const Options& o) {
  Bench b{daemon.loop(), o, daemon.loop().Now() + std::chrono::microseconds(static_cast<int64_t>(o.seconds * 1e6))};
  std::vector<std::unique_ptr<base::net::GrpcChannel>> channels;
  for (int i = 0; i < std::min(o.connections, o.clients); ++i) {
    base::net::ClientOptions c{.endpoints = {o.endpoint}};
    c.http2_prior_knowledge = true;
    channels.push_back(std::make_unique<base::net::GrpcChannel>(daemon.loop(), c));
  }
  Usage before = ReadUsage(o.pid);
  base::MonoTime from = daemon.loop().Now();
  base::TaskScope tasks(daemon.loop(), daemon.context());
  for (int i = 0; i < o.clients; ++i) tasks.Spawn(Client(b, *channels[static_cast<size_t>(i) % channels.size()]));
  co_await tasks.Join();
  double took = std::chrono::duration<double>(daemon.loop().Now() - from).count();
  Usage after = ReadUsage(o.pid);
  std::sort(b.micros.begin(), b.micros.end());
  auto percentile = [&](double p) {
    return b.micros[static_cast<size_t>(p * static_cast<double>(b.micros.size() - 1))];
  };
  double n = static_cast<double>(b.micros.size());
  std::printf("%s: %d clients: %.0f/s, p50 %ld us, p99 %ld us, failures %ld", o.op.c_str(), o.clients, n / took,
              percentile(0.5), percentile(0.99), b.failures);
  if (o.pid != 0)
    std::printf(", server CPU %.1f us each, RSS %.1f MB", (after.cpu_seconds - before.cpu_seconds) / n * 1e6,
                after.rss_mb);
  std::printf("\n");
  co_return base::Ok();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  base::FlagSet flags({.name = "kv_bench"});
  flags.Add("endpoint", &o.endpoint, "URL of the server.");
  flags.Add("op", &o.op, "put or get.");
  flags.Add("pid", &o.pid, "The server's process, for its CPU time.");
  flags.Add("clients", &o.clients, "Calls under way at once.");
  flags.Add("connections", &o.connections, "TCP connections.");
  flags.Add("value-bytes", &o.value_bytes, "Size of values.");
  flags.Add("keys", &o.keys, "Different keys.");
  flags.Add("seconds", &o.seconds, "How long.");
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return Run(d, o); });
}
