// Linux: direct I/O, started by the kernel's asynchronous interface (io_submit) and ended through an eventfd. Started
// with RWF_NOWAIT, so that what would wait (blocks that were never written, a congested disk) is refused instead.
#include "base/block_file.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/loop_impl.h"

namespace base {
namespace {

constexpr unsigned kMaxUnderWay = 8;

// The head of the memory that io_setup maps (fs/aio.c): finished writes can be taken from it without a system call.
struct AioRing {
  unsigned id, nr;
  std::atomic<unsigned> head, tail;
  unsigned magic, compat_features, incompat_features, header_length;
};
constexpr unsigned kAioRingMagic = 0xa10a10a1;

class AioFile;

class AioFiles final : public BlockFiles, public FdHandler {
 public:
  explicit AioFiles(Loop& loop) : loop_(loop) {}
  ~AioFiles() override {
    if (event_fd_ >= 0) loop_.impl().Remove(event_fd_, this);
    if (context_ != 0) ::syscall(SYS_io_destroy, context_);
    if (event_fd_ >= 0) ::close(event_fd_);
  }
  bool SetUp() {
    if (::syscall(SYS_io_setup, kMaxUnderWay, &context_) != 0) return false;
    event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    // By edges: its count is never read.
    return event_fd_ >= 0 && loop_.impl().Add(event_fd_, EPOLLIN | EPOLLET, this).ok();
  }
  Result<std::unique_ptr<BlockFile>> Open(const std::string& path) override;
  bool Submit(iocb& work) {
    work.aio_flags = IOCB_FLAG_RESFD;
    work.aio_resfd = static_cast<uint32_t>(event_fd_);
    iocb* list = &work;
    return ::syscall(SYS_io_submit, context_, 1, &list) == 1;
  }

 private:
  void OnEvents(uint32_t) override { Reap(); }
  void Reap();
  bool Take(io_event& event) {
    auto* ring = reinterpret_cast<AioRing*>(context_);
    if (ring->magic != kAioRingMagic || ring->incompat_features != 0) {
      timespec now{};
      return ::syscall(SYS_io_getevents, context_, 0, 1, &event, &now) == 1;
    }
    unsigned head = ring->head.load(std::memory_order_relaxed);
    if (head == ring->tail.load(std::memory_order_acquire)) return false;
    event = reinterpret_cast<io_event*>(reinterpret_cast<char*>(ring) + ring->header_length)[head];
    ring->head.store((head + 1) % ring->nr, std::memory_order_release);
    return true;
  }

  Loop& loop_;
  aio_context_t context_ = 0;
  int event_fd_ = -1;
};

class AioFile final : public BlockFile {
 public:
  AioFile(AioFiles& owner, int fd, std::string path) : owner_(owner), fd_(fd), path_(std::move(path)) {}
  ~AioFile() override {
    CHECK(!under_way_);
    ::close(fd_);
  }

  Status Write(uint64_t offset, std::string_view blocks, bool durable) override {
    while (!blocks.empty()) {
      iovec piece{const_cast<char*>(blocks.data()), blocks.size()};
      ssize_t n = ::pwritev2(fd_, &piece, 1, static_cast<off_t>(offset), durable ? RWF_DSYNC : 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FromErrno(errno, "write " + path_);
      blocks.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return Ok();
  }

  bool Start(uint64_t offset, std::string_view blocks, Done done) override {
    CHECK(!under_way_);
    iocb work{};
    work.aio_data = reinterpret_cast<uint64_t>(this);
    work.aio_lio_opcode = IOCB_CMD_PWRITE;
    work.aio_fildes = static_cast<uint32_t>(fd_);
    work.aio_buf = reinterpret_cast<uint64_t>(blocks.data());
    work.aio_nbytes = blocks.size();
    work.aio_offset = static_cast<int64_t>(offset);
    work.aio_rw_flags = RWF_DSYNC | RWF_NOWAIT;
    size_ = static_cast<int64_t>(blocks.size());
    if (!owner_.Submit(work)) return false;
    under_way_ = true;
    done_ = std::move(done);
    return true;
  }

  void Ended(int64_t result) {
    under_way_ = false;
    Status status;
    if (result == -EAGAIN || (result >= 0 && result != size_)) {
      status = Unavailable("write " + path_ + " would have to wait");
    } else if (result < 0) {
      status = FromErrno(static_cast<int>(-result), "write " + path_);
    }
    std::exchange(done_, {})(std::move(status));
  }

 private:
  AioFiles& owner_;
  int fd_;
  std::string path_;
  bool under_way_ = false;
  int64_t size_ = 0;
  Done done_;
};

Result<std::unique_ptr<BlockFile>> AioFiles::Open(const std::string& path) {
  int fd = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return Err(FromErrno(errno, "open " + path));
  return std::make_unique<AioFile>(*this, fd, path);
}

void AioFiles::Reap() {
  io_event event;
  while (Take(event)) reinterpret_cast<AioFile*>(event.data)->Ended(event.res);
}

}  // namespace

std::unique_ptr<BlockFiles> NewBlockFiles(Loop& loop) {
  auto files = std::make_unique<AioFiles>(loop);
  if (!files->SetUp()) return nullptr;
  return files;
}

void BlockBuffer::Free::operator()(char* p) const { std::free(p); }

void BlockBuffer::Resize(size_t size, size_t keep) {
  size = (size + BlockFile::kBlock - 1) / BlockFile::kBlock * BlockFile::kBlock;
  std::unique_ptr<char, Free> fresh(static_cast<char*>(std::aligned_alloc(BlockFile::kBlock, size)));
  CHECK(fresh != nullptr);
  if (keep > 0) std::memcpy(fresh.get(), data_.get(), keep);
  data_ = std::move(fresh);
  size_ = size;
}

}  // namespace base
