#include "kvstore/service/tcp_gateway.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/go_duration.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/net/tcp.h"
#include "base/sync.h"

namespace kvstore::service {

using base::Context;
using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
using base::net::ByteStream;
using base::net::ServiceRecord;

EndpointChoice::EndpointChoice(const std::vector<ServiceRecord>& endpoints) {
  for (const ServiceRecord& r : endpoints) remotes_.push_back({r, true});
}

std::string EndpointChoice::Address(size_t i) const {
  std::string host = remotes_[i].record.target;
  if (host.ends_with('.')) host.pop_back();
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return host + ":" + std::to_string(remotes_[i].record.port);
}

size_t EndpointChoice::InTurns(const std::vector<size_t>& among) { return among[turn_++ % among.size()]; }

size_t EndpointChoice::Pick(base::Random& random) {
  uint32_t best = UINT32_MAX;
  for (const Remote& r : remotes_) {
    if (r.active) best = std::min<uint32_t>(best, r.record.priority);
  }
  std::vector<size_t> weighted, plain;
  uint64_t sum = 0;
  for (size_t i = 0; i < remotes_.size(); ++i) {
    const ServiceRecord& r = remotes_[i].record;
    if (!remotes_[i].active || r.priority != best) continue;
    (r.weight > 0 ? weighted : plain).push_back(i);
    sum += r.weight;
  }
  // A weight of 0 beside others is a small chance (RFC 2782).
  constexpr uint64_t kSmall = 100;
  if (weighted.empty() || (!plain.empty() && random.OneIn(kSmall))) return plain.empty() ? size() : InTurns(plain);
  uint64_t chosen = random.Below(sum);
  for (size_t i : weighted) {
    if (chosen < remotes_[i].record.weight) return i;
    chosen -= remotes_[i].record.weight;
  }
  return weighted.back();
}

Result<ServiceRecord> ParseEndpoint(const std::string& text) {
  size_t scheme = text.find("://");
  std::string rest = scheme == std::string::npos ? text : text.substr(scheme + 3);
  rest = rest.substr(0, rest.find('/'));
  size_t colon = rest.rfind(':');
  ServiceRecord r;
  const char* end = rest.data() + rest.size();
  bool good = colon != std::string::npos && colon > 0 &&
              std::from_chars(rest.data() + colon + 1, end, r.port) == std::from_chars_result{end, std::errc()};
  if (!good) return Err(InvalidArgument("error parsing endpoint " + base::GoQuote(text)));
  r.target = rest.substr(0, colon);
  if (r.target.starts_with('[') && r.target.ends_with(']')) r.target = r.target.substr(1, r.target.size() - 2);
  return r;
}

namespace {

struct GatewayFlags {
  std::string listen = "127.0.0.1:23790";
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string domain, service;
  bool insecure_discovery = false;
  std::string ca_file;  // the original asks discovered endpoints for a certificate by it; clients do that themselves
  base::Duration retry = std::chrono::minutes(1);

  void Add(base::FlagSet& f) {
    f.Add("listen-addr", &listen, "listen address");
    f.Add("endpoints", &endpoints, "comma separated etcd cluster endpoints");
    f.Add("discovery-srv", &domain, "DNS domain used to bootstrap initial cluster");
    f.Add("discovery-srv-name", &service, "service name to query when using DNS discovery");
    f.Add("insecure-discovery", &insecure_discovery, "accept insecure SRV records");
    f.Add("trusted-ca-file", &ca_file, "path to the client server TLS CA file for verifying discovered endpoints");
    f.Add("retry-delay", &retry, "duration of delay before retrying failed endpoints");
  }
};

Result<std::vector<ServiceRecord>> EndpointsOf(const GatewayFlags& flags) {
  std::vector<ServiceRecord> out;
  std::string suffix = flags.service.empty() ? "" : "-" + flags.service;
  for (const char* service : {"etcd-client-ssl", "etcd-client"}) {
    bool asked = !flags.domain.empty() && (flags.insecure_discovery || service == std::string("etcd-client-ssl"));
    auto found = asked ? base::net::MachineNameService().Services(service + suffix, flags.domain)
                       : Err(base::NotFound("not asked"));
    if (found) out.insert(out.end(), found->begin(), found->end());
  }
  if (!out.empty()) return out;
  for (const std::string& e : flags.endpoints) {
    TRY_ASSIGN(ServiceRecord r, ParseEndpoint(e));
    out.push_back(std::move(r));
  }
  if (out.empty()) return Err(InvalidArgument("no endpoints found"));
  return out;
}

// Connections would go round in it for ever.
Status NotItself(const EndpointChoice& endpoints, const std::string& listen) {
  TRY_ASSIGN(ServiceRecord own, ParseEndpoint(listen));
  auto addresses = [](const std::string& host) {
    return base::net::MachineNameService().Addresses(host).value_or(std::vector<std::string>{host});
  };
  std::vector<std::string> ours = addresses(own.target);
  for (size_t i = 0; i < endpoints.size(); ++i) {
    TRY_ASSIGN(ServiceRecord r, ParseEndpoint(endpoints.Address(i)));
    if (r.port != own.port) continue;
    for (const std::string& a : addresses(r.target)) {
      if (std::ranges::find(ours, a) == ours.end()) continue;
      return InvalidArgument("SRV or endpoint (" + endpoints.Address(i) + "->" + a + ":" + std::to_string(r.port) +
                             ") should not resolve to the gateway listen addr (" + listen + ")");
    }
  }
  return Ok();
}

class Gateway {
 public:
  Gateway(base::Loop& loop, EndpointChoice endpoints, base::Duration retry)
      : loop_(loop),
        resolver_(base::NewThreadPool("resolver", 1)),
        endpoints_(std::move(endpoints)),
        retry_(retry <= base::Duration::zero() ? std::chrono::minutes(5) : retry),
        random_(base::Random::System()) {}

