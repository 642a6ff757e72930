// Flags from a configuration file, read by libyaml: the grammar that go-yaml has, and its texts.
#include <yaml.h>

#include <cstdio>

#include "base/flags.h"
#include "base/json_writer.h"

namespace base {
namespace {

constexpr int kMaxDepth = 64;  // an anchor may hold itself

// One document in libyaml's memory.
class Document {
 public:
  Document() = default;
  Document(const Document&) = delete;
  ~Document() {
    if (loaded_) yaml_document_delete(&document_);
  }

  Status Load(std::string_view text) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return ResourceExhausted("yaml: no memory");
    yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    loaded_ = yaml_parser_load(&parser, &document_) != 0;
    Status status = Ok();
    if (!loaded_) {
      std::string problem = parser.problem ? parser.problem : "unknown problem parsing YAML content";
      status = InvalidArgument("error converting YAML to JSON: yaml: line " +
                               std::to_string(parser.problem_mark.line + 1) + ": " + problem);
    }
    yaml_parser_delete(&parser);
    return status;
  }

  const yaml_node_t* root() { return yaml_document_get_root_node(&document_); }
  const yaml_node_t& at(int index) { return *yaml_document_get_node(&document_, index); }

 private:
  yaml_document_t document_{};
  bool loaded_ = false;
};

bool IsScalar(const yaml_node_t& node) { return node.type == YAML_SCALAR_NODE; }
bool IsMap(const yaml_node_t& node) { return node.type == YAML_MAPPING_NODE; }

std::string Text(const yaml_node_t& node) {
  return {reinterpret_cast<const char*>(node.data.scalar.value), node.data.scalar.length};
}

bool IsNull(const yaml_node_t& node) {
  if (!IsScalar(node) || node.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
  std::string text = Text(node);
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

}  // namespace

class FlagSet::ConfigReader {
 public:
  ConfigReader(FlagSet& set, Document& document) : set_(set), document_(document) {}

  Status Walk(const yaml_node_t& map, const std::string& prefix, int depth) {
    if (depth <= 0) return InvalidArgument("the configuration is nested too deep");
    for (auto* pair = map.data.mapping.pairs.start; pair < map.data.mapping.pairs.top; ++pair) {
      const yaml_node_t &key = document_.at(pair->key), &value = document_.at(pair->value);
      if (!IsScalar(key)) return InvalidArgument("a key is not a string");
      std::string path = prefix + Text(key);
      if (path == "apiVersion" || path == "kind") continue;
      if (Flag* flag = Match(path)) {
        TRY(SetFlag(*flag, value, path));
      } else if (IsMap(value)) {
        TRY(Walk(value, path + ".", depth - 1));
      } else if (set_.unsupported_.contains(Normalized(path))) {
        return set_.UnknownFlag(Normalized(path));
      } else if (IsEtcd()) {
        // As the original, whose sample file has fields of former versions; but not in silence.
        std::fprintf(stderr, "ignored field %s of the configuration file: nothing has that name\n",
                     GoQuote(path).c_str());
      } else {
        return InvalidArgument("strict decoding error: unknown field " + GoQuote(path));
      }
    }
    return Ok();
  }

 private:
  bool IsEtcd() const { return set_.program_.style == FlagProgram::Style::kEtcd; }

  // The flag that `path` sets: by a path of its own, or at the top level by its name.
  Flag* Match(const std::string& path) const {
    for (const auto& flag : set_.flags_)
      for (const auto& p : flag->config_paths_)
        if (p == path) return flag.get();
    Flag* found = path.find('.') == std::string::npos ? set_.Find(Normalized(path)) : nullptr;
    // In the original's file a field is in one place.
    return found != nullptr && IsEtcd() && !found->config_paths_.empty() ? nullptr : found;
  }

  Status SetFlag(Flag& flag, const yaml_node_t& node, const std::string& path) {
    if (IsNull(node)) return Ok();
    if (IsScalar(node)) {
      std::string text = Text(node);
      // etcd's file has durations as Go keeps them.
      bool nanoseconds =
          IsEtcd() && flag.value_->type() == "duration" && text.find_first_not_of("0123456789") == std::string::npos;
      return set_.Apply(flag, nanoseconds ? text + "ns" : text, path, kConfig);
    }
    auto apply = [&](const std::string& key, const yaml_node_t& value) {
      if (!IsScalar(value)) return InvalidArgument("field " + GoQuote(path) + " must hold plain values");
      return set_.Apply(flag, key + Text(value), path, kConfig);
    };
    if (!IsMap(node)) {
      for (auto* item = node.data.sequence.items.start; item < node.data.sequence.items.top; ++item)
        TRY(apply("", document_.at(*item)));
      return Ok();
    }
    for (auto* pair = node.data.mapping.pairs.start; pair < node.data.mapping.pairs.top; ++pair) {
      const yaml_node_t& key = document_.at(pair->key);
      if (!IsScalar(key)) return InvalidArgument("a key is not a string");
      TRY(apply(Text(key) + "=", document_.at(pair->value)));
    }
    return Ok();
  }

  FlagSet& set_;
  Document& document_;
};

Status FlagSet::ParseConfigText(std::string_view yaml) {
  Document document;
  TRY(document.Load(yaml));
  const yaml_node_t* root = document.root();
  if (root == nullptr || IsNull(*root)) return Ok();
  if (!IsMap(*root)) return InvalidArgument("the configuration is not a map");
  return ConfigReader(*this, document).Walk(*root, "", kMaxDepth);
}

}  // namespace base
