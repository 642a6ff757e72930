// Whether the members of a simulated cluster agree with one another, once nothing goes wrong any more.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/raft_members.h"

namespace tests::sim {

// There is a leader, and every member of the cluster has applied what the leader's log has.
bool Settled(const SimMembers& members);

// Those who have applied most hold the same: "" or what is wrong. Who has been removed without hearing of it stands
// behind, and is not asked.
std::string CompareHashes(const SimMembers& members);

// Up to which revision every member has forgotten.
int64_t CompactedEverywhere(const SimMembers& members);

// Where each member stands, a line for each.
std::string Describe(const SimMembers& members);

}  // namespace tests::sim
