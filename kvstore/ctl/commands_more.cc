// check perf, make-mirror, completion.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "base/json_writer.h"
#include "base/random.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

struct Load {
  int puts_a_second, clients, seconds;
};
const std::map<std::string, Load> kLoads = {
    {"s", {150, 50, 60}},   {"small", {150, 50, 60}},   {"m", {1000, 200, 60}},    {"medium", {1000, 200, 60}},
    {"l", {8000, 500, 60}}, {"large", {8000, 500, 60}}, {"xl", {15000, 1000, 60}}, {"xLarge", {15000, 1000, 60}}};

// The puts of a check: so many a second from so many callers, and how long each took.
class PutLoad {
 public:
  PutLoad(Run& run, Connection& c, Load load)
      : run_(run),
        c_(c),
        load_(load),
        tickets_(run.loop, static_cast<size_t>(load.clients)),
        tasks_(run.loop, run.ctx) {}
  Task<void> Go() {
    for (int i = 0; i < load_.clients; ++i) tasks_.Spawn(Caller());
    base::MonoTime start = run_.loop.Now(), end = start + std::chrono::seconds(load_.seconds);
    int64_t sent = 0;
    int shown = 0;
    while (run_.loop.Now() < end && !run_.ctx.done()) {
      std::chrono::duration<double> passed = run_.loop.Now() - start;
      for (auto due = static_cast<int64_t>(passed.count() * load_.puts_a_second); sent < due; ++sent) {
        if (!(co_await tickets_.Push(run_.ctx, sent)).ok()) break;
      }
      if (static_cast<int>(passed.count()) / 10 > shown) {
        shown = static_cast<int>(passed.count()) / 10;
        std::fprintf(stderr, "%d / %d s\n", shown * 10, load_.seconds);
      }
      (void)co_await base::Sleep(run_.loop, run_.ctx, std::chrono::milliseconds(1));
    }
    tickets_.Close();
    co_await tasks_.Join();
    seconds_ = std::chrono::duration<double>(run_.loop.Now() - start).count();
  }
  int Report() const {
    double sum = 0, squares = 0, slowest = 0;
    for (double t : took_) {
      sum += t;
      squares += t * t;
      slowest = std::max(slowest, t);
    }
    double n = std::max<double>(1, static_cast<double>(took_.size())), mean = sum / n;
    double deviation = std::sqrt(std::max(0.0, squares / n - mean * mean));
    int rate = static_cast<int>(static_cast<double>(took_.size()) / seconds_) + 1;
    bool good = true;
    auto line = [&](bool ok, const char* pass, const char* fail, double v) {
      std::printf(ok ? pass : fail, v);
      good &= ok;
    };
    if (errors_ > 0) line(false, "", "FAIL: too many errors: %.0f\n", static_cast<double>(errors_));
    line(rate > 0.9 * load_.puts_a_second, "PASS: Throughput is %.0f writes/s\n",
         "FAIL: Throughput too low: %.0f writes/s\n", rate);
    line(slowest <= 0.5, "PASS: Slowest request took %fs\n", "Slowest request took too long: %fs\n", slowest);
    line(deviation <= 0.1, "PASS: Stddev is %fs\n", "Stddev too high: %fs\n", deviation);
    Out(good ? "PASS\n" : "FAIL\n");
    return good ? 0 : kExitError;
  }

 private:
  Task<void> Caller() {
    base::Random random = base::Random::System();
    for (;;) {
      auto ticket = co_await tickets_.Pop(tasks_.context());
      if (!ticket) co_return;
      pb::PutRequest r;
      std::string key = std::to_string(random.Next());
      key.resize(256, '\0');
      r.set_key(run_.flags.check_prefix + key);
      r.set_value(std::string(1024, '\0'));
      base::MonoTime from = run_.loop.Now();
      auto out = co_await c_.Call<pb::PutResponse>(tasks_.context(), "/etcdserverpb.KV/Put", r);
      if (!out) ++errors_;
      took_.push_back(std::chrono::duration<double>(run_.loop.Now() - from).count());
    }
  }
  Run& run_;
  Connection& c_;
  Load load_;
  base::Channel<int64_t> tickets_;
  base::TaskScope tasks_;
  std::vector<double> took_;
  size_t errors_ = 0;
  double seconds_ = 1;
};

}  // namespace

