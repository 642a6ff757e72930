#include "base/testing/sim_disk.h"

#include <algorithm>
#include <cerrno>

namespace base::testing {
namespace {
constexpr uint64_t kSector = 512;
}  // namespace

class SimFile final : public File {
 public:
  SimFile(SimDisk& disk, SimDisk::InodePtr inode, bool writable)
      : disk_(disk), inode_(std::move(inode)), epoch_(disk.epoch_), born_(*disk.epoch_), writable_(writable) {}

  Result<std::string> ReadAt(uint64_t offset, size_t size) const override {
    TRY(Alive());
    if (disk_.Fails(disk_.faults.read_error_one_in)) return Err(FromErrno(EIO, "read"));
    if (offset >= inode_->now.size()) return std::string();
    return inode_->now.substr(offset, size);
  }

  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    TRY(Alive());
    CHECK(writable_);
    if (disk_.Fails(disk_.faults.write_error_one_in)) {
      // A failed write may have reached the file in part: some whole sectors of it.
      uint64_t end = (offset + disk_.random_.Below(bytes.size() + 1)) / kSector * kSector;
      if (end > offset) Put(offset, bytes.substr(0, end - offset));
      return FromErrno(EIO, "write");
    }
    uint64_t end = offset + bytes.size();
    if (end > inode_->now.size() && disk_.used() + (end - inode_->now.size()) > disk_.faults.capacity) {
      ++disk_.injected_;
      return FromErrno(ENOSPC, "write");
    }
    Put(offset, bytes);
    return Ok();
  }
  Status Append(std::string_view bytes) override { return WriteAt(inode_->now.size(), bytes); }

  Status Truncate(uint64_t size) override {
    TRY(Alive());
    uint64_t old = inode_->now.size();
    inode_->now.resize(size);
    MarkDirty(std::min(old, size), std::max(old, size));
    return Ok();
  }
  Status Allocate(uint64_t size) override {
    TRY(Alive());
    uint64_t old = inode_->now.size();
    if (size <= old) return Ok();
    if (disk_.used() + (size - old) > disk_.faults.capacity) {
      ++disk_.injected_;
      return FromErrno(ENOSPC, "fallocate");
    }
    return Truncate(size);
  }
  Status Sync() override {
    TRY(Alive());
    ++disk_.syncs_;
    if (disk_.faults.ignore_sync) return Ok();
    if (disk_.Fails(disk_.faults.sync_error_one_in)) {
      // The kernel may drop the pages and call them clean: part of what was written is gone for good.
      for (uint64_t s : std::set<uint64_t>(inode_->dirty)) {
        if (disk_.random_.OneIn(2)) Revert(s);
      }
      return FromErrno(EIO, "fsync");
    }
    inode_->synced.resize(inode_->now.size());
    for (uint64_t s : inode_->dirty) {
      uint64_t at = s * kSector;
      if (at >= inode_->now.size()) continue;
      size_t n = std::min<uint64_t>(kSector, inode_->now.size() - at);
      inode_->synced.replace(at, n, inode_->now, at, n);
    }
    inode_->dirty.clear();
    return Ok();
  }
  Result<uint64_t> Size() const override {
    TRY(Alive());
    return inode_->now.size();
  }

 private:
  Status Alive() const { return *epoch_ == born_ ? Ok() : FromErrno(EIO, "the machine has crashed"); }
  void MarkDirty(uint64_t from, uint64_t to) {
    for (uint64_t s = from / kSector; s * kSector < to; ++s) inode_->dirty.insert(s);
  }
  void Put(uint64_t offset, std::string_view bytes) {
    if (offset + bytes.size() > inode_->now.size()) {
      MarkDirty(inode_->now.size(), offset + bytes.size());
      inode_->now.resize(offset + bytes.size());
    }
    inode_->now.replace(offset, bytes.size(), bytes);
    MarkDirty(offset, offset + bytes.size());
  }
  void Revert(uint64_t sector) {
    uint64_t at = sector * kSector;
    for (uint64_t i = at; i < std::min<uint64_t>(at + kSector, inode_->now.size()); ++i) {
      inode_->now[i] = i < inode_->synced.size() ? inode_->synced[i] : '\0';
    }
    inode_->dirty.erase(sector);
  }

  SimDisk& disk_;
  SimDisk::InodePtr inode_;
  std::shared_ptr<int> epoch_;
  int born_;
  bool writable_;
};

bool SimDisk::Fails(uint64_t one_in) {
  if (one_in == 0 || !random_.OneIn(one_in)) return false;
  ++injected_;
  return true;
}

std::string SimDisk::ParentOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

uint64_t SimDisk::used() const {
  uint64_t n = 0;
  for (const auto& [name, inode] : now_) n += inode ? inode->now.size() : 0;
  return n;
}

void SimDisk::Crash() {
  ++*epoch_;
  // Directory entries first: each un-synced change has reached the disk or not. A directory's entries are journalled in
  // order on real file systems; per directory either all or none of the open changes are kept.
  std::set<std::string> directories;
  for (const auto& [name, inode] : now_) directories.insert(ParentOf(name));
  for (const auto& [name, inode] : synced_) directories.insert(ParentOf(name));
  Names kept;
  for (const std::string& d : directories) {
    const Names& from = random_.OneIn(2) ? now_ : synced_;
    for (const auto& [name, inode] : from) {
      if (ParentOf(name) == d) kept[name] = inode;
    }
  }
  // What hangs below a directory that is gone is gone.
  for (auto it = kept.begin(); it != kept.end();) {
    std::string parent = ParentOf(it->first);
    bool orphan = parent != "." && parent != "" && !kept.contains(parent);
    it = orphan ? kept.erase(it) : std::next(it);
  }
  for (auto& [name, inode] : kept) {
    if (!inode) continue;
    std::string content = inode->synced;
    if (inode->now.size() != content.size() && random_.OneIn(2)) content.resize(inode->now.size());
    for (uint64_t s : inode->dirty) {
      uint64_t at = s * kSector;
      if (at >= content.size() || at >= inode->now.size() || random_.OneIn(2)) continue;
      size_t n = std::min<uint64_t>({kSector, content.size() - at, inode->now.size() - at});
      content.replace(at, n, inode->now, at, n);
    }
    auto fresh = std::make_shared<Inode>();
    fresh->now = content;
    fresh->synced = std::move(content);
    inode = std::move(fresh);
  }
  now_ = kept;
  synced_ = std::move(kept);
}

