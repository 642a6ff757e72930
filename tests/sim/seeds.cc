#include "tests/sim/seeds.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <vector>

#include "base/status.h"

namespace tests::sim {
namespace {

// What the parent sees of a process that may die at any moment.
struct Shared {
  volatile uint64_t seed;  // under way
  volatile bool give_up;   // another one has failed
};

struct Shard {
  pid_t process = 0;
  int from_it = -1;
};

std::string Report(const std::string& violation, const Figures& sum) {
  std::ostringstream out;
  out.precision(17);
  for (const auto& [name, value] : sum) out << value << ' ' << name << '\n';
  out << '\n' << violation;
  return out.str();
}

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}
std::string ReadAll(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  return out;
}

// In the child: every `step`-th seed.
// tidy: parameters: the whole share of one process
[[noreturn]] void Work(int out, Shared* all, size_t number, size_t step, uint64_t first, uint64_t end,
                       const std::function<std::string(uint64_t, Figures&)>& one) {
  Figures sum;
  std::string violation;
  for (uint64_t seed = first + number; seed < end && violation.empty() && !all[0].give_up; seed += step) {
    all[number].seed = seed;
    violation = one(seed, sum);
  }
  if (!violation.empty()) all[0].give_up = true;
  WriteAll(out, Report(violation, sum));
  std::fflush(nullptr);
  ::_exit(violation.empty() ? 0 : 1);
}

// What a shard left behind; "" when all its seeds were well.
std::string Collect(const Shard& shard, const Shared& told, Figures& sum) {
  std::istringstream report(ReadAll(shard.from_it));
  ::close(shard.from_it);
  int status = 0;
  ::waitpid(shard.process, &status, 0);
  for (std::string line; std::getline(report, line) && !line.empty();) {
    size_t space = line.find(' ');
    sum[line.substr(space + 1)] += std::strtod(line.c_str(), nullptr);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  uint64_t seed = told.seed;
  std::string why(std::istreambuf_iterator<char>(report), {});
  if (why.empty()) why = WIFSIGNALED(status) ? "ended by signal " + std::to_string(WTERMSIG(status)) : "ended early";
  return "seed " + std::to_string(seed) + ": " + why + "\nreplay with KEELSON_SIM_FIRST_SEED=" + std::to_string(seed) +
         " KEELSON_SIM_SEEDS=1";
}

}  // namespace

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* v = std::getenv(name);
  return v != nullptr && *v != '\0' ? std::strtoull(v, nullptr, 10) : otherwise;
}

std::string RunSeeds(uint64_t first, uint64_t count, const std::function<std::string(uint64_t seed, Figures& sum)>& one,
                     Figures& sum) {
  auto start = std::chrono::steady_clock::now();
  auto n = std::clamp<uint64_t>(count, 1, std::max(1u, std::thread::hardware_concurrency()));
  void* memory = ::mmap(nullptr, n * sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  auto* all = static_cast<Shared*>(memory);
  std::vector<Shard> shards(n);
  std::fflush(nullptr);
  for (size_t i = 0; i < n; ++i) {
    int ends[2];
    CHECK(::pipe(ends) == 0);
    pid_t child = ::fork();
    CHECK(child >= 0);
    if (child == 0) {
      ::close(ends[0]);
      Work(ends[1], all, i, n, first, first + count, one);
    }
    ::close(ends[1]);
    shards[i] = {child, ends[0]};
  }
  std::string violation;
  for (size_t i = 0; i < n; ++i) {
    std::string failed = Collect(shards[i], all[i], sum);
    if (violation.empty()) violation = failed;
  }
  ::munmap(memory, n * sizeof(Shared));
  sum["seeds"] += static_cast<double>(count);
  sum["wall seconds"] += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return violation;
}

std::string Summary(const std::string& title, const Figures& sum) {
  char head[160];
  std::snprintf(head, sizeof head, "%.0f seeds of %s in %.1f s", sum.at("seeds"), title.c_str(),
                sum.at("wall seconds"));
  std::string out = head;
  for (const auto& [name, value] : sum) {
    if (name == "seeds" || name == "wall seconds") continue;
    char text[80];
    std::snprintf(text, sizeof text, ", %.0f %s", value, name.c_str());
    out += text;
  }
  return out;
}

}  // namespace tests::sim
