// Get, list and watch: everything that changes nothing.
#include <algorithm>
#include <charconv>

#include "apiserver/registry/list_options.h"
#include "apiserver/registry/registry.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::schema::Kind;
using storage::WatchCache;

namespace {

constexpr base::Duration kFreshnessWait = std::chrono::seconds(3);

struct FieldTerm {
  enum class Which : int8_t { kName, kNamespace, kField } which;
  size_t index = 0;
  std::string value;
  bool equal = true;
  bool Holds(const storage::Object& o) const {
    std::string_view have = which == Which::kName        ? o.name()
                            : which == Which::kNamespace ? o.namespace_name()
                                                         : o.field(index);
    return (have == value) == equal;
  }
};

bool LabelsMatch(const ops::LabelSelector& selector, const storage::Object& o) {
  if (selector.MatchesNothing()) return false;
  for (const auto& r : selector.requirements()) {
    bool found = false;
    std::string text(o.Label(r.key, &found));
    if (!r.Matches(found ? &text : nullptr)) return false;
  }
  return true;
}

base::Status UnknownField(const storage::Resource& resource, const std::string& field) {
  if (resource.fields.empty())
    return object::BadRequest("\"" + field +
                              "\" is not a known field selector: only \"metadata.name\", "
                              "\"metadata.namespace\"");
  return object::BadRequest("field label not supported: " + field);
}

}  // namespace

base::Result<storage::Filter> Store::FilterOf(const Kind& version, const Request& r) const {
  storage::Filter filter;
  filter.namespace_name = r.namespace_name;
  auto labels = ops::LabelSelector::Parse(r.options.label_selector);
  if (!labels) return base::Err(object::BadRequest(std::string(labels.error().message())));
  auto fields = ops::FieldSelector::Parse(r.options.field_selector);
  if (!fields) return base::Err(object::BadRequest(std::string(fields.error().message())));

  std::vector<FieldTerm> terms;
  for (const auto& t : fields->terms()) {
    FieldTerm term{.which = FieldTerm::Which::kField, .value = t.value, .equal = t.equal};
    if (t.field == "metadata.name") {
      term.which = FieldTerm::Which::kName;
      if (t.equal && filter.name.empty()) filter.name = t.value;
    } else if (t.field == "metadata.namespace") {
      term.which = FieldTerm::Which::kNamespace;
      if (t.equal && filter.namespace_name.empty() && resource_.namespaced) filter.namespace_name = t.value;
    } else {
      auto it = std::find_if(resource_.fields.begin(), resource_.fields.end(),
                             [&](const auto& f) { return f.name == t.field; });
      if (it == resource_.fields.end()) return base::Err(UnknownField(resource_, t.field));
      term.index = it - resource_.fields.begin();
      if (t.equal && static_cast<int>(term.index) == resource_.node_name_field && filter.node_name.empty())
        filter.node_name = t.value;
    }
    terms.push_back(std::move(term));
  }
  if (!r.name.empty()) filter.name = r.name;  // watch of one object by the old prefix
  if (labels->Empty() && terms.empty()) return filter;
  filter.matches = [labels = std::move(*labels), terms = std::move(terms)](const storage::Object& o) {
    for (const auto& t : terms)
      if (!t.Holds(o)) return false;
    return LabelsMatch(labels, o);
  };
  return filter;
}

base::Task<base::Result<ObjectPtr>> Store::Read(base::Context ctx, const std::string& key,
                                                const std::string& revision) {
  CO_TRY_ASSIGN(uint64_t wanted, ParseRevision(revision));
  CO_TRY(co_await cache_->WaitReady(ctx));
  if (cache_->Unreadable(key)) {
    CO_TRY_ASSIGN(storage::GetResult got, co_await registry_.storage().Get(ctx, StoreKey(key)));
    co_return FromStore(got.kv);
  }
  if (revision == "0") co_return cache_->Get(key);
  if (!revision.empty()) {
    auto wait = ctx.WithTimeout(registry_.executor(), kFreshnessWait);
    if (!(co_await cache_->WaitForRevision(wait, wanted)).ok()) {
      CO_TRY(ctx.status());
      co_return base::Err(object::TooLargeResourceVersion(wanted, cache_->revision(), 1));
    }
    co_return cache_->Get(key);
  }
  CO_TRY_ASSIGN(uint64_t now, co_await registry_.mirror().LinearizableRevision(ctx));
  if (cache_->revision() >= now) co_return cache_->Get(key);
  // The cache may miss the last writes: ask the store itself, decode only what the cache does not have.
  CO_TRY_ASSIGN(storage::GetResult got, co_await registry_.storage().Get(ctx, StoreKey(key)));
  co_return FromStore(got.kv);
}

