// What kvctl says about itself, from the table of its commands.
#pragma once

#include <string>
#include <string_view>

#include "kvstore/ctl/commands.h"

namespace kvstore::ctl {

// All commands in their sections.
std::string Overview(const std::string& program);
// Usage and flags, as they follow an error in the command line.
std::string UsageOf(const std::string& program, const Command& command);
// The whole of `command --help`: what it does, usage, examples, flags.
std::string HelpOf(const std::string& program, const Command& command);
// The commands that begin with a word, "lease"; "" when there are none or the word is a command itself.
std::string HelpOfGroup(const std::string& program, std::string_view word);

}  // namespace kvstore::ctl
