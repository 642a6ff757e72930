#include "kvstore/ctl/help.h"

#include <algorithm>
#include <set>
#include <span>

namespace kvstore::ctl {

namespace {

struct Topic {
  std::string_view word, about;
};
constexpr Topic kKeys[] = {{"put", ""},       {"get", ""},   {"del", ""},
                           {"txn", ""},       {"watch", ""}, {"lease", "Leases: keys that go when nobody renews them."},
                           {"compaction", ""}};
constexpr Topic kCluster[] = {{"member", "Who belongs to the cluster."},
                              {"endpoint", "How the members are."},
                              {"alarm", "What the cluster complains of."},
                              {"move-leader", ""},
                              {"defrag", ""},
                              {"downgrade", "Going down to an older version."}};
constexpr Topic kFiles[] = {
    {"snapshot", "Snapshots of the whole store."}, {"backup", ""}, {"restore", ""}, {"hashkv", ""}, {"migrate", ""}};
constexpr Topic kConcurrency[] = {{"lock", ""}, {"elect", ""}};
constexpr Topic kAccess[] = {{"auth", "Whether callers must say who they are."},
                             {"user", "Users and their roles."},
                             {"role", "Roles and what they may touch."}};
constexpr Topic kTools[] = {{"check", "Whether the cluster is fast and large enough."},
                            {"make-mirror", ""},
                            {"completion", ""},
                            {"help", "Shows the help of a command."},
                            {"options", "Lists the flags that all commands have."},
                            {"version", "Shows the version."}};
struct Section {
  std::string_view title;
  std::span<const Topic> topics;
};
constexpr Section kSections[] = {{"Keys", kKeys},
                                 {"Cluster", kCluster},
                                 {"Snapshots and backups", kFiles},
                                 {"Locks and elections", kConcurrency},
                                 {"Access", kAccess},
                                 {"Tools", kTools}};

std::string_view AboutTopic(std::string_view word) {
  for (const Section& section : kSections) {
    for (const Topic& t : section.topics) {
      if (t.word == word && !t.about.empty()) return t.about;
    }
  }
  const Command* command = FindCommand(word);
  return command != nullptr ? command->about : "";
}

// "  put         Stores a value under a key.\n"
std::string Line(std::string_view word, std::string_view about) {
  constexpr size_t kColumn = 18;
  std::string out = "  " + std::string(word);
  out.resize(std::max(out.size() + 1, kColumn + 2), ' ');
  return out + std::string(about) + "\n";
}

std::string More(const std::string& program, const std::string& of) {
  return "\nUse \"" + program + " " + of + "[command] --help\" for more about a command, \"" + program +
         " options\" for the flags that all have.\n";
}

// The command's own flags, a line each.
std::string FlagsOf(const std::string& program, const Command& command) {
  Flags ignored;
  bool help = false;
  std::string_view words = command.words;
  base::FlagSet own({.name = program});
  own.Section("Own");
  command.add_flags(own, ignored);
  own.Add("help", &help, "help for " + std::string(words.substr(words.rfind(' ') + 1))).Short('h');
  std::string text = own.Help();
  constexpr std::string_view kHead = "Own flags:\n\n", kTail = "\nGlobal flags:";
  size_t from = text.find(kHead) + kHead.size();
  return "\nFlags:\n" + text.substr(from, text.find(kTail, from) - from);
}

std::string UsageLine(const std::string& program, const Command& command) {
  return "Usage:\n  " + program + " " + command.usage + " [flags]\n";
}

}  // namespace

std::string Overview(const std::string& program) {
  std::string out = "A command line client for kvstore and etcd.\n\nUsage:\n  " + program + " [command]\n";
  for (const Section& section : kSections) {
    out += "\n" + std::string(section.title) + "\n";
    for (const Topic& t : section.topics) out += Line(t.word, AboutTopic(t.word));
  }
  return out + More(program, "");
}

std::string UsageOf(const std::string& program, const Command& command) {
  return UsageLine(program, command) + FlagsOf(program, command);
}

std::string HelpOf(const std::string& program, const Command& command) {
  std::string out = std::string(command.about) + "\n\n" + UsageLine(program, command) + "\nExamples:\n";
  for (std::string_view rest = command.examples; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    out += (line.starts_with(' ') ? "  " : "  " + program + " ") + std::string(line) + "\n";
  }
  return out + FlagsOf(program, command) + "\nUse \"" + program + " options\" for the flags that all commands have.\n";
}

std::string HelpOfGroup(const std::string& program, std::string_view word) {
  std::string start = std::string(word) + " ", lines;
  for (const Command& c : Commands()) {
    std::string_view words = c.words;
    if (words.starts_with(start)) lines += Line(words.substr(start.size()), c.about);
  }
  if (lines.empty() || word.empty()) return "";
  return std::string(AboutTopic(word)) + "\n\nUsage:\n  " + program + " " + start +
         "[command]\n\nAvailable Commands:\n" + lines + More(program, start);
}

}  // namespace kvstore::ctl