void SimDisk::SyncAll() {
  for (auto& [name, inode] : now_) {
    if (!inode) continue;
    inode->synced = inode->now;
    inode->dirty.clear();
  }
  synced_ = now_;
}

void SimDisk::FlipBit(const std::string& path, uint64_t bit) {
  auto it = now_.find(path);
  if (it == now_.end() || !it->second || it->second->now.empty()) return;
  bit %= it->second->now.size() * 8;
  it->second->now[bit / 8] = static_cast<char>(it->second->now[bit / 8] ^ (1 << (bit % 8)));
  it->second->synced = it->second->now;
}

Result<std::unique_ptr<File>> SimDisk::Open(const std::string& path, OpenMode mode, int) {
  auto it = now_.find(path);
  bool exists = it != now_.end();
  if (exists && !it->second) return Err(FromErrno(EISDIR, "open " + path));
  if (mode == OpenMode::kCreateExclusive && exists) return Err(FromErrno(EEXIST, "open " + path));
  bool create = mode == OpenMode::kCreate || mode == OpenMode::kCreateExclusive;
  if (!exists && !create) return Err(FromErrno(ENOENT, "open " + path));
  if (!exists) {
    std::string parent = ParentOf(path);
    if (parent != "." && !parent.empty() && !now_.contains(parent)) return Err(FromErrno(ENOENT, "open " + path));
    it = now_.emplace(path, std::make_shared<Inode>()).first;
  }
  return std::unique_ptr<File>(new SimFile(*this, it->second, mode != OpenMode::kRead));
}

Result<bool> SimDisk::Exists(const std::string& path) { return now_.contains(path); }

Result<std::vector<std::string>> SimDisk::List(const std::string& directory) {
  auto d = now_.find(directory);
  if (d == now_.end() || d->second) return Err(FromErrno(ENOENT, "list " + directory));
  std::vector<std::string> out;
  std::string prefix = directory + "/";
  for (auto it = now_.lower_bound(prefix); it != now_.end() && it->first.starts_with(prefix); ++it) {
    if (it->first.find('/', prefix.size()) == std::string::npos) out.push_back(it->first.substr(prefix.size()));
  }
  return out;
}

Status SimDisk::MakeDirectories(const std::string& path, int) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    auto it = now_.find(part);
    if (it != now_.end() && it->second) return FromErrno(ENOTDIR, "mkdir " + part);
    now_[part] = nullptr;
    if (slash == std::string::npos) return Ok();
  }
}

Status SimDisk::Rename(const std::string& from, const std::string& to) {
  auto it = now_.find(from);
  if (it == now_.end()) return FromErrno(ENOENT, "rename " + from);
  Names moved;
  std::string prefix = from + "/";
  for (auto i = now_.lower_bound(prefix); i != now_.end() && i->first.starts_with(prefix);) {
    moved[to + i->first.substr(from.size())] = i->second;
    i = now_.erase(i);
  }
  // A directory's own entries move with it whatever its parent's state: they are reached through its inode.
  Names synced_moved;
  for (auto i = synced_.lower_bound(prefix); i != synced_.end() && i->first.starts_with(prefix); ++i) {
    synced_moved[to + i->first.substr(from.size())] = i->second;
  }
  for (auto& [name, inode] : synced_moved) synced_[name] = inode;
  now_[to] = it->second;
  now_.erase(from);
  now_.merge(moved);
  return Ok();
}

Status SimDisk::Remove(const std::string& path) {
  return now_.erase(path) > 0 ? Ok() : FromErrno(ENOENT, "remove " + path);
}

Status SimDisk::RemoveAll(const std::string& path) {
  std::string prefix = path + "/";
  for (auto it = now_.lower_bound(prefix); it != now_.end() && it->first.starts_with(prefix);) it = now_.erase(it);
  now_.erase(path);
  return Ok();
}

Status SimDisk::SyncDirectory(const std::string& directory) {
  if (faults.ignore_sync) return Ok();
  if (Fails(faults.sync_error_one_in)) return FromErrno(EIO, "fsync " + directory);
  // Making an entry durable makes the way to it durable (journalling file systems order parents first).
  for (std::string d = directory; now_.contains(d) && d != "." && !d.empty(); d = ParentOf(d)) synced_[d] = nullptr;
  for (auto it = synced_.begin(); it != synced_.end();) {
    bool gone = ParentOf(it->first) == directory && !now_.contains(it->first);
    it = gone ? synced_.erase(it) : std::next(it);
  }
  for (const auto& [name, inode] : now_) {
    if (ParentOf(name) == directory) synced_[name] = inode;
  }
  return Ok();
}

Result<uint64_t> SimDisk::FreeSpace(const std::string&) {
  uint64_t u = used();
  return faults.capacity > u ? faults.capacity - u : 0;
}

}  // namespace base::testing
