#include "machinery/client/event_recorder.h"

#include <charconv>
#include <deque>
#include <map>
#include <set>

#include "base/log.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/event.pb.h"

namespace machinery::client {
namespace {
using Message = k8s::io::api::core::v1::Event;

constexpr size_t kMaxQueued = 1000;
constexpr size_t kMaxRemembered = 4096;
constexpr size_t kMaxSimilar = 10;  // different messages of one reason before they become one aggregate
constexpr base::Duration kSimilarWithin = std::chrono::minutes(10);
constexpr base::Duration kSeriesEnds = std::chrono::minutes(6);
constexpr double kBurst = 25, kPerSecond = 1.0 / 300;  // per object
constexpr int kTries = 5;

std::string JoinKey(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (auto p : parts) out.append(p).push_back('\0');
  return out;
}

}  // namespace

struct EventRecorder::Impl {
  Impl(base::Executor& e, Client& c) : executor(e), client(c), wake(e) {}

  struct Similar {
    std::set<std::string> messages;
    base::MonoTime last{};
  };
  struct Bucket {
    double tokens = kBurst;
    base::MonoTime at{};
  };
  struct Known {
    Message message;
    base::MonoTime last{};
    bool unsent = false;
  };

  base::Executor& executor;
  Client& client;
  std::string component, host;
  EventStyle style = EventStyle::kCounted;
  std::map<std::string, Similar> similar;
  std::map<std::string, Bucket> buckets;
  std::map<std::string, Known> known;
  std::deque<Message> queue;
  uint64_t dropped = 0, last_stamp = 0;
  base::Event wake;

  bool Allowed(const std::string& object) {
    Bucket& b = buckets[object];
    base::MonoTime now = executor.Now();
    b.tokens = std::min(kBurst, b.tokens + std::chrono::duration<double>(now - b.at).count() * kPerSecond);
    b.at = now;
    if (b.tokens < 1) return false;
    b.tokens -= 1;
    return true;
  }

  // The object's name and the time, made unique where the clock is too coarse.
  std::string EventName(const std::string& object) {
    char buffer[20];
    last_stamp =
        std::max<uint64_t>(last_stamp + 1, static_cast<uint64_t>(executor.WallNow().time_since_epoch().count()));
    auto end = std::to_chars(buffer, buffer + sizeof buffer, last_stamp, 16).ptr;
    return object + "." + std::string(buffer, end);
  }

  // The key under which the event counts, and its text when it joins an aggregate.
  std::string Correlate(const std::string& object_key, const std::string& reason_key, std::string& message) {
    Similar& s = similar[reason_key];
    base::MonoTime now = executor.Now();
    if (now - s.last > kSimilarWithin) s.messages.clear();
    s.last = now;
    s.messages.insert(message);
    if (s.messages.size() <= kMaxSimilar) return reason_key + message;
    s.messages.erase(s.messages.begin());
    message = "(combined from similar events): " + message;
    return reason_key;
  }

  Message Make(const ObjectReference& about, std::string_view type, std::string reason) {
    Message m;
    auto* meta = m.mutable_metadata();
    meta->set_name(EventName(about.name));
    meta->set_namespace_(about.namespace_name.empty() ? "default" : about.namespace_name);
    auto* involved = m.mutable_involvedobject();
    involved->set_kind(about.kind);
    involved->set_namespace_(about.namespace_name);
    involved->set_name(about.name);
    involved->set_uid(about.uid);
    involved->set_apiversion(about.api_version);
    involved->set_resourceversion(about.resource_version);
    involved->set_fieldpath(about.field_path);
    m.set_type(std::string(type));
    m.set_reason(std::move(reason));
    m.set_reportingcomponent(component);
    if (style == EventStyle::kSeries) {
      m.set_reportinginstance(component + "-" + host);
      SetMicroTime(*m.mutable_eventtime(), executor.WallNow());
      return m;
    }
    m.set_reportinginstance(host);
    m.mutable_source()->set_component(component);
    if (!host.empty()) m.mutable_source()->set_host(host);
    return m;
  }

  void Bound() {
    auto trim = [](auto& map) {
      while (map.size() > kMaxRemembered) map.erase(map.begin());
    };
    trim(similar), trim(buckets), trim(known);
  }

  void Enqueue(Message m) {
    if (queue.size() >= kMaxQueued) {
      ++dropped;
      return;
    }
    queue.push_back(std::move(m));
    wake.NotifyOne();
  }

