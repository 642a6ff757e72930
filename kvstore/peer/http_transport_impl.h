// For http_transport.cc and http_serving.cc: what both halves of the transport know.
#pragma once

#include <string>

#include "kvstore/peer/http_transport.h"

namespace kvstore::peer {

inline constexpr size_t kStreamQueue = 4096;
inline constexpr size_t kPipelineQueue = 64;
inline constexpr size_t kMaxMessageBytes = 64 << 20;
inline constexpr std::string_view kMinClusterVersion = "3.0.0";
inline constexpr std::string_view kStreamPaths[] = {"/raft/stream/message/", "/raft/stream/msgapp/"};

// As headers and paths have an id.
std::string Hex(uint64_t id);
// Runs blocking work beside the strand.
base::Task<base::Status> OnPool(base::BlockingPool& pool, base::Executor& home, std::function<base::Status()> work);

// What goes out on a stream that the peer has opened.
struct HttpTransport::Writer {
  explicit Writer(base::Executor& e) : queue(e, kStreamQueue) {}
  base::Channel<raft::Message> queue;
};

struct HttpTransport::Peer {
  Peer(base::Loop& loop, raft::NodeId id_, std::vector<std::string> urls_, const base::Context& parent,
       const Dialing& dialing)
      : id(id_),
        urls(std::move(urls_)),
        ctx(parent.WithCancel()),
        client(loop, {.endpoints = urls,
                      .tls = dialing.tls,
                      .force_http1 = true,
                      .local_address = dialing.local_address,
                      .connect_timeout = std::chrono::seconds(1)}),
        posts(loop, kPipelineQueue) {}

  raft::NodeId id;
  std::vector<std::string> urls;
  base::Context ctx;
  base::net::Client client;
  std::shared_ptr<Writer> writers[2];
  base::Channel<raft::Message> posts;
  std::optional<base::MonoTime> active_since;
  std::string version;  // as it told
};

}  // namespace kvstore::peer
