// All parts of a replica, each built on some of those before it. What one of them has to tell those behind it goes
// through its hooks, which Replica::Connect sets: that is where to read what follows from what.
//
//   Shared (life, store, settings) < Core < Proposals, Reads
//   Core < DiskTender < LogLane < Maintenance
//   Proposals < ApplyLane;  ApplyLane, Maintenance < Snapshots;  Proposals, Reads < LeaseDesk, MembershipDesk
//
// Only replica.cc includes this.
#pragma once

#include "kvstore/replica/apply_lane.h"
#include "kvstore/replica/core.h"
#include "kvstore/replica/disk_tender.h"
#include "kvstore/replica/lease_desk.h"
#include "kvstore/replica/log_lane.h"
#include "kvstore/replica/maintenance.h"
#include "kvstore/replica/membership_desk.h"
#include "kvstore/replica/opening.h"
#include "kvstore/replica/proposals.h"
#include "kvstore/replica/reads.h"
#include "kvstore/replica/replica.h"
#include "kvstore/replica/snapshots.h"

namespace kvstore::replica {

struct Replica::Parts {
  Parts(Shared& s, const wal::Contents& contents, std::unique_ptr<wal::Wal> wal)
      : core(s, contents),
        disk(s),
        log(s, core, disk, std::move(wal), contents.hard_state),
        proposals(s, core),
        reads(s, core),
        apply(s, core, proposals),
        maintenance(s, core, disk, log),
        snapshots(s, core, disk, apply, maintenance),
        leases(s, core, proposals, reads),
        membership(s, core, proposals, reads) {}

  Core core;
  DiskTender disk;
  LogLane log;
  Proposals proposals;
  Reads reads;
  ApplyLane apply;
  Maintenance maintenance;
  Snapshots snapshots;
  LeaseDesk leases;
  MembershipDesk membership;
};

}  // namespace kvstore::replica
