// Kinds whose whole point is to be enforced, and nothing here enforces them yet: refused rather than stored and
// ignored.
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

using machinery::schema::Kind;

namespace {

class Refused final : public Strategy {
 public:
  using Strategy::Strategy;
  std::string RefuseText() const override {
    return kind_.kind + " objects are not supported yet by keelson: they would be stored and not enforced";
  }
};

}  // namespace

std::unique_ptr<Strategy> NewRefusedStrategy(const Kind& kind) { return std::make_unique<Refused>(kind); }

}  // namespace apiserver::registry
