#include "kvstore/bolt/bolt.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/protobuf_wire.h"

namespace kvstore::bolt {

namespace wire = base::wire;

using base::DataLoss;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

constexpr uint32_t kMagic = 0xED0CDAED;
constexpr uint32_t kVersion = 2;
constexpr uint16_t kBranch = 1, kLeaf = 2, kMeta = 4, kFreelist = 16;
constexpr size_t kHead = 16, kElement = 16, kMetaBytes = 64;
constexpr uint32_t kPageSize = 4096;
constexpr uint32_t kBucketFlag = 1;
constexpr int kMaxDepth = 32;
constexpr size_t kFlushBytes = 256 << 10;

uint16_t Get16(const char* p) {
  return static_cast<uint16_t>(static_cast<unsigned char>(p[0]) | static_cast<unsigned char>(p[1]) << 8);
}
void Put16(std::string& out, uint16_t v) {
  out.push_back(static_cast<char>(v));
  out.push_back(static_cast<char>(v >> 8));
}
std::string PageHead(uint64_t id, uint16_t flags, size_t count, uint32_t overflow) {
  std::string h;
  base::PutLittleEndian64(h, id);
  Put16(h, flags);
  Put16(h, static_cast<uint16_t>(count));
  base::PutLittleEndian32(h, overflow);
  return h;
}
Status Bad(std::string_view what) { return DataLoss("invalid database: " + std::string(what)); }

struct Meta {
  uint32_t page_size = 0;
  uint64_t root = 0, pages = 0, txid = 0;
};
bool ParseMeta(std::string_view page, Meta& m) {
  if (page.size() < kHead + kMetaBytes || (Get16(page.data() + 8) & kMeta) == 0) return false;
  const char* p = page.data() + kHead;
  if (base::GetLittleEndian32(p) != kMagic || base::GetLittleEndian32(p + 4) != kVersion) return false;
  if (base::GetLittleEndian64(p + 56) != base::Fnv1a64({p, 56})) return false;
  m = {base::GetLittleEndian32(p + 8), base::GetLittleEndian64(p + 16), base::GetLittleEndian64(p + 40),
       base::GetLittleEndian64(p + 48)};
  return m.page_size >= 512 && m.page_size <= (1 << 20) && (m.page_size & (m.page_size - 1)) == 0;
}

}  // namespace

// ---- reading

Result<Reader> Reader::Open(const base::File& file, uint64_t size) {
  Reader r(file);
  Meta best;
  bool found = false;
  TRY_ASSIGN(std::string first, file.ReadAt(0, kHead + kMetaBytes));
  Meta m;
  if (ParseMeta(first, m)) {
    best = m;
    found = true;
  }
  // The second meta stands one page on; when the first is damaged the page size must be guessed.
  for (uint32_t page = found ? best.page_size : 1024; page <= (64 << 10); page *= 2) {
    TRY_ASSIGN(std::string second, file.ReadAt(page, kHead + kMetaBytes));
    if (ParseMeta(second, m) && m.page_size == page && (!found || m.txid > best.txid)) {
      best = m;
      found = true;
    }
    if (found) break;
  }
  if (!found) return Err(Bad("no valid meta page"));
  r.page_size_ = best.page_size;
  r.pages_ = best.pages;
  r.root_ = best.root;
  if (best.pages > size / best.page_size) return Err(Bad("the file is shorter than its pages"));
  return r;
}

Result<std::string> Reader::Page(uint64_t id) const {
  if (id < 2 || id >= pages_) return Err(Bad("page out of range"));
  TRY_ASSIGN(std::string page, file_->ReadAt(id * page_size_, page_size_));
  if (page.size() < page_size_ || base::GetLittleEndian64(page.data()) != id)
    return Err(Bad("page is not what it says"));
  uint64_t overflow = base::GetLittleEndian32(page.data() + 12);
  if (overflow == 0) return page;
  if (overflow >= pages_ - id) return Err(Bad("overflow out of range"));
  TRY_ASSIGN(page, file_->ReadAt(id * page_size_, (overflow + 1) * page_size_));
  if (page.size() < (overflow + 1) * page_size_) return Err(Bad("short page"));
  return page;
}

Status Reader::Walk(uint64_t id, int depth, uint64_t& budget, const EachElement& each) const {
  // Every page can be reached once: more visits than pages means a cycle.
  if (depth > kMaxDepth || budget == 0) return Bad("tree does not end");
  --budget;
  TRY_ASSIGN(std::string page, Page(id));
  return Elements(page, depth, budget, each);
}

