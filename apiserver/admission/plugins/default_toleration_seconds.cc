// Pods stay five minutes on a node that became unready or unreachable.
#include "apiserver/admission/plugin.h"

namespace apiserver::admission {

namespace {

using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

bool Writes(Operation op) { return op == Operation::kCreate || op == Operation::kUpdate; }

class DefaultTolerationSeconds final : public Plugin {
 public:
  bool Handles(Operation op) const override { return Writes(op); }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    for (std::string_view taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
      if (Tolerates(spec.At("tolerations"), taint)) continue;
      Value& list = spec.Ensure("tolerations");
      if (!list.is_list()) list = Value(List{});
      list.list().push_back(Value(Map{{"key", Value(taint)},
                                      {"operator", Value("Exists")},
                                      {"effect", Value("NoExecute")},
                                      {"tolerationSeconds", Value(kSeconds)}}));
    }
    co_return base::Ok();
  }

 private:
  static constexpr int64_t kSeconds = 300;
  static bool Tolerates(const Value& list, std::string_view taint) {
    bool found = false;
    Each(list, [&](const Value& t) {
      auto key = t.At("key").string_or(), effect = t.At("effect").string_or();
      found |= (key == taint || key.empty()) && (effect == "NoExecute" || effect.empty());
    });
    return found;
  }
};

}  // namespace

std::unique_ptr<Plugin> NewDefaultTolerationSeconds(const Environment&) {
  return std::make_unique<DefaultTolerationSeconds>();
}

}  // namespace apiserver::admission
