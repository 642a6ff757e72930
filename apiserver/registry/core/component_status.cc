// ComponentStatus: the daemons are asked anew for every read.
#include "apiserver/registry/core/component_status.h"

#include "apiserver/registry/registry.h"

namespace apiserver::registry {

using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

class ComponentStatusStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool IsComputed() const override { return true; }
  base::Task<base::Result<std::vector<Value>>> Items(Operation op) const override {
    std::vector<Value> out;
    ComponentHealth* health = op.registry->facilities().components;
    if (!health) co_return out;
    for (const auto& c : co_await health->Ask(op.ctx)) {
      Map condition{{"type", Value("Healthy")}, {"status", Value(c.status)}};
      if (!c.message.empty()) condition.Set("message", c.message);
      if (!c.error.empty()) condition.Set("error", c.error);
      out.emplace_back(Map{{"kind", Value(kind_.kind)},
                           {"apiVersion", Value(kind_.ApiVersion())},
                           {"metadata", Value(Map{{"name", Value(c.name)}})},
                           {"conditions", Value(List{Value(std::move(condition))})}});
    }
    co_return out;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewComponentStatusStrategy(const Kind& kind) {
  return std::make_unique<ComponentStatusStrategy>(kind);
}

}  // namespace apiserver::registry
