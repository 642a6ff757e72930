#include "apiserver/registry/core/node_ports.h"

#include <algorithm>

#include "apiserver/registry/registry.h"
#include "base/log.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;

namespace {

constexpr std::string_view kKey = "/registry/ranges/servicenodeports";
constexpr auto kRepairInterval = std::chrono::minutes(3);
constexpr int kRepairsBeforeRelease = 3;

// How many of the lowest ports dynamic allocation leaves to static ones: between 16 and 128, a 32nd in between
// (KEP-3668).
size_t StaticBand(size_t size) {
  constexpr size_t kLeast = 16, kMost = 128, kShare = 32;
  if (size < kLeast * 2) return 0;
  return std::min(kMost, std::max(kLeast, size / kShare));
}

void ForPorts(const Value& service, const std::function<void(int)>& fn) {
  const Value& ports = service.At("spec", "ports");
  if (ports.is_list())
    for (const Value& p : ports.list())
      if (auto n = p.At("nodePort").int_or(); n > 0) fn(static_cast<int>(n));
  if (auto n = service.At("spec", "healthCheckNodePort").int_or(); n > 0) fn(static_cast<int>(n));
}

}  // namespace

NodePorts::NodePorts(Registry& registry, int first, int last)
    : registry_(registry),
      first_(first),
      last_(last),
      mutex_(registry.executor()),
      background_(registry.executor(), base::Context()) {}

// The bitmap is a big-endian number (Go's big.Int) whose lowest bit is the first port.
NodePorts::Bits NodePorts::Parse(const std::optional<storage::KeyValue>& kv) const {
  Bits bits(last_ - first_ + 1);
  if (!kv) return bits;
  const auto* type = registry_.schema().FindObject("", "v1", "RangeAllocation");
  auto tree = machinery::codec::DecodeEnvelope(*type, *kv->value);
  if (!tree) {
    base::LogWarning("the node port range is not readable and is made anew from the Services",
                     {{"error", tree.error().ToString()}});
    return InUse();
  }
  // Of another range: what Services use counts.
  if (tree->At("range").string_or() != RangeText()) return InUse();
  auto data = base::Base64Decode(tree->At("data").string_or());
  if (!data) return InUse();
  for (size_t i = 0; i < bits.size() && i / 8 < data->size(); ++i)
    bits[i] = static_cast<unsigned char>((*data)[data->size() - 1 - i / 8]) >> (i % 8) & 1;
  return bits;
}

base::SharedBytes NodePorts::Encode(const Bits& bits) const {
  std::string data((bits.size() + 7) / 8, '\0');
  for (size_t i = 0; i < bits.size(); ++i)
    if (bits[i]) data[data.size() - 1 - i / 8] |= static_cast<char>(1 << i % 8);
  data.erase(0, data.find_first_not_of('\0') == data.npos ? data.size() : data.find_first_not_of('\0'));
  Value v(Map{{"kind", Value("RangeAllocation")},
              {"apiVersion", Value("v1")},
              {"metadata", Value(Map{})},
              {"range", Value(RangeText())},
              {"data", Value(base::Base64Encode(data))}});
  const auto* type = registry_.schema().FindObject("", "v1", "RangeAllocation");
  return base::Share(machinery::codec::EncodeEnvelope(*type, v));
}

NodePorts::Bits NodePorts::InUse() const {
  Bits bits(last_ - first_ + 1);
  if (Store* services = registry_.FindStore("", "services"))
    services->cache().ForEach([&](const ObjectPtr& o) {
      ForPorts(o->Tree(), [&](int port) {
        if (Contains(port)) bits[port - first_] = true;
      });
      return true;
    });
  return bits;
}

base::Task<base::Status> NodePorts::Load(base::Context ctx) {
  CO_TRY_ASSIGN(auto got, co_await registry_.storage().Get(ctx, std::string(kKey)));
  stored_ = std::move(got.kv);
  loaded_ = true;
  co_return base::Ok();
}

base::Task<base::Status> NodePorts::Swap(base::Context ctx, std::function<base::Result<bool>(Bits&)> change) {
  CO_TRY_ASSIGN(auto guard, co_await mutex_.Lock(ctx));
  bool fresh = !loaded_;
  if (fresh) CO_TRY(co_await Load(ctx));
  while (true) {
    Bits bits = stored_ ? Parse(stored_) : InUse();
    auto wanted = change(bits);
    if (!wanted && !fresh) {
      // What was seen last may be old: a refusal counts only against the present state.
      CO_TRY(co_await Load(ctx));
      fresh = true;
      continue;
    }
    if (!wanted) co_return wanted.error();
    if (!*wanted) co_return base::Ok();
    auto bytes = Encode(bits);
    storage::WriteResult written;
    if (stored_) {
      CO_TRY_ASSIGN(written, co_await registry_.storage().Update(ctx, std::string(kKey), bytes, stored_->mod_revision));
    } else {
      CO_TRY_ASSIGN(written, co_await registry_.storage().Create(ctx, std::string(kKey), bytes));
    }
    if (written.written) {
      storage::KeyValue kv;
      kv.key = kKey;
      kv.value = bytes;
      kv.mod_revision = written.revision;
      stored_ = std::move(kv);
      co_return base::Ok();
    }
    stored_ = std::move(written.current);
    fresh = true;
    CO_TRY(ctx.status());
  }
}

