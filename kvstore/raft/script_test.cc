#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kvstore/raft/script.h"

namespace kvstore::raft::testing {
namespace {

std::string Shared() {
  if (const char* s = std::getenv("KEELSON_SHARED")) return s;
  const char* source = std::getenv("KEELSON_SOURCE");
  return std::string(source ? source : "../..") + "/../shared";
}

void ParseWord(const std::string& word, Command& c) {
  Command::Arg arg;
  size_t eq = word.find('=');
  arg.key = word.substr(0, eq);
  if (eq != std::string::npos) {
    std::string value = word.substr(eq + 1);
    if (!value.empty() && value.front() == '(') value = value.substr(1, value.size() - 2);
    std::stringstream parts(value);
    for (std::string part; std::getline(parts, part, ',');) {
      part.erase(std::remove(part.begin(), part.end(), ' '), part.end());
      arg.values.push_back(part);
    }
  }
  c.args.push_back(std::move(arg));
}

// "name key=(1, 2) word": blanks inside parentheses do not separate.
void ParseDirective(const std::string& line, Command& c) {
  std::vector<std::string> words(1);
  int depth = 0;
  for (char ch : line) {
    if (ch == '(') ++depth;
    if (ch == ')') --depth;
    if (ch == ' ' && depth == 0) {
      if (!words.back().empty()) words.emplace_back();
    } else {
      words.back() += ch;
    }
  }
  if (words.back().empty()) words.pop_back();
  c.name = words[0];
  for (size_t i = 1; i < words.size(); ++i) ParseWord(words[i], c);
}

}  // namespace

std::vector<uint64_t> Command::Numbers() const {
  std::vector<uint64_t> out;
  for (const Arg& a : args) {
    if (a.values.empty()) out.push_back(std::strtoull(a.key.c_str(), nullptr, 10));
  }
  return out;
}

const Command::Arg* Command::Find(const std::string& key) const {
  for (const Arg& a : args) {
    if (a.key == key) return &a;
  }
  return nullptr;
}

std::vector<Command> ReadScript(const std::string& path) {
  std::ifstream in(path);
  std::vector<Command> out;
  std::string line;
  int number = 0;
  auto next = [&] { return ++number, static_cast<bool>(std::getline(in, line)); };
  while (next()) {
    if (line.empty() || line[0] == '#') continue;
    Command c;
    c.line = number;
    ParseDirective(line, c);
    while (next() && line != "----") c.input += line + "\n";
    while (next() && !line.empty()) c.expected += line + "\n";
    out.push_back(std::move(c));
  }
  return out;
}

std::vector<std::string> Scripts(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& e : std::filesystem::directory_iterator(Shared() + "/golden/raft-interaction/" + folder, ec)) {
    if (e.path().extension() == ".txt") out.push_back(e.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

void RunScripts(const std::string& folder,
                const std::function<std::function<std::string(const Command&)>()>& make_environment) {
  auto scripts = Scripts(folder);
  if (scripts.empty()) GTEST_SKIP() << "no scripts: set KEELSON_SHARED";
  for (const std::string& path : scripts) {
    auto run = make_environment();
    for (const Command& c : ReadScript(path)) {
      std::string got = run(c);
      if (!got.empty() && got.back() != '\n') got += '\n';
      if (got != c.expected) {
        ADD_FAILURE() << path << ":" << c.line << ": " << c.name << "\n--- expected\n"
                      << c.expected << "--- got\n"
                      << got;
        break;
      }
    }
  }
}

}  // namespace kvstore::raft::testing
