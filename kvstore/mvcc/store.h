// The multi-version store: keys at revisions, leases, watchers, compaction, hashes, checkpoints. A deterministic state
// machine: the same requests in the same order give the same revisions, bytes and hashes on every member.
//
// Promises: a transaction is seen whole or not at all; history is readable at every revision from the compact revision
// to now; a checkpoint plus the log behind it is the state. Not its job: consensus, quotas, the API's checks.
// Owned by the replica; one strand. Errors of the disk are fatal for the member (the log has everything).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "kvstore/mvcc/index.h"
#include "kvstore/mvcc/leases.h"
#include "kvstore/mvcc/segments.h"
#include "kvstore/mvcc/timeline.h"
#include "kvstore/mvcc/watch.h"

namespace kvstore::mvcc {

class Gather;
struct View;

// State beside the keys, under the names of etcd's buckets: alarm, auth, authUsers, authRoles, cluster, members,
// members_removed (and lease, meta, which are made when they are written).
using Buckets = std::map<std::string, std::map<std::string, std::string>>;

// Where the state stands in the log.
struct AppliedMark {
  uint64_t index = 0;
  uint64_t term = 0;
  std::string conf_state;  // raftpb.ConfState bytes
};

struct RangeQuery {
  std::string_view key;
  std::string_view end;
  int64_t revision = 0;  // 0 = now
  int64_t limit = 0;     // of values read; the count is of all
  bool count_only = false;
};
struct RangeResult {
  int64_t revision = 0;  // the store's, for the header
  int64_t count = 0;
  std::vector<std::string> kvs;  // KeyValue bytes in key order
};

struct StoreOptions {
  SegmentLimits segments;
  int64_t min_lease_ttl = 2;
};

class Store final : public History {
 public:
  // Empty, or as the last checkpoint in `directory` left it.
  static base::Result<std::unique_ptr<Store>> Open(base::FileSystem& fs, std::string directory,
                                                   StoreOptions options = {});

  int64_t revision() const override { return revision_; }
  // What a reader sees: inside a transaction that changed something, the revision being made.
  int64_t visible_revision() const { return revision_ + (in_txn_ && changes_ > 0 ? 1 : 0); }
  // -1: never compacted.
  int64_t compact_revision() const override { return compact_revision_; }
  const AppliedMark& checkpointed() const { return mark_; }
  // Without what is about to be given back: a rewrite does not make it grow in between.
  uint64_t size_bytes() const { return segments_->total_bytes() - segments_->garbage_bytes(rewriting_); }
  uint64_t size_in_use_bytes() const { return segments_->live_bytes(); }
  size_t keys() const { return index_.size(); }

  base::Result<RangeResult> Range(const RangeQuery& q) const;
  // The newest KeyValue bytes of one key (inside a transaction: as changed so far), or nullopt.
  base::Result<std::optional<std::string>> Get(std::string_view key) const;
  // Checks a read's revision: ErrCompacted, ErrFutureRev.
  base::Status CheckRevision(int64_t revision) const;
  // Keys that are there now (or were at `revision`), without reading values.
  int64_t Count(const KeyRange& range, int64_t revision) const;

  // One transaction: Begin, changes, End (which tells the watchers). A transaction without changes takes no revision.
  void Begin();
  base::Result<std::optional<std::string>> Put(std::string_view key, std::string_view value, int64_t lease,
                                               bool want_previous);
  struct Deleted {
    int64_t count = 0;
    std::vector<std::string> previous;  // KeyValue bytes, when wanted
  };
  base::Result<Deleted> DeleteRange(const KeyRange& range, bool want_previous);
  int64_t End();  // the store's revision afterwards

