// UDP flows outlive the rules that made them: the kernel goes on sending a known flow where it went before. After the
// rules of a UDP service changed, flows to its addresses that lead to an endpoint no longer there (or nowhere) are
// deleted, so that the next packet is judged by the new rules.
#pragma once

#include "base/status.h"
#include "proxy/rules.h"

namespace proxy {

// Blocks on netlink. OK also where connection tracking is not there.
base::Status ForgetStaleFlows(const RuleTable& table, Family family);

}  // namespace proxy
