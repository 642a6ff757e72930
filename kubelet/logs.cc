#include "kubelet/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "kubelet/paths/paths.h"

namespace kubelet {
namespace {

constexpr size_t kBlock = 64 << 10;

// Whether the name now stands for another file.
bool Replaced(const std::string& path, int fd) {
  struct stat now{}, mine{};
  return lstat(path.c_str(), &now) == 0 && fstat(fd, &mine) == 0 && now.st_ino != mine.st_ino;
}

}  // namespace

base::Task<base::Status> ReadLog(base::Executor& executor, base::Context ctx, std::string directory, std::string path,
                                 lines::Options options, std::function<base::Task<base::Status>(std::string)> send,
                                 std::function<bool()> running) {
  // A pod that can write here (a log collector) must not make us read it other files of the node.
  auto open = [&] { return paths::OpenPlainFile(directory, path, O_RDONLY, paths::Links::kNever); };
  auto file = open();
  if (!file)
    co_return base::Status(file.error().code(),
                           "failed to open log file \"" + path + "\": " + std::string(file.error().message()));
  int64_t at = options.tail_lines ? lines::TailOffset(file->get(), *options.tail_lines) : 0;
  const bool follow = options.follow;
  lines::Reader reader(std::move(options));
  std::string block;
  bool finished = false;
  while (!reader.done()) {
    block.resize(kBlock);
    ssize_t n = pread(file->get(), block.data(), block.size(), at);
    if (n < 0) co_return base::FromErrno(errno, path);
    if (n > 0) {
      at += n;
      std::string out = reader.Feed(std::string_view(block).substr(0, static_cast<size_t>(n)));
      if (!out.empty()) CO_TRY(co_await send(std::move(out)));
      continue;
    }
    if (!follow || finished) break;
    // One more look after the end: the last lines may have come between.
    finished = !running();
    if (Replaced(path, file->get())) {
      file = open();  // rotated
      if (!file) co_return base::Ok();
      at = 0;
      reader.Restart();
      continue;
    }
    if (!finished) CO_TRY(co_await base::Sleep(executor, ctx, std::chrono::milliseconds(100)));
  }
  std::string rest = reader.Finish();
  if (!rest.empty()) co_return co_await send(std::move(rest));
  co_return base::Ok();
}

base::Task<base::Status> RotateLog(base::Context ctx, Host& host, runtimes::Runtime& runtime, Log log, Rotation how) {
  if (host.SizeOf(log.path) < how.max_bytes) co_return base::Ok();
  base::FileSystem& files = host.files();
  const size_t slash = log.path.rfind('/');
  const std::string directory = log.path.substr(0, slash), prefix = log.path.substr(slash + 1) + ".";
  std::vector<std::string> old;
  if (auto names = files.List(directory))
    for (const auto& name : *names)
      if (name.starts_with(prefix)) old.push_back(directory + "/" + name);
  std::ranges::sort(old);
  // Room for the one to come: the current file and the new old one count.
  while (static_cast<int>(old.size()) > std::max(0, how.max_files - 2)) {
    (void)files.Remove(old.front());
    old.erase(old.begin());
  }
  time_t seconds = how.now_ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
  const std::string rotated = log.path + "." + stamp;
  CO_TRY(files.Rename(log.path, rotated).Annotate("rotating " + log.path));
  cri::ReopenContainerLogRequest request;
  request.set_container_id(log.container_id);
  auto reopened = co_await runtime.ReopenContainerLog(ctx, std::move(request));
  if (reopened) co_return base::Ok();
  (void)files.Rename(rotated, log.path);  // the runtime still writes there
  co_return reopened.error();
}

}  // namespace kubelet