  Leases& leases() { return leases_; }
  const Leases& leases() const { return leases_; }
  // Deletes the keys of a lease with it, in one transaction.
  base::Status RevokeLease(int64_t id);
  Buckets& buckets() { return buckets_; }
  const Buckets& buckets() const { return buckets_; }
  // "" when there is none. Reading through buckets()[..][..] would make one, and etcd cannot read an empty value there.
  std::string BucketValue(const std::string& bucket, const std::string& key) const;
  WatchHub& watches() { return hub_; }

  // History before `revision` goes; reads below it fail from now on, the space comes back by MaintenanceStep.
  base::Status Compact(int64_t revision);
  bool compacting() const { return compacting_; }
  // Whatever garbage there is now goes, however little of a segment it is; by MaintenanceStep, too.
  base::Status Defragment();
  bool defragmenting() const { return defragment_below_ != 0; }
  // A bounded bit of compaction or of segment rewriting; false when there is nothing to do.
  base::Result<bool> MaintenanceStep();
  uint64_t compacted_versions() const { return compacted_versions_; }  // since it was opened
  int open_views() const { return *gatherers_; }
  // What was asked of the store since it was opened, for metrics: changes by the log, reads of this member's clients.
  struct Counts {
    uint64_t puts = 0, put_bytes = 0, deletes = 0, ranges = 0;
    uint64_t txns = 0;  // of more than one of these
    uint64_t leases_granted = 0, leases_revoked = 0;
    uint64_t operations() const { return puts + deletes + ranges; }
  };
  Counts& counts() const { return counts_; }

  struct Hash {
    uint32_t hash = 0;
    int64_t compact_revision = -1;
    int64_t revision = 0;
  };
  // etcd's HashKV at `revision` (0 = now), in one go: for tools and tests. A server gathers a view and hashes that.
  base::Result<Hash> HashAt(int64_t revision);
  // etcd hashes what it compacts, up to the compaction's revision and as of the compaction before, and answers with
  // that from then on. So does this store, unless a compaction comes while the one before is under way: MaintenanceStep
  // gathers first, the owner takes the view, hashes it on some other thread and hands in the result.
  std::shared_ptr<View> TakeViewToHash() { return std::exchange(view_to_hash_, nullptr); }
  void RememberHash(const View& view, const base::Result<uint32_t>& hash);
  bool hashing() const { return hashing_; }
  // Of one of the latest compactions; nullopt: none was at that revision, or its hash is not known yet.
  std::optional<Hash> CompactionHash(int64_t revision) const;

  // Keeps what a checkpoint has to sync small: see Segments::SyncStep.
  std::optional<Segments::SyncStep> NextSync() const { return segments_->NextSync(); }
  void Synced(const Segments::SyncStep& step) { segments_->Synced(step); }
  uint64_t unsynced_bytes() const { return segments_->unsynced_bytes(); }
  // What the next checkpoint gives back.
  uint64_t dropped_bytes() const { return segments_->dropped_bytes(); }

  // Checkpoints: Prepare on the strand, Run on a blocking pool, Finish on the strand. One at a time.
  struct Checkpoint {
    Segments::SyncPlan files;
    std::string fields;  // of the state file, all but the segments'
    std::string path;
    AppliedMark mark;
    base::Status Run() const;
    // Run in two steps: the keys, and then the state file that says how far they are good.
    base::Status SyncKeys() const { return files.Sync(); }
    base::Status WriteState() const;
  };
  base::Result<Checkpoint> PrepareCheckpoint(const AppliedMark& mark);
  void FinishCheckpoint(const Checkpoint& done) { mark_ = done.mark; }

