#include "machinery/request/request.h"

#include <algorithm>
#include <iterator>

namespace machinery::request {
namespace {
constexpr std::string_view kVerbs[] = {
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "connect"};
constexpr std::string_view kEvents[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};
}  // namespace

bool Identity::InGroup(std::string_view group) const { return std::ranges::find(groups, group) != groups.end(); }

std::string_view VerbName(Verb v) { return kVerbs[static_cast<int>(v)]; }

std::optional<Verb> ParseVerb(std::string_view name) {
  auto it = std::ranges::find(kVerbs, name);
  if (it == std::end(kVerbs)) return std::nullopt;
  return static_cast<Verb>(it - std::begin(kVerbs));
}

std::string_view EventTypeName(EventType t) { return kEvents[static_cast<int>(t)]; }

}  // namespace machinery::request
