// Label selectors on typed messages (meta/v1 LabelSelector, and the plain maps of services), and a few facts about pods
// that several controllers need. Pure.
#pragma once

#include <string>

#include "base/executor.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "proto/k8s/meta/v1/meta.pb.h"

namespace controller_manager {

namespace core = k8s::io::api::core::v1;
namespace meta = k8s::io::apimachinery::pkg::apis::meta::v1;
using LabelMap = google::protobuf::Map<std::string, std::string>;

// An empty selector matches everything.
bool Matches(const meta::LabelSelector& selector, const LabelMap& labels);
bool IsEmpty(const meta::LabelSelector& selector);
// All of the wanted pairs.
bool Contains(const LabelMap& labels, const LabelMap& wanted);

const std::string& Annotation(const meta::ObjectMeta& m, const std::string& key);

const meta::OwnerReference* ControllerRef(const meta::ObjectMeta& m);
// uid of the controlling owner, or "".
std::string ControllerUid(const meta::ObjectMeta& m);
// Makes `owner` of this kind the controller.
template <class Owner>
void AddControllerRef(meta::ObjectMeta& m, const Owner& owner, const std::string& api_version,
                      const std::string& kind) {
  auto* ref = m.add_ownerreferences();
  ref->set_apiversion(api_version);
  ref->set_kind(kind);
  ref->set_name(owner.metadata().name());
  ref->set_uid(owner.metadata().uid());
  ref->set_controller(true);
  ref->set_blockownerdeletion(true);
}
// Removes the reference to `uid`; false when there was none.
bool RemoveOwner(meta::ObjectMeta& m, const std::string& uid);

// Neither ended nor being deleted.
bool IsActive(const core::Pod& pod);
bool IsTerminal(const core::Pod& pod);  // Succeeded, Failed
const core::PodCondition* Condition(const core::Pod& pod, std::string_view type);
bool IsReady(const core::Pod& pod);
// Ready for at least `min_ready_seconds`.
bool IsAvailable(const core::Pod& pod, int32_t min_ready_seconds, base::WallTime now);

}  // namespace controller_manager
