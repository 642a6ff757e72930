#include "machinery/client/testing/fake_transport.h"

#include <deque>

#include "base/protobuf_wire.h"
#include "base/strings.h"
#include "machinery/client/micro_time.h"
#include "machinery/codec/envelope.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/meta/v1/meta.pb.h"
#include "proto/k8s/meta/v1/options.pb.h"
#include "proto/k8s/meta/v1/status.pb.h"
#include "proto/k8s/meta/v1/watch.pb.h"

namespace machinery::client::testing {
namespace {
namespace wire = base::wire;
namespace metav1 = k8s::io::apimachinery::pkg::apis::meta::v1;
// Knows metadata; spec, status and the rest stay behind as unknown fields and are written back as they were.
using Object = metav1::PartialObjectMetadata;
using Ptr = std::shared_ptr<const Object>;

constexpr int kSpec = 2, kStatus = 3, kPodNodeName = 10;

std::string FieldOf(const Object& o, std::initializer_list<uint32_t> path) {
  std::string bytes = o.SerializePartialAsString();
  for (uint32_t field : path) {
    wire::Reader reader(bytes);
    std::string found;
    while (reader.Next())
      if (reader.field() == field) found = reader.bytes();
    bytes = std::move(found);
  }
  return bytes;
}

// Replaces field `number` of `to` by what `from` has.
void TakeField(Object& to, const Object& from, int number) {
  auto* fields = to.mutable_unknown_fields();
  fields->DeleteByNumber(number);
  for (int i = 0; i < from.unknown_fields().field_count(); ++i)
    if (from.unknown_fields().field(i).number() == number) fields->AddField(from.unknown_fields().field(i));
}

bool Compare(std::string_view clause, const std::function<std::string(std::string_view)>& value) {
  bool negative = clause.find("!=") != clause.npos;
  auto at = clause.find(negative ? "!=" : "=");
  std::string_view wanted = clause.substr(at + (negative ? 2 : 1));
  if (wanted.starts_with('=')) wanted.remove_prefix(1);
  return (value(clause.substr(0, at)) == wanted) != negative;
}

struct Filter {
  std::string ns;
  std::vector<std::string> labels, fields;
  bool operator()(const Ptr& o) const {
    if (!o) return false;
    const auto& m = o->metadata();
    if (!ns.empty() && m.namespace_() != ns) return false;
    for (const auto& clause : labels) {
      bool met =
          clause.find('=') == clause.npos ? m.labels().contains(clause) : Compare(clause, [&](std::string_view k) {
            auto it = m.labels().find(std::string(k));
            return it == m.labels().end() ? std::string("\1absent") : it->second;
          });
      if (!met) return false;
    }
    for (const auto& clause : fields) {
      bool met = Compare(clause, [&](std::string_view k) -> std::string {
        if (k == "metadata.name") return m.name();
        if (k == "metadata.namespace") return m.namespace_();
        if (k == "spec.nodeName") return FieldOf(*o, {kSpec, kPodNodeName});
        return "\1unknown";
      });
      if (!met) return false;
    }
    return true;
  }
};
Filter FilterOf(const request::Request& r) {
  return {r.namespace_name, base::SplitNonEmpty(r.options.label_selector, ','),
          base::SplitNonEmpty(r.options.field_selector, ',')};
}
std::string KeyOf(const std::string& ns, const std::string& name) { return ns.empty() ? name : ns + "/" + name; }
}  // namespace

struct FakeTransport::Impl {
  struct Change {
    int64_t revision;
    std::string resource;
    Ptr old, current;
  };
  struct Table {
    std::string api_version, kind;
    std::map<std::string, Ptr> objects;
  };
  std::map<std::string, Table> tables, saved;
  int64_t saved_revision = 0;
  std::deque<Change> history;
  int64_t forgotten = 0;
  std::set<Stream*> streams;
  uint64_t next_id = 1;
};

class FakeTransport::Stream final : public request::WatchStream {
 public:
  Stream(FakeTransport& server, std::string resource, Filter filter, int64_t after)
      : server_(server),
        resource_(std::move(resource)),
        filter_(std::move(filter)),
        after_(after),
        wake_(server.executor_) {
    server_.impl_->streams.insert(this);
  }
  ~Stream() override { server_.impl_->streams.erase(this); }
  std::string_view content_type() const override { return request::kProtobuf; }
  void Wake() { wake_.NotifyAll(); }
  void Bookmark() {
    bookmark_ = true;
    Wake();
  }
  void End(base::Status why) {
    ended_ = true;
    why_ = std::move(why);
    Wake();
  }
  base::Task<base::Result<std::optional<request::WatchEvent>>> Next(base::Context ctx) override {
    for (;;) {
      if (auto event = Take()) co_return std::optional<request::WatchEvent>(std::move(*event));
      if (ended_ && !why_.ok()) co_return base::Err(why_);
      if (ended_) co_return std::optional<request::WatchEvent>();
      CO_TRY(co_await wake_.Wait(ctx));
    }
  }

