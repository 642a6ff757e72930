#include "controller-manager/common/context.h"

#include <algorithm>

namespace controller_manager {

void Informers::Start(base::TaskScope& scope) {
  for (const auto* resource : order_) scope.Spawn(all_.at(resource).run(scope.context()));
}

bool Informers::synced() const {
  return std::ranges::all_of(all_, [](const auto& entry) { return entry.second.synced(); });
}

bool ServedResource::Can(std::string_view verb) const { return std::ranges::find(verbs, verb) != verbs.end(); }

}  // namespace controller_manager
