// Watches being answered: what a watcher of the cache says, encoded in the negotiated form.
//
// On the server's loop.
#pragma once

#include <functional>
#include <memory>

#include "apiserver/chain/encode.h"
#include "apiserver/registry/registry.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

// How events stand on a wire.
enum class Framing : uint8_t {
  kStream,   // REST: a JSON line, or length + WatchEvent in Protobuf
  kMessage,  // gRPC: one resources/v1 Event
};
// A watch being answered: encoded events in the negotiated media type.
class EventStream : public machinery::request::WatchStream {
 public:
  // The next event as bytes for the wire, shared by equal watchers; null at the end.
  virtual base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context ctx,
                                                                Framing framing = Framing::kStream) = 0;
  // From now on a frame that comes while NextFrame has nothing to give is offered to `sink` at once; what it leaves
  // (false) comes from NextFrame, in order. A stream without further events ignores this.
  virtual void OfferTo(Framing framing, std::function<bool(base::SharedBytes&)> sink) {}
};

// Events of a session until `limit` has passed.
std::unique_ptr<EventStream> StreamOf(registry::WatchSession session, EncodeContext context, base::Executor& executor,
                                      base::Duration limit);
// One ERROR event, then the end: how a watch says that it cannot begin.
std::unique_ptr<EventStream> StreamOfError(const machinery::schema::Schema& schema, Negotiated form,
                                           const base::Status& error);

}  // namespace apiserver::chain