Task<int> CheckPerf(Run& run) {
  auto load = kLoads.find(run.flags.load);
  if (load == kLoads.end()) co_return Fail(kExitBadFeature, "unknown load option " + run.flags.load);
  const std::string& prefix = run.flags.check_prefix;
  auto c = co_await Connect(run);
  if (!c) co_return Fail(c.error(), kExitBadConnection);
  pb::RangeRequest any;
  any.set_key(prefix);
  any.set_range_end(PrefixEnd(prefix));
  any.set_limit(1);
  auto found = co_await (*c)->Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", any);
  if (!found) co_return Fail(found.error());
  if (found->kvs_size() > 0) {
    co_return Fail(kExitInvalidInput, "prefix " + base::GoQuote(prefix) +
                                          " has keys. Delete with 'etcdctl del --prefix " + prefix + "' first");
  }
  PutLoad puts(run, **c, load->second);
  co_await puts.Go();
  pb::DeleteRangeRequest del;
  del.set_key(prefix);
  del.set_range_end(PrefixEnd(prefix));
  auto gone = co_await (*c)->Call<pb::DeleteRangeResponse>(base::Context(), "/etcdserverpb.KV/DeleteRange", del);
  if (gone && run.flags.auto_compact) {
    pb::CompactionRequest compact;
    compact.set_revision(gone->header().revision());
    compact.set_physical(true);
    (void)co_await (*c)->Call<pb::CompactionResponse>(base::Context(), "/etcdserverpb.KV/Compact", compact);
  }
  co_return puts.Report();
}

// ---- make-mirror

namespace {

class Mirror {
 public:
  Mirror(Run& run, Connection& from, Connection& to) : run_(run), from_(from), to_(to) {
    const Flags& f = run.flags;
    prefix_ = f.prefix_text;
    dest_ = f.no_dest_prefix || !f.dest_prefix.empty() ? f.dest_prefix : prefix_;
  }
  Task<base::Status> Go() {
    int64_t next = run_.flags.rev;
    if (next <= 1) {
      CO_TRY_ASSIGN(next, co_await CopyAll());
    }
    co_return co_await Follow(next);
  }
  int64_t total() const { return total_; }

 private:
  std::string Renamed(const std::string& key) const {
    return key.starts_with(prefix_) ? dest_ + key.substr(prefix_.size()) : key;
  }
  std::string Key() const { return prefix_.empty() ? std::string(1, '\0') : prefix_; }

  // Everything as of one revision, a thousand keys at a time; the revision to go on from.
  Task<base::Result<int64_t>> CopyAll() {
    constexpr int64_t kPage = 1000;
    pb::RangeRequest r;
    r.set_key(Key());
    r.set_range_end(PrefixEnd(prefix_));
    r.set_limit(kPage);
    for (;;) {
      CO_TRY_ASSIGN(auto page, co_await from_.Call<pb::RangeResponse>(run_.ctx, "/etcdserverpb.KV/Range", r));
      if (r.revision() == 0) r.set_revision(page.header().revision());
      for (const auto& kv : page.kvs()) {
        pb::PutRequest put;
        put.set_key(Renamed(kv.key()));
        put.set_value(kv.value());
        CO_TRY(co_await to_.Call<pb::PutResponse>(run_.ctx, "/etcdserverpb.KV/Put", put));
        ++total_;
      }
      if (!page.more()) co_return r.revision() + 1;
      r.set_key(page.kvs(page.kvs_size() - 1).key() + '\0');
    }
  }

  // Changes, a revision at a time.
  Task<base::Status> Follow(int64_t next) {
    pb::WatchRequest r;
    r.mutable_create_request()->set_key(Key());
    r.mutable_create_request()->set_range_end(PrefixEnd(prefix_));
    r.mutable_create_request()->set_start_revision(next);
    CO_TRY_ASSIGN(auto stream, co_await from_.Stream(run_.ctx, "/etcdserverpb.Watch/Watch"));
    CO_TRY(co_await stream->Write(run_.ctx, base::Share(r.SerializeAsString())));
    for (;;) {
      CO_TRY_ASSIGN(auto bytes, co_await stream->Read(run_.ctx));
      pb::WatchResponse w;
      if (!bytes || !w.ParseFromString(*bytes)) co_return base::Unavailable("the watch ended");
      if (w.canceled()) co_return base::OutOfRange(w.cancel_reason());
      pb::TxnRequest t;
      int64_t revision = 0;
      for (const auto& e : w.events()) {
        bool full = t.success_size() >= run_.flags.max_txn_ops;
        if (t.success_size() > 0 && (full || e.kv().mod_revision() != revision)) CO_TRY(co_await Commit(t));
        revision = e.kv().mod_revision();
        if (e.type() == mvccpb::Event::DELETE) {
          t.add_success()->mutable_request_delete_range()->set_key(Renamed(e.kv().key()));
        } else {
          auto* put = t.add_success()->mutable_request_put();
          put->set_key(Renamed(e.kv().key()));
          put->set_value(e.kv().value());
        }
        ++total_;
      }
      if (t.success_size() > 0) CO_TRY(co_await Commit(t));
    }
  }
  Task<base::Status> Commit(pb::TxnRequest& t) {
    CO_TRY(co_await to_.Call<pb::TxnResponse>(run_.ctx, "/etcdserverpb.KV/Txn", t));
    t.Clear();
    co_return base::Ok();
  }

