// A reader of data-driven scripts: commands with arguments and input, and the answer that is expected of each. Tests
// only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace kvstore::raft::testing {

struct Command {
  struct Arg {
    std::string key;
    std::vector<std::string> values;
  };
  std::string name;
  std::vector<Arg> args;
  std::string input;
  std::string expected;
  int line = 0;

  // The arguments without a value that are numbers.
  std::vector<uint64_t> Numbers() const;
  const Arg* Find(const std::string& key) const;
};

std::vector<Command> ReadScript(const std::string& path);
// The scripts under ../shared/golden/raft-interaction/`folder`, sorted; empty when it is not there.
std::vector<std::string> Scripts(const std::string& folder);
// Runs every command of every script and compares.
void RunScripts(const std::string& folder,
                const std::function<std::function<std::string(const Command&)>()>& make_environment);

}  // namespace kvstore::raft::testing
