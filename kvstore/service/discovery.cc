#include "kvstore/service/discovery.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/log.h"
#include "base/prefix_end.h"
#include "base/sync.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;

// ---- DNS

namespace {

struct Url {
  std::string scheme, host;  // "https", "a:2380"
};
Url Split(const std::string& url) {
  size_t at = url.find("://");
  if (at == url.npos) return {"", url};
  std::string rest = url.substr(at + 3);
  return {url.substr(0, at), rest.substr(0, rest.find('/'))};
}

std::string HostAndPort(const std::string& host, uint16_t port) { return host + ":" + std::to_string(port); }

// Entries of one kind of record.
Result<std::vector<std::string>> EntriesOf(base::net::NameService& names, const std::string& scheme,
                                           const std::string& service, const std::string& domain,
                                           const std::string& name, const std::vector<std::string>& peer_urls) {
  std::map<std::string, Url> own;  // by address
  for (const std::string& u : peer_urls) {
    TRY_ASSIGN(std::string address, names.Address(Split(u).host));
    own[address] = Split(u);
  }
  auto failed = [&](const Status& why) {
    return Err(why.Annotate("error querying DNS SRV records for _" + service + " "));
  };
  auto records = names.Services(service, domain);
  if (!records) return failed(records.error());
  std::vector<std::string> out;
  Status last;
  int unnamed = 0;
  for (const base::net::ServiceRecord& r : *records) {
    auto address = names.Address(HostAndPort(r.target, r.port));
    if (!address) {
      last = address.error();
      continue;
    }
    auto self = own.find(*address);
    std::string target = r.target.ends_with('.') ? r.target.substr(0, r.target.size() - 1) : r.target;
    std::string url = scheme + "://" + HostAndPort(target, r.port);
    if (self != own.end() && self->second.scheme != scheme) {
      last =
          InvalidArgument("bootstrap at " + url + " from DNS for " + service +
                          " has scheme mismatch with expected peer " + self->second.scheme + "://" + self->second.host);
      continue;
    }
    out.push_back((self != own.end() ? name : std::to_string(unnamed++)) + "=" + url);
  }
  if (out.empty() && !last.ok()) return failed(last);
  return out;
}

}  // namespace

Result<std::string> ClusterFromDns(base::net::NameService& names, const DnsDiscovery& where, const std::string& name,
                                   const std::vector<std::string>& peer_urls) {
  std::string suffix = where.service.empty() ? "" : "-" + where.service, out, errors;
  for (const auto& [scheme, kind] : {std::pair("https", "etcd-server-ssl"), std::pair("http", "etcd-server")}) {
    std::string service = kind + suffix;
    auto found = EntriesOf(names, scheme, service, where.domain, name, peer_urls);
    std::string error(found ? "" : found.error().message());
    base::LogInfo("get cluster for " + std::string(kind) + " SRV",
                  {{"service-scheme", scheme},
                   {"service-name", service},
                   {"server-name", name},
                   {"discovery-srv", where.domain},
                   {"advertise-peer-urls", peer_urls},
                   {"found-cluster", found.value_or(std::vector<std::string>())},
                   {"error", error}});
    if (!found) errors += (errors.empty() ? "" : "\n") + error;
    for (const std::string& entry : found.value_or(std::vector<std::string>())) out += (out.empty() ? "" : ",") + entry;
  }
  if (out.empty()) return Err(base::FailedPrecondition("error setting up initial cluster: " + errors));
  if (("," + out).find("," + name + "=") == std::string::npos) {
    return Err(base::FailedPrecondition("error setting up initial cluster: cannot find local etcd member \"" + name +
                                        "\" in SRV records"));
  }
  return out;
}

// ---- the registry

std::string Registry::MemberKey(uint64_t id) const {
  char hex[20];
  char* end = std::to_chars(hex, hex + sizeof hex, id, 16).ptr;
  return MembersPrefix() + "/" + std::string(hex, end);
}

Status Registry::Add(std::string key, std::string value, int64_t create_revision) {
  if (!key.starts_with(MembersPrefix())) return InvalidArgument("invalid peer registry key");
  if (value.find('=') == value.npos) return InvalidArgument("invalid peer info returned from discovery service");
  if (std::ranges::any_of(members_, [&](const Entry& e) { return e.key == key; })) {
    return InvalidArgument("found duplicate peer from discovery service");
  }
  members_.push_back({std::move(key), std::move(value), create_revision});
  std::ranges::sort(members_, {}, &Entry::create_revision);
  return Ok();
}

bool Registry::HasRoomFor(uint64_t id, size_t size) const {
  auto self = std::ranges::find(members_, MemberKey(id), &Entry::key);
  return static_cast<size_t>(self - members_.begin()) < size;
}

std::string Registry::InitialCluster(size_t size) const {
  std::string out;
  for (size_t i = 0; i < std::min(size, members_.size()); ++i) out += (i == 0 ? "" : ",") + members_[i].value;
  return out;
}

namespace {

namespace pb = etcdserverpb;

class Joining {
 public:
  Joining(base::Loop& loop, base::Context ctx, const RegistryDiscovery& where)
      : loop_(loop), ctx_(std::move(ctx)), where_(where) {}

  Task<Result<std::string>> Run(uint64_t id, std::string own) {
    CO_TRY_ASSIGN(View before, co_await Look());
    if (!before.registry.HasRoomFor(id, before.size)) co_return Err(Full());
    CO_TRY(co_await Enter(before.registry.MemberKey(id), own));
    for (;;) {
      CO_TRY_ASSIGN(View now, co_await Look());
      if (!now.registry.HasRoomFor(id, now.size)) co_return Err(Full());
      Status all = co_await WaitForAll(now);
      if (all.ok()) co_return now.registry.InitialCluster(now.size);
      // What happened since may be compacted by now: it is looked at anew.
      CO_TRY(co_await PauseBeforeRetry(1, "wait for peers", all));
    }
  }

