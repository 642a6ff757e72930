// The values a Raft core talks in: log entries, hard state, membership, messages. Plain structs with the numbers of
// etcd's raftpb, so that the wire and the disk are a matter of encoding; nothing here knows Protobuf. Cheap to copy:
// entry data is shared and immutable. Any thread.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvstore::raft {

using NodeId = uint64_t;
inline constexpr NodeId kNone = 0;
// Addressees of storage work (asynchronous storage writes): whoever drives the core routes these to its log writer and
// its state machine instead of to a peer.
inline constexpr NodeId kLocalAppendThread = std::numeric_limits<uint64_t>::max();
inline constexpr NodeId kLocalApplyThread = std::numeric_limits<uint64_t>::max() - 1;

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  EntryType type = EntryType::kNormal;
  uint64_t term = 0;
  uint64_t index = 0;
  std::shared_ptr<const std::string> data;  // null = empty

  std::string_view bytes() const { return data ? std::string_view(*data) : std::string_view(); }
  friend bool operator==(const Entry& a, const Entry& b) {
    return a.type == b.type && a.term == b.term && a.index == b.index && a.bytes() == b.bytes();
  }
};
using Entries = std::vector<Entry>;
// What an entry weighs as a message or on the disk, and without its frame.
size_t EntrySize(const Entry& e);
size_t EncodedSize(const Entries& entries);
size_t PayloadSize(const Entries& entries);

struct EntryId {
  uint64_t term = 0;
  uint64_t index = 0;
  bool operator==(const EntryId&) const = default;
};

struct HardState {
  uint64_t term = 0;
  NodeId vote = kNone;
  uint64_t commit = 0;
  bool operator==(const HardState&) const = default;
  bool empty() const { return *this == HardState(); }
};

struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;
  bool auto_leave = false;
  bool operator==(const ConfState&) const = default;
};

struct SnapshotMeta {
  ConfState conf_state;
  uint64_t index = 0;
  uint64_t term = 0;
  bool operator==(const SnapshotMeta&) const = default;
};
struct Snapshot {
  std::string data;
  SnapshotMeta meta;
  bool empty() const { return meta.index == 0; }
};

enum class ConfChangeType : uint8_t { kAddNode = 0, kRemoveNode = 1, kUpdateNode = 2, kAddLearnerNode = 3 };
struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id = kNone;
};
enum class ConfChangeTransition : uint8_t { kAuto = 0, kJointImplicit = 1, kJointExplicit = 2 };
struct ConfChange {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  std::string context;

  // An empty change leaves a joint configuration.
  bool leaves_joint() const { return transition == ConfChangeTransition::kAuto && changes.empty(); }
  bool enters_joint() const { return transition != ConfChangeTransition::kAuto || changes.size() > 1; }
};

enum class MessageType : uint8_t {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};

struct Message {
  MessageType type = MessageType::kHup;
  NodeId to = kNone;
  NodeId from = kNone;
  uint64_t term = 0;
  uint64_t log_term = 0;
  uint64_t index = 0;
  Entries entries;
  uint64_t commit = 0;
  NodeId vote = kNone;
  std::shared_ptr<const Snapshot> snapshot;
  bool reject = false;
  uint64_t reject_hint = 0;
  std::string context;
  std::shared_ptr<const ConfChange> change;  // of a proposed membership entry, decoded; not on the wire
  std::vector<Message> responses;            // storage work: step or send these once it is done
};

std::string_view MessageTypeName(MessageType type);  // "MsgApp"

}  // namespace kvstore::raft
