// etcd's database file (bbolt): a reader that trusts nothing, and a writer that builds one from sorted keys, into a
// file in one pass or front to back in two. Only what etcd uses: top-level buckets of keys. Format: facts of bbolt's
// page layout, little-endian. Both block; they belong to one thread at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace kvstore::bolt {

using EachKey = std::function<base::Status(std::string_view key, std::string_view value)>;

class Reader {
 public:
  // `size`: bytes that belong to the database (a snapshot file has 32 more). kDataLoss: not a whole, valid database.
  static base::Result<Reader> Open(const base::File& file, uint64_t size);
  // Names in order.
  base::Result<std::vector<std::string>> Buckets() const;
  // Keys in order; a bucket that is not there has none. Views are valid during the call.
  base::Status ForEach(std::string_view bucket, const EachKey& each) const;
  uint32_t page_size() const { return page_size_; }

 private:
  explicit Reader(const base::File& file) : file_(&file) {}
  base::Result<std::string> Page(uint64_t id) const;
  using EachElement = std::function<base::Status(uint32_t flags, std::string_view key, std::string_view value)>;
  base::Status Walk(uint64_t page, int depth, uint64_t& budget, const EachElement& each) const;
  base::Status Elements(std::string_view page, int depth, uint64_t& budget, const EachElement& each) const;

  const base::File* file_;
  uint32_t page_size_ = 0;
  uint64_t pages_ = 0;  // high-water mark
  uint64_t root_ = 0;
};

// Where a database ends and where its tree begins: what its first page has to say of the rest.
struct Extent {
  uint64_t root = 0, pages = 0;
  uint64_t bytes() const;
  bool operator==(const Extent&) const = default;
};

class Writer {
 public:
  // Into a file, whose first pages come last.
  explicit Writer(base::File& out)
      : sink_([&out](uint64_t offset, std::string_view bytes) { return out.WriteAt(offset, bytes); }) {}
  // Nowhere: finds out the extent. Values need not be at hand, see AddLength.
  Writer() = default;
  // Front to back, appended to `out` now and then: the same keys as those whose extent this is.
  Writer(const Extent& extent, std::string& out);
  Writer(const Writer&) = delete;

  // Buckets in name order, keys in order within each.
  base::Status BeginBucket(std::string name);
  base::Status Add(std::string_view key, std::string_view value);
  // Where nothing is written the value's length will do.
  base::Status AddLength(std::string_view key, size_t value_bytes);
  base::Status EndBucket();
  // Writes what is left. kDataLoss: not the keys that were promised.
  base::Result<Extent> Finish();

 private:
  struct Child {
    std::string first_key;
    uint64_t page;
  };
  struct Element {
    uint32_t flags;
    std::string key, value;
    size_t value_bytes;
  };
  base::Status AddElement(Element e);
  base::Status FlushLeaf();
  base::Result<uint64_t> WriteLeaf(const std::vector<Element>& elements);
  base::Result<uint64_t> BuildTree(std::vector<Child> level);
  uint64_t Place(size_t body_bytes);
  base::Result<uint64_t> Put(std::string page, uint16_t flags, size_t count);
  base::Status Flush();

  std::function<base::Status(uint64_t offset, std::string_view bytes)> sink_;
  Extent promised_;         // its head is written already
  uint64_t next_page_ = 3;  // behind two metas and the freelist
  std::string buffer_;
  uint64_t written_to_ = 3;
  std::vector<Element> root_;
  std::string bucket_;
  std::vector<Element> leaf_;
  size_t leaf_bytes_ = 0;
  std::vector<Child> leaves_;
};

// What `snapshot status` says of a database.
struct Summary {
  uint32_t hash = 0;  // CRC-32C over bucket names, keys and values
  int64_t revision = 0;
  int64_t total_keys = 0;  // keys that live
  int64_t total_size = 0;
  std::string version;  // storageVersion
};
base::Result<Summary> Summarize(const Reader& reader, uint64_t size);

}  // namespace kvstore::bolt
