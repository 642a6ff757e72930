#include "kvstore/wal/codec.h"

#include "base/protobuf_wire.h"

namespace kvstore::wal {

namespace wire = base::wire;

using wire::PutBytes;
using wire::PutUint;
using wire::Reader;

// The originals are proto2 messages with presence: what etcd sets it writes, zero or not; an entry's type is set only
// where it is not the normal one.
void EncodeEntry(std::string& out, const raft::Entry& e) {
  wire::PutNonZero(out, 1, static_cast<uint64_t>(e.type));
  PutUint(out, 2, e.term);
  PutUint(out, 3, e.index);
  if (e.data) PutBytes(out, 4, *e.data);
}

std::string EncodeHardState(const raft::HardState& s) {
  std::string out;
  PutUint(out, 1, s.term);
  PutUint(out, 2, s.vote);
  PutUint(out, 3, s.commit);
  return out;
}

std::string EncodeConfState(const raft::ConfState& s) {
  std::string out;
  for (auto id : s.voters) PutUint(out, 1, id);
  for (auto id : s.learners) PutUint(out, 2, id);
  for (auto id : s.voters_outgoing) PutUint(out, 3, id);
  for (auto id : s.learners_next) PutUint(out, 4, id);
  PutUint(out, 5, s.auto_leave);
  return out;
}

std::string EncodeWalSnapshot(const raft::SnapshotMeta& s) {
  std::string out;
  PutUint(out, 1, s.index);
  PutUint(out, 2, s.term);
  if (!(s.conf_state == raft::ConfState())) PutBytes(out, 3, EncodeConfState(s.conf_state));
  return out;
}

std::string EncodeSnapshot(const raft::Snapshot& s) {
  std::string meta, out;
  PutBytes(meta, 1, EncodeConfState(s.meta.conf_state));
  PutUint(meta, 2, s.meta.index);
  PutUint(meta, 3, s.meta.term);
  if (!s.data.empty()) PutBytes(out, 1, s.data);
  PutBytes(out, 2, meta);
  return out;
}

std::optional<raft::Entry> DecodeEntry(std::string_view bytes) {
  raft::Entry e;
  Reader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1:
        if (r.value() > 2) return std::nullopt;
        e.type = static_cast<raft::EntryType>(r.value());
        break;
      case 2:
        e.term = r.value();
        break;
      case 3:
        e.index = r.value();
        break;
      case 4:
        e.data = std::make_shared<const std::string>(r.bytes());
        break;
    }
  }
  if (!r.ok()) return std::nullopt;
  return e;
}

std::optional<raft::HardState> DecodeHardState(std::string_view bytes) {
  raft::HardState s;
  Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) s.term = r.value();
    if (r.field() == 2) s.vote = r.value();
    if (r.field() == 3) s.commit = r.value();
  }
  if (!r.ok()) return std::nullopt;
  return s;
}

namespace {
// Far more than a cluster has; what is read may be a peer's.
constexpr size_t kMaxIds = 1 << 16;

// Repeated numbers may come packed or one by one.
bool AddIds(const Reader& r, std::vector<raft::NodeId>& ids) {
  if (ids.size() + r.bytes().size() > kMaxIds) return false;
  if (r.bytes().empty()) {
    ids.push_back(r.value());
    return true;
  }
  wire::Cursor packed(r.bytes());
  while (!packed.AtEnd()) {
    if (!packed.Varint(&ids.emplace_back())) return false;
  }
  return true;
}
}  // namespace

std::optional<raft::ConfState> DecodeConfState(std::string_view bytes) {
  raft::ConfState s;
  Reader r(bytes);
  bool good = true;
  while (r.Next()) {
    if (r.field() == 1) good &= AddIds(r, s.voters);
    if (r.field() == 2) good &= AddIds(r, s.learners);
    if (r.field() == 3) good &= AddIds(r, s.voters_outgoing);
    if (r.field() == 4) good &= AddIds(r, s.learners_next);
    if (r.field() == 5) s.auto_leave = r.value() != 0;
  }
  if (!r.ok() || !good) return std::nullopt;
  return s;
}

std::optional<raft::SnapshotMeta> DecodeWalSnapshot(std::string_view bytes) {
  raft::SnapshotMeta s;
  Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) s.index = r.value();
    if (r.field() == 2) s.term = r.value();
    if (r.field() == 3) {
      auto cs = DecodeConfState(r.bytes());
      if (!cs) return std::nullopt;
      s.conf_state = *cs;
    }
  }
  if (!r.ok()) return std::nullopt;
  return s;
}

std::optional<raft::Snapshot> DecodeSnapshot(std::string_view bytes) {
  raft::Snapshot s;
  Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) s.data = r.bytes();
    if (r.field() != 2) continue;
    Reader m(r.bytes());
    while (m.Next()) {
      if (m.field() == 1) {
        auto cs = DecodeConfState(m.bytes());
        if (!cs) return std::nullopt;
        s.meta.conf_state = *cs;
      }
      if (m.field() == 2) s.meta.index = m.value();
      if (m.field() == 3) s.meta.term = m.value();
    }
    if (!m.ok()) return std::nullopt;
  }
  if (!r.ok()) return std::nullopt;
  return s;
}

std::string EncodeConfChangeV1(uint64_t id, raft::ConfChangeType type, raft::NodeId node, std::string_view context) {
  std::string out;
  PutUint(out, 1, id);
  PutUint(out, 2, static_cast<uint64_t>(type));
  PutUint(out, 3, node);
  if (!context.empty()) PutBytes(out, 4, context);
  return out;
}

std::optional<raft::ConfChange> DecodeConfChange(const raft::Entry& e) {
  raft::ConfChange c;
  Reader r(e.bytes());
  if (e.type == raft::EntryType::kConfChange) {
    raft::ConfChangeSingle one;
    while (r.Next()) {
      if (r.field() == 2 && r.value() <= 3) one.type = static_cast<raft::ConfChangeType>(r.value());
      if (r.field() == 3) one.node_id = r.value();
      if (r.field() == 4) c.context = r.bytes();
    }
    c.changes.push_back(one);
  } else {
    while (r.Next()) {
      if (r.field() == 1 && r.value() <= 2) c.transition = static_cast<raft::ConfChangeTransition>(r.value());
      if (r.field() == 3) c.context = r.bytes();
      if (r.field() != 2) continue;
      raft::ConfChangeSingle one;
      Reader s(r.bytes());
      while (s.Next()) {
        if (s.field() == 1 && s.value() <= 3) one.type = static_cast<raft::ConfChangeType>(s.value());
        if (s.field() == 2) one.node_id = s.value();
      }
      if (!s.ok() || c.changes.size() == kMaxIds) return std::nullopt;
      c.changes.push_back(one);
    }
  }
  if (!r.ok()) return std::nullopt;
  return c;
}

std::string EncodeMetadata(const Metadata& m) {
  std::string out;
  PutUint(out, 1, m.node_id);
  PutUint(out, 2, m.cluster_id);
  return out;
}

std::optional<Metadata> DecodeMetadata(std::string_view bytes) {
  Metadata m;
  Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) m.node_id = r.value();
    if (r.field() == 2) m.cluster_id = r.value();
  }
  if (!r.ok()) return std::nullopt;
  return m;
}

}  // namespace kvstore::wal