  void Counted(const ObjectReference& about, std::string_view type, std::string reason, std::string text) {
    std::string object_key = JoinKey({about.kind, about.namespace_name, about.name, about.uid, about.api_version});
    if (!Allowed(object_key)) return;
    std::string reason_key = object_key + JoinKey({about.field_path, type, reason});
    std::string key = Correlate(object_key, reason_key, text);
    auto [it, fresh] = known.try_emplace(std::move(key));
    Message& m = it->second.message;
    if (fresh) {
      m = Make(about, type, std::move(reason));
      SetTime(*m.mutable_firsttimestamp(), executor.WallNow());
    }
    m.set_message(std::move(text));
    m.set_count(m.count() + 1);
    SetTime(*m.mutable_lasttimestamp(), executor.WallNow());
    Enqueue(m);
  }

  void Series(const ObjectReference& about, std::string_view type, std::string reason, std::string text,
              std::string action) {
    std::string key = JoinKey({about.kind, about.namespace_name, about.name, about.uid, type, reason, action});
    base::MonoTime now = executor.Now();
    auto it = known.find(key);
    if (it != known.end() && now - it->second.last > kSeriesEnds) {
      if (it->second.unsent) Enqueue(it->second.message);
      known.erase(it);
      it = known.end();
    }
    if (it == known.end()) {
      Message m = Make(about, type, std::move(reason));
      m.set_message(std::move(text));
      m.set_action(std::move(action));
      Enqueue(m);
      known[std::move(key)] = {std::move(m), now, false};
      return;
    }
    // The second one begins the series and is written; later ones only count until the series ends.
    Known& k = it->second;
    auto* series = k.message.mutable_series();
    bool second = series->count() == 0;
    series->set_count(second ? 2 : series->count() + 1);
    SetMicroTime(*series->mutable_lastobservedtime(), executor.WallNow());
    k.last = now;
    k.unsent = !second;
    if (second) Enqueue(k.message);
  }

  base::Task<void> Send(base::Context ctx, Message m) {
    for (int i = 0; i < kTries; ++i) {
      // An update makes the event again when it has expired meanwhile.
      bool again = m.count() > 1 || m.has_series();
      base::Status status;
      if (again)
        status = base::StatusOf(co_await client.Update<Message>(ctx, m));
      else
        status = base::StatusOf(co_await client.Create<Message>(ctx, m));
      if (status.ok()) co_return;
      if (status.code() != base::Code::kUnavailable && !object::IsTooManyRequests(status)) {
        base::LogV(2, "Event rejected by the server", {{"event", m.metadata().name()}, {"err", status}});
        co_return;
      }
      if (!(co_await base::Sleep(executor, ctx, std::chrono::seconds(1 << i))).ok()) co_return;
    }
    ++dropped;
  }
};

EventRecorder::EventRecorder(base::Executor& executor, Client& client, std::string component, std::string host,
                             EventStyle style)
    : impl_(std::make_unique<Impl>(executor, client)) {
  impl_->component = std::move(component);
  impl_->host = std::move(host);
  impl_->style = style;
}

EventRecorder::~EventRecorder() = default;

void EventRecorder::Event(const ObjectReference& about, std::string_view type, std::string reason, std::string message,
                          std::string action) {
  constexpr size_t kMaxMessage = 1024;  // the API's limit
  if (message.size() > kMaxMessage) message.resize(kMaxMessage);
  impl_->Bound();
  if (impl_->style == EventStyle::kSeries)
    impl_->Series(about, type, std::move(reason), std::move(message), std::move(action));
  else
    impl_->Counted(about, type, std::move(reason), std::move(message));
}

base::Task<void> EventRecorder::Run(base::Context ctx) {
  for (;;) {
    while (!impl_->queue.empty() && !ctx.done()) {
      auto m = std::move(impl_->queue.front());
      impl_->queue.pop_front();
      co_await impl_->Send(ctx, std::move(m));
    }
    if (!(co_await impl_->wake.Wait(ctx)).ok()) break;
  }
  auto last = base::Context().WithTimeout(impl_->executor, std::chrono::seconds(1));
  while (!impl_->queue.empty() && !last.done()) {
    auto m = std::move(impl_->queue.front());
    impl_->queue.pop_front();
    co_await impl_->Send(last, std::move(m));
  }
}

}  // namespace machinery::client
