#include "deploy/keelson/supervise.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strings.h"

extern char** environ;

namespace deploy::keelson {
namespace {

double Seconds(std::string_view value) {
  std::string text(value);
  double factor = 1;
  if (text.ends_with("ms")) {
    factor = 0.001;
    text.resize(text.size() - 2);
  } else if (text.ends_with("min")) {
    factor = 60;
    text.resize(text.size() - 3);
  } else if (text.ends_with("s")) {
    text.resize(text.size() - 1);
  }
  return std::atof(text.c_str()) * factor;
}

std::string Unquote(std::string_view s) {
  s = base::Trim(s);
  if (s.size() >= 2 && (s.front() == '"' || s.front() == '\'') && s.back() == s.front()) s = s.substr(1, s.size() - 2);
  return std::string(s);
}

void SetVariable(std::map<std::string, std::string>& environment, std::string_view assignment) {
  size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) return;
  environment[std::string(base::Trim(assignment.substr(0, equals)))] = Unquote(assignment.substr(equals + 1));
}

// Reads lines, a backslash at the end joins the next one.
void ForEachLine(std::string_view text, const std::function<void(std::string_view)>& fn) {
  std::string joined;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\\') {
      joined.append(line.substr(0, line.size() - 1)).push_back(' ');
      continue;
    }
    joined.append(line);
    fn(base::Trim(joined));
    joined.clear();
  }
  if (!joined.empty()) fn(base::Trim(joined));
}

}  // namespace

base::Result<Unit> ParseUnit(std::string name, std::string_view text) {
  Unit unit;
  unit.name = std::move(name);
  std::string section;
  base::Status error;
  ForEachLine(text, [&](std::string_view line) {
    if (line.empty() || line.front() == '#' || line.front() == ';') return;
    if (line.front() == '[') {
      section = std::string(line);
      return;
    }
    size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      error = base::InvalidArgument(unit.name + ": not a setting: " + std::string(line));
      return;
    }
    std::string key(base::Trim(line.substr(0, equals))), value(base::Trim(line.substr(equals + 1)));
    if (section == "[Unit]" && key == "After") {
      for (auto& word : base::Words(value))
        if (word.ends_with(".service")) unit.after.push_back(word.substr(0, word.size() - 8));
    }
    if (section != "[Service]") return;
    if (key == "Type") unit.type = value;
    if (key == "ExecStart") unit.exec_start = value;
    if (key == "ExecStartPre") unit.exec_start_pre.push_back(value);
    if (key == "Environment")
      for (auto& word : base::Words(value)) SetVariable(unit.environment, Unquote(word));
    if (key == "EnvironmentFile") unit.environment_files.push_back(value);
    if (key == "WorkingDirectory") unit.working_directory = value;
    if (key == "Restart") unit.restart = value;
    if (key == "RestartSec") unit.restart_seconds = Seconds(value);
    if (key == "TimeoutStartSec") unit.start_timeout_seconds = Seconds(value);
    if (key == "TimeoutStopSec") unit.stop_timeout_seconds = Seconds(value);
    if (key == "KillMode") unit.kill_mode = value;
  });
  if (!error.ok()) return base::Err(error);
  if (unit.exec_start.empty()) return base::Err(base::InvalidArgument(unit.name + ": no ExecStart"));
  if (unit.type != "simple" && unit.type != "exec" && unit.type != "notify")
    return base::Err(base::Unimplemented(unit.name + ": Type=" + unit.type + " is not supported outside systemd"));
  return unit;
}

