#include "kubelet/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

namespace kubelet {
namespace {

constexpr size_t kBlock = 64 << 10;
constexpr size_t kLongestLine = 1 << 20;  // the runtime splits lines long before

// Nanoseconds of an RFC 3339 time, 0 when it is none.
int64_t ParseTime(std::string_view text) {
  tm parts{};
  std::string copy(text);
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest) return 0;
  int64_t ns = timegm(&parts) * 1'000'000'000;
  if (*rest == '.') {
    int64_t unit = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) ns += (*rest - '0') * unit;
  }
  if (*rest == '+' || *rest == '-') {
    int64_t offset = (atoi(rest + 1) * 60 + atoi(rest + 4)) * int64_t{60'000'000'000};
    ns += *rest == '+' ? -offset : offset;
  }
  return ns;
}

struct OpenFile {
  explicit OpenFile(const std::string& path) : fd(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd >= 0) close(fd);
  }
  OpenFile(const OpenFile&) = delete;
  int fd;
};

}  // namespace

std::optional<std::string> FormatLogLine(std::string_view line, const LogOptions& o) {
  size_t first = line.find(' '), second = line.find(' ', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  size_t third = line.find(' ', second + 1);
  std::string_view time = line.substr(0, first), stream = line.substr(first + 1, second - first - 1);
  std::string_view tags = line.substr(second + 1, third == std::string_view::npos ? third : third - second - 1);
  std::string_view text = third == std::string_view::npos ? std::string_view() : line.substr(third + 1);
  if (o.stream == "Stdout" && stream != "stdout") return std::nullopt;
  if (o.stream == "Stderr" && stream != "stderr") return std::nullopt;
  if (o.since_ns > 0 && ParseTime(time) < o.since_ns) return std::nullopt;
  std::string out;
  if (o.timestamps) out.append(time).append(" ");
  out.append(text);
  // "P" marks a part of a long line: its end comes with the next one.
  if (!tags.starts_with('P')) out += '\n';
  return out;
}

int64_t TailOffset(int fd, int64_t lines) {
  struct stat st{};
  if (fstat(fd, &st) != 0 || lines <= 0) return st.st_size;
  int64_t at = st.st_size, found = 0;
  std::string block;
  bool last = true;
  while (at > 0) {
    int64_t from = std::max<int64_t>(0, at - static_cast<int64_t>(kBlock));
    block.resize(static_cast<size_t>(at - from));
    if (pread(fd, block.data(), block.size(), from) != static_cast<ssize_t>(block.size())) return from;
    for (int64_t i = static_cast<int64_t>(block.size()) - 1; i >= 0; --i) {
      if (block[static_cast<size_t>(i)] != '\n') {
        last = false;
        continue;
      }
      // The newline that ends the file ends a line and begins none.
      if (last) {
        last = false;
        continue;
      }
      if (++found == lines) return from + i + 1;
    }
    at = from;
  }
  return 0;
}

base::Task<base::Status> ReadLog(base::Executor& executor, base::Context ctx, std::string path, LogOptions options,
                                 std::function<base::Task<base::Status>(std::string)> send,
                                 std::function<bool()> running) {
  auto file = std::make_unique<OpenFile>(path);
  if (file->fd < 0) co_return base::FromErrno(errno, "failed to try resolving symlinks in path \"" + path + "\"");
  int64_t at = options.tail_lines ? TailOffset(file->fd, *options.tail_lines) : 0;
  int64_t left = options.limit_bytes.value_or(-1);
  std::string pending, block, out;
  bool finished = false;
  while (true) {
    block.resize(kBlock);
    ssize_t n = pread(file->fd, block.data(), block.size(), at);
    if (n < 0) co_return base::FromErrno(errno, path);
    if (n > 0) {
      at += n;
      pending.append(block, 0, static_cast<size_t>(n));
      size_t begin = 0;
      for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1)
        if (auto text = FormatLogLine(std::string_view(pending).substr(begin, end - begin), options)) out += *text;
      pending.erase(0, begin);
      if (pending.size() > kLongestLine) pending.clear();
      if (left >= 0 && static_cast<int64_t>(out.size()) >= left) {
        out.resize(static_cast<size_t>(left));
        co_return co_await send(std::move(out));
      }
      if (!out.empty()) {
        if (left >= 0) left -= static_cast<int64_t>(out.size());
        CO_TRY(co_await send(std::exchange(out, {})));
      }
      continue;
    }
    if (!options.follow || finished) co_return base::Ok();
    // One more look after the end: the last lines may have come between.
    finished = !running();
    struct stat now{}, mine{};
    if (stat(path.c_str(), &now) == 0 && fstat(file->fd, &mine) == 0 && now.st_ino != mine.st_ino) {
      file = std::make_unique<OpenFile>(path);  // rotated
      at = 0;
      if (file->fd < 0) co_return base::Ok();
      continue;
    }
    if (!finished) CO_TRY(co_await base::Sleep(executor, ctx, std::chrono::milliseconds(100)));
  }
}

base::Task<base::Status> RotateLog(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                                   std::string path, int64_t max_bytes, int max_files, int64_t now_ns) {
  struct stat st{};
  if (stat(path.c_str(), &st) != 0 || st.st_size < max_bytes) co_return base::Ok();
  namespace fs = std::filesystem;
  std::error_code ec;
  std::vector<std::string> old;
  const std::string name = fs::path(path).filename().string();
  for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path(), ec))
    if (entry.path().filename().string().starts_with(name + ".")) old.push_back(entry.path().string());
  std::ranges::sort(old);
  // Room for the one to come: the current file and the new old one count.
  while (static_cast<int>(old.size()) > std::max(0, max_files - 2)) {
    fs::remove(old.front(), ec);
    old.erase(old.begin());
  }
  time_t seconds = now_ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
  std::string rotated = path + "." + stamp;
  fs::rename(path, rotated, ec);
  if (ec) co_return base::Unknown("rotating " + path + ": " + ec.message());
  cri::ReopenContainerLogRequest request;
  request.set_container_id(container_id);
  auto reopened = co_await runtime.ReopenContainerLog(ctx, std::move(request));
  if (reopened) co_return base::Ok();
  fs::rename(rotated, path, ec);  // the runtime still writes there
  co_return reopened.error();
}

}  // namespace kubelet
