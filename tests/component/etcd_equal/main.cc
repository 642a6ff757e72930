// Two etcd servers, started alike and empty, get the same random requests: their answers must be equal, errors and
// revisions among them, and their HashKV at regular points. Writes go one by one, reads between them many at once;
// watches run beside all of it.
//
//   etcd_equal --ours http://127.0.0.1:1 --theirs http://127.0.0.1:2 --operations 1000000 --seed 1
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/net/grpc.h"
#include "base/sync.h"
#include "tests/component/etcd_equal/requests.h"

namespace etcd_equal {
namespace {

using base::Result;
using base::Task;
using google::protobuf::Message;
namespace pb = etcdserverpb;

struct Options {
  std::string ours, theirs;
  uint64_t operations = 3000, seed = 1;
  uint32_t show = 5;
  bool old = false;
};

// An answer as it is compared: what may differ is gone from it.
struct Answer {
  std::string bytes;
  std::string shown;  // made only when it is shown
  std::vector<std::string> raw;
  base::Status error;
  int64_t revision = 0;
};

const google::protobuf::MethodDescriptor& MethodOf(const std::string& name) {
  const auto* m = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  CHECK_MSG(m != nullptr, name);
  return *m;
}

std::unique_ptr<Message> Parse(const google::protobuf::Descriptor* type, const std::string& bytes) {
  std::unique_ptr<Message> m(google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
  CHECK_MSG(m->ParseFromString(bytes), "unreadable message");
  return m;
}

// Terms and times, and what says how much room a server takes. A lease's time is rounded to what jitter allows.
void Normalize(Message& m, bool old) {
  constexpr int kStable = 12;  // in a longer answer the order of those that sort alike is nobody's promise
  if (auto* r = dynamic_cast<pb::RangeResponse*>(&m); r != nullptr && r->kvs_size() > kStable) {
    auto* kvs = r->mutable_kvs();
    std::sort(kvs->pointer_begin(), kvs->pointer_end(),
              [](const auto* a, const auto* b) { return a->key() < b->key(); });
  } else if (auto* r = dynamic_cast<pb::LeaseTimeToLiveResponse*>(&m)) {
    if (r->ttl() > 0) r->set_ttl(1);
    std::sort(r->mutable_keys()->begin(), r->mutable_keys()->end());
  } else if (auto* r = dynamic_cast<pb::LeaseLeasesResponse*>(&m)) {
    std::vector<int64_t> ids;
    for (const auto& l : r->leases()) ids.push_back(l.id());
    std::sort(ids.begin(), ids.end());
    r->clear_leases();
    for (int64_t id : ids) r->add_leases()->set_id(id);
  } else if (auto* r = dynamic_cast<pb::StatusResponse*>(&m)) {
    pb::StatusResponse kept;
    *kept.mutable_header() = r->header();
    *kept.mutable_errors() = r->errors();
    kept.set_islearner(r->islearner());
    if (!old) {
      kept.set_version(r->version().substr(0, 3));
      kept.set_storageversion(r->storageversion());
      kept.set_dbsizequota(r->dbsizequota());
      *kept.mutable_downgradeinfo() = r->downgradeinfo();
    }
    *r = kept;
  } else if (auto* r = dynamic_cast<pb::HashKVResponse*>(&m); r != nullptr && old) {
    r->clear_hash_revision();
  } else if (auto* r = dynamic_cast<pb::AuthRoleGetResponse*>(&m)) {
    auto* perms = r->mutable_perm();
    std::sort(perms->pointer_begin(), perms->pointer_end(), [](const auto* a, const auto* b) {
      return std::pair(a->key(), a->range_end()) < std::pair(b->key(), b->range_end());
    });
  } else if (auto* r = dynamic_cast<pb::AuthenticateResponse*>(&m)) {
    r->clear_token();
  }
  const auto* header = m.GetDescriptor()->FindFieldByName("header");
  if (header != nullptr && m.GetReflection()->HasField(m, header)) {
    static_cast<pb::ResponseHeader*>(m.GetReflection()->MutableMessage(&m, header))->clear_raft_term();
  }
}

int64_t RevisionOf(const Message& m) {
  const auto* header = m.GetDescriptor()->FindFieldByName("header");
  if (header == nullptr || !m.GetReflection()->HasField(m, header)) return 0;
  return static_cast<const pb::ResponseHeader&>(m.GetReflection()->GetMessage(m, header)).revision();
}

// A stream of watches, and what came on it: events by watch, however the server packed them.
class WatchStream {
 public:
  WatchStream(base::Loop& loop, std::unique_ptr<base::net::GrpcClientStream> s)
      : stream_(std::move(s)), tasks_(loop, base::Context()) {
    tasks_.Spawn(Collect());
  }
  Task<void> Send(pb::WatchRequest r) {
    (void)co_await stream_->Write(base::Context(), base::Share(r.SerializeAsString()));
  }
  Task<void> Stop() { co_await tasks_.CancelAndJoin(); }
  const std::map<int64_t, std::vector<std::string>>& seen() const { return seen_; }
  void Forget() { seen_.clear(); }
  int64_t progress() const { return progress_; }
  uint64_t events() const { return events_; }
  int live() const { return live_; }

 private:
  Task<void> Collect() {
    for (;;) {
      auto bytes = co_await stream_->Read(tasks_.context());
      if (tasks_.context().done()) co_return;
      pb::WatchResponse r;
      if (!bytes || !*bytes || !r.ParseFromString(**bytes)) {
        seen_[-2].push_back("ended: " + (bytes ? "" : std::string(bytes.error().message())));
        co_return;
      }
      std::vector<std::string>& list = seen_[r.watch_id()];
      live_ += (r.created() ? 1 : 0) - (r.canceled() ? 1 : 0);
      if (r.created() || r.canceled()) {
        list.push_back((r.created() ? "created " : "") + std::string(r.canceled() ? "canceled " : "") +
                       r.cancel_reason() + " " + std::to_string(r.compact_revision()));
      } else if (r.events_size() == 0) {
        progress_ = r.header().revision();
        if (list.empty()) seen_.erase(r.watch_id());
      }
      for (const auto& e : r.events()) list.push_back(e.ShortDebugString());
      events_ += static_cast<uint64_t>(r.events_size());
    }
  }
  std::unique_ptr<base::net::GrpcClientStream> stream_;
  std::map<int64_t, std::vector<std::string>> seen_;
  int64_t progress_ = 0;
  uint64_t events_ = 0;
  int live_ = 0;  // watches
  base::TaskScope tasks_;
};

// One of the two servers.
class Side {
 public:
  Side(base::Loop& loop, const std::string& url) : loop_(loop), channel_(loop, ClientOptionsFor(url), Limits()) {}

  Task<Answer> Ask(Request request, bool old) {
    base::Context ctx = base::Context().WithTimeout(loop_, std::chrono::seconds(60));
    const auto& method = MethodOf(request.method);
    std::string path = "/" + method.service()->full_name() + "/" + method.name();
    Answer out;
    if (request.streaming) {
      out.error = co_await ReadAll(ctx, path, request, out.raw);
    } else {
      auto bytes = co_await channel_.Unary(ctx, path, base::Share(request.bytes), Metadata(request.user));
      out.error = StatusOf(bytes);
      if (bytes) out.raw.push_back(std::move(*bytes));
    }
    for (const std::string& raw : out.raw) {
      auto m = Parse(method.output_type(), raw);
      if (auto* a = dynamic_cast<pb::AuthenticateResponse*>(m.get())) {
        pb::AuthenticateRequest asked;
        asked.ParseFromString(request.bytes);
        tokens_[asked.name()] = a->token();
      }
      Normalize(*m, old);
      out.revision = std::max(out.revision, RevisionOf(*m));
      if (auto* piece = dynamic_cast<pb::RangeStreamResponse*>(m.get())) {
        // Where a piece ends is the server's affair.
        piece->mutable_range_response()->mutable_header()->clear_raft_term();
        joined_of(out).MergeFrom(piece->range_response());
      } else {
        out.bytes += m->SerializeAsString();
        out.shown += m->ShortDebugString();
      }
    }
    if (joined_) {
      out.bytes = joined_->SerializeAsString();
      out.shown = joined_->ShortDebugString();
      joined_.reset();
    }
    co_return out;
  }
  Task<Result<std::unique_ptr<WatchStream>>> OpenWatches(std::string user) {
    CO_TRY_ASSIGN(auto s, co_await channel_.Open(base::Context(), "/etcdserverpb.Watch/Watch", Metadata(user)));
    co_return std::make_unique<WatchStream>(loop_, std::move(s));
  }
  std::vector<std::unique_ptr<WatchStream>> watches;

 private:
  static base::net::ClientOptions ClientOptionsFor(const std::string& url) {
    base::net::ClientOptions o{.endpoints = {url}};
    o.http2_prior_knowledge = true;
    return o;
  }
  static base::net::GrpcLimits Limits() { return {.max_receive_bytes = 256 << 20}; }
  // Between here and its use nothing suspends.
  pb::RangeResponse& joined_of(Answer&) {
    if (!joined_) joined_ = std::make_unique<pb::RangeResponse>();
    return *joined_;
  }
  base::net::Headers Metadata(const std::string& user) {
    base::net::Headers h;
    if (!user.empty()) h.Set("token", user == "forged" ? "forged.1" : tokens_[user].empty() ? "none.2" : tokens_[user]);
    return h;
  }
  Task<base::Status> ReadAll(base::Context ctx, std::string path, const Request& request,
                             std::vector<std::string>& out) {
    CO_TRY_ASSIGN(auto s, co_await channel_.Open(ctx, path, Metadata(request.user)));
    CO_TRY(co_await s->Write(ctx, base::Share(request.bytes)));
    CO_TRY(co_await s->CloseWrite(ctx));
    for (;;) {
      CO_TRY_ASSIGN(auto bytes, co_await s->Read(ctx));
      if (!bytes) co_return base::Ok();
      out.push_back(std::move(*bytes));
    }
  }

  base::Loop& loop_;
  base::net::GrpcChannel channel_;
  std::map<std::string, std::string> tokens_;
  std::unique_ptr<pb::RangeResponse> joined_;
};

// Long values are of no interest to a reader.
std::string Short(const std::string& text) {
  constexpr size_t kRun = 6, kMost = 3000;
  std::string out;
  size_t run = 0;
  for (char c : text) {
    run = c == 'v' || c == 'x' ? run + 1 : 0;
    if (run <= kRun) out += c;
  }
  return out.substr(0, kMost);
}

class Comparison {
 public:
  Comparison(base::Daemon& daemon, const Options& o)
      : loop_(daemon.loop()),
        ctx_(daemon.context()),
        o_(o),
        requests_(o.seed, o.old),
        ours_(loop_, o.ours),
        theirs_(loop_, o.theirs) {}

  Task<base::Status> Run() {
    base::MonoTime from = loop_.Now(), told = from;
    for (uint64_t round = 1; done_ < o_.operations && !ctx_.done() && different_ < o_.show; ++round) {
      co_await Round(round);
      if (loop_.Now() - told > std::chrono::seconds(20)) {
        told = loop_.Now();
        std::fprintf(stderr, "%lu operations, revision %ld\n", done_, requests_.revision());
      }
    }
    co_await Settle();
    co_await Both(requests_.HashKv());
    for (Side* s : {&ours_, &theirs_}) {
      for (auto& w : s->watches) co_await w->Stop();
    }
    double seconds = std::chrono::duration<double>(loop_.Now() - from).count();
    std::printf("%lu operations (%lu errors alike), revision %ld, %lu hashes, %lu watches with %lu events, %.0f s: ",
                done_, errors_, requests_.revision(), hashes_, watches_, events_, seconds);
    std::printf("%lu different\n", different_);
    co_return different_ == 0 && !ctx_.done() ? base::Ok() : base::Unknown("answers differ");
  }

 private:
  // A write and the reads behind it; now and then what needs everybody to be quiet.
  Task<void> Round(uint64_t round) {
    constexpr uint64_t kReads = 6;
    co_await Both(requests_.Write());
    base::TaskScope reads(loop_, base::Context());
    for (uint64_t n = requests_.random().Below(2 * kReads); n > 0; --n) reads.Spawn(Both(requests_.Read()));
    co_await reads.Join();
    if (round % 20 == 0) co_await AuthStep();
    if (round % 60 == 0) co_await WatchStep();
    if (round % 200 == 0) co_await Both(requests_.HashKv());
    if (round % 1000 == 0) {
      co_await Settle();
      co_await Both(requests_.Compaction());
      // etcd compacts in the background; where no key is alive its hash is of whatever is not removed yet.
      if (auto again = requests_.CompactionAgain()) co_await Both(std::move(*again));
      co_await Both(requests_.HashKv());
    }
    if (round % 20000 == 500) co_await Expire(round);
  }

  // Users and roles change; for a while authentication is on.
  Task<void> AuthStep() {
    co_await Both(requests_.AuthChange());
    uint64_t chance = requests_.random().Below(100);
    auto plain = [&](const char* method, const Message& m) {
      return Request{std::string("etcdserverpb.Auth.") + method, m.SerializeAsString(), requests_.auth ? "root" : ""};
    };
    if (!requests_.auth && chance < 4 && !o_.old) {
      pb::AuthUserAddRequest root;
      root.set_name("root");
      root.set_password(Requests::kPassword);
      pb::AuthRoleAddRequest role;
      role.set_name("root");
      pb::AuthUserGrantRoleRequest grant;
      grant.set_user("root");
      grant.set_role("root");
      if (chance == 0) co_await Both(plain("AuthEnable", pb::AuthEnableRequest()));
      co_await Both(plain("UserAdd", root));
      if (chance == 1) co_await Both(plain("AuthEnable", pb::AuthEnableRequest()));
      co_await Both(plain("RoleAdd", role));
      co_await Both(plain("UserGrantRole", grant));
      co_await Both(plain("AuthEnable", pb::AuthEnableRequest()));
      requests_.auth = true;
    } else if (requests_.auth && chance < 15) {
      co_await Both(plain("AuthDisable", pb::AuthDisableRequest()));
      requests_.auth = false;
    }
    if (!requests_.auth && chance != 50) co_return;
    // Whoever lost the right to call signs in again.
    for (const std::string& user : Requests::Users()) {
      pb::AuthenticateRequest r;
      r.set_name(user);
      r.set_password(requests_.random().OneIn(20) ? "wrong" : Requests::kPassword);
      if (user == "root" || requests_.random().OneIn(2)) {
        if (user == "root") r.set_password(Requests::kPassword);
        co_await Both({"etcdserverpb.Auth.Authenticate", r.SerializeAsString(), ""});
      }
    }
  }

  Task<void> WatchStep() {
    constexpr size_t kStreams = 6;
    size_t n = ours_.watches.size();
    uint64_t what = requests_.random().Below(10);
    if (n < kStreams && (n == 0 || what == 0)) {
      std::string user = requests_.auth ? "root" : "";
      auto a = co_await ours_.OpenWatches(user);
      auto b = co_await theirs_.OpenWatches(user);
      CHECK_MSG(a && b, "no watch stream");
      ours_.watches.push_back(std::move(*a));
      theirs_.watches.push_back(std::move(*b));
    } else if (what == 1) {
      co_await Settle();
      size_t which = requests_.random().Below(n);
      for (Side* s : {&ours_, &theirs_}) {
        co_await s->watches[which]->Stop();
        s->watches.erase(s->watches.begin() + static_cast<long>(which));
      }
    } else if (what < 4) {
      co_await Settle();
      pb::WatchRequest r;
      r.mutable_cancel_request()->set_watch_id(static_cast<int64_t>(requests_.random().Below(4)));
      co_await ToBoth(requests_.random().Below(n), r);
      co_await Settle();
    } else {
      pb::WatchRequest r;
      *r.mutable_create_request() = requests_.Watch();
      ++watches_;
      co_await ToBoth(requests_.random().Below(n), r);
      // A watch begins where it is told; the server must have heard of it before more is written.
      co_await Settle();
    }
  }
  Task<void> ToBoth(size_t which, pb::WatchRequest r) {
    last_watch_ = r.ShortDebugString();
    co_await ours_.watches[which]->Send(r);
    co_await theirs_.watches[which]->Send(r);
  }

  // Until both sides' watches have said the same, and then that they say they are up to date.
  Task<void> Settle() {
    constexpr int kPatience = 1000, kLong = 60;
    co_await base::Yield(loop_);
    for (size_t i = 0; i < ours_.watches.size(); ++i) {
      WatchStream &a = *ours_.watches[i], &b = *theirs_.watches[i];
      for (int tries = 0;; ++tries) {
        pb::WatchRequest ask;
        ask.mutable_progress_request();
        if (tries % 40 == 0) {
          co_await a.Send(ask);
          co_await b.Send(ask);
        }
        // Without a watch, or with one that begins in the future, progress is not told.
        bool told = std::min(a.progress(), b.progress()) >= requests_.revision();
        bool current = o_.old || told || (b.live() == 0 && tries > 1) || tries > kLong;
        if (a.seen() == b.seen() && current) break;
        if (tries == kPatience) {
          ++different_;
          std::printf("--- watches differ after %lu operations, last %s; progress %ld and %ld, revision %ld\n", done_,
                      last_watch_.c_str(), a.progress(), b.progress(), requests_.revision());
          ShowWatches(a, b);
          break;
        }
        (void)co_await base::Sleep(loop_, ctx_, std::chrono::milliseconds(5));
      }
      for (WatchStream* w : {&a, &b}) w->Forget();
    }
    events_ = 0;
    for (auto& w : theirs_.watches) events_ += w->events();
  }
  static void ShowWatches(const WatchStream& a, const WatchStream& b) {
    auto show = [](const char* who, const WatchStream& w, const WatchStream& other) {
      for (const auto& [id, list] : w.seen()) {
        auto theirs = other.seen().find(id);
        if (theirs != other.seen().end() && theirs->second == list) continue;
        std::printf("  %s %ld:", who, id);
        for (size_t i = 0; i < list.size() && i < 12; ++i) std::printf(" {%s}", list[i].substr(0, 200).c_str());
        std::printf(" (%zu)\n", list.size());
      }
    };
    show("ours", a, b);
    show("theirs", b, a);
  }

  // A lease that nobody renews takes its keys along on both sides.
  Task<void> Expire(uint64_t round) {
    int64_t id = 500000 + static_cast<int64_t>(round);
    std::string key = "k/short" + std::to_string(round);
    co_await Both(requests_.ShortLease(id));
    co_await Both(requests_.PutOn(id, key));
    pb::RangeRequest gone;
    gone.set_key(key);
    for (Side* s : {&ours_, &theirs_}) {
      for (int i = 0; i < 200; ++i) {
        Request ask{"etcdserverpb.KV.Range", gone.SerializeAsString(), requests_.auth ? "root" : ""};
        Answer a = co_await s->Ask(std::move(ask), o_.old);
        pb::RangeResponse out;
        if (!a.error.ok() || !out.ParseFromString(a.bytes) || out.count() == 0) break;
        (void)co_await base::Sleep(loop_, ctx_, std::chrono::milliseconds(50));
      }
    }
    co_await Both({"etcdserverpb.KV.Range", gone.SerializeAsString(), requests_.auth ? "root" : ""});
  }

  Task<void> Both(Request request) {
    Answer a, b;
    base::TaskScope two(loop_, base::Context());
    two.Spawn(AskInto(ours_, request, a));
    two.Spawn(AskInto(theirs_, request, b));
    co_await two.Join();
    ++done_;
    hashes_ += request.method.ends_with(".HashKV") && a.error.ok();
    errors_ += !b.error.ok();
    requests_.Learn(b.revision);
    if (request.method.ends_with(".Compact") && b.error.ok()) {
      pb::CompactionRequest c;
      c.ParseFromString(request.bytes);
      requests_.LearnCompacted(c.revision());
    }
    bool same = a.error.code() == b.error.code() && a.error.message() == b.error.message() && a.bytes == b.bytes;
    if (same) co_return;
    ++different_;
    auto asked = Parse(MethodOf(request.method).input_type(), request.bytes);
    std::printf("--- operation %lu: %s by \"%s\" {%s}\n", done_, request.method.c_str(), request.user.c_str(),
                Short(asked->ShortDebugString()).c_str());
    for (auto [who, x] : {std::pair("ours", &a), std::pair("theirs", &b)}) {
      std::printf("  %s: %d \"%s\" {%s}\n", who, static_cast<int>(x->error.code()),
                  std::string(x->error.message()).c_str(), Short(x->shown).c_str());
    }
  }
  Task<void> AskInto(Side& side, Request request, Answer& out) { out = co_await side.Ask(std::move(request), o_.old); }

  base::Loop& loop_;
  base::Context ctx_;
  const Options& o_;
  Requests requests_;
  Side ours_, theirs_;
  uint64_t done_ = 0, errors_ = 0, different_ = 0, hashes_ = 0, watches_ = 0, events_ = 0;
  std::string last_watch_;
};

}  // namespace
}  // namespace etcd_equal

int main(int argc, char** argv) {
  etcd_equal::Options o;
  base::FlagSet flags({.name = "etcd_equal"});
  flags.Add("ours", &o.ours, "URL of one server.");
  flags.Add("theirs", &o.theirs, "URL of the other.");
  flags.Add("operations", &o.operations, "How many.");
  flags.Add("seed", &o.seed, "Of the requests.");
  flags.Add("show", &o.show, "Differences to show before it gives up.");
  flags.Add("old", &o.old, "Only what etcd 3.4 knows too.");
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  (void)base::SetupLogging({.minimum = base::LogLevel::kError});
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) -> base::Task<base::Status> {
    etcd_equal::Comparison comparison(d, o);
    co_return co_await comparison.Run();
  });
}