 private:
  struct View {
    Registry registry;
    size_t size;
    int64_t revision;
  };
  static Status Full() { return base::FailedPrecondition("discovery: cluster is full"); }

  // The answer, however often it takes to get one.
  template <class Response, class Request>
  Task<Result<Response>> Call(std::string method, Request request, std::string step) {
    for (int attempt = 1;; ++attempt) {
      auto connection = co_await client::Connection::Open(loop_, ctx_, where_.client, where_.client.endpoints);
      Result<Response> answer = Err(connection ? Ok() : connection.error());
      if (connection) answer = co_await (*connection)->template Call<Response>(ctx_, method, request);
      if (answer) co_return std::move(*answer);
      CO_TRY(co_await PauseBeforeRetry(attempt, step, answer.error()));
    }
  }

  Task<Status> PauseBeforeRetry(int attempt, std::string step, Status why) {
    constexpr int kSlowest = 8;
    base::Duration pause = std::chrono::seconds(1 << std::min(attempt, kSlowest));
    base::LogWarning("retry connecting to discovery service",
                     {{"reason", step}, {"backoff", std::chrono::duration<double>(pause).count()}, {"error", why}});
    co_return co_await base::Sleep(loop_, ctx_, pause);
  }

  Task<Result<View>> Look() {
    View out{Registry(where_.token), 0, 0};
    pb::RangeRequest size;
    size.set_key(out.registry.SizeKey());
    CO_TRY_ASSIGN(auto found, co_await Call<pb::RangeResponse>("/etcdserverpb.KV/Range", size, "cluster status check"));
    if (found.kvs().empty()) co_return Err(base::NotFound("discovery: size key not found"));
    const std::string& text = found.kvs(0).value();
    int64_t number = 0;
    auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number <= 0) {
      co_return Err(InvalidArgument("discovery: size key is bad"));
    }
    out.size = static_cast<size_t>(number);
    pb::RangeRequest members;
    members.set_key(out.registry.MembersPrefix());
    members.set_range_end(base::PrefixEnd(out.registry.MembersPrefix()));
    CO_TRY_ASSIGN(found, co_await Call<pb::RangeResponse>("/etcdserverpb.KV/Range", members, "cluster status check"));
    out.revision = found.header().revision();
    for (const auto& kv : found.kvs()) Take(out.registry, kv);
    co_return out;
  }

  static void Take(Registry& registry, const mvccpb::KeyValue& kv) {
    Status s = registry.Add(kv.key(), kv.value(), kv.create_revision());
    base::LogFields fields = {{"memberKey", kv.key()}, {"memberInfo", kv.value()}};
    s.ok() ? base::LogInfo("found peer from discovery service", fields) : base::LogWarning(s.message(), fields);
  }

  // Follows the registry from where it was looked at. Not ok: the watch ended before all were there.
  Task<Status> WaitForAll(View& view) {
    auto say = [&](const char* what) {
      base::LogInfo(what, {{"clusterSize", view.size}, {"found-peers", view.registry.count()}});
    };
    if (!view.registry.Complete(view.size)) {
      say("waiting for peers from discovery service");
      CO_TRY(co_await Follow(view));
    }
    say("found all needed peers from discovery service");
    co_return Ok();
  }

  Task<Status> Follow(View& view) {
    CO_TRY_ASSIGN(auto connection,
                  co_await client::Connection::Open(loop_, ctx_, where_.client, where_.client.endpoints));
    CO_TRY_ASSIGN(auto events, co_await connection->Stream(ctx_, "/etcdserverpb.Watch/Watch"));
    pb::WatchRequest watch;
    watch.mutable_create_request()->set_key(view.registry.MembersPrefix());
    watch.mutable_create_request()->set_range_end(base::PrefixEnd(view.registry.MembersPrefix()));
    watch.mutable_create_request()->set_start_revision(view.revision + 1);
    CO_TRY(co_await events->Write(ctx_, base::Share(watch.SerializeAsString())));
    while (!view.registry.Complete(view.size)) {
      CO_TRY_ASSIGN(auto bytes, co_await events->Read(ctx_));
      pb::WatchResponse answer;
      if (!bytes || !answer.ParseFromString(*bytes)) co_return base::Unavailable("the watch ended");
      if (answer.canceled()) co_return base::Unavailable("the watch was cancelled: " + answer.cancel_reason());
      for (const auto& event : answer.events()) Take(view.registry, event.kv());
    }
    co_return Ok();
  }

  Task<Status> Enter(std::string key, std::string own) {
    pb::PutRequest put;
    put.set_key(key);
    put.set_value(own);
    CO_TRY(co_await Call<pb::PutResponse>("/etcdserverpb.KV/Put", put, "register member itself"));
    base::LogInfo("register member itself successfully", {{"memberKey", key}, {"memberInfo", own}});
    co_return Ok();
  }

  base::Loop& loop_;
  base::Context ctx_;
  const RegistryDiscovery& where_;
};

}  // namespace

Task<Result<std::string>> JoinByRegistry(base::Loop& loop, base::Context ctx, RegistryDiscovery where,
                                         uint64_t member_id, std::string own) {
  Joining joining(loop, std::move(ctx), where);
  auto cluster = co_await joining.Run(member_id, std::move(own));
  if (!cluster) {
    base::LogError("discovery failed to join cluster", cluster.error(), {{"discovery-token", where.token}});
  } else {
    base::LogInfo("discovery joined cluster successfully", {{"cluster", *cluster}});
  }
  co_return cluster;
}

}  // namespace kvstore::service
