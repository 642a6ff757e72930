// The templates of client.h: they only turn bytes into T and back; everything else is in client.cc.
#pragma once

namespace machinery::client {

template <class T>
class Client::Watcher {
 public:
  explicit Watcher(std::unique_ptr<request::WatchStream> stream) : stream_(std::move(stream)) {}
  // nullopt when the server ended the stream in good order.
  base::Task<base::Result<std::optional<TypedEvent<T>>>> Next(base::Context ctx) {
    CO_TRY_ASSIGN(auto event, co_await stream_->Next(std::move(ctx)));
    if (!event) co_return std::optional<TypedEvent<T>>();
    if (event->type == request::EventType::kError)
      co_return base::Err(StatusOfObject(stream_->content_type(), *event->object));
    auto object = std::make_shared<T>();
    CO_TRY(ParseObject(*event->object, *object));
    co_return std::optional<TypedEvent<T>>(TypedEvent<T>{event->type, std::move(object)});
  }

 private:
  std::unique_ptr<request::WatchStream> stream_;
};

template <class T>
base::Task<base::Result<T>> Client::Get(base::Context ctx, std::string ns, std::string name, std::string subresource) {
  auto r = NewRequest(request::Verb::kGet, ResourceOf<T>(), std::move(ns), std::move(name));
  r.subresource = std::move(subresource);
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  T out;
  CO_TRY(ParseBody(response, out));
  co_return out;
}

template <class T>
base::Task<base::Result<ListResult<T>>> Client::List(base::Context ctx, ListOptions options) {
  auto r = NewListRequest(request::Verb::kList, ResourceOf<T>(options.resource), std::move(options));
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  CO_TRY_ASSIGN(auto raw, ParseList(response));
  ListResult<T> out;
  out.resource_version = std::move(raw.resource_version);
  out.continue_token = std::move(raw.continue_token);
  out.items.reserve(raw.items.size());
  for (auto bytes : raw.items) {
    auto item = std::make_shared<T>();
    CO_TRY(ParseMessage(bytes, *item));
    out.items.push_back(std::move(item));
  }
  co_return out;
}

template <class T>
base::Task<base::Result<std::unique_ptr<Client::Watcher<T>>>> Client::Watch(base::Context ctx, ListOptions options,
                                                                            bool allow_bookmarks) {
  auto r = NewListRequest(request::Verb::kWatch, ResourceOf<T>(options.resource), std::move(options));
  r.options.allow_watch_bookmarks = allow_bookmarks;
  CO_TRY_ASSIGN(auto stream, co_await transport_.Watch(std::move(ctx), std::move(r)));
  co_return std::make_unique<Watcher<T>>(std::move(stream));
}

template <class T>
base::Task<base::Result<T>> Client::Create(base::Context ctx, T object) {
  auto r = NewRequest(request::Verb::kCreate, ResourceOf<T>(), object.metadata().namespace_(), "");
  r.body = Seal(ResourceOf<T>(), object);
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  CO_TRY(ParseBody(response, object));
  co_return object;
}

template <class T>
base::Task<base::Result<T>> Client::Update(base::Context ctx, T object, std::string subresource) {
  auto r =
      NewRequest(request::Verb::kUpdate, ResourceOf<T>(), object.metadata().namespace_(), object.metadata().name());
  r.subresource = std::move(subresource);
  r.body = Seal(ResourceOf<T>(), object);
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  CO_TRY(ParseBody(response, object));
  co_return object;
}

template <class T>
base::Task<base::Result<T>> Client::Patch(base::Context ctx, std::string ns, std::string name, request::PatchType type,
                                          std::string patch, std::string subresource) {
  auto r = NewRequest(request::Verb::kPatch, ResourceOf<T>(), std::move(ns), std::move(name));
  r.subresource = std::move(subresource);
  r.patch_type = type;
  r.content_type = PatchContentType(type);
  r.body = base::Share(std::move(patch));
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  T out;
  CO_TRY(ParseBody(response, out));
  co_return out;
}

template <class T>
base::Task<base::Status> Client::Delete(base::Context ctx, std::string ns, std::string name, DeleteOptions options) {
  auto r = NewRequest(request::Verb::kDelete, ResourceOf<T>(), std::move(ns), std::move(name));
  SetDeleteOptions(r, std::move(options));
  CO_TRY(co_await Send(std::move(ctx), std::move(r)));
  co_return base::Ok();
}

template <class T, class In, class Out>
base::Task<base::Result<Out>> Client::CreateSubresource(base::Context ctx, std::string ns, std::string name,
                                                        std::string subresource, In in) {
  auto r = NewRequest(request::Verb::kCreate, ResourceOf<T>(), std::move(ns), std::move(name));
  r.subresource = std::move(subresource);
  r.body = Seal(TypeOf<In>(), in);
  CO_TRY_ASSIGN(auto response, co_await Send(std::move(ctx), std::move(r)));
  Out out;
  CO_TRY(ParseBody(response, out));
  co_return out;
}

}  // namespace machinery::client