base::Task<base::Status> NodePorts::Take(base::Context ctx, int port, bool dry_run) {
  if (!Contains(port))
    co_return base::OutOfRange("provided port is not in the valid range. The range of valid ports is " + RangeText());
  pending_.insert(port);
  auto s = co_await Swap(ctx, [&](Bits& bits) -> base::Result<bool> {
    if (bits[port - first_]) return base::Err(base::AlreadyExists("provided port is already allocated"));
    bits[port - first_] = true;
    return !dry_run;
  });
  if (!s.ok() || dry_run) pending_.erase(port);
  co_return s;
}

base::Task<base::Result<int>> NodePorts::TakeAny(base::Context ctx, bool dry_run) {
  int port = 0;
  // Noted before the write, so that a repair in between does not take it for a leak.
  auto choose = [&](int chosen) {
    if (port) pending_.erase(port);  // of an attempt that lost
    port = chosen;
    if (port && !dry_run) pending_.insert(port);
  };
  auto s = co_await Swap(ctx, [&](Bits& bits) -> base::Result<bool> {
    size_t band = StaticBand(bits.size());
    for (auto [first, count] : {std::pair{band, bits.size() - band}, std::pair{size_t{0}, band}}) {
      if (count == 0) continue;
      size_t start = registry_.random().Below(count);
      for (size_t i = 0; i < count; ++i) {
        size_t at = first + (start + i) % count;
        if (bits[at]) continue;
        bits[at] = true;
        choose(first_ + static_cast<int>(at));
        return !dry_run;
      }
    }
    return base::Err(base::ResourceExhausted("range is full"));
  });
  if (!s.ok()) {
    choose(0);
    co_return base::Err(std::move(s));
  }
  co_return port;
}

base::Task<base::Status> NodePorts::Release(base::Context ctx, std::vector<int> ports) {
  for (int port : ports) pending_.erase(port);
  co_return co_await Swap(ctx, [&](Bits& bits) -> base::Result<bool> {
    bool changed = false;
    for (int port : ports) {
      if (!Contains(port) || !bits[port - first_]) continue;
      bits[port - first_] = false;
      changed = true;
    }
    return changed;
  });
}

void NodePorts::ReleaseLater(std::vector<int> ports) {
  if (ports.empty()) return;
  auto task = [](NodePorts* self, base::Context ctx, std::vector<int> list) -> base::Task<void> {
    auto s = co_await self->Release(ctx, std::move(list));
    if (!s.ok()) base::LogWarning("node ports could not be released", {{"error", s.ToString()}});
  };
  background_.Spawn(task(this, background_.context(), std::move(ports)));
}

base::Task<base::Status> NodePorts::Repair(base::Context ctx) {
  co_return co_await Swap(ctx, [&](Bits& bits) -> base::Result<bool> {
    Bits used = InUse();
    bool changed = !stored_;
    std::map<int, int> suspects;
    for (size_t i = 0; i < bits.size(); ++i) {
      int port = first_ + static_cast<int>(i);
      if (used[i] && !bits[i]) {
        bits[i] = true;
        changed = true;
      } else if (!used[i] && bits[i] && !pending_.contains(port)) {
        int seen = suspects_[port] + 1;
        if (seen >= kRepairsBeforeRelease) {
          base::LogWarning("releasing a node port that no Service uses", {{"port", port}});
          bits[i] = false;
          changed = true;
        } else {
          suspects[port] = seen;
        }
      }
    }
    suspects_ = std::move(suspects);
    return changed;
  });
}

base::Task<void> NodePorts::Run(base::Context ctx) {
  while (!ctx.done()) {
    auto s = co_await Repair(ctx);
    if (!s.ok() && !ctx.done()) base::LogWarning("node ports could not be repaired", {{"error", s.ToString()}});
    if (!(co_await base::Sleep(registry_.executor(), ctx, kRepairInterval)).ok()) break;
  }
  co_await background_.CancelAndJoin();
}

}  // namespace apiserver::registry
