// watch, and the programs that commands start.
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/json_writer.h"
#include "base/prefix_end.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

base::Result<int> RunProgram(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  std::vector<char*> words, env;
  for (const std::string& a : argv) words.push_back(const_cast<char*>(a.c_str()));
  for (char** e = environ; *e != nullptr; ++e) env.push_back(*e);
  for (const std::string& e : environment) env.push_back(const_cast<char*>(e.c_str()));
  words.push_back(nullptr);
  env.push_back(nullptr);
  std::fflush(stdout);
  pid_t pid = 0;
  if (int error = posix_spawnp(&pid, words[0], nullptr, nullptr, words.data(), env.data()); error != 0) {
    std::string why = error == ENOENT ? "executable file not found in $PATH" : std::strerror(error);
    return base::Err(base::NotFound("exec: " + base::GoQuote(argv[0]) + ": " + why));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

namespace {

std::string EventsJson(const pb::WatchResponse& r) {
  base::JsonWriter w;
  w.BeginObject().Key("Header").Raw(transcode::ToJson(r.header(), transcode::JsonStyle::kGo));
  w.Key("Events").BeginArray();
  for (const auto& e : r.events()) w.Raw(transcode::ToJson(e, transcode::JsonStyle::kGo));
  w.EndArray().Key("CompactRevision").Int(r.compact_revision()).Key("Canceled").Bool(r.canceled());
  w.Key("Created").Bool(r.created()).Key("CancelReason").String(r.cancel_reason()).EndObject();
  return w.Take() + "\n";
}

void PrintEvents(const Run& run, const pb::WatchResponse& r) {
  const Flags& f = run.flags;
  if (run.format == Format::kJson) {
    Out(EventsJson(r));
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(r.header(), f.hex));
    for (const auto& e : r.events()) {
      Out(FieldLine("Type", mvccpb::Event::EventType_Name(e.type())));
      if (e.has_prev_kv()) Out(FieldsKv(e.prev_kv(), "Prev", f.hex));
      Out(FieldsKv(e.kv(), "", f.hex));
    }
  } else {
    auto print = [&](const mvccpb::KeyValue& kv) {
      Out(Text(kv.key(), f.hex) + "\n" + Text(kv.value(), f.hex) + "\n");
    };
    for (const auto& e : r.events()) {
      Out(e.type() == mvccpb::Event::DELETE ? "DELETE\n" : "PUT\n");
      if (e.has_prev_kv()) print(e.prev_kv());
      print(e.kv());
    }
  }
  std::fflush(stdout);
}

bool RunForEvents(const std::vector<std::string>& program, const pb::WatchResponse& r) {
  for (const auto& e : r.events()) {
    auto code = RunProgram(program, {"ETCD_WATCH_REVISION=" + std::to_string(r.header().revision()),
                                     "ETCD_WATCH_EVENT_TYPE=" + base::GoQuote(mvccpb::Event::EventType_Name(e.type())),
                                     "ETCD_WATCH_KEY=" + base::GoQuote(e.kv().key()),
                                     "ETCD_WATCH_VALUE=" + base::GoQuote(e.kv().value())});
    if (code && *code == 0) continue;
    std::string words;
    for (const std::string& w : program) words += (words.empty() ? "" : " ") + base::GoQuote(w);
    std::string why = code ? "exit status " + std::to_string(*code) : std::string(code.error().message());
    std::fprintf(stderr, "command [%s] error (%s)\n", words.c_str(), why.c_str());
    return false;
  }
  return true;
}

// One answer of the server, shown; false when the program that is run for its events failed.
bool ShowAnswer(const Run& run, const std::vector<std::string>& program, const pb::WatchResponse& w) {
  if (w.created() && !w.canceled()) return true;
  if (w.canceled()) {
    // The Go client knows this reason by the revision alone.
    bool compacted = w.compact_revision() != 0;
    std::fprintf(stderr, "watch was canceled (%s)\n",
                 compacted ? "etcdserver: mvcc: required revision has been compacted" : w.cancel_reason().c_str());
  } else if (w.events_size() == 0) {
    Out("progress notify: " + std::to_string(w.header().revision()) + "\n");
    std::fflush(stdout);
  } else {
    PrintEvents(run, w);
    return program.empty() || RunForEvents(program, w);
  }
  return true;
}

// Key and end as words, environment and flags say it; an exit code when they say none, its reason in `why`.
int BuildWatch(const Flags& f, std::vector<std::string> args, pb::WatchCreateRequest& create, std::string& why) {
  const char* key = std::getenv("ETCDCTL_WATCH_KEY");
  const char* end = std::getenv("ETCDCTL_WATCH_RANGE_END");
  if (key == nullptr && end != nullptr) {
    why = "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=" + base::GoQuote(end);
    return kExitBadArgs;
  }
  if (key != nullptr && !args.empty()) {
    why = "bad number of arguments (found conflicting environment key)";
    return kExitBadArgs;
  }
  if (key != nullptr) {
    args.push_back(key);
    if (end != nullptr) args.push_back(end);
  }
  why = "bad number of arguments";
  if (args.empty() || args.size() > 2) return kExitBadArgs;
  why = "`range_end` and `--prefix` are mutually exclusive";
  if (args.size() == 2 && f.prefix) return kExitBadArgs;
  create.set_key(args[0]);
  if (args.size() == 2) create.set_range_end(args[1]);
  if (f.prefix) create.set_range_end(base::PrefixEnd(args[0]));
  create.set_start_revision(f.rev);
  create.set_prev_kv(f.prev_kv);
  create.set_progress_notify(f.progress_notify);
  return 0;
}

// Lines of the standard input, without holding up the loop or outliving the command.
class Lines {
 public:
  explicit Lines(base::Loop& loop) : loop_(loop), pool_(base::NewThreadPool("stdin", 1)) {}
  // nullopt at the end of the input, or of the command.
  Task<std::optional<std::string>> Next(base::Context ctx) {
    constexpr int kPatienceMs = 100;
    for (;;) {
      if (size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        co_return line;
      }
      if (ctx.done() || ended_) co_return std::nullopt;
      co_await base::RunBlocking(*pool_, loop_, [this] {
        pollfd input{.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&input, 1, kPatienceMs) <= 0) return;
        char piece[4096];
        ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
        ended_ = n <= 0;
        if (n > 0) buffer_.append(piece, static_cast<size_t>(n));
      });
    }
  }

 private:
  base::Loop& loop_;
  std::unique_ptr<base::BlockingPool> pool_;
  std::string buffer_;
  bool ended_ = false;
};

// `watch -i`: lines "watch [options] key [end] [-- program]" and "progress", all on one stream.
class Interactive {
 public:
  Interactive(Run& run, base::net::GrpcClientStream& stream) : run_(run), stream_(stream), tasks_(run.loop, run.ctx) {}
  Task<int> Go() {
    tasks_.Spawn(Show());
    Lines lines(run_.loop);
    int code = kExitInvalidInput;
    for (;;) {
      auto line = co_await lines.Next(tasks_.context());
      if (!line) break;
      code = co_await Do(*line);
      if (code != 0) break;
      code = kExitInvalidInput;
    }
    co_await tasks_.CancelAndJoin();
    if (failed_) co_return kExitError;
    if (run_.ctx.done()) co_return kExitInterrupted;
    co_return code == kExitInvalidInput ? Fail(code, "error reading watch request line: EOF") : code;
  }

 private:
  // 0 to go on; what is no command is said and passed over.
  Task<int> Do(const std::string& line) {
    auto words = SplitWords(line);
    auto invalid = [&line](const std::string& why) {
      std::fprintf(stderr, "Invalid command %s (%s)\n", line.c_str(), why.c_str());
      return 0;
    };
    if (!words || words->empty()) {
      std::fprintf(stderr, "Invalid command: %s (watch and progress supported)\n", line.c_str());
      co_return 0;
    }
    pb::WatchRequest r;
    if (words->front() == "progress") {
      r.mutable_progress_request();
    } else if (words->front() != "watch") {
      co_return invalid("only support watch");
    } else if (words->size() < 2 && std::getenv("ETCDCTL_WATCH_KEY") == nullptr) {
      co_return invalid("command type or key is not provided");
    } else {
      std::vector<std::string> program;
      if (auto dashes = std::find(words->begin(), words->end(), "--"); dashes != words->end()) {
        program.assign(dashes + 1, words->end());
        words->erase(dashes, words->end());
        if (program.empty()) {
          co_return Fail(kExitBadArgs, "bad number of arguments (found separator -- but no commands)");
        }
      }
      Flags flags;
      base::FlagSet set({.name = "watch"});
      set.AllowPositional();
      FindCommand("watch")->add_flags(set, flags);
      if (base::Status s = set.Parse({words->begin() + 1, words->end()}); !s.ok()) {
        co_return Fail(kExitBadArgs, s.message());
      }
      std::string why;
      if (BuildWatch(flags, set.positional(), *r.mutable_create_request(), why) != 0) co_return invalid(why);
      r.mutable_create_request()->set_watch_id(static_cast<int64_t>(programs_.size()) + 1);
      programs_.push_back(std::move(program));
    }
    base::Status s = co_await stream_.Write(run_.ctx, base::Share(r.SerializeAsString()));
    co_return s.ok() ? 0 : Fail(s);
  }
  Task<void> Show() {
    for (;;) {
      auto bytes = co_await stream_.Read(tasks_.context());
      pb::WatchResponse w;
      if (!bytes || !*bytes || !w.ParseFromString(**bytes)) break;
      bool of_one = w.watch_id() > 0 && static_cast<size_t>(w.watch_id()) <= programs_.size();
      // Progress is the whole stream's: every watch on it says so, as the Go client has it.
      size_t times = w.watch_id() == -1 && !w.canceled() ? programs_.size() : 1;
      for (size_t i = 0; i < times && !failed_; ++i) {
        failed_ = !ShowAnswer(run_, of_one ? programs_[static_cast<size_t>(w.watch_id()) - 1] : kNone, w);
      }
      if (failed_) break;
    }
    tasks_.Cancel();
  }

  inline static const std::vector<std::string> kNone;
  Run& run_;
  base::net::GrpcClientStream& stream_;
  base::TaskScope tasks_;
  std::vector<std::vector<std::string>> programs_;  // of the watches in their order
  bool failed_ = false;
};

// A watch as long as one stream lasts: its exit code once it is over. An error: the stream broke, and `create` says
// where to go on.
Task<base::Result<int>> WatchStream(Run& run, Connection& c, pb::WatchCreateRequest& create) {
  CO_TRY_ASSIGN(auto stream, co_await c.Stream(run.ctx, "/etcdserverpb.Watch/Watch"));
  pb::WatchRequest r;
  *r.mutable_create_request() = create;
  CO_TRY(co_await stream->Write(run.ctx, base::Share(r.SerializeAsString())));
  for (;;) {
    CO_TRY_ASSIGN(auto bytes, co_await stream->Read(run.ctx));
    pb::WatchResponse w;
    if (!bytes) co_return base::Err(base::Unavailable("the stream ended"));
    if (!w.ParseFromString(*bytes)) co_return Fail(kExitInterrupted, "unreadable answer");
    if (!ShowAnswer(run, run.program, w)) co_return kExitError;
    if (w.canceled()) co_return Fail(kExitInterrupted, "watch is canceled by the server");
    if (w.events_size() > 0) {
      create.set_start_revision(w.events(w.events_size() - 1).kv().mod_revision() + 1);
    } else if (create.start_revision() == 0 || !w.created()) {
      create.set_start_revision(w.header().revision() + 1);
    }
  }
}

// A connection that breaks is made anew, with whichever endpoint answers, and the watch goes on behind what it has
// shown.
Task<int> WatchOne(Run& run, Connection& c, pb::WatchCreateRequest create) {
  constexpr base::Duration kPause = std::chrono::milliseconds(100);
  for (;;) {
    auto code = co_await WatchStream(run, c, create);
    if (code) co_return *code;
    if (run.ctx.done()) co_return kExitInterrupted;
    if (code.error().code() != base::Code::kUnavailable && code.error().code() != base::Code::kInternal) {
      std::fprintf(stderr, "watch was canceled (%s)\n", ErrorText(code.error()).c_str());
      co_return Fail(kExitInterrupted, "watch is canceled by the server");
    }
    (void)co_await base::Sleep(run.loop, run.ctx, kPause);
  }
}

}  // namespace

Task<int> Watch(Run& run) {
  const Flags& f = run.flags;
  if (run.format == Format::kTable || run.format == Format::kProtobuf) {
    co_return Fail(kExitBadFeature, run.format == Format::kTable ? "table not supported as output format"
                                                                 : "watch streams cannot be written as protobuf");
  }
  pb::WatchRequest r;
  std::string why;
  if (!f.interactive) {
    if (int code = BuildWatch(f, run.args, *r.mutable_create_request(), why)) co_return Fail(code, why);
  }
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  if (!f.interactive) co_return co_await WatchOne(run, **c, std::move(*r.mutable_create_request()));
  auto stream = co_await (*c)->Stream(run.ctx, "/etcdserverpb.Watch/Watch");
  if (!stream) co_return Fail(stream.error());
  Interactive interactive(run, **stream);
  co_return co_await interactive.Go();
}

}  // namespace kvstore::ctl
