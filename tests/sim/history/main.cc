// history_check [--limit SECONDS] FILE...: judges the history that all the files make up together.
// Exit code 0: linearizable. 1: not; prints the key and the shortest window of operations that no order explains.
// 2: a file cannot be read, or the limit of time or memory was reached first.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/sim/history/history_file.h"

int main(int argc, char** argv) {
  using namespace tests::history;
  Limits limits;
  std::vector<Operation> history;
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--limit") == 0 && i + 1 < argc) {
      limits.time = std::chrono::seconds(std::atoi(argv[++i]));
      continue;
    }
    std::ifstream in(argv[i], std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    base::Status read = in ? ReadHistory(text.str(), history) : base::NotFound("cannot be read");
    if (!read.ok()) {
      std::fprintf(stderr, "%s: %s\n", argv[i], std::string(read.message()).c_str());
      return 2;
    }
    ++files;
  }
  if (files == 0) {
    std::fprintf(stderr, "usage: history_check [--limit SECONDS] FILE...\n");
    return 2;
  }
  Verdict v = CheckLinearizable(history, limits);
  switch (v.answer) {
    case Answer::kLinearizable:
      std::printf("linearizable: %zu operations\n", history.size());
      return 0;
    case Answer::kNotLinearizable:
      std::printf("%s\n", v.text.c_str());
      return 1;
    case Answer::kUndecided:
      break;
  }
  std::printf("%s\n", v.text.c_str());
  return 2;
}
