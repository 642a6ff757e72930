// EndpointSlices: labels count as a change of what is wanted, and the topology of the v1beta1 version is not written
// any more.
#include <set>

#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

constexpr std::string_view kHostname = "kubernetes.io/hostname";

class EndpointSliceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(const Operation& op, Value& slice) const override {
    Strategy::PrepareForCreate(op, slice);
    DropTopology(slice, Value());
  }
  void PrepareForUpdate(const Operation& op, Value& slice, const Value& old) const override {
    Strategy::PrepareForUpdate(op, slice, old);
    if (!(object::LabelsOf(slice) == object::LabelsOf(old)))
      object::SetGeneration(slice, object::GenerationOf(old) + 1);
    if (!(slice.At("endpoints") == old.At("endpoints"))) DropTopology(slice, old);
  }

 private:
  // A node that was named by the old label keeps its name in the new field.
  static void DropTopology(Value& slice, const Value& old) {
    if (!slice.At("endpoints").is_list()) return;
    std::set<std::string, std::less<>> known;
    if (old.At("endpoints").is_list())
      for (const Value& e : old.At("endpoints").list())
        if (const Value& node = e.At("deprecatedTopology", kHostname); node.is_string()) known.insert(node.as_string());
    for (Value& e : slice.Ensure("endpoints").list()) {
      if (e.At("deprecatedTopology").is_null()) continue;
      std::string node(e.At("deprecatedTopology", kHostname).string_or());
      if (e.At("nodeName").is_null() && known.contains(node) && object::IsDns1123Subdomain(node).empty())
        e.Set("nodeName", node);
      e.Remove("deprecatedTopology");
    }
  }
};

}  // namespace

std::unique_ptr<Strategy> NewEndpointSliceStrategy(const Kind& kind) {
  return std::make_unique<EndpointSliceStrategy>(kind);
}

}  // namespace apiserver::registry
