// The functions that validations.def names, declared for its table. Internal to this folder.
#pragma once

#include "apiserver/registry/validation/validation.h"

namespace apiserver::registry::validation {

FieldErrors ValidateAutoscaler(const Value& object);
FieldErrors ValidateClaim(const Value& object);
FieldErrors ValidateClusterRole(const Value& object);
FieldErrors ValidateClusterRoleBinding(const Value& object);
FieldErrors ValidateConfigMap(const Value& object);
FieldErrors ValidateControllerRevision(const Value& object);
FieldErrors ValidateCronJob(const Value& object);
FieldErrors ValidateCsiDriver(const Value& object);
FieldErrors ValidateDaemonSet(const Value& object);
FieldErrors ValidateDeployment(const Value& object);
FieldErrors ValidateDisruptionBudget(const Value& object);
FieldErrors ValidateEndpointSlice(const Value& object);
FieldErrors ValidateEndpoints(const Value& object);
FieldErrors ValidateEvent(const Value& object);
FieldErrors ValidateIngress(const Value& object);
FieldErrors ValidateIngressClass(const Value& object);
FieldErrors ValidateIpAddress(const Value& object);
FieldErrors ValidateJob(const Value& object);
FieldErrors ValidateLease(const Value& object);
FieldErrors ValidateLimitRange(const Value& object);
FieldErrors ValidateLocalSubjectAccessReview(const Value& object);
FieldErrors ValidateNamespace(const Value& object);
FieldErrors ValidateNetworkPolicy(const Value& object);
FieldErrors ValidateNode(const Value& object);
FieldErrors ValidatePersistentVolume(const Value& object);
FieldErrors ValidatePodTemplateObject(const Value& object);
FieldErrors ValidatePriorityClass(const Value& object);
FieldErrors ValidateReplicaSet(const Value& object);
FieldErrors ValidateReplicationController(const Value& object);
FieldErrors ValidateResourceQuota(const Value& object);
FieldErrors ValidateRole(const Value& object);
FieldErrors ValidateRoleBinding(const Value& object);
FieldErrors ValidateRuntimeClass(const Value& object);
FieldErrors ValidateSecret(const Value& object);
FieldErrors ValidateSelfSubjectAccessReview(const Value& object);
FieldErrors ValidateService(const Value& object);
FieldErrors ValidateServiceAccount(const Value& object);
FieldErrors ValidateServiceCidr(const Value& object);
FieldErrors ValidateSigningRequest(const Value& object);
FieldErrors ValidateStatefulSet(const Value& object);
FieldErrors ValidateStorageClass(const Value& object);
FieldErrors ValidateSubjectAccessReview(const Value& object);

FieldErrors ValidateAutoscalerStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateAutoscalerUpdate(const Value& object, const Value& old);
FieldErrors ValidateClaimStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateClaimUpdate(const Value& object, const Value& old);
FieldErrors ValidateClusterRoleBindingUpdate(const Value& object, const Value& old);
FieldErrors ValidateClusterRoleUpdate(const Value& object, const Value& old);
FieldErrors ValidateConfigMapUpdate(const Value& object, const Value& old);
FieldErrors ValidateControllerRevisionUpdate(const Value& object, const Value& old);
FieldErrors ValidateCronJobUpdate(const Value& object, const Value& old);
FieldErrors ValidateCsiDriverUpdate(const Value& object, const Value& old);
FieldErrors ValidateDaemonSetStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateDaemonSetUpdate(const Value& object, const Value& old);
FieldErrors ValidateDeploymentStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateDeploymentUpdate(const Value& object, const Value& old);
FieldErrors ValidateDisruptionBudgetUpdate(const Value& object, const Value& old);
FieldErrors ValidateEndpointSliceUpdate(const Value& object, const Value& old);
FieldErrors ValidateEndpointsUpdate(const Value& object, const Value& old);
FieldErrors ValidateEventUpdate(const Value& object, const Value& old);
FieldErrors ValidateIngressClassUpdate(const Value& object, const Value& old);
FieldErrors ValidateIngressUpdate(const Value& object, const Value& old);
FieldErrors ValidateIpAddressUpdate(const Value& object, const Value& old);
FieldErrors ValidateJobUpdate(const Value& object, const Value& old);
FieldErrors ValidateLeaseUpdate(const Value& object, const Value& old);
FieldErrors ValidateLimitRangeUpdate(const Value& object, const Value& old);
FieldErrors ValidateMetaOnlyStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateNamespaceStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateNamespaceUpdate(const Value& object, const Value& old);
FieldErrors ValidateNetworkPolicyUpdate(const Value& object, const Value& old);
FieldErrors ValidateNodeStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateNodeUpdate(const Value& object, const Value& old);
FieldErrors ValidatePersistentVolumeStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidatePersistentVolumeUpdate(const Value& object, const Value& old);
FieldErrors ValidatePodTemplateUpdate(const Value& object, const Value& old);
FieldErrors ValidatePriorityClassUpdate(const Value& object, const Value& old);
FieldErrors ValidateReplicaSetUpdate(const Value& object, const Value& old);
FieldErrors ValidateReplicasStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateReplicationControllerUpdate(const Value& object, const Value& old);
FieldErrors ValidateResourceQuotaStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateResourceQuotaUpdate(const Value& object, const Value& old);
FieldErrors ValidateRoleBindingUpdate(const Value& object, const Value& old);
FieldErrors ValidateRoleUpdate(const Value& object, const Value& old);
FieldErrors ValidateRuntimeClassUpdate(const Value& object, const Value& old);
FieldErrors ValidateSecretUpdate(const Value& object, const Value& old);
FieldErrors ValidateServiceAccountUpdate(const Value& object, const Value& old);
FieldErrors ValidateServiceCidrUpdate(const Value& object, const Value& old);
FieldErrors ValidateServiceStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateServiceUpdate(const Value& object, const Value& old);
FieldErrors ValidateSigningRequestUpdate(const Value& object, const Value& old);
FieldErrors ValidateStatefulSetStatusUpdate(const Value& object, const Value& old);
FieldErrors ValidateStatefulSetUpdate(const Value& object, const Value& old);
FieldErrors ValidateStorageClassUpdate(const Value& object, const Value& old);

}  // namespace apiserver::registry::validation
