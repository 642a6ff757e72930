#include "apiserver/chain/watch_stream.h"

#include "apiserver/chain/encode.h"

namespace apiserver::chain {

using machinery::request::EventType;
using machinery::request::WatchEvent;

namespace {

// Different encodings of one event must not share a frame slot.
uint8_t FormCode(const Negotiated& n, Framing framing) {
  return static_cast<uint8_t>(static_cast<int>(n.media) | static_cast<int>(n.as) << 2 |
                              (n.as_version == "v1" ? 0 : 1) << 4 | static_cast<int>(framing) << 5);
}

base::SharedBytes FrameOf(Framing framing, Media media, EventType type, const std::string& object) {
  return framing == Framing::kMessage ? MessageFrame(type, object) : Frame(media, type, object);
}

class CacheStream final : public EventStream {
 public:
  CacheStream(registry::WatchSession session, EncodeContext context, base::Executor& executor, base::Context ctx)
      : session_(std::move(session)), context_(std::move(context)), executor_(executor), ctx_(std::move(ctx)) {}
  ~CacheStream() override { ctx_.Cancel(); }

  std::string_view content_type() const override { return context_.form.content_type; }

  base::Task<base::Result<std::optional<WatchEvent>>> Next(base::Context ctx) override {
    CO_TRY_ASSIGN(auto item, co_await NextItem(std::move(ctx)));
    if (!item) co_return std::nullopt;
    CO_TRY_ASSIGN(base::SharedBytes bytes, EncodeItem(*item));
    co_return WatchEvent{TypeOf(*item), std::move(bytes)};
  }

  base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context ctx, Framing framing) override {
    CO_TRY_ASSIGN(auto item, co_await NextItem(std::move(ctx)));
    if (!item) co_return base::SharedBytes();
    co_return FrameOfItem(*item, framing);
  }

  void OfferTo(Framing framing, std::function<bool(base::SharedBytes&)> sink) override {
    session_.watcher->OfferTo([this, framing, sink = std::move(sink)](const Item& item) {
      if (context_.form.as == As::kTable && first_) return false;  // only the first is encoded with columns
      auto frame = FrameOfItem(item, framing);
      return frame && sink(*frame);  // NextFrame meets the error again, and ends the watch with it
    });
  }

 private:
  using Item = storage::CacheWatcher::Item;

  // nullopt: the watch is over (its time is up, or its client must start anew from what it saw last).
  base::Task<base::Result<std::optional<Item>>> NextItem(base::Context ctx) {
    if (auto item = session_.watcher->TryNext()) co_return item;
    // Whoever waits and the watch's own time limit both end the wait; the caller's context wins for the error.
    auto joined = ctx_.WithCancel();
    auto link = ctx.OnDone([joined] { joined.Cancel(); });
    auto item = co_await session_.watcher->Next(joined);
    if (item) co_return std::optional<Item>(std::move(*item));
    if (ctx.done()) co_return base::Err(ctx.status());
    co_return std::nullopt;
  }

  base::Result<base::SharedBytes> FrameOfItem(const Item& item, Framing framing) {
    EventType type = TypeOf(item);
    // A table's first event differs from the others.
    bool shared = item.change && !(context_.form.as == As::kTable && first_);
    uint8_t form = FormCode(context_.form, framing), code = static_cast<uint8_t>(type);
    if (shared)
      for (const auto& f : item.change->frames)
        if (f.version == context_.kind && f.media == form && f.type == code) return f.bytes;
    TRY_ASSIGN(base::SharedBytes bytes, EncodeItem(item));
    auto frame = FrameOf(framing, context_.form.media, type, *bytes);
    if (shared) item.change->frames.push_back({context_.kind, form, code, frame});
    return frame;
  }

  static EventType TypeOf(const Item& item) {
    switch (item.type) {
      case Item::Type::kAdded:
        return EventType::kAdded;
      case Item::Type::kModified:
        return EventType::kModified;
      case Item::Type::kDeleted:
        return EventType::kDeleted;
      case Item::Type::kBookmark:
        break;
    }
    return EventType::kBookmark;
  }

  base::Result<base::SharedBytes> EncodeItem(const Item& item) {
    if (item.type == Item::Type::kBookmark) return EncodeBookmark(context_, item.revision, item.initial_events_end);
    context_.now = executor_.WallNow();
    return EncodeEventObject(context_, *item.object, std::exchange(first_, false));
  }

  registry::WatchSession session_;
  EncodeContext context_;
  base::Executor& executor_;
  base::Context ctx_;
  bool first_ = true;
};

// One ERROR event, then the end: how a watch says that it cannot begin.
class ErrorStream final : public EventStream {
 public:
  ErrorStream(const machinery::schema::Schema& schema, Negotiated form, base::Status error)
      : form_(std::move(form)), object_(base::Share(EncodeStatus(schema, form_.media, error))) {}
  std::string_view content_type() const override { return form_.content_type; }
  base::Task<base::Result<std::optional<WatchEvent>>> Next(base::Context) override {
    if (std::exchange(done_, true)) co_return std::nullopt;
    co_return WatchEvent{EventType::kError, object_};
  }
  base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context, Framing framing) override {
    if (std::exchange(done_, true)) co_return base::SharedBytes();
    co_return FrameOf(framing, form_.media, EventType::kError, *object_);
  }

 private:
  Negotiated form_;
  base::SharedBytes object_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<EventStream> StreamOf(registry::WatchSession session, EncodeContext context, base::Executor& executor,
                                      base::Duration limit) {
  return std::make_unique<CacheStream>(std::move(session), std::move(context), executor,
                                       base::Context().WithTimeout(executor, limit));
}

std::unique_ptr<EventStream> StreamOfError(const machinery::schema::Schema& schema, Negotiated form,
                                           const base::Status& error) {
  return std::make_unique<ErrorStream>(schema, std::move(form), error);
}

}  // namespace apiserver::chain
