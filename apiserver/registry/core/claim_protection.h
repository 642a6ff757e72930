// Claims and volumes stay while they are in use (finalizers kubernetes.io/pvc-protection and pv-protection, set by
// admission). A delete of one that is not in use goes through at once; one that is waits, and ClaimProtection lets it
// go when its last user is gone. On the server's loop.
#pragma once

#include "apiserver/registry/registry.h"

namespace apiserver::registry {

// Whether a pod that has not ended names the claim.
bool ClaimInUse(const Registry& registry, const Value& claim);
bool VolumeInUse(const Value& volume);

// Until the context ends: every ten seconds, those that wait and are not in use any more lose their finalizer.
base::Task<void> RunClaimProtection(Registry& registry, base::Context ctx);

}  // namespace apiserver::registry
