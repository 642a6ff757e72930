// How a member that joins finds out whom it joins.
#include <cstdlib>

#include "base/log.h"
#include "kvstore/peer/http_transport.h"

namespace kvstore::peer {

using base::Context;
using base::Err;
using base::Result;
using base::Status;
using base::Task;

namespace {

// The objects of a JSON array.
std::vector<std::string> Objects(std::string_view json) {
  std::vector<std::string> out;
  int depth = 0;
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' && depth++ == 0) {
      start = i;
    } else if (c == '}' && --depth == 0) {
      out.emplace_back(json.substr(start, i - start + 1));
    }
  }
  return out;
}

Task<Result<ClusterView>> AskOne(base::Loop& loop, std::string url, Dialing dialing) {
  base::net::Client client(loop, {.endpoints = {url},
                                  .tls = dialing.tls,
                                  .force_http1 = true,
                                  .local_address = dialing.local_address,
                                  .connect_timeout = std::chrono::seconds(1)});
  Context ctx = Context().WithTimeout(loop, kReadTimeout);
  CO_TRY_ASSIGN(auto response, co_await client.Do(ctx, {.path = "/members"}));
  CO_TRY_ASSIGN(std::string body, co_await response->ReadAll(ctx, 4 << 20));
  if (response->status() != 200)
    co_return Err(base::Unavailable("peer answered " + std::to_string(response->status())));
  ClusterView view{.cluster_id = ParseHex(response->headers().Get("x-etcd-cluster-id"))};
  for (const std::string& object : Objects(body)) {
    auto m = mvcc::MemberFromJson(object);
    if (!m) co_return Err(base::DataLoss("unreadable member list"));
    view.members.push_back(std::move(*m));
  }
  if (view.cluster_id == 0 || view.members.empty()) co_return Err(base::Unavailable("an empty member list"));
  co_return view;
}

}  // namespace

Task<Result<ClusterView>> AskForMembers(base::Loop& loop, std::vector<std::string> peer_urls, const Dialing& dialing) {
  Status last = base::Unavailable("could not retrieve cluster information from the given URLs");
  for (const std::string& url : peer_urls) {
    auto view = co_await AskOne(loop, url, dialing);
    if (view) co_return view;
    last = view.error();
    base::LogWarning("failed to get cluster response", {{"address", url + "/members"}, {"error", last}});
  }
  co_return Err(last);
}

}  // namespace kvstore::peer
