#include "tests/sim/raft_troubles.h"

#include <vector>

namespace tests::sim {

using std::chrono::milliseconds;

void Troubles::Begin() {
  world_.executor.After(milliseconds(50 + world_.random.Below(1500)), [this] {
    if (world_.finishing) return;
    Next();
    Begin();
  });
}

void Troubles::Next() {
  SimMember& m = members_.Random();
  switch (world_.random.Below(9)) {
    case 0:
    case 1:
      return members_.LosePower(m);
    case 2:
      return PartInTwo();
    case 3:
      return CutOff(m);
    case 4:
      return mail_.network().Heal();
    case 5:
      if (m.replica && m.replica->leader() != 0) m.replica->PeerLost(m.replica->leader());
      return;
    case 6:
    case 7:
      return CutLink(m, members_.Random());
    case 8:
      return members_.SpoilDisk(m);
  }
}

void Troubles::PartInTwo() {
  std::vector<uint64_t> a, b;
  for (auto& m : members_.all()) (world_.random.OneIn(2) ? a : b).push_back(m->address());
  mail_.network().Partition(a, b);
  ++world_.figures["partitions"];
}

void Troubles::CutOff(SimMember& m) {
  std::vector<uint64_t> others;
  for (auto& other : members_.all()) {
    if (other.get() != &m) others.push_back(other->address());
  }
  mail_.network().Isolate(m.address(), others);
  if (world_.random.OneIn(2)) mail_.network().CutOneWay(m.address(), others.empty() ? 1 : others[0]);
  ++world_.figures["partitions"];
}

void Troubles::CutLink(SimMember& a, SimMember& b) {
  if (&a == &b) return;
  mail_.network().Partition({a.address()}, {b.address()});
  ++world_.figures["partitions"];
}

void Troubles::End() {
  mail_.network().Heal();
  mail_.network().SetFaults({});
  for (auto& m : members_.all()) members_.HealDisk(*m);
  for (auto& m : members_.all()) {
    if (m->replica || m->gone) continue;
    world_.executor.After(milliseconds(5000), [this, &m = *m] {
      if (!m.replica && !m.gone) members_.Open(m);
    });
  }
}

}  // namespace tests::sim