base::Result<std::vector<std::string>> SplitCommand(std::string_view line,
                                                    const std::map<std::string, std::string>& environment) {
  auto value_of = [&](const std::string& name) {
    auto it = environment.find(name);
    return it == environment.end() ? std::string() : it->second;
  };
  std::vector<std::string> out;
  size_t i = 0;
  while (i < line.size()) {
    if (line[i] == ' ' || line[i] == '\t') {
      ++i;
      continue;
    }
    // $VAR as a word of its own becomes as many words as it has.
    if (line[i] == '$' && i + 1 < line.size() && line[i + 1] != '{' && line[i + 1] != '$') {
      size_t end = std::min(line.find_first_of(" \t", i), line.size());
      for (auto& word : base::Words(value_of(std::string(line.substr(i + 1, end - i - 1))))) out.push_back(word);
      i = end;
      continue;
    }
    std::string word;
    char quote = 0;
    for (; i < line.size(); ++i) {
      char c = line[i];
      if (quote == 0 && (c == ' ' || c == '\t')) break;
      if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      } else if (c == '$' && i + 1 < line.size() && line[i + 1] == '{') {
        size_t end = line.find('}', i);
        if (end == std::string_view::npos)
          return base::Err(base::InvalidArgument("unclosed ${ in: " + std::string(line)));
        word += value_of(std::string(line.substr(i + 2, end - i - 2)));
        i = end;
      } else if (c == '\\' && i + 1 < line.size()) {
        word.push_back(line[++i]);
      } else {
        word.push_back(c);
      }
    }
    if (quote != 0) return base::Err(base::InvalidArgument("unclosed quote in: " + std::string(line)));
    out.push_back(std::move(word));
  }
  if (out.empty()) return base::Err(base::InvalidArgument("empty command"));
  return out;
}

base::Result<std::vector<Unit>> StartOrder(std::vector<Unit> units) {
  std::vector<Unit> out;
  std::set<std::string> started, all;
  for (const auto& u : units) all.insert(u.name);
  while (!units.empty()) {
    auto ready = std::ranges::find_if(units, [&](const Unit& u) {
      return std::ranges::all_of(u.after, [&](const auto& a) { return !all.contains(a) || started.contains(a); });
    });
    if (ready == units.end())
      return base::Err(base::InvalidArgument("After= goes round in a circle at " + units.front().name));
    started.insert(ready->name);
    out.push_back(std::move(*ready));
    units.erase(ready);
  }
  return out;
}

namespace {

// One service and its process.
class Service {
 public:
  Service(base::Loop& loop, Unit unit, const SuperviseOptions& options)
      : loop_(loop), unit_(std::move(unit)), options_(options), ready_(loop) {}
  ~Service() { CloseNotify(); }

  const Unit& unit() const { return unit_; }
  pid_t pid() const { return pid_; }
  bool running() const { return pid_ > 0; }

  base::Status Start() {
    auto environment = unit_.environment;
    for (std::string file : unit_.environment_files) {
      bool forgiving = file.starts_with('-');
      if (forgiving) file.erase(0, 1);
      auto text = base::ReadFile(base::PosixFileSystem(), file);
      if (!text && !forgiving) return text.error();
      if (text)
        ForEachLine(*text, [&](std::string_view line) {
          if (!line.empty() && line.front() != '#') SetVariable(environment, line);
        });
    }
    is_ready_ = unit_.type != "notify";
    if (!is_ready_) TRY(OpenNotify());
    for (const auto& pre : unit_.exec_start_pre) TRY(RunPre(pre, environment));
    TRY_ASSIGN(auto words, SplitCommand(unit_.exec_start, environment));
    TRY_ASSIGN(pid_, Fork(words, environment));
    std::string pid_file = options_.run_directory + "/" + unit_.name + ".pid";
    TRY(base::WriteFileAtomically(base::PosixFileSystem(), pid_file, std::to_string(pid_) + "\n", 0644));
    base::LogInfo("Started", {{"unit", unit_.name}, {"pid", pid_}});
    return base::Ok();
  }

  // OK when ready, an error when it ended or took too long.
  base::Task<base::Status> WaitReady(base::Context ctx) {
    auto limited =
        ctx.WithTimeout(loop_, std::chrono::milliseconds(static_cast<int64_t>(unit_.start_timeout_seconds * 1000)));
    while (!is_ready_) {
      if (!running()) co_return base::Unavailable(unit_.name + " ended before it was ready");
      CO_TRY(co_await ready_.Wait(limited));
    }
    co_return base::Ok();
  }

  void OnExit(int status) {
    ended_ = loop_.Now();
    pid_ = 0;
    CloseNotify();
    base::LogWarning("Ended", {{"unit", unit_.name},
                               {"status", WIFEXITED(status) ? WEXITSTATUS(status) : -1},
                               {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0}});
    last_failed_ = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ready_.NotifyAll();
  }
  bool wants_restart() const { return unit_.restart == "always" || (unit_.restart == "on-failure" && last_failed_); }

