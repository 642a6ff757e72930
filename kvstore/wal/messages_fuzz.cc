// raftpb, walpb and snappb messages and .snap files from anywhere: refused, or read, written and read the same again;
// entries and snapshots are told to a member as a peer would.
#include "base/bytes.h"
#include "base/protobuf_wire.h"
#include "base/testing/sim_disk.h"
#include "kvstore/wal/fuzz_member.h"
#include "kvstore/wal/wal.h"

namespace {

using namespace kvstore;

// A .snap file whose checksum fits, so that what it holds is looked at.
void SnapFile(std::string_view bytes, bool with_checksum) {
  base::testing::SimDisk disk(1);
  std::string content(bytes);
  if (with_checksum) {
    content.clear();
    wire::PutUint(content, 1, base::Crc32c(0, bytes));
    wire::PutBytes(content, 2, bytes);
  }
  (void)(*disk.Open("s.snap", base::OpenMode::kCreate))->Append(content);
  auto read = wal::ReadSnap(disk, "s.snap");
  if (!read) return;
  CHECK(disk.MakeDirectories("d").ok() && wal::WriteSnap(disk, "d", *read).ok());
  auto again = wal::ReadSnap(disk, "d/" + wal::SnapName(read->meta));
  CHECK(again.has_value() && again->data == read->data && again->meta.index == read->meta.index);
}

// As an append of it alone, and as a proposal.
void TellEntry(const raft::Entry& e) {
  for (bool leads : {false, true}) {
    wal::FuzzMember member(leads);
    raft::Message append{.type = raft::MessageType::kApp, .to = 1, .from = 2, .term = member.core().term()};
    append.index = member.core().log().LastIndex();
    append.log_term = member.core().log().LastTerm();
    append.commit = append.index + 1;
    append.entries = {e};
    member.Hear(append, 2);
    append.entries[0].index = append.index + 1;
    append.entries[0].term = append.term;
    member.Hear(append, 2);
    member.Hear({.type = raft::MessageType::kProp, .to = 1, .from = 2, .entries = {e}}, 2);
    raft::Message taken{.type = raft::MessageType::kAppResp, .to = 1, .from = 2, .term = member.core().term()};
    taken.index = member.core().log().LastIndex();
    member.Hear(taken, 2);
    for (int i = 0; i < 30; ++i) member.Tick();
  }
}

void TellSnapshot(const raft::SnapshotMeta& meta) {
  wal::FuzzMember member(false);
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->meta = meta;
  raft::Message m{.type = raft::MessageType::kSnap, .to = 1, .from = 2, .term = std::max<uint64_t>(meta.term, 3)};
  m.snapshot = std::move(snapshot);
  member.Hear(m, 2);
  for (int i = 0; i < 30; ++i) member.Tick();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      if (auto e = wal::DecodeEntry(bytes)) {
        std::string out;
        wal::EncodeEntry(out, *e);
        CHECK(wal::DecodeEntry(out) == e);
        (void)wal::DecodeConfChange(*e);
        TellEntry(*e);
      }
      break;
    case 1:
      if (auto s = wal::DecodeHardState(bytes)) CHECK(wal::DecodeHardState(wal::EncodeHardState(*s)) == s);
      break;
    case 2:
      if (auto s = wal::DecodeConfState(bytes)) CHECK(wal::DecodeConfState(wal::EncodeConfState(*s)) == s);
      break;
    case 3:
      if (auto s = wal::DecodeWalSnapshot(bytes)) {
        auto again = wal::DecodeWalSnapshot(wal::EncodeWalSnapshot(*s));
        CHECK(again && again->index == s->index && again->term == s->term);
        TellSnapshot(*s);
      }
      break;
    case 4:
      if (auto m = wal::DecodeMetadata(bytes)) CHECK(wal::DecodeMetadata(wal::EncodeMetadata(*m)) == m);
      break;
    case 5:
      for (auto type : {raft::EntryType::kConfChange, raft::EntryType::kConfChangeV2}) {
        raft::Entry e{.type = type};
        e.data = base::Share(std::string(bytes));
        (void)wal::DecodeConfChange(e);
        TellEntry(e);
      }
      break;
    default:
      SnapFile(bytes, data[0] % 8 == 6);
  }
  return 0;
}
