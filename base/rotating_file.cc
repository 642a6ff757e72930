#include "base/rotating_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/gzip.h"

namespace base {
namespace {

constexpr std::string_view kPacked = ".gz";
constexpr int64_t kDayMs = 24 * 3600 * 1000;

int64_t MachineClockMs() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct NameParts {
  std::string directory, stem, extension;  // "/var/log", "etcd-", ".log"
};
NameParts PartsOf(const std::string& path) {
  NameParts out;
  size_t slash = path.rfind('/');
  out.directory = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  size_t dot = std::min(name.rfind('.'), name.size());
  out.stem = name.substr(0, dot) + "-";
  out.extension = name.substr(dot);
  return out;
}

struct Backup {
  std::string name;
  int64_t time_ms;
};

// The time in a name that BackupName made.
std::optional<int64_t> TimeIn(std::string_view name, const NameParts& parts, bool local_time) {
  if (name.ends_with(kPacked) && !parts.extension.ends_with(kPacked)) name.remove_suffix(kPacked.size());
  if (!name.starts_with(parts.stem) || !name.ends_with(parts.extension)) return std::nullopt;
  if (name.size() <= parts.stem.size() + parts.extension.size()) return std::nullopt;
  std::string text(name.substr(parts.stem.size(), name.size() - parts.stem.size() - parts.extension.size()));
  tm t{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H-%M-%S", &t);
  int ms = 0, end = 0;
  if (rest == nullptr || std::sscanf(rest, ".%3d%n", &ms, &end) != 1 || rest[end] != '\0') return std::nullopt;
  t.tm_isdst = -1;
  return static_cast<int64_t>(local_time ? ::mktime(&t) : ::timegm(&t)) * 1000 + ms;
}

std::vector<Backup> BackupsOf(const NameParts& parts, bool local_time) {
  std::vector<Backup> out;
  auto names = PosixFileSystem().List(parts.directory);
  if (!names) return out;
  for (const std::string& name : *names) {
    if (auto time = TimeIn(name, parts, local_time)) out.push_back({name, *time});
  }
  std::ranges::sort(out, [](const Backup& a, const Backup& b) { return a.time_ms > b.time_ms; });
  return out;
}

Status Pack(const std::string& path) {
  FileSystem& fs = PosixFileSystem();
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return FromErrno(errno, path);
  std::string packed = path + std::string(kPacked);
  auto written = [&]() -> Status {
    TRY_ASSIGN(auto in, fs.Open(path, OpenMode::kRead));
    (void)fs.Remove(packed);
    TRY_ASSIGN(auto out, fs.Open(packed, OpenMode::kCreateExclusive, static_cast<int>(st.st_mode & 0777)));
    GzipWriter gzip(6);
    constexpr size_t kPiece = 256 << 10;
    for (uint64_t at = 0;; at += kPiece) {
      TRY_ASSIGN(std::string piece, in->ReadAt(at, kPiece));
      TRY(out->Append(gzip.Pack(piece, piece.size() < kPiece)));
      if (piece.size() < kPiece) return Ok();
    }
  }();
  if (!written.ok()) {
    (void)fs.Remove(packed);
    return written;
  }
  return fs.Remove(path);
}

// Too many and too old backups go, what stays is packed if that is wanted. A backup counts once, packed or not.
void Tidy(const std::string& path, const LogRotation& rotation, int64_t now_ms) {
  NameParts parts = PartsOf(path);
  std::vector<std::string> kept;
  for (const Backup& b : BackupsOf(parts, rotation.local_time)) {
    std::string full = parts.directory + "/" + b.name;
    std::string plain = b.name.ends_with(kPacked) ? b.name.substr(0, b.name.size() - kPacked.size()) : b.name;
    bool counted = std::ranges::find(kept, plain) != kept.end();
    bool many = !counted && rotation.max_backups > 0 && kept.size() >= static_cast<size_t>(rotation.max_backups);
    bool old = rotation.max_days > 0 && b.time_ms < now_ms - rotation.max_days * kDayMs;
    if (many || old) {
      (void)PosixFileSystem().Remove(full);
      continue;
    }
    if (!counted) kept.push_back(plain);
    if (rotation.compress && plain == b.name) {
      if (Status s = Pack(full); !s.ok()) std::fprintf(stderr, "packing %s: %s\n", full.c_str(), s.ToString().c_str());
    }
  }
}

}  // namespace

std::string BackupName(const std::string& path, int64_t now_ms, bool local_time) {
  NameParts parts = PartsOf(path);
  time_t seconds = now_ms / 1000;
  tm t;
  local_time ? ::localtime_r(&seconds, &t) : ::gmtime_r(&seconds, &t);
  char day[32], text[48];
  std::strftime(day, sizeof day, "%Y-%m-%dT%H-%M-%S", &t);
  std::snprintf(text, sizeof text, "%s.%03d", day, static_cast<int>(now_ms % 1000));
  return parts.directory + "/" + parts.stem + text + parts.extension;
}

// Tidies once for any number of wishes that came meanwhile.
class RotatingFile::Tidier {
 public:
  explicit Tidier(std::function<void()> tidy) : tidy_(std::move(tidy)) {
    // Signals are the main thread's; logging is set up before that has asked for them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { Run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Tidier() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  void Wish() {
    {
      std::lock_guard lock(mutex_);
      wished_ = true;
    }
    changed_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return wished_ || ending_; });
      if (!std::exchange(wished_, false)) return;
      lock.unlock();
      tidy_();
      lock.lock();
    }
  }

  const std::function<void()> tidy_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wished_ = true, ending_ = false;
  std::thread thread_;
};

