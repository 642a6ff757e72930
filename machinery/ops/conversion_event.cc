#include <utility>

#include "machinery/value/value.h"

namespace machinery::ops::conversions {
namespace {

// The same fields under other names; the rest is common to both APIs.
constexpr std::pair<const char*, const char*> kCoreAndEvents[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

value::Value Rename(value::Value v, bool to_events) {
  for (auto& entry : v.map().entries()) {
    for (auto [core, events] : kCoreAndEvents) {
      if (entry.key != (to_events ? core : events)) continue;
      entry.key = to_events ? events : core;
      break;
    }
  }
  // Renaming in place leaves lookups by key to be made anew.
  value::Map renamed;
  for (auto& entry : v.map().entries()) renamed.Append(std::move(entry.key), std::move(entry.value));
  return value::Value(std::move(renamed));
}

}  // namespace

value::Value EventCoreToEvents(value::Value v) { return Rename(std::move(v), true); }
value::Value EventEventsToCore(value::Value v) { return Rename(std::move(v), false); }

}  // namespace machinery::ops::conversions