Status Reader::Elements(std::string_view page, int depth, uint64_t& budget, const EachElement& each) const {
  if (page.size() < kHead) return Bad("short page");
  uint16_t flags = Get16(page.data() + 8);
  size_t count = Get16(page.data() + 10);
  if (kHead + count * kElement > page.size()) return Bad("too many elements");
  for (size_t i = 0; i < count; ++i) {
    size_t at = kHead + i * kElement;
    const char* e = page.data() + at;
    auto slice = [&](uint64_t from, uint64_t n) -> Result<std::string_view> {
      if (from > page.size() || n > page.size() - from) return Err(Bad("element out of range"));
      return page.substr(from, n);
    };
    if (flags & kLeaf) {
      uint64_t pos = at + base::GetLittleEndian32(e + 4);
      uint32_t key_size = base::GetLittleEndian32(e + 8), value_size = base::GetLittleEndian32(e + 12);
      TRY_ASSIGN(std::string_view key, slice(pos, key_size));
      TRY_ASSIGN(std::string_view value, slice(pos + key_size, value_size));
      TRY(each(base::GetLittleEndian32(e), key, value));
    } else if (flags & kBranch) {
      TRY(Walk(base::GetLittleEndian64(e + 8), depth + 1, budget, each));
    } else {
      return Bad("page of an unknown kind");
    }
  }
  return Ok();
}

Result<std::vector<std::string>> Reader::Buckets() const {
  std::vector<std::string> out;
  uint64_t budget = pages_;
  TRY(Walk(root_, 0, budget, [&](uint32_t flags, std::string_view key, std::string_view) {
    if (flags & kBucketFlag) out.emplace_back(key);
    return Ok();
  }));
  return out;
}

Status Reader::ForEach(std::string_view bucket, const EachKey& each) const {
  std::string header;
  uint64_t budget = pages_;
  TRY(Walk(root_, 0, budget, [&](uint32_t flags, std::string_view key, std::string_view value) {
    if ((flags & kBucketFlag) && key == bucket) header = value;
    return Ok();
  }));
  if (header.empty()) return Ok();
  if (header.size() < 16) return Bad("short bucket");
  auto element = [&](uint32_t, std::string_view key, std::string_view value) { return each(key, value); };
  budget = pages_;
  uint64_t root = base::GetLittleEndian64(header.data());
  if (root != 0) return Walk(root, 0, budget, element);
  return Elements(std::string_view(header).substr(16), 0, budget, element);
}

// ---- writing

namespace {
// Metas and freelist.
std::string FirstPages(const Extent& extent) {
  std::string head;
  for (uint64_t i = 0; i < 2; ++i) {
    std::string meta;
    base::PutLittleEndian32(meta, kMagic);
    base::PutLittleEndian32(meta, kVersion);
    base::PutLittleEndian32(meta, kPageSize);
    base::PutLittleEndian32(meta, 0);
    base::PutLittleEndian64(meta, extent.root);
    base::PutLittleEndian64(meta, 0);
    base::PutLittleEndian64(meta, 2);
    base::PutLittleEndian64(meta, extent.pages);
    base::PutLittleEndian64(meta, i);
    base::PutLittleEndian64(meta, base::Fnv1a64(meta));
    head += PageHead(i, kMeta, 0, 0) + meta;
    head.resize((i + 1) * kPageSize, '\0');
  }
  head += PageHead(2, kFreelist, 0, 0);
  head.resize(3 * kPageSize, '\0');
  return head;
}
}  // namespace

uint64_t Extent::bytes() const { return pages * kPageSize; }

Writer::Writer(const Extent& extent, std::string& out)
    : sink_([&out](uint64_t, std::string_view bytes) {
        out += bytes;
        return Ok();
      }),
      promised_(extent),
      buffer_(FirstPages(extent)),
      written_to_(0) {}

uint64_t Writer::Place(size_t body_bytes) {
  uint64_t id = next_page_;
  next_page_ += (kHead + body_bytes + kPageSize - 1) / kPageSize;
  return id;
}

Result<uint64_t> Writer::Put(std::string body, uint16_t flags, size_t count) {
  uint64_t id = Place(body.size());
  if (!sink_) return id;
  buffer_ += PageHead(id, flags, count, static_cast<uint32_t>(next_page_ - id - 1));
  buffer_ += body;
  buffer_.resize((next_page_ - written_to_) * kPageSize, '\0');
  if (buffer_.size() >= kFlushBytes) TRY(Flush());
  return id;
}

Status Writer::Flush() {
  if (sink_) TRY(sink_(written_to_ * kPageSize, buffer_));
  written_to_ = next_page_;
  buffer_.clear();
  return Ok();
}

Result<uint64_t> Writer::WriteLeaf(const std::vector<Element>& elements) {
  if (!sink_) {
    size_t bytes = 0;
    for (const Element& e : elements) bytes += kElement + e.key.size() + e.value_bytes;
    return Place(bytes);
  }
  std::string heads, data;
  for (size_t i = 0; i < elements.size(); ++i) {
    const Element& e = elements[i];
    base::PutLittleEndian32(heads, e.flags);
    base::PutLittleEndian32(heads, static_cast<uint32_t>((elements.size() - i) * kElement + data.size()));
    base::PutLittleEndian32(heads, static_cast<uint32_t>(e.key.size()));
    base::PutLittleEndian32(heads, static_cast<uint32_t>(e.value.size()));
    data += e.key;
    data += e.value;
  }
  return Put(heads + data, kLeaf, elements.size());
}

