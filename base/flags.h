// A program's flags: typed variables with a name, a help text and a section, set from a configuration file, environment
// variables and the command line, the later over the earlier. Owned by main(); used before anything else runs; one
// thread.
//
//   base::FlagSet flags({.name = "kube-scheduler", .version = "Kubernetes v1.0.0"});
//   flags.Section("Secure serving");
//   flags.Add("secure-port", &options.secure_port, "The port on which to serve HTTPS.");
//   flags.Unsupported({"tls-sni-cert-key"});
//   if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
//
// Spelling is pflag's: `--name value`, `--name=value`, `--bool`, `--bool=false`, `-v 2`, `-v=2`, `-v2`; lists are
// comma-separated or repeated; maps are `a=b,c=d`; durations are Go's; '_' in a name is read as '-'. Errors are pflag's
// words (etcd's programs: Go's flag package's). A flag of the original that Keelson does not support yet is an error
// that says so, never ignored.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/status.h"

namespace base {

struct FlagProgram {
  std::string name;         // "kube-scheduler"
  std::string description;  // stands above the flags in --help
  std::string version;      // what --version prints
  // kEtcd: `-name` is a long flag too, errors and exit code (2) as Go's flag package has them; in the file a duration
  // may be a number of nanoseconds, and a field that nothing has is told of and ignored.
  enum class Style { kKubernetes, kEtcd } style = Style::kKubernetes;
  std::string env_prefix;        // "ETCD_": --data-dir is also ETCD_DATA_DIR; "" = no environment
  std::string config_flag = {};  // "config": YAML or JSON file; its keys are flag names or Flag::Config paths
};

class FlagSet;

// How text becomes a value. `fresh` is true for the first text of a source (file, environment, command line): a list
// starts over then, and grows afterwards.
class FlagValue {
 public:
  virtual ~FlagValue() = default;
  virtual Status Set(std::string_view text, bool fresh) = 0;
  virtual std::string_view type() const = 0;
  // As --help shows it, "" when it is the type's zero.
  virtual std::string DefaultText() const = 0;
  virtual bool is_bool() const { return false; }
};

class Flag {
 public:
  Flag& Short(char letter);
  // A dotted path in the configuration file ("authentication.anonymous.enabled") that sets this flag too.
  Flag& Config(std::string path);
  // The word shown for the value in --help.
  Flag& Type(std::string type);
  Flag& Hidden();

 private:
  friend class FlagSet;
  std::string name_, help_, section_, type_;
  std::vector<std::string> config_paths_;
  char short_ = 0;
  bool hidden_ = false;
  bool changed_ = false;
  int last_source_ = 0;
  std::string default_text_;
  std::unique_ptr<FlagValue> value_;
};

class FlagSet {
 public:
  explicit FlagSet(FlagProgram program);
  ~FlagSet();
  FlagSet(const FlagSet&) = delete;

  // Flags added from here on stand under this heading ("Secure serving" is shown as "Secure serving flags:").
  void Section(std::string name);

  // The variable's value at this moment is the default.
  Flag& Add(std::string name, bool* value, std::string help);
  Flag& Add(std::string name, int32_t* value, std::string help);
  Flag& Add(std::string name, int64_t* value, std::string help);
  Flag& Add(std::string name, uint32_t* value, std::string help);
  Flag& Add(std::string name, uint64_t* value, std::string help);
  Flag& Add(std::string name, double* value, std::string help);
  Flag& Add(std::string name, std::string* value, std::string help);
  Flag& Add(std::string name, std::vector<std::string>* value, std::string help);
  Flag& Add(std::string name, Duration* value, std::string help);
  Flag& Add(std::string name, std::map<std::string, std::string>* value, std::string help);
  Flag& Add(std::string name, std::map<std::string, bool>* value, std::string help);  // feature gates
  Flag& AddCustom(std::string name, std::unique_ptr<FlagValue> value, std::string help);
  // One of a few words.
  Flag& AddChoice(std::string name, std::string* value, std::vector<std::string> choices, std::string help);

  // Names of the original that are refused with "flag --x is not supported yet by keelson".
  void Unsupported(std::initializer_list<std::string_view> names);
  void Unsupported(const std::vector<std::string>& names);

  // `args` without the program's name.
  Status Parse(const std::vector<std::string>& args);
  // Parses, and answers --help, --version and errors itself: the exit code then, nullopt when the program shall run.
  std::optional<int> ParseOrExitCode(int argc, char** argv);
  // As if it stood in the configuration file, for programs that read theirs themselves.
  Status ParseConfigText(std::string_view yaml);

  bool help_requested() const { return help_; }
  bool version_requested() const { return version_; }
  // Set by any source.
  bool Changed(std::string_view name) const;
  // --name=value of every flag, sorted, for the log at start-up. Values of flags whose name speaks of a secret are left
  // out.
  std::vector<std::string> Values() const;
  std::string Help() const;
  const std::vector<std::string>& positional() const { return positional_; }
  // Lets arguments that are no flags through (tools); daemons refuse them.
  void AllowPositional() { allow_positional_ = true; }

 private:
  enum Source { kNone = 0, kConfig = 1, kEnvironment = 2, kCommandLine = 3 };
  struct Setting {
    Flag* flag;
    std::string value, spelled;
  };
  struct Cursor;
  Flag* Find(std::string_view name) const;
  Status Collect(const std::vector<std::string>& args, std::vector<Setting>& out);
  Status CollectLong(Cursor& cursor, std::string_view body, std::vector<Setting>& out);
  Status CollectShort(Cursor& cursor, std::string_view letters, std::vector<Setting>& out);
  Status UnknownFlag(std::string_view name) const;
  Status Apply(Flag& flag, std::string_view value, const std::string& spelled, int source);
  Status ApplyConfig(const std::string& path);
  Status ApplyEnvironment();
  // As flags are looked up: underscores are dashes.
  static std::string Normalized(std::string_view name);
  class ConfigReader;

  FlagProgram program_;
  std::string section_;
  std::vector<std::string> section_order_;
  std::vector<std::unique_ptr<Flag>> flags_;
  std::map<std::string, Flag*, std::less<>> by_name_;
  std::map<std::string, bool, std::less<>> unsupported_;
  std::vector<std::string> positional_;
  bool allow_positional_ = false, help_ = false, version_ = false;
};

}  // namespace base
