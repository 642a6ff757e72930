// Histories as files: one JSON object a line, as the programs that drive real clusters write them.
//
//   {"client":1,"key":"k","op":"put|get|delete|cas","value":"v","expect":null,"found":null,"ok":true,"start":1,"end":2}
//
// Times are nanoseconds of one clock; "end" is -1 when the outcome is unknown. value, expect and found are null for an
// absent key. Operations known not to have happened do not stand in the file. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tests/sim/history/linearizability.h"

namespace tests::history {

// Adds the lines of `text`. kInvalidArgument names the line.
base::Status ReadHistory(std::string_view text, std::vector<Operation>& into);

}  // namespace tests::history