Status Writer::FlushLeaf() {
  if (leaf_.empty()) return Ok();
  TRY_ASSIGN(uint64_t id, WriteLeaf(leaf_));
  leaves_.push_back({leaf_.front().key, id});
  leaf_.clear();
  leaf_bytes_ = 0;
  return Ok();
}

Result<uint64_t> Writer::BuildTree(std::vector<Child> level) {
  while (level.size() > 1) {
    std::vector<Child> above;
    for (size_t i = 0; i < level.size();) {
      size_t bytes = kHead, n = 0;
      // At least two children a page, or the tree would not get narrower.
      while (i + n < level.size() && (n < 2 || bytes + kElement + level[i + n].first_key.size() <= kPageSize)) {
        bytes += kElement + level[i + n].first_key.size();
        ++n;
      }
      std::string heads, data;
      for (size_t k = 0; k < n; ++k) {
        const Child& c = level[i + k];
        base::PutLittleEndian32(heads, static_cast<uint32_t>((n - k) * kElement + data.size()));
        base::PutLittleEndian32(heads, static_cast<uint32_t>(c.first_key.size()));
        base::PutLittleEndian64(heads, c.page);
        data += c.first_key;
      }
      TRY_ASSIGN(uint64_t id, Put(heads + data, kBranch, n));
      above.push_back({level[i].first_key, id});
      i += n;
    }
    level = std::move(above);
  }
  return level.front().page;
}

Status Writer::BeginBucket(std::string name) {
  // unreachable from outside: the names are this program's, from a sorted map (replica/export.cc).
  CHECK(root_.empty() || root_.back().key < name);
  bucket_ = std::move(name);
  leaves_.clear();
  return Ok();
}

Status Writer::Add(std::string_view key, std::string_view value) {
  return AddElement({0, std::string(key), std::string(value), value.size()});
}

Status Writer::AddLength(std::string_view key, size_t value_bytes) {
  // unreachable from outside: only the pass that writes nothing adds lengths (replica/export.cc).
  CHECK(!sink_);
  return AddElement({0, std::string(key), {}, value_bytes});
}

Status Writer::AddElement(Element e) {
  size_t bytes = kElement + e.key.size() + e.value_bytes;
  if (!leaf_.empty() && kHead + leaf_bytes_ + bytes > kPageSize) TRY(FlushLeaf());
  leaf_.push_back(std::move(e));
  leaf_bytes_ += bytes;
  return Ok();
}

Status Writer::EndBucket() {
  std::string header;
  if (leaf_.empty() && leaves_.empty()) {
    // Empty: an inline page without elements.
    base::PutLittleEndian64(header, 0);
    base::PutLittleEndian64(header, 0);
    header += PageHead(0, kLeaf, 0, 0);
  } else {
    TRY(FlushLeaf());
    TRY_ASSIGN(uint64_t root, BuildTree(std::move(leaves_)));
    base::PutLittleEndian64(header, root);
    base::PutLittleEndian64(header, 0);
  }
  leaves_.clear();
  size_t bytes = header.size();
  root_.push_back({kBucketFlag, bucket_, std::move(header), bytes});
  return Ok();
}

Result<Extent> Writer::Finish() {
  Extent extent;
  TRY_ASSIGN(extent.root, WriteLeaf(root_));
  extent.pages = next_page_;
  TRY(Flush());
  bool head_is_out = promised_.pages != 0;
  if (head_is_out && !(extent == promised_)) return Err(DataLoss("database: not the keys it was laid out for"));
  if (!head_is_out && sink_) TRY(sink_(0, FirstPages(extent)));
  return extent;
}

Result<Summary> Summarize(const Reader& reader, uint64_t size) {
  Summary s;
  s.total_size = static_cast<int64_t>(size);
  TRY_ASSIGN(std::vector<std::string> buckets, reader.Buckets());
  std::set<std::string> live;
  for (const std::string& b : buckets) {
    s.hash = base::Crc32c(s.hash, b);
    TRY(reader.ForEach(b, [&](std::string_view key, std::string_view value) -> Status {
      s.hash = base::Crc32c(base::Crc32c(s.hash, key), value);
      if (b == "meta" && key == "storageVersion") s.version = value;
      if (b != "key" || key.size() < 17) return Ok();
      s.revision = static_cast<int64_t>(base::GetBigEndian64(key.data()));
      wire::Reader kv(value);
      std::string name;
      while (kv.Next()) {
        if (kv.field() == 1) name = kv.bytes();
      }
      if (key.size() == 18) {
        live.erase(name);
      } else {
        live.insert(std::move(name));
      }
      return Ok();
    }));
  }
  s.total_keys = static_cast<int64_t>(live.size());
  return s;
}

}  // namespace kvstore::bolt
