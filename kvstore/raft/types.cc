#include "kvstore/raft/types.h"

namespace kvstore::raft {

size_t EntrySize(const Entry& e) {
  // Type, term, index and the length prefix never take more than this.
  constexpr size_t kOverhead = 12;
  return e.bytes().size() + kOverhead;
}

size_t PayloadSize(const Entries& entries) {
  size_t n = 0;
  for (const Entry& e : entries) n += EntrySize(e);
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
