// Raft messages as peers send them: raftpb.Message, framed by their length (the message stream, snapshots) or in the
// denser form of the append stream ("msgappv2"), where an append that goes on where the last one ended is only its
// entries and the commit index. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "kvstore/raft/types.h"

namespace kvstore::peer {

// No frame is larger than this (the original's bound), and the entries of one message are not either.
inline constexpr uint64_t kMaxFrameBytes = 512ull << 20;
// Nor are there more of them: senders stop at 512 KiB a message.
inline constexpr uint64_t kMaxEntries = 1 << 20;

void EncodeMessage(std::string& out, const raft::Message& m);
// nullopt: not a message.
std::optional<raft::Message> DecodeMessage(std::string_view bytes);

enum class StreamKind : uint8_t { kMessage, kAppend };

// Sent when there is nothing else to say; it is nobody's message.
bool IsLinkHeartbeat(const raft::Message& m);

// One direction of a stream. Appends to `out`.
class StreamEncoder {
 public:
  explicit StreamEncoder(StreamKind kind) : kind_(kind) {}
  void Message(std::string& out, const raft::Message& m);
  void Heartbeat(std::string& out) const;

 private:
  StreamKind kind_;
  raft::EntryId at_;  // where the last append ended
};

// Fed with bytes as they come; gives whole messages.
class StreamDecoder {
 public:
  StreamDecoder(StreamKind kind, raft::NodeId local, raft::NodeId remote)
      : kind_(kind), local_(local), remote_(remote) {}
  void Feed(std::string_view bytes);
  // nullopt: more bytes are needed. kDataLoss: that is no stream of messages.
  base::Result<std::optional<raft::Message>> Next();

 private:
  base::Result<std::optional<raft::Message>> NextFramed(size_t at);
  base::Result<std::optional<raft::Message>> NextEntries();
  std::optional<uint64_t> Number(size_t at) const;
  void Consume(size_t n);

  StreamKind kind_;
  raft::NodeId local_, remote_;
  std::string buffer_;
  size_t head_ = 0;
  raft::EntryId at_;
  // An append of entries only that has come in part: whole entries are taken as they come.
  std::optional<raft::Message> partial_;
  uint64_t expected_ = 0, partial_bytes_ = 0;
};

}  // namespace kvstore::peer
