#include "kvstore/raft/types.h"

#include "base/protobuf_wire.h"

namespace kvstore::raft {

using base::wire::VarintSize;

size_t EntrySize(const Entry& e) {
  size_t n = 2 + 1 + VarintSize(e.term) + 1 + VarintSize(e.index);
  return e.data ? n + 1 + VarintSize(e.data->size()) + e.data->size() : n;
}

size_t EncodedSize(const Entries& entries) {
  size_t n = 0;
  for (const Entry& e : entries) n += EntrySize(e);
  return n;
}

size_t PayloadSize(const Entries& entries) {
  size_t n = 0;
  for (const Entry& e : entries) n += e.bytes().size();
  return n;
}

std::string_view MessageTypeName(MessageType type) {
  static constexpr std::string_view kNames[] = {"MsgHup",
                                                "MsgBeat",
                                                "MsgProp",
                                                "MsgApp",
                                                "MsgAppResp",
                                                "MsgVote",
                                                "MsgVoteResp",
                                                "MsgSnap",
                                                "MsgHeartbeat",
                                                "MsgHeartbeatResp",
                                                "MsgUnreachable",
                                                "MsgSnapStatus",
                                                "MsgCheckQuorum",
                                                "MsgTransferLeader",
                                                "MsgTimeoutNow",
                                                "MsgReadIndex",
                                                "MsgReadIndexResp",
                                                "MsgPreVote",
                                                "MsgPreVoteResp",
                                                "MsgStorageAppend",
                                                "MsgStorageAppendResp",
                                                "MsgStorageApply",
                                                "MsgStorageApplyResp",
                                                "MsgForgetLeader"};
  return kNames[static_cast<size_t>(type)];
}

}  // namespace kvstore::raft
