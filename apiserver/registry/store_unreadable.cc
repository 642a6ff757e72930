// Objects of the store that do not decode: what a reader hears of them, and how they go (the original's
// ignoreStoreReadErrorWithClusterBreakingPotential, for which it wants a feature gate that is off; here it is always
// there, because nothing else could remove them but the store's own tools).
#include "apiserver/auth/question.h"
#include "apiserver/registry/facilities.h"
#include "apiserver/registry/registry.h"
#include "base/log.h"
#include "machinery/object/api_error.h"
#include "machinery/request/request.h"

namespace apiserver::registry {

namespace object = machinery::object;

base::Status CorruptObject(std::string_view store_key, const base::Status& why) {
  return object::InternalError("corrupt object at " + std::string(store_key) + ": " + std::string(why.message()));
}

namespace {

// The right that the original asks for beside "delete".
base::Status MayDeleteUnread(Registry& registry, const Request& r) {
  auth::Attributes question = auth::QuestionAbout(r, "unsafe-delete-ignore-read-errors");
  if (auth::May(registry.facilities().authorizer, question)) return base::Ok();
  return object::Forbidden({r.group, r.resource}, r.name,
                           "not permitted to do \"unsafe-delete-ignore-read-errors\", reason: ");
}

}  // namespace

base::Task<base::Result<Outcome>> Store::DeleteUnreadable(Operation op, std::string key) {
  const Request& r = *op.request;
  CO_TRY(MayDeleteUnread(registry_, r));
  CO_TRY_ASSIGN(storage::GetResult got, co_await registry_.storage().Get(op.ctx, StoreKey(key)));
  if (!got.kv) co_return base::Err(object::NotFound(group_resource(), r.name));
  if (FromStore(got.kv))
    co_return base::Err(object::InvalidObject(
        {resource_.group, resource_.resource}, r.name,
        {object::Invalid("ignoreStoreReadErrorWithClusterBreakingPotential", Value(true),
                         "is exclusively used to delete corrupt object(s), try again by removing this option")}));
  base::LogWarning("Deleting an object that cannot be read", {{"key", got.kv->key}, {"user", r.identity.name}});
  if (!op.dry_run) {
    CO_TRY_ASSIGN(auto result, co_await registry_.storage().Delete(op.ctx, got.kv->key, got.kv->mod_revision));
    if (!result.written)
      co_return base::Err(object::Conflict(group_resource(), r.name, "the object has been modified"));
  }
  co_return Deleted(op, r.name, "");
}

}  // namespace apiserver::registry
