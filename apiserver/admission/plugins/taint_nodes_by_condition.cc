// A new node takes nothing until its kubelet has said that it is ready.
#include "apiserver/admission/plugin.h"

namespace apiserver::admission {

namespace {

using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

class TaintNodesByCondition final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "nodes") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    bool found = false;
    Each(spec.At("taints"), [&](const Value& t) {
      found |= t.At("key").string_or() == kNotReady && t.At("effect").string_or() == "NoSchedule";
    });
    if (found) co_return base::Ok();
    Value& taints = spec.Ensure("taints");
    if (!taints.is_list()) taints = Value(List{});
    taints.list().push_back(Value(Map{{"key", Value(kNotReady)}, {"effect", Value("NoSchedule")}}));
    co_return base::Ok();
  }

 private:
  static constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
};

}  // namespace

std::unique_ptr<Plugin> NewTaintNodesByCondition(const Environment&) {
  return std::make_unique<TaintNodesByCondition>();
}

}  // namespace apiserver::admission