  Run& run_;
  Connection& from_;
  Connection& to_;
  std::string prefix_, dest_;
  int64_t total_ = 0;
};

}  // namespace

Task<int> MakeMirror(Run& run) {
  const Flags& f = run.flags;
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "make-mirror takes one destination argument");
  if (f.no_dest_prefix && !f.dest_prefix.empty()) {
    co_return Fail(kExitBadArgs, "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
  }
  ClientFlags other = f.client;
  other.cacert = f.dest_cacert;
  other.cert = f.dest_cert;
  other.key = f.dest_key;
  other.user = f.dest_user;
  other.password = f.dest_password;
  other.insecure_transport = f.dest_insecure_transport;
  std::vector<std::string> endpoint = {run.args[0]};
  auto to = co_await Connection::Open(run.loop, run.ctx, other, std::move(endpoint));
  if (!to) co_return Fail(to.error(), kExitBadConnection);
  auto from = co_await Connect(run);
  if (!from) co_return Fail(from.error(), kExitBadConnection);
  Mirror mirror(run, **from, **to);
  base::TaskScope tasks(run.loop, run.ctx);
  tasks.Spawn([](Run& run, base::Context ctx, Mirror& m) -> Task<void> {
    while ((co_await base::Sleep(run.loop, ctx, std::chrono::seconds(30))).ok()) {
      Out(std::to_string(m.total()) + "\n");
      std::fflush(stdout);
    }
  }(run, tasks.context(), mirror));
  base::Status s = co_await mirror.Go();
  co_await tasks.CancelAndJoin();
  co_return run.ctx.done() ? 0 : Fail(s);
}

// ---- completion

// The words of every command; the shells' own machinery does the rest.
Task<int> Completion(Run& run) {
  std::string shell = run.args.empty() ? "" : run.args[0];
  std::map<std::string, std::set<std::string>> words;
  for (const Command& c : Commands()) {
    std::string_view w = c.words;
    size_t space = w.find(' ');
    std::set<std::string>& below = words[std::string(w.substr(0, space))];
    if (space != std::string_view::npos) below.emplace(w.substr(space + 1));
  }
  words["version"];
  std::string first, cases;
  for (const auto& [word, below] : words) {
    first += (first.empty() ? "" : " ") + word;
    if (below.empty()) continue;
    std::string list;
    for (const std::string& b : below) list += (list.empty() ? "" : " ") + b;
    cases += "    " + word + ") words=\"" + list + "\" ;;\n";
  }
  std::string function = "_kvctl() {\n  local words=\"" + first + "\"\n  case \"${COMP_WORDS[1]}\" in\n" + cases +
                         "    \"${COMP_WORDS[COMP_CWORD]}\") ;;\n    *) words=\"\" ;;\n  esac\n"
                         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n";
  if (shell == "bash") {
    Out(function + "complete -o default -F _kvctl kvctl etcdctl etcdutl\n");
  } else if (shell == "zsh") {
    Out("autoload -U +X bashcompinit && bashcompinit\n" + function + "complete -o default -F _kvctl kvctl\n");
  } else if (shell == "fish") {
    for (const auto& [word, below] : words) {
      Out("complete -c kvctl -n __fish_use_subcommand -a " + word + "\n");
      for (const std::string& b : below) {
        Out("complete -c kvctl -n '__fish_seen_subcommand_from " + word + "' -a " + b + "\n");
      }
    }
  } else {
    co_return Fail(kExitBadArgs, "completion needs a shell: bash, zsh or fish");
  }
  co_return 0;
}

}  // namespace kvstore::ctl
