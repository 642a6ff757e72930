// Tests that are readable pages: a text file of steps, each a command line, input lines, "----" and the output that is
// expected, up to a blank line. Lines that start with '#' between steps are prose. An output with blank lines stands
// between two pairs of "----".
//
//     parse strict
//     a=b,c in (d)
//     ----
//     a=b,c in (d)
//
// RunStory(path, handler) gives every step to the handler and compares; with --rewrite on the test's command line the
// file is written anew with what the handler said. For *_test.cc only; one thread.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace base::testing {

struct Step {
  std::string command;            // first word of the command line
  std::vector<std::string> args;  // the other words
  std::string input;              // without the last newline
  int line = 0;
};

namespace internal {

struct Story {
  std::vector<std::string> lines;
  size_t at = 0;
  bool done() const { return at >= lines.size(); }
  const std::string& line() const { return lines[at]; }
};

inline Story ReadStory(const std::string& path) {
  Story story;
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << "cannot read " << path;
  for (std::string line; std::getline(in, line);) story.lines.push_back(line);
  return story;
}

inline std::string ReadExpected(Story& story) {
  std::string out;
  bool fenced = !story.done() && story.line() == "----";
  if (fenced) ++story.at;
  while (!story.done()) {
    if (fenced && story.line() == "----" && story.at + 1 < story.lines.size() && story.lines[story.at + 1] == "----") {
      story.at += 2;
      break;
    }
    if (!fenced && story.line().empty()) break;
    out += story.line() + "\n";
    ++story.at;
  }
  return out;
}

inline bool Rewriting() {
  if (std::getenv("KEELSON_REWRITE")) return true;
  for (const std::string& arg : ::testing::internal::GetArgvs())
    if (arg == "--rewrite") return true;
  return false;
}

inline Step ReadStep(Story& story, std::string& copied) {
  Step step;
  step.line = static_cast<int>(story.at) + 1;
  std::istringstream words(story.line());
  words >> step.command;
  for (std::string word; words >> word;) step.args.push_back(word);
  copied += story.line() + "\n";
  for (++story.at; !story.done() && story.line() != "----"; ++story.at) {
    step.input += (step.input.empty() ? "" : "\n") + story.line();
    copied += story.line() + "\n";
  }
  if (!story.done()) ++story.at;
  return step;
}

}  // namespace internal

inline void RunStory(const std::string& path, const std::function<std::string(const Step&)>& handler) {
  internal::Story story = internal::ReadStory(path);
  std::string rewritten;
  while (!story.done()) {
    if (story.line().empty() || story.line()[0] == '#') {
      rewritten += story.line() + "\n";
      ++story.at;
      continue;
    }
    Step step = internal::ReadStep(story, rewritten);
    std::string expected = internal::ReadExpected(story);
    std::string got = handler(step);
    if (!got.empty() && got.back() != '\n') got += '\n';
    bool fence = got.find("\n\n") != std::string::npos || got.starts_with('\n');
    rewritten += fence ? "----\n----\n" + got + "----\n----\n" : "----\n" + got;
    if (!internal::Rewriting()) EXPECT_EQ(expected, got) << path << ":" << step.line;
  }
  if (internal::Rewriting()) std::ofstream(path) << rewritten;
}

}  // namespace base::testing