  Task<void> Serve(Context ctx, std::unique_ptr<ByteStream> client) {
    for (size_t i; (i = endpoints_.Pick(random_)) < endpoints_.size();) {
      auto server = co_await Dial(ctx, i);
      if (ctx.done()) co_return;
      if (server) {
        (void)co_await base::net::Splice(loop_, ctx, std::move(client), std::move(*server));
        co_return;
      }
      endpoints_.SetActive(i, false);
      base::LogWarning("deactivated endpoint", {{"address", endpoints_.Address(i)},
                                                {"interval", base::FormatGoDuration(retry_)},
                                                {"error", server.error()}});
    }
  }

  // Those that were away are tried again, now and then.
  Task<void> Monitor(Context ctx) {
    while ((co_await base::Sleep(loop_, ctx, retry_)).ok()) {
      for (size_t i = 0; i < endpoints_.size() && !ctx.done(); ++i) {
        if (endpoints_.active(i)) continue;
        auto there = co_await Dial(ctx, i);
        endpoints_.SetActive(i, there.has_value());
        if (there) {
          base::LogInfo("activated", {{"address", endpoints_.Address(i)}});
        } else {
          base::LogWarning("failed to activate endpoint (stay inactive for another interval)",
                           {{"address", endpoints_.Address(i)}, {"error", there.error()}});
        }
      }
    }
  }

  std::vector<std::string> Addresses() const {
    std::vector<std::string> out;
    for (size_t i = 0; i < endpoints_.size(); ++i) out.push_back(endpoints_.Address(i));
    return out;
  }

 private:
  Task<Result<std::unique_ptr<ByteStream>>> Dial(Context ctx, size_t i) {
    constexpr base::Duration kPatience = std::chrono::seconds(10);
    return base::net::DialStream(ctx.WithTimeout(loop_, kPatience), loop_, *resolver_, endpoints_.Address(i));
  }

  base::Loop& loop_;
  std::unique_ptr<base::BlockingPool> resolver_;
  EndpointChoice endpoints_;
  base::Duration retry_;
  base::Random random_;
};

Task<Status> ServeGateway(base::Daemon& daemon, const GatewayFlags& flags) {
  CO_TRY_ASSIGN(std::vector<ServiceRecord> records, EndpointsOf(flags));
  EndpointChoice endpoints(records);
  CO_TRY(NotItself(endpoints, flags.listen));
  Gateway gateway(daemon.loop(), std::move(endpoints), flags.retry);
  base::net::StreamListener listener(daemon.loop(), daemon.context(), [&](Context ctx, std::unique_ptr<ByteStream> s) {
    return gateway.Serve(std::move(ctx), std::move(s));
  });
  CO_TRY(listener.Listen(flags.listen));
  base::LogInfo("ready to proxy client requests", {{"endpoints", gateway.Addresses()}});
  base::NotifySupervisor("READY=1");
  co_await gateway.Monitor(daemon.context());
  co_await listener.Stop();
  co_return Ok();
}

}  // namespace

int RunGateway(std::vector<std::string> args) {
  GatewayFlags flags;
  base::FlagSet set({.name = "etcd gateway start", .description = "start the gateway", .env_prefix = ""});
  flags.Add(set);
  set.AllowPositional();
  std::vector<char*> words;
  for (std::string& a : args) words.push_back(a.data());
  if (auto code = set.ParseOrExitCode(static_cast<int>(words.size()), words.data())) return *code;
  if (set.positional() != std::vector<std::string>{"gateway", "start"}) {
    std::fprintf(stderr, "Usage: kvstore gateway start [flags]; see kvstore gateway start --help\n");
    return 1;
  }
  (void)base::SetupLogging({.format = base::LogFormat::kEtcdJson});
  base::RaiseOpenFilesLimit();
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return ServeGateway(d, flags); });
}

int RefuseGrpcProxy() {
  std::fprintf(
      stderr,
      "kvstore has no grpc-proxy. What it saves the members, many watches and leases that are one, they do not "
      "need: a change is encoded once for all who watch it. For one address of many members there is `kvstore "
      "gateway start`; for namespaces, etcd's own `etcd grpc-proxy start --endpoints=...` works in front of "
      "kvstore.\n");
  return 1;
}

}  // namespace kvstore::service
