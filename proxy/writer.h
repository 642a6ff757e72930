// Brings one back end to the rule table, and keeps one Service that the kernel refuses from holding up the others: a
// transaction that fails is halved until the Services it fails for are alone. Those have no rules until they are tried
// again, each by itself, after growing pauses. No clock and no network of its own; calls block on the back end, one at
// a time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "proxy/backends/backend.h"

namespace proxy {

class RuleWriter {
 public:
  explicit RuleWriter(std::unique_ptr<backends::RuleBackend> backend) : backend_(std::move(backend)) {}

  struct Outcome {
    base::Status status;                         // not OK: nothing can be written at all, try again later
    std::map<std::string, std::string> refused;  // "namespace/name" -> why, of the Services tried in vain this time
    bool full = false;                           // the whole table was written
  };

  void Add(const std::set<ServicePortName>& changed) { pending_.insert(changed.begin(), changed.end()); }
  // The kernel's content is not what was written: the next Write makes it anew.
  void WriteAll() { full_ = true; }
  void SetServiceCidrs(std::vector<std::string> cidrs);

  // Something waits that is not in quarantine.
  bool pending() const { return full_ || !pending_.empty(); }
  // When the next Service in quarantine is to be tried.
  std::optional<base::MonoTime> next_try() const;
  size_t quarantined() const { return quarantine_.size(); }

  // Writes a part of what waits, small Services first (so that a huge one delays nobody by more than one
  // transaction), then tries what is due in quarantine. While pending() the caller comes again.
  Outcome Write(const RuleTable& table, base::MonoTime now);
  base::Result<bool> Verify() { return backend_->Verify(); }

 private:
  struct Quarantine {
    base::Duration pause{};
    base::MonoTime last_try{}, next_try{};
  };
  struct Names {
    std::string service;
    std::set<ServicePortName> ports;
  };
  struct Call;  // the arguments of a Write

  bool Wanted(const ServicePortName& name) const;
  std::vector<Names> Waiting() const;
  void WriteFull(Call& call);
  std::vector<std::string> ServicesOf(const RuleTable& table) const;
  base::Status WriteMost(Call& call);
  void IsolateRefused(Call& call, const std::vector<std::string>& services);
  bool WriteParts(Call& call, const std::vector<Names>& parts);
  void Isolate(Call& call, const std::string& service, const base::Status& why);
  void Retry(Call& call);

  std::unique_ptr<backends::RuleBackend> backend_;
  std::set<ServicePortName> pending_;
  std::map<std::string, Quarantine> quarantine_;  // by service
  bool full_ = true;
};

}  // namespace proxy
