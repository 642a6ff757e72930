#include "kvstore/service/features.h"

#include <algorithm>

namespace kvstore::service {

using base::InvalidArgument;
using base::Ok;

Features::Features()
    : all_{
          {"AllAlpha", "ALPHA", false},
          {"AllBeta", "BETA", false},
          {"CompactHashCheck", "ALPHA", false},
          {"FastLeaseKeepAlive", "BETA", true},
          {"InitialCorruptCheck", "ALPHA", false},
          {"LeaseCheckpoint", "ALPHA", false},
          {"LeaseCheckpointPersist", "ALPHA", false},
          {"PriorityRequest", "ALPHA", false},
          {"SetMemberLocalAddr", "ALPHA", false},
          {"StopGRPCServiceOnDefrag", "ALPHA", false},
          {"TxnModeWriteWithSharedBuffer", "BETA", true},
      } {}

bool Features::on(std::string_view name) const {
  return std::ranges::any_of(all_, [&](const Feature& f) { return f.name == name && f.on; });
}

void Features::Set(std::string_view name, bool on) {
  for (Feature& f : all_) {
    bool whole_stage = (name == "AllAlpha" && f.stage == "ALPHA") || (name == "AllBeta" && f.stage == "BETA");
    if (f.name == name || whole_stage) f.on = on;
  }
}

base::Status Features::Set(std::string_view text) {
  while (!text.empty()) {
    std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    if (item.empty()) continue;
    size_t eq = item.find('=');
    std::string_view name = item.substr(0, eq);
    if (eq == std::string_view::npos) return InvalidArgument("missing bool value for " + std::string(name));
    std::string_view value = item.substr(eq + 1);
    if (std::ranges::none_of(all_, [&](const Feature& f) { return f.name == name; })) {
      return InvalidArgument("unrecognized feature gate: " + std::string(name));
    }
    bool on = value == "true" || value == "True" || value == "TRUE" || value == "1" || value == "t";
    bool off = value == "false" || value == "False" || value == "FALSE" || value == "0" || value == "f";
    if (!on && !off) {
      return InvalidArgument("invalid value of " + std::string(name) + "=" + std::string(value) +
                             ", err: strconv.ParseBool: parsing \"" + std::string(value) + "\": invalid syntax");
    }
    Set(name, on);
  }
  return Ok();
}

}  // namespace kvstore::service