base::Result<ObjectPtr> Store::FromStore(const std::optional<storage::KeyValue>& kv) {
  if (!kv) return ObjectPtr();
  auto cached = cache_->Get(std::string_view(kv->key).substr(resource_.prefix.size()));
  if (cached && cached->revision() == kv->mod_revision) return cached;
  auto decoded = storage::Mirror::Decode(resource_, registry_.budget(), *kv);
  if (decoded) return decoded;
  registry_.mirror().Report(resource_, kv->key, decoded.error());
  return base::Err(CorruptObject(kv->key, decoded.error()));
}

ObjectPtr Store::Cached(std::string_view ns, std::string_view name) const { return cache_->Get(KeyOf(ns, name)); }

base::Task<base::Result<ObjectPtr>> Store::Fresh(base::Context ctx, std::string ns, std::string name) {
  CO_TRY_ASSIGN(storage::GetResult got, co_await registry_.storage().Get(ctx, StoreKey(KeyOf(ns, name))));
  co_return FromStore(got.kv);
}

base::Task<base::Result<Outcome>> Store::ReadComputed(base::Context ctx, const Kind& version, const Request& r) {
  CO_TRY_ASSIGN(storage::Filter filter, FilterOf(version, r));
  std::vector<std::string> warnings;
  CO_TRY_ASSIGN(std::vector<Value> items, co_await strategy_->Items(NewOperation(ctx, version, r, &warnings)));
  Outcome out;
  out.form = Outcome::Form::kList;
  for (Value& item : items) {
    std::string name(object::NameOf(item));
    auto message = base::Share(machinery::codec::EncodeProtobuf(*resource_.storage_kind->type, item));
    CO_TRY_ASSIGN(ObjectPtr o, storage::Object::Make(resource_, registry_.budget(), name, 0, std::move(message)));
    if (filter.Matches(*o)) out.items.push_back(std::move(o));
  }
  if (r.verb == machinery::request::Verb::kList) co_return out;
  // The original answers with the singular here.
  if (out.items.empty()) co_return base::Err(object::NotFound({"", resource_.storage_kind->singular}, r.name));
  out.form = Outcome::Form::kObject;
  out.object = out.items[0];
  co_return out;
}

base::Task<base::Result<Outcome>> Store::Get(base::Context ctx, const Kind& version, const Request& r) {
  if (strategy_->IsComputed()) co_return co_await ReadComputed(ctx, version, r);
  const Subresource* sub = nullptr;
  if (!r.subresource.empty()) {
    sub = FindSubresource(r.subresource);
    if (!sub) co_return base::Err(object::UnknownPath());
    if (sub->act) co_return base::Err(object::MethodNotAllowed());
  }
  CO_TRY_ASSIGN(ObjectPtr found, co_await Read(ctx, KeyOf(r.namespace_name, r.name), r.options.resource_version));
  if (!found) co_return base::Err(object::NotFound(group_resource(), r.name));
  std::vector<std::string> warnings;
  base::Status error;
  Outcome out = Show(std::move(found), NewOperation(ctx, version, r, &warnings), sub, 200, &error);
  CO_TRY(error);
  co_return out;
}

void Store::FinishList(Outcome& out, const WatchCache::Page& page, const Request& r,
                       const storage::Filter& filter) const {
  out.form = Outcome::Form::kList;
  out.items = page.objects;
  out.list_revision = std::to_string(page.revision);
  if (page.next_key.empty()) return;
  std::string scope = r.namespace_name.empty() ? "" : r.namespace_name + "/";
  out.continue_token = EncodeContinue({page.revision, page.next_key.substr(scope.size())});
  if (!filter.matches && page.remaining > 0) out.remaining = page.remaining;
}

