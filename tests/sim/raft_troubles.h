// What goes wrong in a simulated cluster, again and again until the run finishes: power fails, the network is parted,
// a link is cut, disks fail and fill up, a member loses sight of its leader. (What the network does to single messages,
// and power that fails right after a vote, is raft_mail's.) Owned by the run; one thread.
#pragma once

#include "tests/sim/raft_mail.h"

namespace tests::sim {

class Troubles {
 public:
  Troubles(RaftWorld& world, SimMembers& members, SimMail& mail) : world_(world), members_(members), mail_(mail) {}
  void Begin();
  // Once the run finishes: from now on all is as it should be, and who has lost power comes back.
  void End();

 private:
  void Next();
  void PartInTwo();
  void CutOff(SimMember& m);
  // Two members that do not hear each other, and others who hear both.
  void CutLink(SimMember& a, SimMember& b);

  RaftWorld& world_;
  SimMembers& members_;
  SimMail& mail_;
};

}  // namespace tests::sim
