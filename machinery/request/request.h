// The Request value: what every caller builds and the one chain of the apiserver executes, whatever the wire (REST,
// gRPC resources/v1, in-process). Binding, eviction, scale, status, TokenRequest, deletecollection are values of it,
// not endpoints of their own.
//
// Transport is the one interface between clients and a server: the gRPC channel, the in-process handler and (later)
// REST implement it. Errors are a base::Status with an object::ApiError payload.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/context.h"
#include "base/task.h"

namespace machinery::request {

// Who asks. Filled by the chain's identify step; clients may leave it empty (the wire's credentials decide).
struct Identity {
  std::string name;  // "system:anonymous", "system:node:n1"
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  bool InGroup(std::string_view group) const;
};

enum class Verb : uint8_t { kGet, kList, kWatch, kCreate, kUpdate, kPatch, kDelete, kDeleteCollection, kConnect };
std::string_view VerbName(Verb v);  // "get", ..., "deletecollection"
std::optional<Verb> ParseVerb(std::string_view name);

enum class PatchType : uint8_t { kNone, kJson, kMerge, kStrategicMerge, kApplyYaml };

// Media types. Where `accept` names several, negotiation picks; typed clients use exactly kProtobuf.
inline constexpr std::string_view kJson = "application/json";
inline constexpr std::string_view kYaml = "application/yaml";
inline constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

// ListOptions, GetOptions, CreateOptions, UpdateOptions, PatchOptions, DeleteOptions in one; what a verb does not know
// is ignored as the original ignores it.
struct Options {
  std::string label_selector, field_selector;
  std::string resource_version;        // as sent; "" = unset
  std::string resource_version_match;  // "", "Exact", "NotOlderThan"
  int64_t limit = 0;
  std::string continue_token;
  std::optional<int64_t> timeout_seconds;
  bool allow_watch_bookmarks = false;
  std::optional<bool> send_initial_events;
  std::vector<std::string> dry_run;  // {"All"}
  std::string field_manager;
  std::string field_validation;  // "", "Ignore", "Warn", "Strict"
  std::optional<bool> force;     // apply
  // Delete; also read from a DeleteOptions body, which wins.
  std::optional<int64_t> grace_period_seconds;
  std::string propagation_policy;  // "", "Orphan", "Background", "Foreground"
  std::optional<bool> orphan_dependents;
  std::optional<std::string> precondition_uid, precondition_resource_version;
  bool ignore_store_read_error = false;  // an object that does not decode; of a DeleteOptions body alone
  // Table rendering.
  std::string include_object;  // "", "None", "Metadata", "Object"
};

struct Request {
  Verb verb = Verb::kGet;
  std::string group, version, resource;  // "apps", "v1", "deployments"
  std::string namespace_name;            // "" = cluster-scoped or all namespaces
  std::string name;
  std::string subresource;  // "status", "scale", "binding", "eviction", "token", "log", ...
  std::string subpath;      // what follows a proxy subresource
  Options options;
  // Other query parameters of connect verbs (log, exec ...), in order.
  std::vector<std::pair<std::string, std::string>> parameters;
  Identity identity;
  std::string content_type;  // of the body
  PatchType patch_type = PatchType::kNone;
  std::string accept;      // as the HTTP header; "" = JSON
  base::SharedBytes body;  // null = none; a typed client's body is in the k8s\0 envelope
  std::string user_agent;
  std::string source_address;
};

struct Response {
  int code = 200;  // 200, 201, 202
  std::string content_type;
  base::SharedBytes body;             // protobuf: in the envelope
  std::vector<std::string> warnings;  // texts of Warning: 299 headers
};

enum class EventType : uint8_t { kAdded, kModified, kDeleted, kBookmark, kError };
std::string_view EventTypeName(EventType t);  // "ADDED"

struct WatchEvent {
  EventType type = EventType::kAdded;
  base::SharedBytes object;  // encoded in the response's media type, protobuf: in the envelope
};

// Events of one watch. Ends with an error Status (410 arrives as an kError event first, as in the original) or nullopt.
class WatchStream {
 public:
  virtual ~WatchStream() = default;  // stops the watch
  virtual std::string_view content_type() const = 0;
  virtual base::Task<base::Result<std::optional<WatchEvent>>> Next(base::Context ctx) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual base::Task<base::Result<Response>> Do(base::Context ctx, Request request) = 0;
  virtual base::Task<base::Result<std::unique_ptr<WatchStream>>> Watch(base::Context ctx, Request request) = 0;
};

}  // namespace machinery::request
