// The life of an object on its way in: decode, default, convert, admit, prepare, validate, encode, store.
#include <algorithm>
#include <charconv>
#include <set>

#include "apiserver/auth/question.h"
#include "apiserver/registry/body.h"
#include "apiserver/registry/list_options.h"
#include "apiserver/registry/registry.h"
#include "apiserver/registry/validation/validation.h"
#include "base/log.h"
#include "base/strings.h"
#include "machinery/codec/codec.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"
#include "machinery/ops/patch.h"
#include "machinery/ops/validation.h"

namespace apiserver::registry {

namespace codec = machinery::codec;
namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::request::PatchType;
using machinery::schema::Kind;

namespace {

constexpr int kGenerateNameAttempts = 8;
constexpr size_t kMaxGeneratedPrefix = 63 - 5;
constexpr std::string_view kModified =
    "the object has been modified; please apply your changes to the latest version and try again";

// "kubectl/v1.37.0 (linux/amd64)" -> "kubectl": the manager of a write that names none.
std::string ManagerOf(const Request& r) {
  if (!r.options.field_manager.empty()) return r.options.field_manager;
  return r.user_agent.substr(0, r.user_agent.find('/'));
}

std::string NowText(base::Executor& executor) {
  return object::FormatTime(std::chrono::floor<std::chrono::seconds>(executor.WallNow()).time_since_epoch().count());
}

// References that say the same thing twice are one; the writer is told. `when` follows "duplicate entries".
void DropRepeatedOwners(Value& obj, std::vector<std::string>& warnings, std::string_view when) {
  const Value& owners = object::OwnerReferencesOf(obj);
  if (!owners.is_list() || owners.list().size() < 2) return;
  machinery::value::List kept;
  std::set<std::string> seen;
  std::vector<std::string> repeated;
  for (const Value& owner : owners.list()) {
    if (seen.insert(machinery::value::ToJson(owner, false, true)).second)
      kept.push_back(owner);
    else
      repeated.emplace_back(owner.At("uid").string_or());
  }
  if (repeated.empty()) return;
  warnings.push_back(".metadata.ownerReferences contains duplicate entries" + std::string(when) +
                     "; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; "
                     "please fix your requests; duplicate UID(s) observed: " +
                     base::Join(repeated, ", "));
  object::SetMeta(obj, "ownerReferences", Value(std::move(kept)));
}

}  // namespace

Operation Store::NewOperation(base::Context ctx, const Kind& version, const Request& r,
                              std::vector<std::string>* warnings) {
  return {ctx, &r, &registry_, this, &version, !r.options.dry_run.empty(), warnings};
}

object::GroupKind Store::group_kind() const { return {resource_.storage_kind->group, resource_.storage_kind->kind}; }

std::string Store::KeyOf(std::string_view ns, std::string_view name) const {
  return resource_.namespaced ? std::string(ns) + "/" + std::string(name) : std::string(name);
}

const Subresource* Store::FindSubresource(const std::string& name) const {
  auto it = subresources_.find(name);
  return it == subresources_.end() ? nullptr : &it->second;
}

base::Result<Value> Store::ToStorageVersion(const Kind& version, Value object) const {
  if (&version == resource_.storage_kind || !resource_.convert) return object;
  return resource_.convert(version, *resource_.storage_kind, std::move(object));
}

// An object or its projection as the answer to show.
Outcome Store::Show(ObjectPtr object, const Operation& op, const Subresource* sub, int code,
                    base::Status* error) const {
  Outcome out{.code = code};
  if (op.warnings) out.warnings = *op.warnings;
  if (!sub || !sub->project) {
    out.form = Outcome::Form::kObject;
    out.object = std::move(object);
    return out;
  }
  auto projected = sub->project(op, object->Tree());
  if (!projected) {
    *error = projected.error();
    return out;
  }
  out.form = Outcome::Form::kTree;
  out.tree = std::move(*projected);
  out.type = sub->projected_type;
  return out;
}

base::Status Store::CheckReadable(const Kind& version, const Value& obj) const {
  std::string why = strategy_->WhyUnreadable(obj);
  if (why.empty()) return base::Ok();
  return object::BadRequest(version.kind + " in version " + object::GoQuote(version.version) +
                            " cannot be handled as a " + version.kind + ": " + why);
}

base::Task<base::Status> Store::Admit(Operation op, admission::Operation what, const std::string& subresource,
                                      Value* obj, const Value* old, bool mutate) {
  admission::Chain* chain = registry_.admission();
  if (!chain || !chain->Handles(what)) co_return base::Ok();
  admission::Attributes a{.operation = what,
                          .request = op.request,
                          .kind = op.version,
                          .group = resource_.group,
                          .resource = resource_.resource,
                          .subresource = subresource,
                          .namespace_name = op.request->namespace_name,
                          .name = op.request->name,
                          .object = obj,
                          .old_object = old,
                          .dry_run = op.dry_run,
                          .warnings = op.warnings};
  if (a.name.empty() && obj) a.name = object::NameOf(*obj);
  if (mutate) {
    CO_TRY(co_await chain->Admit(op.ctx, a));
  } else {
    CO_TRY(co_await chain->Validate(op.ctx, a));
  }
  co_return base::Ok();
}

FieldErrors Store::ValidatePrivileges(const Value& obj) const {
  if (registry_.options().allow_privileged) return {};
  return validation::ValidateNotPrivileged(*resource_.storage_kind, obj);
}

// --- create ---

base::Task<base::Result<std::unique_ptr<Reservation>>> Store::BeforeCreate(Operation op, Value& obj) {
  // Nobody's ownership of fields is tracked yet; what a client sends of it is not even looked at.
  object::SetMeta(obj, "managedFields", nullptr);
  CO_TRY_ASSIGN(auto reservation, co_await strategy_->BeginCreate(op, obj));
  object::SetMeta(obj, "deletionTimestamp", nullptr);
  object::SetMeta(obj, "deletionGracePeriodSeconds", nullptr);
  strategy_->PrepareForCreate(op, obj);
  auto errors = strategy_->Validate(op, obj);
  object::Append(errors, ValidatePrivileges(obj));
  if (errors.empty())
    errors = ops::ValidateObjectMeta(obj, {.namespaced = resource_.namespaced, .name = object::NameIsPathSegment});
  if (!errors.empty()) co_return base::Err(object::InvalidObject(group_kind(), object::NameOf(obj), errors));
  if (op.warnings)
    for (auto& w : strategy_->WarningsOnCreate(op, obj)) op.warnings->push_back(std::move(w));
  co_return reservation;
}

base::Task<base::Result<Outcome>> Store::Act(Operation op, const Subresource& sub) {
  const Request& r = *op.request;
  CO_TRY(CheckWriteOptions(r));
  auto body = DecodeObject(registry_.schema(), *sub.action_type, {}, r, *op.warnings);
  if (!body) co_return base::Err(body.error());
  registry_.Default(*sub.action_type, *body);
  CO_TRY(co_await Admit(op, admission::Operation::kCreate, r.subresource, &*body, nullptr, true));
  CO_TRY(co_await Admit(op, admission::Operation::kCreate, r.subresource, &*body, nullptr, false));
  CO_TRY_ASSIGN(SubresourceAnswer answer, co_await sub.act(op, std::move(*body)));
  Outcome out{.form = Outcome::Form::kTree, .code = answer.code, .tree = std::move(answer.object), .type = answer.type};
  out.warnings = *op.warnings;
  co_return out;
}

base::Task<base::Result<Outcome>> Store::Create(base::Context ctx, const Kind& version, const Request& r) {
  std::vector<std::string> warnings;
  Operation op = NewOperation(ctx, version, r, &warnings);
  if (!r.subresource.empty()) {
    const Subresource* sub = FindSubresource(r.subresource);
    if (!sub) co_return base::Err(object::UnknownPath());
    if (!sub->act) co_return base::Err(object::MethodNotAllowed());
    co_return co_await Act(op, *sub);
  }
  CO_TRY(CheckWriteOptions(r));
  CO_TRY_ASSIGN(Value decoded, DecodeObject(registry_.schema(), *version.type, &version, r, warnings));
  if (auto refused = strategy_->RefuseText(); !refused.empty())
    co_return base::Err(object::GenericResponse(501, refused));
  CO_TRY(CheckReadable(version, decoded));
  CO_TRY(MatchNamespace(r.namespace_name, decoded));
  registry_.Default(version, decoded);
  CO_TRY_ASSIGN(Value obj, ToStorageVersion(version, std::move(decoded)));
  DropRepeatedOwners(obj, warnings, "");
  CO_TRY(co_await Admit(op, admission::Operation::kCreate, "", &obj, nullptr, true));

  if (strategy_->CreateOnly()) {
    auto errors = strategy_->Validate(op, obj);
    if (!errors.empty()) co_return base::Err(object::InvalidObject(group_kind(), object::NameOf(obj), errors));
    CO_TRY(co_await Admit(op, admission::Operation::kCreate, "", &obj, nullptr, false));
    CO_TRY_ASSIGN(Value answer, co_await strategy_->Answer(op, std::move(obj)));
    auto gv = object::ParseGroupVersion(object::ApiVersionOf(answer));
    const auto* type = registry_.schema().FindObject(gv.group, gv.version, object::KindOf(answer));
    // unreachable from outside: the answer is a strategy's own
    CHECK_MSG(type, "an answer is of a known kind");
    co_return Outcome{
        .form = Outcome::Form::kTree, .code = 201, .tree = std::move(answer), .type = type, .warnings = warnings};
  }
  CO_TRY_ASSIGN(ObjectPtr created, co_await CreateNew(op, std::move(obj)));
  base::Status error;
  co_return Show(std::move(created), op, nullptr, 201, &error);
}

base::Task<base::Result<ObjectPtr>> Store::CreateNew(Operation op, Value obj) {
  object::SetMeta(obj, "creationTimestamp", NowText(registry_.executor()));
  object::SetUid(obj, registry_.NewUid());
  std::string prefix(machinery::value::Utf8Prefix(object::GenerateNameOf(obj), kMaxGeneratedPrefix));
  bool generate = object::NameOf(obj).empty() && !prefix.empty();
  for (int attempt = 1;; ++attempt) {
    // Another name may have to be tried: only then is the object needed again.
    Value candidate = generate ? Value(obj) : std::move(obj);
    if (generate) object::SetName(candidate, prefix + registry_.random().NameSuffix(5));
    CO_TRY_ASSIGN(auto reservation, co_await BeforeCreate(op, candidate));
    CO_TRY(co_await Admit(op, admission::Operation::kCreate, "", &candidate, nullptr, false));
    // The store would refuse it; a dry run does not get that far.
    if (!op.dry_run && !object::ResourceVersionOf(candidate).empty())
      co_return base::Err(object::Unclassified("resourceVersion should not be set on objects to be created"));
    std::string name(object::NameOf(candidate)), key = KeyOf(object::NamespaceOf(candidate), name);
    ObjectPtr fresh;
    CO_TRY_ASSIGN(ObjectPtr written,
                  co_await Write(op, key, nullptr, std::move(candidate), ManagerOf(*op.request), "Update", "", &fresh));
    if (written) {
      if (reservation && !op.dry_run) reservation->Commit();
      co_return written;
    }
    if (!generate || attempt == kGenerateNameAttempts)
      co_return base::Err(object::AlreadyExists(group_resource(), name));
  }
}

// --- the write itself ---

base::Task<base::Result<ObjectPtr>> Store::Write(const Operation& op, const std::string& key, const ObjectPtr& old,
                                                 Value obj, std::string_view manager, std::string_view operation,
                                                 std::string_view subresource, ObjectPtr* fresh) {
  // Field ownership (manager, operation, subresource) is not tracked yet: what clients send of it is dropped rather
  // than kept going stale.
  object::SetMeta(obj, "managedFields", nullptr);
  object::SetMeta(obj, "selfLink", nullptr);
  object::SetResourceVersion(obj, "");
  const auto& type = *resource_.storage_kind->type;
  // The last gate: what is stored can be read again by everybody, wherever its parts came from.
  if (!machinery::value::IsValidUtf8(obj))
    co_return base::Err(object::BadRequest("the object holds text that is not valid UTF-8"));
  std::string bytes = codec::EncodeProtobuf(type, obj);
  if (old) {
    CO_TRY_ASSIGN(std::string before, codec::SpliceResourceVersion(*old->message(), ""));
    if (before == bytes) {
      // Nothing changes: nothing is written, but only if `old` really is the present state.
      CO_TRY_ASSIGN(ObjectPtr now, co_await Read(op.ctx, key, ""));
      if (now && now->revision() == old->revision()) co_return old;
      *fresh = now;
      co_return ObjectPtr();
    }
  }
  if (op.dry_run) {
    CO_TRY_ASSIGN(ObjectPtr now, co_await Read(op.ctx, key, ""));
    if ((now ? now->revision() : 0) != (old ? old->revision() : 0)) {
      *fresh = now;
      co_return ObjectPtr();
    }
    std::string revision = old ? std::to_string(old->revision()) : "";
    CO_TRY_ASSIGN(std::string shown, codec::SpliceResourceVersion(bytes, revision));
    co_return storage::Object::Make(resource_, registry_.budget(), key, old ? old->revision() : 0,
                                    base::Share(std::move(shown)));
  }
  base::SharedBytes stored;
  if (resource_.stored_as_json) {
    stored = base::Share(codec::EncodeJson(type, obj));
  } else {
    const Kind& kind = *resource_.storage_kind;
    stored = base::Share(codec::SealEnvelope(kind.ApiVersion(), kind.kind, bytes));
  }
  int64_t ttl = strategy_->Expires() ? registry_.options().event_ttl_seconds : 0;
  std::string store_key = StoreKey(key);
  storage::WriteResult result;
  if (old) {
    CO_TRY_ASSIGN(result, co_await registry_.storage().Update(op.ctx, store_key, stored, old->revision(), ttl));
  } else {
    CO_TRY_ASSIGN(result, co_await registry_.storage().Create(op.ctx, store_key, stored, ttl));
  }
  if (!result.written) {
    CO_TRY_ASSIGN(*fresh, FromStore(result.current));
    co_return ObjectPtr();
  }
  CO_TRY_ASSIGN(std::string message, codec::SpliceResourceVersion(bytes, std::to_string(result.revision)));
  CO_TRY_ASSIGN(ObjectPtr written, storage::Object::Make(resource_, registry_.budget(), key, result.revision,
                                                         base::Share(std::move(message))));
  registry_.mirror().NoteWrite(store_key, written);
  co_return written;
}

base::Task<base::Result<ObjectPtr>> Store::Remove(const Operation& op, const ObjectPtr& old, ObjectPtr* fresh) {
  if (op.dry_run) co_return old;
  CO_TRY_ASSIGN(auto result, co_await registry_.storage().Delete(op.ctx, StoreKey(old->key()), old->revision()));
  if (!result.written) {
    CO_TRY_ASSIGN(*fresh, FromStore(result.current));
    co_return ObjectPtr();
  }
  co_return old->WithRevision(result.revision);
}

base::Task<base::Result<ObjectPtr>> Store::Guarded(Operation op, std::string key, const Planner& planner,
                                                   bool* created) {
  CO_TRY(co_await cache_->WaitReady(op.ctx));
  ObjectPtr current = cache_->Get(key);
  bool fresh = false;
  while (true) {
    auto plan = co_await planner(current);
    if (!plan) {
      // The cache may lag: an error counts only against the present state.
      if (fresh) co_return base::Err(plan.error());
      CO_TRY_ASSIGN(ObjectPtr now, co_await Read(op.ctx, key, ""));
      fresh = true;
      if ((now ? now->revision() : 0) == (current ? current->revision() : 0)) co_return base::Err(plan.error());
      current = std::move(now);
      continue;
    }
    if (plan->skip) co_return current;
    ObjectPtr seen;
    base::Result<ObjectPtr> done;
    if (plan->remove) {
      // Shown is the last state that the change would have made.
      Operation show = op;
      show.dry_run = true;
      CO_TRY_ASSIGN(ObjectPtr last, co_await Write(show, key, current, std::move(plan->object), "", "", "", &seen));
      if (last) {
        done = co_await Remove(op, current, &seen);
        if (done && *done) done = op.dry_run ? last : last->WithRevision((*done)->revision());
        if (done && *done && !op.dry_run) co_await strategy_->AfterDelete(op, last->Tree());
      }
    } else {
      done = co_await Write(op, key, current, std::move(plan->object), ManagerOf(*op.request), "Update",
                            op.request->subresource, &seen);
    }
    if (!done) co_return done;
    if (*done) {
      if (plan->reservation && !op.dry_run) plan->reservation->Commit();
      if (created) *created = !current;
      co_return done;
    }
    current = std::move(seen);
    fresh = true;
    CO_TRY(op.ctx.status());
  }
}

// --- update and patch ---

// A write that makes its object by another verb needs leave to create as well.
base::Status Store::MayCreate(const Operation& op) const {
  auth::Attributes create = auth::QuestionAbout(*op.request, "create");
  auto verdict = auth::Ask(registry_.facilities().authorizer, create);
  return verdict.decision == auth::Decision::kAllow ? base::Ok() : auth::Refusal(create, verdict);
}

base::Status Store::CheckVersions(const Value& obj, const Value& old) const {
  std::string given(object::ResourceVersionOf(obj));
  TRY_ASSIGN(uint64_t revision, ParseOwnRevision(given));
  if (revision == 0) {
    if (strategy_->kind().allow_unconditional_update) return base::Ok();
    return object::InvalidObject(
        {resource_.group, resource_.resource}, object::NameOf(obj),
        {object::Invalid("metadata.resourceVersion", Value(0), "must be specified for an update")});
  }
  if (given != object::ResourceVersionOf(old))
    return object::Conflict(group_resource(), object::NameOf(obj), kModified);
  return base::Ok();
}

base::Task<base::Result<Store::Plan>> Store::BeforeUpdate(Operation op, Value obj, const ObjectPtr& current,
                                                          const Subresource* sub, const std::string& subresource) {
  const Value old = current->Tree();
  CO_TRY(co_await Admit(op, admission::Operation::kUpdate, subresource, &obj, &old, true));
  if (op.warnings) DropRepeatedOwners(obj, *op.warnings, " after mutating admission happens");
  CO_TRY(CheckVersions(obj, old));
  Plan plan;
  if (!sub) {
    CO_TRY_ASSIGN(plan.reservation, co_await strategy_->BeginUpdate(op, obj, old));
  }
  const Value& was = object::MetaOf(old);
  object::SetMeta(obj, "generation", was.At("generation"));
  if (sub && sub->prepare)
    sub->prepare(op, obj, old);
  else
    strategy_->PrepareForUpdate(op, obj, old);
  if (object::UidOf(obj).empty()) object::SetUid(obj, object::UidOf(old));
  object::SetMeta(obj, "creationTimestamp", was.At("creationTimestamp"));
  object::SetResourceVersion(obj, object::ResourceVersionOf(old));
  object::SetMeta(obj, "managedFields", nullptr);
  // Neither deletion nor its grace period can be taken back.
  if (object::IsDeleting(old)) object::SetMeta(obj, "deletionTimestamp", was.At("deletionTimestamp"));
  if (object::DeletionGracePeriodSecondsOf(old) && !object::DeletionGracePeriodSecondsOf(obj))
    object::SetMeta(obj, "deletionGracePeriodSeconds", was.At("deletionGracePeriodSeconds"));
  auto errors = ops::ValidateObjectMetaUpdate(obj, old);
  if (sub && sub->validate)
    object::Append(errors, sub->validate(op, obj, old));
  else if (!sub)
    object::Append(errors, strategy_->ValidateUpdate(op, obj, old));
  if (!sub || subresource == "ephemeralcontainers" || subresource == "resize")
    object::Append(errors, ValidatePrivileges(obj));
  if (!errors.empty()) co_return base::Err(object::InvalidObject(group_kind(), object::NameOf(obj), errors));
  if (op.warnings && !sub)
    for (auto& w : strategy_->WarningsOnUpdate(op, obj, old)) op.warnings->push_back(std::move(w));
  CO_TRY(co_await Admit(op, admission::Operation::kUpdate, subresource, &obj, &old, false));
  plan.remove = object::IsDeleting(old) && object::FinalizersOf(obj).empty() &&
                object::DeletionGracePeriodSecondsOf(old).value_or(0) == 0 && !strategy_->HoldsDeletion(obj);
  plan.object = std::move(obj);
  co_return plan;
}

base::Task<base::Result<Outcome>> Store::UpdateWith(Operation op, const Subresource* sub, const Updater& updated) {
  const Request& r = *op.request;
  std::string key = KeyOf(r.namespace_name, r.name);
  bool created = false;
  size_t warned = op.warnings->size();
  Planner planner = [&](const ObjectPtr& current) -> base::Task<base::Result<Plan>> {
    op.warnings->resize(warned);  // of an earlier attempt
    if (!current && (sub || !strategy_->kind().allow_create_on_update || r.verb != machinery::request::Verb::kUpdate))
      co_return base::Err(object::NotFound(group_resource(), r.name));
    CO_TRY_ASSIGN(Value obj, updated(current));
    if (current) co_return co_await BeforeUpdate(op, std::move(obj), current, sub, r.subresource);
    Plan plan;
    object::SetMeta(obj, "creationTimestamp", NowText(registry_.executor()));
    object::SetUid(obj, registry_.NewUid());
    object::SetResourceVersion(obj, "");
    CO_TRY(co_await Admit(op, admission::Operation::kCreate, "", &obj, nullptr, true));
    CO_TRY_ASSIGN(plan.reservation, co_await BeforeCreate(op, obj));
    CO_TRY(MayCreate(op));
    CO_TRY(co_await Admit(op, admission::Operation::kCreate, "", &obj, nullptr, false));
    plan.object = std::move(obj);
    co_return plan;
  };
  CO_TRY_ASSIGN(ObjectPtr done, co_await Guarded(op, key, planner, &created));
  base::Status error;
  Outcome out = Show(std::move(done), op, sub, created ? 201 : 200, &error);
  CO_TRY(error);
  co_return out;
}

base::Result<const Subresource*> Store::WrittenSubresource(const Request& r) const {
  if (r.subresource.empty()) return nullptr;
  const Subresource* sub = FindSubresource(r.subresource);
  if (!sub) return base::Err(object::UnknownPath());
  if (sub->act) return base::Err(object::MethodNotAllowed());
  return sub;
}

base::Task<base::Result<Outcome>> Store::Update(base::Context ctx, const Kind& version, const Request& r) {
  std::vector<std::string> warnings;
  Operation op = NewOperation(ctx, version, r, &warnings);
  CO_TRY_ASSIGN(const Subresource* sub, WrittenSubresource(r));
  CO_TRY(CheckWriteOptions(r));
  bool projected = sub && sub->project;
  const auto& type = projected ? *sub->projected_type : *version.type;
  CO_TRY_ASSIGN(Value body, DecodeObject(registry_.schema(), type, projected ? nullptr : &version, r, warnings));
  if (!projected) CO_TRY(CheckReadable(version, body));
  CO_TRY(MatchNamespace(r.namespace_name, body));
  CO_TRY(MatchName(r, body));
  if (projected) {
    registry_.Default(type, body);
  } else {
    registry_.Default(version, body);
    CO_TRY_ASSIGN(body, ToStorageVersion(version, std::move(body)));
    DropRepeatedOwners(body, warnings, "");
  }
  Updater updated = [&](const ObjectPtr& current) -> base::Result<Value> {
    if (current) TRY(CheckUid(body, *current));
    if (!projected) return body;
    Value parent = current->Tree();
    TRY(sub->merge_back(op, parent, body));
    return parent;
  };
  co_return co_await UpdateWith(op, sub, updated);
}

// The body's uid is a precondition.
base::Status Store::CheckUid(const Value& body, const storage::Object& current) const {
  std::string given(object::UidOf(body));
  if (given.empty()) return base::Ok();
  std::string have(object::UidOf(current.Tree()));
  if (given == have) return base::Ok();
  return object::Conflict(group_resource(), current.name(),
                          "StorageError: invalid object, Code: 4, Key: " + StoreKey(current.key()) +
                              ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: " +
                              given + ", UID in object meta: " + have);
}

base::Task<base::Result<Outcome>> Store::Patch(base::Context ctx, const Kind& version, const Request& r) {
  std::vector<std::string> warnings;
  Operation op = NewOperation(ctx, version, r, &warnings);
  CO_TRY_ASSIGN(const Subresource* sub, WrittenSubresource(r));
  CO_TRY(CheckWriteOptions(r));
  if (r.patch_type == PatchType::kApplyYaml)
    co_return base::Err(object::GenericResponse(
        501, "server-side apply (application/apply-patch+yaml) is not supported yet; use client-side apply"));
  CO_TRY_ASSIGN(Value patch, DecodePatch(r));
  bool projected = sub && sub->project;
  const auto& type = projected ? *sub->projected_type : *version.type;
  size_t warned = warnings.size();

  Updater updated = [&](const ObjectPtr& current) -> base::Result<Value> {
    warnings.resize(warned);
    Value base_tree;
    if (projected) {
      TRY_ASSIGN(base_tree, sub->project(op, current->Tree()));
    } else {
      TRY_ASSIGN(base_tree, current->TreeAs(version));
    }
    TRY_ASSIGN(Value patched, ApplyPatch(r, type, std::move(base_tree), patch, warnings));
    TRY(MatchName(r, patched));
    TRY(MatchNamespace(r.namespace_name, patched));
    if (projected) {
      registry_.Default(type, patched);
      Value parent = current->Tree();
      TRY(sub->merge_back(op, parent, patched));
      return parent;
    }
    registry_.Default(version, patched);
    return ToStorageVersion(version, std::move(patched));
  };
  co_return co_await UpdateWith(op, sub, updated);
}

// --- the server's own writes ---

base::Task<base::Result<ObjectPtr>> Store::Modify(base::Context ctx, std::string ns, std::string name,
                                                  std::function<base::Status(Value&)> change) {
  Request r;
  r.namespace_name = ns;
  r.name = name;
  r.user_agent = "kube-apiserver";
  Operation op = NewOperation(ctx, *resource_.storage_kind, r, nullptr);
  Planner planner = [&](const ObjectPtr& current) -> base::Task<base::Result<Plan>> {
    if (!current) co_return base::Err(object::NotFound(group_resource(), name));
    Plan plan;
    plan.object = current->Tree();
    CO_TRY(change(plan.object));
    co_return plan;
  };
  co_return co_await Guarded(op, KeyOf(ns, name), planner, nullptr);
}

base::Task<base::Result<ObjectPtr>> Store::CreateInternal(base::Context ctx, Value obj) {
  Request r;
  r.verb = machinery::request::Verb::kCreate;
  r.namespace_name = object::NamespaceOf(obj);
  r.name = object::NameOf(obj);
  r.identity.name = "system:apiserver";
  r.identity.groups = {"system:authenticated", "system:masters"};
  r.user_agent = "kube-apiserver";
  Operation op = NewOperation(ctx, *resource_.storage_kind, r, nullptr);
  CO_TRY_ASSIGN(Value whole, codec::Normalize(*resource_.storage_kind->type, obj));
  registry_.Default(*resource_.storage_kind, whole);
  object::SetMeta(whole, "creationTimestamp", NowText(registry_.executor()));
  object::SetUid(whole, registry_.NewUid());
  CO_TRY_ASSIGN(auto reservation, co_await BeforeCreate(op, whole));
  std::string name(object::NameOf(whole)), key = KeyOf(r.namespace_name, name);
  ObjectPtr fresh;
  CO_TRY_ASSIGN(ObjectPtr written,
                co_await Write(op, key, nullptr, std::move(whole), r.user_agent, "Update", "", &fresh));
  if (!written) co_return base::Err(object::AlreadyExists(group_resource(), name));
  if (reservation) reservation->Commit();
  co_return written;
}

}  // namespace apiserver::registry
