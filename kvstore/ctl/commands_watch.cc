// watch, and the programs that commands start.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/json_writer.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

int RunProgram(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  std::vector<char*> words, env;
  for (const std::string& a : argv) words.push_back(const_cast<char*>(a.c_str()));
  for (char** e = environ; *e != nullptr; ++e) env.push_back(*e);
  for (const std::string& e : environment) env.push_back(const_cast<char*>(e.c_str()));
  words.push_back(nullptr);
  env.push_back(nullptr);
  std::fflush(stdout);
  pid_t pid = 0;
  if (int error = posix_spawnp(&pid, words[0], nullptr, nullptr, words.data(), env.data()); error != 0) {
    std::fprintf(stderr, "Error: exec: %s: %s\n", base::GoQuote(argv[0]).c_str(), std::strerror(error));
    return kExitError;
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

bool RunForEvents(const Run& run, const pb::WatchResponse& r) {
  for (const auto& e : r.events()) {
    int code =
        RunProgram(run.program, {"ETCD_WATCH_REVISION=" + std::to_string(r.header().revision()),
                                 "ETCD_WATCH_EVENT_TYPE=" + base::GoQuote(mvccpb::Event::EventType_Name(e.type())),
                                 "ETCD_WATCH_KEY=" + base::GoQuote(e.kv().key()),
                                 "ETCD_WATCH_VALUE=" + base::GoQuote(e.kv().value())});
    if (code != 0) {
      std::fprintf(stderr, "command %s error (exit status %d)\n", base::GoQuote(run.program[0]).c_str(), code);
      return false;
    }
  }
  return true;
}

}  // namespace

Task<int> Watch(Run& run) {
  const Flags& f = run.flags;
  if (run.format == Format::kTable || run.format == Format::kProtobuf) {
    co_return Fail(kExitBadFeature, run.format == Format::kTable ? "table not supported as output format"
                                                                 : "watch streams cannot be written as protobuf");
  }
  if (f.interactive) co_return Fail(kExitBadFeature, "watch: interactive mode is not supported yet by keelson");
  const char* key = std::getenv("ETCDCTL_WATCH_KEY");
  const char* end = std::getenv("ETCDCTL_WATCH_RANGE_END");
  if (key != nullptr && run.args.empty()) {
    run.args.push_back(key);
    if (end != nullptr) run.args.push_back(end);
  }
  if (run.args.empty() || run.args.size() > 2) co_return Fail(kExitBadArgs, "bad number of arguments");
  if (run.args.size() == 2 && f.prefix) {
    co_return Fail(kExitBadArgs, "`range_end` and `--prefix` are mutually exclusive");
  }
  pb::WatchRequest r;
  auto* create = r.mutable_create_request();
  create->set_key(run.args[0]);
  if (run.args.size() == 2) create->set_range_end(run.args[1]);
  if (f.prefix) create->set_range_end(PrefixEnd(run.args[0]));
  create->set_start_revision(f.rev);
  create->set_prev_kv(f.prev_kv);
  create->set_progress_notify(f.progress_notify);
  auto c = co_await Connect(run);
  if (!c) co_return Fail(c.error(), kExitBadConnection);
  auto stream = co_await (*c)->Stream(run.ctx, "/etcdserverpb.Watch/Watch");
  if (!stream) co_return Fail(stream.error());
  base::Status sent = co_await (*stream)->Write(run.ctx, base::Share(r.SerializeAsString()));
  if (!sent.ok()) co_return Fail(sent);
  for (;;) {
    auto bytes = co_await (*stream)->Read(run.ctx);
    if (!bytes || !*bytes) break;
    pb::WatchResponse w;
    if (!w.ParseFromString(**bytes)) co_return Fail(kExitInterrupted, "unreadable answer");
    if (w.canceled()) {
      std::fprintf(stderr, "watch was canceled (%s)\n", w.cancel_reason().c_str());
      break;
    }
    if (w.created()) continue;
    if (w.events_size() == 0) {
      if (f.progress_notify) Out("progress notify: " + std::to_string(w.header().revision()) + "\n");
      std::fflush(stdout);
      continue;
    }
    PrintEvents(run, w);
    if (!run.program.empty() && !RunForEvents(run, w)) co_return kExitError;
  }
  if (run.ctx.done()) co_return kExitInterrupted;
  co_return Fail(kExitInterrupted, "watch is canceled by the server");
}

}  // namespace kvstore::ctl