RotatingFile::RotatingFile(std::string path, LogRotation rotation, Clock now_ms)
    : path_(std::move(path)), rotation_(rotation), now_ms_(now_ms ? std::move(now_ms) : MachineClockMs) {
  if (rotation.max_backups == 0 && rotation.max_days == 0 && !rotation.compress) return;
  tidier_ = std::make_unique<Tidier>([path = path_, rotation, now = now_ms_] { Tidy(path, rotation, now()); });
}

RotatingFile::~RotatingFile() {
  tidier_.reset();
  if (fd_ >= 0) ::close(fd_);
}

uint64_t RotatingFile::Limit() const {
  constexpr uint64_t kDefaultMegabytes = 100;
  return (rotation_.max_megabytes > 0 ? static_cast<uint64_t>(rotation_.max_megabytes) : kDefaultMegabytes) << 20;
}

Result<std::unique_ptr<RotatingFile>> RotatingFile::Open(std::string path, LogRotation rotation, Clock now_ms) {
  std::unique_ptr<RotatingFile> out(new RotatingFile(std::move(path), rotation, std::move(now_ms)));
  TRY(PosixFileSystem().MakeDirectories(PartsOf(out->path_).directory, 0755));
  TRY(out->OpenCurrent());
  return out;
}

Status RotatingFile::OpenCurrent() {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return FromErrno(errno, path_);
  struct stat st;
  if (::fstat(fd_, &st) != 0) return FromErrno(errno, path_);
  size_ = static_cast<uint64_t>(st.st_size);
  return Ok();
}

Status RotatingFile::Rotate() {
  struct stat st;
  bool known = ::fstat(fd_, &st) == 0;
  // Somebody may have taken the file away.
  if (::rename(path_.c_str(), BackupName(path_, now_ms_(), rotation_.local_time).c_str()) != 0 && errno != ENOENT) {
    return FromErrno(errno, "can't rename log file");
  }
  ::close(fd_);
  TRY(OpenCurrent());
  // Who could read the old one can read the new one.
  if (known) (void)::fchmod(fd_, st.st_mode & 0777);
  if (tidier_) tidier_->Wish();
  return Ok();
}

Status RotatingFile::Write(std::string_view bytes) {
  if (bytes.size() > Limit()) {
    return ResourceExhausted("write length " + std::to_string(bytes.size()) + " exceeds maximum file size " +
                             std::to_string(Limit()));
  }
  if (fd_ < 0) TRY(OpenCurrent());
  if (size_ + bytes.size() > Limit()) TRY(Rotate());
  ssize_t n = ::write(fd_, bytes.data(), bytes.size());
  if (n < 0) return FromErrno(errno, path_);
  size_ += static_cast<size_t>(n);
  return Ok();
}

}  // namespace base