  // KillMode=process leaves the children (a runtime's shims with their containers) alone.
  void Signal(int signal) {
    if (!running()) return;
    if (unit_.kill_mode == "process" || signal == SIGTERM) {
      kill(pid_, signal);
    } else {
      kill(-pid_, signal);
    }
  }

 private:
  base::Result<pid_t> Fork(const std::vector<std::string>& words,
                           const std::map<std::string, std::string>& environment) {
    std::string log_path = options_.log_directory + "/" + unit_.name + ".log";
    int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log < 0) return base::Err(base::FromErrno(errno, log_path));
    std::map<std::string, std::string> all;
    for (char** e = environ; *e; ++e) SetVariable(all, *e);
    for (const auto& [name, value] : environment) all[name] = value;
    if (!notify_path_.empty()) all["NOTIFY_SOCKET"] = notify_path_;
    std::vector<std::string> pairs;
    for (const auto& [name, value] : all) pairs.push_back(name + "=" + value);
    std::vector<char*> argv, envp;
    for (const auto& w : words) argv.push_back(const_cast<char*>(w.c_str()));
    for (const auto& p : pairs) envp.push_back(const_cast<char*>(p.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    pid_t pid = fork();
    if (pid < 0) {
      base::Status error = base::FromErrno(errno, "fork");
      close(log);
      return base::Err(error);
    }
    if (pid == 0) {
      setpgid(0, 0);
      // Nobody restarts orphans: they end with their supervisor.
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      signal(SIGPIPE, SIG_DFL);
      int null = open("/dev/null", O_RDONLY);
      dup2(null, 0);
      dup2(log, 1);
      dup2(log, 2);
      if (!unit_.working_directory.empty() && chdir(unit_.working_directory.c_str()) != 0) _exit(200);
      execve(argv[0], argv.data(), envp.data());
      dprintf(2, "cannot execute %s: %s\n", argv[0], strerror(errno));
      _exit(203);
    }
    close(log);
    return pid;
  }

  base::Status RunPre(std::string command, const std::map<std::string, std::string>& environment) {
    bool forgiving = command.starts_with('-');
    if (forgiving) command.erase(0, 1);
    TRY_ASSIGN(auto words, SplitCommand(command, environment));
    TRY_ASSIGN(pid_t pid, Fork(words, environment));
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (forgiving || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return base::Ok();
    return base::Unavailable(unit_.name + ": ExecStartPre failed: " + command);
  }

  base::Status OpenNotify() {
    CloseNotify();
    notify_path_ = options_.run_directory + "/" + unit_.name + ".notify";
    unlink(notify_path_.c_str());
    notify_fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (notify_path_.size() >= sizeof address.sun_path)
      return base::InvalidArgument("path too long for a socket: " + notify_path_);
    std::memcpy(address.sun_path, notify_path_.c_str(), notify_path_.size() + 1);
    if (bind(notify_fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      return base::FromErrno(errno, notify_path_);
    base::SpawnNow(ReadNotify(notify_fd_));
    return base::Ok();
  }

  base::Task<void> ReadNotify(int fd) {
    for (;;) {
      base::Status readable = co_await loop_.Readable(fd, base::Context());
      if (!readable.ok()) co_return;
      char buffer[4096];
      ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n < 0) co_return;
      if (std::string_view(buffer, static_cast<size_t>(n)).find("READY=1") != std::string_view::npos) {
        is_ready_ = true;
        ready_.NotifyAll();
      }
    }
  }

  void CloseNotify() {
    if (notify_fd_ < 0) return;
    loop_.Forget(notify_fd_);
    close(notify_fd_);
    notify_fd_ = -1;
    unlink(notify_path_.c_str());
  }

  base::Loop& loop_;
  Unit unit_;
  const SuperviseOptions& options_;
  base::Event ready_;
  pid_t pid_ = 0;
  bool is_ready_ = false, last_failed_ = false;
  base::MonoTime ended_{};
  int notify_fd_ = -1;
  std::string notify_path_;
};

class Supervisor {
 public:
  Supervisor(base::Loop& loop, const SuperviseOptions& options, std::vector<Unit> units)
      : loop_(loop), exited_(loop), scope_(loop, base::Context()) {
    for (auto& u : units) services_.push_back(std::make_unique<Service>(loop, std::move(u), options));
  }

  base::Task<void> Run() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int s : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, s);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    base::SpawnNow(WatchSignals());
    for (auto& s : services_) {
      if (scope_.context().done()) break;
      scope_.Spawn(Keep(*s));
      // The next one may rely on this one; a failure here is retried by Keep, and so will the next one's.
      base::Status ready = co_await WaitFirstReady(*s);
      if (!ready.ok()) base::LogError("Not ready", ready, {{"unit", s->unit().name}});
    }
    co_await scope_.Join();
    loop_.Forget(signal_fd_);
    close(signal_fd_);
    loop_.Stop();
  }

 private:
  base::Task<base::Status> WaitFirstReady(Service& s) {
    while (!s.running()) CO_TRY(co_await base::Sleep(loop_, scope_.context(), std::chrono::milliseconds(5)));
    co_return co_await s.WaitReady(scope_.context());
  }

  // Starts one service and starts it again until the end.
  base::Task<void> Keep(Service& s) {
    base::Context ctx = scope_.context();
    while (!ctx.done()) {
      base::Status started = s.Start();
      if (!started.ok()) base::LogError("Cannot start", started, {{"unit", s.unit().name}});
      while (s.running() && (co_await exited_.Wait(ctx)).ok()) {
      }
      if (ctx.done() || (started.ok() && !s.wants_restart())) break;
      auto pause = std::chrono::milliseconds(static_cast<int64_t>(std::max(s.unit().restart_seconds, 0.1) * 1000));
      (void)co_await base::Sleep(loop_, ctx, pause);
    }
    co_await StopAfterDependents(s);
  }

  base::Task<void> StopAfterDependents(Service& s) {
    auto depends = [&](const Service& other) {
      return other.running() && std::ranges::find(other.unit().after, s.unit().name) != other.unit().after.end();
    };
    while (std::ranges::any_of(services_, [&](const auto& o) { return depends(*o); }))
      (void)co_await exited_.Wait(base::Context().WithTimeout(loop_, std::chrono::seconds(1)));
    s.Signal(SIGTERM);
    auto deadline = loop_.Now() + std::chrono::milliseconds(static_cast<int64_t>(s.unit().stop_timeout_seconds * 1000));
    while (s.running()) {
      if (loop_.Now() > deadline) s.Signal(SIGKILL);
      (void)co_await exited_.Wait(base::Context().WithTimeout(loop_, std::chrono::seconds(1)));
    }
  }

  base::Task<void> WatchSignals() {
    for (;;) {
      if (!(co_await loop_.Readable(signal_fd_, base::Context())).ok()) co_return;
      signalfd_siginfo info;
      while (read(signal_fd_, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
          Reap();
        } else {
          scope_.Cancel();
        }
      }
    }
  }

  void Reap() {
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      for (auto& s : services_)
        if (s->pid() == pid) s->OnExit(status);
    }
    exited_.NotifyAll();
  }

