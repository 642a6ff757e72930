#include "controller-manager/common/untyped.h"

namespace controller_manager {
using machinery::client::Client;
using machinery::client::Resource;
using machinery::request::Verb;

base::Task<base::Result<AnyObject>> Untyped::Get(base::Context ctx, Resource r, std::string ns, std::string name) {
  auto request = client_.NewRequest(Verb::kGet, r, std::move(ns), std::move(name));
  CO_TRY_ASSIGN(auto response, co_await client_.Send(ctx, std::move(request)));
  AnyObject out;
  CO_TRY(Client::ParseBody(response, out));
  co_return out;
}

base::Task<base::Result<AnyObject>> Untyped::Update(base::Context ctx, Resource r, AnyObject object) {
  auto request = client_.NewRequest(Verb::kUpdate, r, object.metadata().namespace_(), object.metadata().name());
  request.body = Client::Seal(r, object);
  CO_TRY_ASSIGN(auto response, co_await client_.Send(ctx, std::move(request)));
  CO_TRY(Client::ParseBody(response, object));
  co_return object;
}

base::Task<base::Status> Untyped::Delete(base::Context ctx, Resource r, std::string ns, std::string name,
                                         machinery::client::DeleteOptions options) {
  auto request = client_.NewRequest(Verb::kDelete, r, std::move(ns), std::move(name));
  Client::SetDeleteOptions(request, std::move(options));
  co_return base::StatusOf(co_await client_.Send(ctx, std::move(request)));
}

base::Task<base::Status> Untyped::DeleteCollection(base::Context ctx, Resource r, std::string ns) {
  auto request = client_.NewRequest(Verb::kDeleteCollection, r, std::move(ns), "");
  request.options.propagation_policy = "Background";
  co_return base::StatusOf(co_await client_.Send(ctx, std::move(request)));
}

base::Task<base::Result<std::vector<std::shared_ptr<const AnyObject>>>> Untyped::List(base::Context ctx, Resource r,
                                                                                      std::string ns) {
  machinery::client::ListOptions options;
  options.namespace_name = std::move(ns);
  options.resource = &r;
  CO_TRY_ASSIGN(auto list, co_await client_.List<AnyObject>(ctx, std::move(options)));
  co_return std::move(list.items);
}

}  // namespace controller_manager
