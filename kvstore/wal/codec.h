// raftpb, walpb and snappb messages as bytes, exactly as etcd writes them. Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "kvstore/raft/types.h"

namespace kvstore::wal {

void EncodeEntry(std::string& out, const raft::Entry& e);
std::string EncodeHardState(const raft::HardState& s);
std::string EncodeConfState(const raft::ConfState& s);
// walpb.Snapshot: which snapshot (or checkpoint) a log position belongs to.
std::string EncodeWalSnapshot(const raft::SnapshotMeta& s);
std::string EncodeSnapshot(const raft::Snapshot& s);

// nullopt: not that message.
std::optional<raft::Entry> DecodeEntry(std::string_view bytes);
std::optional<raft::HardState> DecodeHardState(std::string_view bytes);
std::optional<raft::ConfState> DecodeConfState(std::string_view bytes);
std::optional<raft::SnapshotMeta> DecodeWalSnapshot(std::string_view bytes);
std::optional<raft::Snapshot> DecodeSnapshot(std::string_view bytes);

// Membership entries: raftpb.ConfChange (id, type, node, context) and ConfChangeV2.
std::string EncodeConfChangeV1(uint64_t id, raft::ConfChangeType type, raft::NodeId node, std::string_view context);
std::optional<raft::ConfChange> DecodeConfChange(const raft::Entry& e);

// etcdserverpb.Metadata, the payload of a log's metadata record.
struct Metadata {
  uint64_t node_id = 0;
  uint64_t cluster_id = 0;
  bool operator==(const Metadata&) const = default;
};
std::string EncodeMetadata(const Metadata& m);
std::optional<Metadata> DecodeMetadata(std::string_view bytes);

}  // namespace kvstore::wal