  base::Loop& loop_;
  base::Event exited_;
  base::TaskScope scope_;
  std::vector<std::unique_ptr<Service>> services_;
  int signal_fd_ = -1;
};

}  // namespace

int Supervise(const SuperviseOptions& options) {
  // Blocked before any thread exists, so that the signals reach signalfd and nobody else.
  sigset_t signals;
  sigemptyset(&signals);
  for (int s : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, s);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  std::vector<Unit> units;
  auto& fs = base::PosixFileSystem();
  for (const auto& directory : {options.log_directory, options.run_directory}) {
    if (auto made = fs.MakeDirectories(directory, 0755); !made.ok()) base::LogFatal("Cannot make a directory", made);
  }
  for (const auto& name : options.units) {
    auto text = base::ReadFile(fs, options.unit_directory + "/" + name + ".service");
    if (!text) base::LogFatal("Cannot read a unit", text.error());
    auto unit = ParseUnit(name, *text);
    if (!unit) base::LogFatal("Cannot use a unit", unit.error());
    units.push_back(std::move(*unit));
  }
  auto ordered = StartOrder(std::move(units));
  if (!ordered) base::LogFatal("Cannot order the units", ordered.error());
  base::Loop loop;
  Supervisor supervisor(loop, options, std::move(*ordered));
  base::Spawn(loop, supervisor.Run());
  loop.Run();
  return 0;
}

}  // namespace deploy::keelson
