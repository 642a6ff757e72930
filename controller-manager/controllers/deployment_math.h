// The arithmetic of rollouts: how many replicas which set shall have. Pure functions of values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/executor.h"
#include "proto/k8s/apps/v1/deployment.pb.h"
#include "proto/k8s/apps/v1/replicaset.pb.h"

namespace controller_manager {

namespace apps = k8s::io::api::apps::v1;

inline constexpr char kRevision[] = "deployment.kubernetes.io/revision";
inline constexpr char kRevisionHistory[] = "deployment.kubernetes.io/revision-history";
inline constexpr char kDesiredReplicas[] = "deployment.kubernetes.io/desired-replicas";
inline constexpr char kMaxReplicas[] = "deployment.kubernetes.io/max-replicas";
inline constexpr char kTemplateHash[] = "pod-template-hash";

bool IsRollingUpdate(const apps::Deployment& d);
int32_t MaxSurge(const apps::Deployment& d);
int32_t MaxUnavailable(const apps::Deployment& d);
bool HasProgressDeadline(const apps::Deployment& d);

// Whether two pod templates are the same but for the hash label.
bool EqualIgnoreHash(const k8s::io::api::core::v1::PodTemplateSpec& a,
                     const k8s::io::api::core::v1::PodTemplateSpec& b);
// 8 to 10 characters that are safe in names.
std::string TemplateHash(const k8s::io::api::core::v1::PodTemplateSpec& t, int32_t collision_count);

int64_t RevisionOfSet(const apps::ReplicaSet& rs);

using Sets = std::vector<apps::ReplicaSet*>;
int64_t SpecReplicas(const Sets& sets);
int64_t ActualReplicas(const Sets& sets);
int64_t ReadyReplicas(const Sets& sets);
int64_t AvailableReplicas(const Sets& sets);

// Replicas of the newest set when the rollout may take one more step.
int32_t NewSetReplicas(const apps::Deployment& d, const Sets& all, const apps::ReplicaSet& newest);
struct Step {
  apps::ReplicaSet* set;
  int32_t replicas;
};
// What old sets may lose now: first what is not available anyway, then within maxUnavailable.
std::vector<Step> ShrinkOldSets(const apps::Deployment& d, const Sets& all, Sets old, const apps::ReplicaSet* newest);
// A scaled deployment in the middle of a rollout: each set keeps its share.
std::vector<Step> Proportional(const apps::Deployment& d, Sets active);

// The deployment's status from its sets; conditions are carried over.
apps::DeploymentStatus CalculateStatus(const apps::Deployment& d, const Sets& all, const apps::ReplicaSet* newest,
                                       base::WallTime now);
bool IsComplete(const apps::Deployment& d, const apps::DeploymentStatus& s);
bool IsProgressing(const apps::DeploymentStatus& before, const apps::DeploymentStatus& after);
bool HasTimedOut(const apps::Deployment& d, const apps::DeploymentStatus& s, base::WallTime now);

const apps::DeploymentCondition* FindCondition(const apps::DeploymentStatus& s, const std::string& type);
apps::DeploymentCondition MakeCondition(const std::string& type, const std::string& status, const std::string& reason,
                                        const std::string& message, base::WallTime now);
// Replaces unless status and reason are the same; the transition time stays when the status does.
void SetCondition(apps::DeploymentStatus& s, apps::DeploymentCondition condition);
void RemoveCondition(apps::DeploymentStatus& s, const std::string& type);

}  // namespace controller_manager
