// The last step of the chain: what a verb came to, as bytes in the negotiated form. Single objects and list items are
// put together from encodings that the cache shares; nothing is decoded unless a Table, metadata only or YAML is asked
// for. On the server's loop.
#pragma once

#include "apiserver/chain/negotiate.h"
#include "apiserver/registry/registry.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

struct EncodeContext {
  const machinery::schema::Schema* schema = nullptr;
  const machinery::schema::Kind* kind = nullptr;  // in the version the client speaks
  Negotiated form;
  base::WallTime now;
  std::string include_object;  // of table requests
};

base::Result<base::SharedBytes> EncodeOutcome(const EncodeContext& c, const registry::Outcome& outcome);
// A metav1.Status of an error.
std::string EncodeStatus(const machinery::schema::Schema& schema, Media media, const base::Status& error);

// One event's object. `columns`: the first table of a watch has column definitions.
base::Result<base::SharedBytes> EncodeEventObject(const EncodeContext& c, const storage::Object& object, bool columns);
base::Result<base::SharedBytes> EncodeBookmark(const EncodeContext& c, uint64_t revision, bool initial_events_end);
// The event around it, as REST sends it: a JSON line, or length and WatchEvent.
base::SharedBytes MessageFrame(machinery::request::EventType type, const std::string& object);  // resources/v1 Event
base::SharedBytes Frame(Media media, machinery::request::EventType type, const std::string& object);

}  // namespace apiserver::chain