base::Task<base::Result<Outcome>> Store::List(base::Context ctx, const Kind& version, const Request& r) {
  CO_TRY(CheckListOptions(r.options));
  if (strategy_->IsComputed()) co_return co_await ReadComputed(ctx, version, r);
  CO_TRY_ASSIGN(storage::Filter filter, FilterOf(version, r));
  const auto& o = r.options;
  WatchCache::ListQuery query{.filter = filter};
  query.limit = o.limit > 0 ? o.limit : 0;
  Outcome out;
  bool consistent = o.resource_version.empty(), exact = false;
  uint64_t revision = 0;
  if (!o.continue_token.empty()) {
    CO_TRY_ASSIGN(ContinueToken token, DecodeContinue(o.continue_token));
    if (!o.resource_version.empty() && o.resource_version != "0")
      co_return base::Err(object::BadRequest("specifying resource version is not allowed when using continue"));
    query.start_key = (r.namespace_name.empty() ? "" : r.namespace_name + "/") + token.start;
    consistent = token.revision == kInconsistent;
    exact = !consistent;
    revision = exact ? token.revision : 0;
  } else if (!consistent) {
    auto parsed = ParseRevision(o.resource_version);
    if (!parsed)
      co_return base::Err(object::BadRequest("invalid resource version: " + std::string(parsed.error().message())));
    revision = *parsed;
    exact = o.resource_version_match == "Exact" ||
            (o.resource_version_match.empty() && query.limit > 0 && o.resource_version != "0");
    if (revision == 0) query.limit = 0;  // served whole from the cache, as the original's is
  }

  CO_TRY(co_await cache_->WaitReady(ctx));
  if (consistent) {
    auto current = co_await registry_.mirror().WaitCurrent(ctx);
    if (!current) {
      if (current.error().code() != base::Code::kUnavailable || ctx.done()) co_return base::Err(current.error());
      co_return co_await ListFromStorage(ctx, filter, query, 0);
    }
  } else if (revision > cache_->revision()) {
    auto wait = ctx.WithTimeout(registry_.executor(), kFreshnessWait);
    if (!(co_await cache_->WaitForRevision(wait, revision)).ok()) {
      CO_TRY(ctx.status());
      co_return base::Err(object::TooLargeResourceVersion(revision, cache_->revision(), 1));
    }
  }
  query.revision = exact ? revision : 0;
  auto page = cache_->List(query);
  if (!page) {
    auto from_store = co_await ListFromStorage(ctx, filter, query, revision);
    if (from_store || from_store.error().code() != base::Code::kOutOfRange || object::AsApiError(from_store.error()))
      co_return from_store;
    co_return base::Err(o.continue_token.empty()
                            ? object::ResourceExpired("The resourceVersion for the provided list is too old.")
                            : ContinueExpired(o.continue_token));
  }
  FinishList(out, *page, r, filter);
  co_return out;
}

base::Task<base::Result<Outcome>> Store::ListFromStorage(base::Context ctx, const storage::Filter& filter,
                                                         WatchCache::ListQuery query, uint64_t revision) {
  std::string scope = filter.namespace_name.empty() ? "" : filter.namespace_name + "/";
  storage::ListOptions options{.revision = revision};
  if (!query.start_key.empty()) options.start_key = resource_.prefix + query.start_key;
  WatchCache::Page page{.revision = revision};
  bool more = true;
  while (more) {
    options.limit = query.limit ? query.limit + 1 - page.objects.size() : 1000;
    CO_TRY_ASSIGN(storage::ListResult got, co_await registry_.storage().List(ctx, resource_.prefix + scope, options));
    if (!page.revision) page.revision = options.revision = got.revision;
    more = got.more && !got.kvs.empty();
    for (const auto& kv : got.kvs) {
      if (query.limit && page.objects.size() == query.limit) {
        page.next_key = page.objects.back()->key() + '\0';
        break;
      }
      auto o = FromStore(kv);
      if (o && filter.Matches(**o)) page.objects.push_back(std::move(*o));  // what does not decode has been reported
    }
    if (!page.next_key.empty()) break;
    if (more) options.start_key = got.kvs.back().key + '\0';
  }
  Outcome out;
  Request r;
  r.namespace_name = filter.namespace_name;
  FinishList(out, page, r, filter);
  co_return out;
}

base::Task<base::Result<WatchSession>> Store::Watch(base::Context ctx, const Kind& version, const Request& r) {
  CO_TRY(CheckWatchOptions(r.options));
  CO_TRY_ASSIGN(storage::Filter filter, FilterOf(version, r));
  const auto& o = r.options;
  CO_TRY_ASSIGN(uint64_t revision, ParseRevision(o.resource_version));
  CO_TRY(co_await cache_->WaitReady(ctx));
  WatchSession session{.version = &version, .bookmarks = o.allow_watch_bookmarks};
  bool initial = o.send_initial_events.value_or(false);
  bool state = initial || (revision == 0 && !o.send_initial_events.has_value());
  if (state || revision == 0) {
    if (o.resource_version.empty()) {
      // A state that is not older than the call; where the store gives no progress, what the cache has is close.
      (void)co_await registry_.mirror().WaitCurrent(ctx);
    } else if (revision > cache_->revision()) {
      auto wait = ctx.WithTimeout(registry_.executor(), kFreshnessWait);
      if (!(co_await cache_->WaitForRevision(wait, revision)).ok()) {
        CO_TRY(ctx.status());
        co_return base::Err(object::TooLargeResourceVersion(revision, cache_->revision(), 1));
      }
    }
  }
  if (state) {
    session.watcher = cache_->WatchWithState(std::move(filter), initial && o.allow_watch_bookmarks);
  } else {
    auto watcher = cache_->Watch(std::move(filter), revision ? revision : cache_->revision());
    if (!watcher)
      co_return base::Err(object::ResourceExpired("too old resource version: " + o.resource_version + " (" +
                                                  std::to_string(cache_->oldest_revision()) + ")"));
    session.watcher = std::move(*watcher);
  }
  if (session.bookmarks) session.watcher->WantBookmarks();
  co_return session;
}

}  // namespace apiserver::registry
