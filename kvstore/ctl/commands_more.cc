// make-mirror, completion.
#include <cstdio>
#include <set>

#include "base/prefix_end.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

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
    r.set_range_end(base::PrefixEnd(prefix_));
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
    r.mutable_create_request()->set_range_end(base::PrefixEnd(prefix_));
    r.mutable_create_request()->set_start_revision(next);
    CO_TRY_ASSIGN(auto stream, co_await from_.Stream(run_.ctx, "/etcdserverpb.Watch/Watch"));
    CO_TRY(co_await stream->Write(run_.ctx, base::Share(r.SerializeAsString())));
    for (;;) {
      CO_TRY_ASSIGN(auto bytes, co_await stream->Read(run_.ctx));
      pb::WatchResponse w;
      if (!bytes || !w.ParseFromString(*bytes)) co_return base::Unavailable("the watch ended");
      if (w.canceled()) {
        co_return base::OutOfRange(w.compact_revision() != 0 ? "etcdserver: mvcc: required revision has been compacted"
                                                             : w.cancel_reason());
      }
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
  if (!to) co_return FailToConnect(other, to.error());
  auto from = co_await Connect(run);
  if (!from) co_return FailToConnect(run.flags.client, from.error());
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
