#include "proxy/writer.h"

#include <algorithm>

namespace proxy {
namespace {

using backends::SyncRequest;

// Service ports of one transaction: some 50 ms of the kernel's time.
constexpr size_t kPortsAtOnce = 500;
constexpr size_t kPortsOfOne = 250;  // of one Service: leaves room for others beside it
constexpr size_t kRetriesAtOnce = 4;
constexpr base::Duration kFirstPause = std::chrono::seconds(5);
constexpr base::Duration kLongestPause = std::chrono::minutes(5);

// The service ports the table has of a Service.
std::set<ServicePortName> PortsOf(const RuleTable& table, const std::string& service) {
  std::set<ServicePortName> out;
  size_t slash = service.find('/');
  std::string ns = service.substr(0, slash), name = service.substr(slash + 1);
  for (auto it = table.lower_bound({ns, name, "", ""});
       it != table.end() && it->first.namespace_name == ns && it->first.name == name; ++it)
    out.insert(it->first);
  return out;
}

std::string Reason(const base::Status& status) {
  std::string text(status.message());
  if (size_t line = text.find('\n'); line != text.npos) text.resize(line);
  if (text.size() > 400) text.resize(400);
  return text;
}

}  // namespace

struct RuleWriter::Call {
  const RuleTable& table;
  base::MonoTime now;
  Outcome outcome;
};

void RuleWriter::SetServiceCidrs(std::vector<std::string> cidrs) {
  backend_->SetServiceCidrs(std::move(cidrs));
  full_ = true;
}

std::optional<base::MonoTime> RuleWriter::next_try() const {
  std::optional<base::MonoTime> next;
  for (const auto& [service, q] : quarantine_) next = next ? std::min(*next, q.next_try) : q.next_try;
  return next;
}

bool RuleWriter::Wanted(const ServicePortName& name) const {
  return quarantine_.empty() || !quarantine_.contains(name.Service());
}

// What is pending, by Service, small ones first, as much as one transaction takes.
std::vector<RuleWriter::Names> RuleWriter::Waiting() const {
  std::vector<Names> out;
  for (const auto& name : pending_) {
    std::string service = name.Service();
    if (out.empty() || out.back().service != service || out.back().ports.size() >= kPortsOfOne)
      out.push_back({std::move(service), {}});
    out.back().ports.insert(name);
  }
  std::ranges::sort(out, {}, [](const Names& n) { return std::pair(n.ports.size(), n.service); });
  size_t ports = 0;
  auto end = std::ranges::find_if(out, [&](const Names& n) { return (ports += n.ports.size()) > kPortsAtOnce; });
  out.erase(end, out.end());
  return out;
}

RuleWriter::Outcome RuleWriter::Write(const RuleTable& table, base::MonoTime now) {
  Call call{table, now, {}};
  // A Service in quarantine that was changed may be well now; it is tried alone, and not at every change.
  for (auto it = pending_.begin(); it != pending_.end();) {
    auto q = quarantine_.find(it->Service());
    if (q != quarantine_.end()) q->second.next_try = std::min(q->second.next_try, q->second.last_try + kFirstPause);
    it = q == quarantine_.end() ? std::next(it) : pending_.erase(it);
  }
  if (!full_)
    if (auto parts = Waiting(); !parts.empty()) WriteParts(call, parts);
  if (full_) WriteFull(call);
  if (call.outcome.status.ok()) Retry(call);
  return std::move(call.outcome);
}

void RuleWriter::WriteFull(Call& call) {
  auto wanted = [this](const ServicePortName& name) { return Wanted(name); };
  call.outcome.full = true;
  base::Status status = backend_->Sync({call.table, nullptr, wanted});
  if (!status.ok()) {
    // Is it the table itself that cannot be had (rights, memory), or somebody's rules?
    base::Status empty = backend_->Sync({call.table, nullptr, [](const auto&) { return false; }, true});
    if (!empty.ok()) {
      call.outcome.status = empty;
      return;
    }
    IsolateRefused(call, ServicesOf(call.table));
    status = WriteMost(call);
  } else {
    pending_.clear();
  }
  call.outcome.status = status;
  full_ = !status.ok();
}

std::vector<std::string> RuleWriter::ServicesOf(const RuleTable& table) const {
  std::vector<std::string> out;
  for (const auto& [name, rule] : table)
    if (Wanted(name) && (out.empty() || out.back() != name.Service())) out.push_back(name.Service());
  return out;
}

// The whole table, or as much of it as the kernel takes at once; the rest is pending then.
base::Status RuleWriter::WriteMost(Call& call) {
  std::vector<std::string> services = ServicesOf(call.table);
  for (;;) {
    std::set<std::string, std::less<>> part(services.begin(), services.end());
    auto wanted = [&](const ServicePortName& name) { return part.contains(name.Service()); };
    base::Status status = backend_->Sync({call.table, nullptr, wanted});
    if (status.ok()) {
      pending_.clear();
      for (const auto& [name, rule] : call.table)
        if (Wanted(name) && !wanted(name)) pending_.insert(name);
    }
    if (status.ok() || services.empty()) return status;
    services.resize(services.size() / 2);
  }
}

// Finds those of `services` the kernel would not take. A part that passes as a whole is asked once.
void RuleWriter::IsolateRefused(Call& call, const std::vector<std::string>& services) {
  std::set<std::string, std::less<>> part(services.begin(), services.end());
  if (part.empty()) return;
  auto wanted = [&](const ServicePortName& name) { return part.contains(name.Service()); };
  base::Status status = backend_->Sync({call.table, nullptr, wanted, true});
  if (status.ok()) return;
  if (services.size() == 1) {
    Isolate(call, services[0], status);
    return;
  }
  auto middle = services.begin() + static_cast<ptrdiff_t>(services.size() / 2);
  IsolateRefused(call, {services.begin(), middle});
  IsolateRefused(call, {middle, services.end()});
}

// False when the kernel's content turned out to be somebody else's: a full write is due.
bool RuleWriter::WriteParts(Call& call, const std::vector<Names>& parts) {
  std::set<ServicePortName> names;
  for (const auto& part : parts) names.insert(part.ports.begin(), part.ports.end());
  auto wanted = [this](const ServicePortName& name) { return Wanted(name); };
  base::Status status = backend_->Sync({call.table, &names, wanted});
  if (status.ok()) {
    for (const auto& name : names) pending_.erase(name);
    return true;
  }
  if (auto intact = backend_->Verify(); !intact || !*intact) {
    full_ = true;
    return false;
  }
  if (parts.size() == 1) {
    // Its old rules name endpoints that may be somebody else's by now: they go as a whole.
    Isolate(call, parts[0].service, status);
    std::set<ServicePortName> all = PortsOf(call.table, parts[0].service);
    all.insert(names.begin(), names.end());
    for (const auto& name : pending_)
      if (name.Service() == parts[0].service) all.insert(name);
    for (const auto& name : all) pending_.erase(name);
    full_ = !backend_->Sync({call.table, &all, wanted}).ok();
    return !full_;
  }
  auto middle = parts.begin() + static_cast<ptrdiff_t>(parts.size() / 2);
  return WriteParts(call, {parts.begin(), middle}) && WriteParts(call, {middle, parts.end()});
}

void RuleWriter::Isolate(Call& call, const std::string& service, const base::Status& why) {
  Quarantine& q = quarantine_[service];
  q.pause = q.pause == base::Duration{} ? kFirstPause : std::min(2 * q.pause, kLongestPause);
  q.last_try = call.now;
  q.next_try = call.now + q.pause;
  call.outcome.refused[service] = Reason(why);
}

void RuleWriter::Retry(Call& call) {
  std::vector<std::string> due;
  for (const auto& [service, q] : quarantine_)
    if (q.next_try <= call.now && due.size() < kRetriesAtOnce) due.push_back(service);
  for (const auto& service : due) {
    std::set<ServicePortName> names = PortsOf(call.table, service);
    auto all = [&](const ServicePortName& name) { return Wanted(name) || name.Service() == service; };
    base::Status status = names.empty() ? base::Ok() : backend_->Sync({call.table, &names, all});
    if (status.ok()) {
      quarantine_.erase(service);
    } else {
      Isolate(call, service, status);
    }
  }
}

}  // namespace proxy
