// The typed client: Protobuf messages of proto/k8s in and out, over any Transport. T is a message with a kind option
// (k8s::io::api::core::v1::Pod); its group, version and resource come from there.
//
// One strand; owns no thread. Errors carry object::ApiError.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/request/request.h"

namespace google::protobuf {
class Descriptor;
class MessageLite;
}  // namespace google::protobuf

namespace machinery::client {

struct Resource {
  std::string group, version, resource, kind;
  bool namespaced = false;
  std::string ApiVersion() const { return group.empty() ? version : group + "/" + version; }
};
// From the message's (first) kind option; aborts when it has none.
const Resource& ResourceOfDescriptor(const google::protobuf::Descriptor* descriptor);
template <class T>
const Resource& ResourceOf() {
  static const Resource& r = ResourceOfDescriptor(T::descriptor());
  return r;
}
// Group, version and kind of any object, also of one that is no resource of its own (Binding, Eviction, TokenRequest):
// from its file's options.
const Resource& TypeOfDescriptor(const google::protobuf::Descriptor* descriptor);
template <class T>
const Resource& TypeOf() {
  static const Resource& r = TypeOfDescriptor(T::descriptor());
  return r;
}

template <class T>
const Resource& ResourceOf(const Resource* other) {
  return other ? *other : ResourceOf<T>();
}

struct ListOptions {
  std::string namespace_name;  // "" = all
  std::string label_selector, field_selector;
  std::string resource_version, resource_version_match;
  int64_t limit = 0;
  std::string continue_token;
  std::optional<int64_t> timeout_seconds;
  // Another resource than T's own: metadata of any kind, as PartialObjectMetadata. Must outlive the call.
  const Resource* resource = nullptr;
};
struct DeleteOptions {
  std::optional<int64_t> grace_period_seconds;
  std::string propagation_policy;
  std::optional<std::string> uid, resource_version;
};

template <class T>
struct ListResult {
  std::vector<std::shared_ptr<const T>> items;
  std::string resource_version, continue_token;
};

template <class T>
struct TypedEvent {
  request::EventType type;
  std::shared_ptr<const T> object;  // bookmark: only metadata.resourceVersion
};

class Client {
 public:
  // `user_agent` as the original's component names it: "kube-scheduler".
  Client(request::Transport& transport, std::string user_agent);

  template <class T>
  base::Task<base::Result<T>> Get(base::Context ctx, std::string ns, std::string name, std::string subresource = {});
  template <class T>
  base::Task<base::Result<ListResult<T>>> List(base::Context ctx, ListOptions options);
  // Decoded events until the stream ends; an ERROR event comes back as its Status.
  template <class T>
  class Watcher;
  template <class T>
  base::Task<base::Result<std::unique_ptr<Watcher<T>>>> Watch(base::Context ctx, ListOptions options,
                                                              bool allow_bookmarks = true);
  template <class T>
  base::Task<base::Result<T>> Create(base::Context ctx, T object);  // namespace from its metadata
  template <class T>
  base::Task<base::Result<T>> Update(base::Context ctx, T object, std::string subresource = {});
  template <class T>
  base::Task<base::Result<T>> UpdateStatus(base::Context ctx, T object) {
    return Update<T>(std::move(ctx), std::move(object), "status");
  }
  // `patch` is JSON text. // tidy: parameters: what a patch is made of, as in the API
  template <class T>
  base::Task<base::Result<T>> Patch(base::Context ctx, std::string ns, std::string name, request::PatchType type,
                                    std::string patch, std::string subresource = {});
  template <class T>
  base::Task<base::Status> Delete(base::Context ctx, std::string ns, std::string name, DeleteOptions options = {});
  // A subresource that takes one message and answers another: pods/binding, pods/eviction, serviceaccounts/token.
  template <class T, class In, class Out>
  base::Task<base::Result<Out>> CreateSubresource(base::Context ctx, std::string ns, std::string name,
                                                  std::string subresource, In in);
  // Objects of kinds known only at run time (garbage collector, namespace deletion): JSON or protobuf bytes as the
  // Request says.
  request::Transport& transport() { return transport_; }
  const std::string& user_agent() const { return user_agent_; }

  // The untyped halves, in client.cc.
  base::Task<base::Result<request::Response>> Send(base::Context ctx, request::Request r);
  request::Request NewRequest(request::Verb verb, const Resource& r, std::string ns, std::string name) const;
  request::Request NewListRequest(request::Verb verb, const Resource& r, ListOptions options) const;
  static void SetDeleteOptions(request::Request& r, DeleteOptions options);
  static std::string PatchContentType(request::PatchType type);
  // The message inside the envelope of a protobuf answer.
  static base::Status ParseBody(const request::Response& response, google::protobuf::MessageLite& out);
  static base::Status ParseObject(std::string_view envelope, google::protobuf::MessageLite& out);
  static base::Status ParseMessage(std::string_view bytes, google::protobuf::MessageLite& out);
  // What an ERROR event or an error answer says: a metav1.Status as JSON or in the envelope.
  static base::Status StatusOfObject(std::string_view content_type, std::string_view object);
  static base::SharedBytes Seal(const Resource& r, const google::protobuf::MessageLite& message);
  // A list answer: the items' raw message bytes and the list metadata, without a typed list class.
  struct RawList {
    std::vector<std::string_view> items;  // into the response's body
    std::string resource_version, continue_token;
  };
  static base::Result<RawList> ParseList(const request::Response& response);

 private:
  request::Transport& transport_;
  std::string user_agent_;
};

}  // namespace machinery::client

#include "machinery/client/client_inl.h"