 private:
  std::optional<request::WatchEvent> Take() {
    if (ended_) return std::nullopt;
    for (const auto& change : server_.impl_->history) {
      if (change.revision <= after_) continue;
      after_ = change.revision;
      if (change.resource != resource_) continue;
      bool before = filter_(change.old), now = filter_(change.current);
      if (!before && !now) continue;
      const auto& table = server_.impl_->tables[resource_];
      request::WatchEvent event;
      event.type = !before ? request::EventType::kAdded
                   : now   ? request::EventType::kModified
                           : request::EventType::kDeleted;
      Object object = change.current ? *change.current : *change.old;
      object.mutable_metadata()->set_resourceversion(std::to_string(change.revision));
      event.object = base::Share(codec::SealEnvelope(table.api_version, table.kind, object.SerializePartialAsString()));
      return event;
    }
    if (!std::exchange(bookmark_, false)) return std::nullopt;
    const auto& table = server_.impl_->tables[resource_];
    Object object;
    object.mutable_metadata()->set_resourceversion(std::to_string(server_.revision_));
    request::WatchEvent event;
    event.type = request::EventType::kBookmark;
    event.object = base::Share(codec::SealEnvelope(table.api_version, table.kind, object.SerializePartialAsString()));
    return event;
  }
  FakeTransport& server_;
  std::string resource_;
  Filter filter_;
  int64_t after_;
  base::Event wake_;
  bool ended_ = false, bookmark_ = false;
  base::Status why_;
};

FakeTransport::FakeTransport(base::Executor& executor) : impl_(std::make_unique<Impl>()), executor_(executor) {}
FakeTransport::~FakeTransport() = default;

void FakeTransport::DropWatches(base::Status why) {
  for (auto* s : impl_->streams) s->End(why);
}
void FakeTransport::ForgetHistory() {
  impl_->forgotten = ++revision_;
  impl_->history.clear();
}

void FakeTransport::Save() {
  impl_->saved = impl_->tables;
  impl_->saved_revision = revision_;
}
void FakeTransport::Restore() {
  impl_->tables = impl_->saved;
  revision_ = impl_->saved_revision;
  impl_->history.clear();
  DropWatches(base::Unavailable("connection lost"));
}
void FakeTransport::OfferBookmarks() {
  for (auto* s : impl_->streams) s->Bookmark();
}

base::Task<base::Result<request::Response>> FakeTransport::Do(base::Context ctx, request::Request r) {
  co_await base::Yield(executor_);
  if (ctx.done()) co_return base::Err(ctx.status());
  log_.push_back(std::string(request::VerbName(r.verb)) + " " + r.resource +
                 (r.subresource.empty() ? "" : "/" + r.subresource) + " " + KeyOf(r.namespace_name, r.name));
  if (fail) CO_TRY(fail(r));
  auto response = Serve(r);
  co_await base::Yield(executor_);
  co_return response;
}

namespace {
// What a write changes, worked out before anything is stored.
struct Write {
  Ptr old, current;  // current null: gone
};

base::Result<Object> Decode(const request::Request& r) {
  Object out;
  if (!r.body) return base::Err(object::BadRequest("no body"));
  TRY(Client::ParseObject(*r.body, out));
  return out;
}

std::string EncodeList(const std::map<std::string, Ptr>& objects, int64_t revision, const Filter& filter) {
  std::string list, meta;
  wire::PutBytes(meta, 2, std::to_string(revision));
  wire::PutBytes(list, 1, meta);
  for (const auto& [key, o] : objects)
    if (filter(o)) wire::PutBytes(list, 2, o->SerializePartialAsString());
  return list;
}

base::Result<Write> MakeBinding(const request::Request& r, const Ptr& old) {
  if (!old) return base::Err(object::NotFound({r.group, r.resource}, r.name));
  TRY_ASSIGN(auto binding, Decode(r));
  if (!FieldOf(*old, {kSpec, kPodNodeName}).empty())
    return base::Err(object::Conflict({"", "pods/binding"}, r.name, "pod " + r.name + " is already assigned to node"));
  // Binding.target (2) . name (3) becomes spec.nodeName.
  auto out = std::make_shared<Object>(*old);
  std::string spec = FieldOf(*old, {kSpec});
  wire::PutBytes(spec, kPodNodeName, FieldOf(binding, {2, 3}));
  out->mutable_unknown_fields()->DeleteByNumber(kSpec);
  out->mutable_unknown_fields()->AddLengthDelimited(kSpec, spec);
  return Write{old, out};
}

Ptr MakeCreate(const request::Request& r, Object in, uint64_t id, base::WallTime now) {
  auto* m = in.mutable_metadata();
  if (m->name().empty()) m->set_name(m->generatename() + std::to_string(10000 + id));
  m->set_namespace_(r.namespace_name);
  m->set_uid("uid-" + std::to_string(id));
  m->set_generation(1);
  SetTime(*m->mutable_creationtimestamp(), now);
  return std::make_shared<Object>(std::move(in));
}

base::Result<Write> MakeUpdate(const request::Request& r, const object::GroupResource& gr, const Ptr& old) {
  if (!old) return base::Err(object::NotFound(gr, r.name));
  TRY_ASSIGN(auto in, Decode(r));
  const auto& version = in.metadata().resourceversion();
  if (!version.empty() && version != old->metadata().resourceversion())
    return base::Err(object::Conflict(gr, r.name,
                                      "the object has been modified; please apply your changes to the latest version "
                                      "and try again"));
  auto out = std::make_shared<Object>(r.subresource == "status" ? *old : in);
  TakeField(*out, r.subresource == "status" ? in : *old, kStatus);
  auto* m = out->mutable_metadata();
  m->set_uid(old->metadata().uid());
  *m->mutable_creationtimestamp() = old->metadata().creationtimestamp();
  if (old->metadata().has_deletiontimestamp()) *m->mutable_deletiontimestamp() = old->metadata().deletiontimestamp();
  m->set_generation(old->metadata().generation());
  if (FieldOf(*out, {kSpec}) != FieldOf(*old, {kSpec})) m->set_generation(m->generation() + 1);
  if (m->has_deletiontimestamp() && m->finalizers().empty() && !m->has_deletiongraceperiodseconds())
    return Write{old, nullptr};
  return Write{old, out};
}

base::Result<Write> MakeDelete(const request::Request& r, const object::GroupResource& gr, const Ptr& old,
                               base::WallTime now) {
  if (!old) return base::Err(object::NotFound(gr, r.name));
  if (r.options.precondition_uid && *r.options.precondition_uid != old->metadata().uid())
    return base::Err(object::Conflict(gr, r.name, "Precondition failed: UID in precondition differs"));
  bool graceful = r.resource == "pods" && r.options.grace_period_seconds.value_or(30) > 0 &&
                  !FieldOf(*old, {kSpec, kPodNodeName}).empty();
  auto out = std::make_shared<Object>(*old);
  auto* m = out->mutable_metadata();
  if (r.options.propagation_policy == "Foreground" || r.options.propagation_policy == "Orphan")
    m->add_finalizers(r.options.propagation_policy == "Orphan" ? "orphan" : "foregroundDeletion");
  if (!graceful && m->finalizers().empty()) return Write{old, nullptr};
  if (m->has_deletiontimestamp() && graceful) return Write{old, old};
  if (!m->has_deletiontimestamp()) SetTime(*m->mutable_deletiontimestamp(), now);
  if (graceful)
    m->set_deletiongraceperiodseconds(r.options.grace_period_seconds.value_or(30));
  else
    m->clear_deletiongraceperiodseconds();
  return Write{old, out};
}

request::Response Answer(int code, std::string_view api_version, std::string_view kind, std::string_view raw) {
  return {code, std::string(request::kProtobuf), base::Share(codec::SealEnvelope(api_version, kind, raw)), {}};
}
}  // namespace

base::Result<request::Response> FakeTransport::Serve(const request::Request& r) {
  std::string resource = r.group + "/" + r.resource;
  auto& table = impl_->tables[resource];
  object::GroupResource gr{r.group, r.resource};
  std::string key = KeyOf(r.namespace_name, r.name);
  auto find = [&](const std::string& k) {
    auto it = table.objects.find(k);
    return it == table.objects.end() ? Ptr() : it->second;
  };
  auto answer = [&](const Object& o, int code = 200) {
    return Answer(code, table.api_version, table.kind, o.SerializePartialAsString());
  };
  Write write;
  switch (r.verb) {
    case request::Verb::kGet: {
      auto o = find(key);
      if (!o) return base::Err(object::NotFound(gr, r.name));
      return answer(*o);
    }
    case request::Verb::kList: {
      return Answer(200, table.api_version, table.kind + "List", EncodeList(table.objects, revision_, FilterOf(r)));
    }
    case request::Verb::kCreate: {
      if (r.subresource == "binding") {
        TRY_ASSIGN(write, MakeBinding(r, find(key)));
        break;
      }
      TRY_ASSIGN(auto in, Decode(r));
      TRY_ASSIGN(auto envelope, codec::OpenEnvelope(*r.body));
      table.api_version = envelope.api_version;
      table.kind = envelope.kind;
      write.current = MakeCreate(r, std::move(in), impl_->next_id++, executor_.WallNow());
      key = KeyOf(r.namespace_name, write.current->metadata().name());
      if (find(key)) return base::Err(object::AlreadyExists(gr, write.current->metadata().name()));
      break;
    }
    case request::Verb::kUpdate: {
      TRY_ASSIGN(write, MakeUpdate(r, gr, find(key)));
      break;
    }
    case request::Verb::kDelete: {
      TRY_ASSIGN(write, MakeDelete(r, gr, find(key), executor_.WallNow()));
      break;
    }
    default:
      return base::Err(object::MethodNotSupported(gr, request::VerbName(r.verb)));
  }
  if (write.old && write.current && write.old->SerializePartialAsString() == write.current->SerializePartialAsString())
    return answer(*write.current);
  ++revision_;
  if (write.current) {
    auto stored = std::make_shared<Object>(*write.current);
    stored->mutable_metadata()->set_resourceversion(std::to_string(revision_));
    write.current = stored;
    table.objects[key] = stored;
  } else {
    table.objects.erase(key);
  }
  impl_->history.push_back({revision_, resource, write.old, write.current});
  for (auto* s : impl_->streams) s->Wake();
  if (r.subresource == "binding") return Answer(201, "v1", "Status", "");
  return answer(write.current ? *write.current : *write.old, r.verb == request::Verb::kCreate ? 201 : 200);
}

base::Task<base::Result<std::unique_ptr<request::WatchStream>>> FakeTransport::Watch(base::Context ctx,
                                                                                     request::Request r) {
  co_await base::Yield(executor_);
  if (ctx.done()) co_return base::Err(ctx.status());
  log_.push_back("watch " + r.resource + " " + r.namespace_name);
  if (fail) CO_TRY(fail(r));
  int64_t after = r.options.resource_version.empty() ? revision_ : std::stoll(r.options.resource_version);
  if (after < impl_->forgotten) co_return base::Err(object::ResourceExpired("too old resource version"));
  co_return std::unique_ptr<request::WatchStream>(
      std::make_unique<Stream>(*this, r.group + "/" + r.resource, FilterOf(r), after));
}

}  // namespace machinery::client::testing