  // State beside the keys as etcd has it in its database: the buckets above, and lease and meta.
  Buckets ExportBuckets(const AppliedMark& mark) const;
  // A snapshot replaces everything: an empty store in the same directory is filled on some other thread and
  // checkpointed, and then takes this one's place, but for the watchers. Until then this one must not change; nor be
  // checkpointed. RestartWatches comes afterwards.
  std::unique_ptr<Store> Beside() const;
  // `fresh` has what was here: it takes long to destroy.
  void Replace(Store& fresh);
  void RestartWatches(int64_t told) { hub_.Restart(told); }
  // The end of a store that was replaced; any thread. The files, for whoever gives their space back.
  std::vector<std::shared_ptr<base::File>> Abandon();
  // Fills an empty store from such a database: the buckets, then the keys in revision order. Blocks.
  base::Status ImportBegin(Buckets buckets);
  base::Status ImportKey(std::string_view revision_key, std::string_view value);
  // Whether these two would take it, without a store; of a key the record that it makes, which has no location.
  static base::Status CheckBuckets(const Buckets& buckets);
  static base::Result<SegmentRecord> ReadKey(std::string_view revision_key, std::string_view value);
  base::Status ImportDone();

  base::Result<Slice> EventsFrom(const KeyRange& range, int64_t from, size_t max_bytes, bool prev_kv) const override;

  // For tests: what the clock says is handed in.
  void SetNow(base::MonoTime now) { now_ = now; }
  base::MonoTime now() const { return now_; }

 private:
  friend class Gather;
  Store(base::FileSystem& fs, std::string directory, StoreOptions options)
      : fs_(fs), directory_(std::move(directory)), options_(options), leases_(options.min_lease_ttl), hub_(*this) {}
  base::Status LoadState(std::string_view state);
  base::Status LoadSegments();
  void LoadBuckets(Buckets buckets);
  base::Status IndexRecord(const SegmentRecord& r);
  void PruneAll();
  base::Status Change(KeyEntry& e, bool tombstone, base::SharedBytes encoded, base::SharedBytes previous);
  base::Result<base::SharedBytes> PreviousOf(const KeyEntry& e) const;
  // How many of the oldest versions of a key a compaction at that revision takes.
  static size_t Superseded(const KeyEntry& e, int64_t compact_revision);
  void ForgetFirst(KeyEntry& e, size_t n);
  struct PastVersion {
    const KeyEntry* entry;
    Version version;
  };
  bool FewVersions(const KeyRange& range, int64_t from, std::vector<PastVersion>& found, int64_t& next) const;
  base::Result<Slice> EventsOfMany(const KeyRange& range, int64_t from, size_t max_bytes, bool prev_kv) const;
  base::Result<EventPtr> PastEvent(const KeyEntry* e, const Revision& r, bool tombstone, std::string_view stored,
                                   bool prev_kv) const;
  base::Status GatherToHash();
  base::Status CompactSome();
  uint32_t NextToRewrite();
  base::Status RewriteSome();
  std::string EncodeState(const AppliedMark& mark) const;

  base::FileSystem& fs_;
  std::string directory_;
  StoreOptions options_;
  std::unique_ptr<Segments> segments_;
  KeyIndex index_;
  Timeline timeline_;
  Leases leases_;
  Buckets buckets_;
  WatchHub hub_;
  AppliedMark mark_;
  base::MonoTime now_{};

  int64_t revision_ = 1;
  int64_t compact_revision_ = -1;
  bool in_txn_ = false;
  int64_t changes_ = 0;
  uint64_t counted_before_ = 0;  // Counts::operations when the transaction began
  std::vector<EventPtr> events_;

  std::shared_ptr<int> gatherers_ = std::make_shared<int>(0);
  uint64_t generation_ = 0;  // of the store's whole content
  bool compacting_ = false;
  uint64_t compacted_versions_ = 0;
  mutable Counts counts_;
  std::string compact_cursor_;
  bool hashing_ = false;
  std::shared_ptr<Gather> gather_to_hash_;
  std::shared_ptr<View> view_to_hash_;
  std::map<int64_t, Hash> compaction_hashes_;
  uint32_t defragment_below_ = 0;  // segments before this one are rewritten for any garbage
  uint32_t rewriting_ = 0;
  uint32_t rewrite_offset_ = 0;
};

}  // namespace kvstore::mvcc
