// Events for people: what happened to an object, aggregated as the original does (same reason, message and object: the
// count grows; many similar: one aggregate; a bucket per object limits the rate). Sending is asynchronous and bounded;
// an event that cannot be sent is dropped and counted. core/v1 Events. One strand.
#pragma once

#include <memory>
#include <string>

#include "base/sync.h"
#include "machinery/client/client.h"

namespace machinery::client {

struct ObjectReference {
  std::string api_version, kind, namespace_name, name, uid, resource_version, field_path;
};
template <class T>
ObjectReference ReferenceTo(const T& object, std::string field_path = {}) {
  const auto& r = ResourceOf<T>();
  const auto& m = object.metadata();
  return {r.ApiVersion(), r.kind, m.namespace_(), m.name(), m.uid(), m.resourceversion(), std::move(field_path)};
}

// The original has two recorders with different traces: kCounted (count, firstTimestamp, lastTimestamp; controllers,
// kubelet) and kSeries (eventTime, action, series; the scheduler).
enum class EventStyle { kCounted, kSeries };

class EventRecorder {
 public:
  // `component` and `host` are source.component and source.host (kCounted), or reportingComponent and the last part of
  // reportingInstance (kSeries).
  EventRecorder(base::Executor& executor, Client& client, std::string component, std::string host = {},
                EventStyle style = EventStyle::kCounted);
  ~EventRecorder();
  // `type` is "Normal" or "Warning"; `action` is kept by kSeries only.
  void Event(const ObjectReference& about, std::string_view type, std::string reason, std::string message,
             std::string action = {});
  // Sends until the context ends, then what is left within a second.
  base::Task<void> Run(base::Context ctx);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace machinery::client
