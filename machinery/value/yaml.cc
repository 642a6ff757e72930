// YAML in and out on libyaml, the scanner that go-yaml is a port of: the same grammar, the same line breaking, the same
// error texts. (yaml-cpp reads YAML 1.2, words its errors differently and reports them by exceptions.)
#include <yaml.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <deque>
#include <map>

#include "base/bytes.h"
#include "machinery/value/text.h"
#include "machinery/value/value.h"
#include "machinery/value/yaml_scalar.h"

namespace machinery::value {

namespace {

using base::Err;
using base::InvalidArgument;
using base::Result;
using base::Status;

constexpr std::string_view kTagPrefix = "tag:yaml.org,2002:";

struct Node {
  enum class Kind : uint8_t { kScalar, kSequence, kMapping, kAlias };
  Kind kind = Kind::kScalar;
  bool plain = false;      // a scalar that may be resolved
  bool expanding = false;  // an alias that is being followed
  size_t line = 0;         // from 0
  std::string text, tag;   // scalar text or anchor name; tag without the usual prefix
  std::vector<Node*> children;
  Node* target = nullptr;
};

// Events -> nodes: anchors must be known as nodes, since an alias may stand where a merge wants a map.
class Composer {
 public:
  Composer(std::string_view text, const ParseOptions& options) : options_(options) {
    yaml_parser_initialize(&parser_);
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    yaml_parser_set_input_string(&parser_, bytes, text.size());
  }
  ~Composer() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Composer(const Composer&) = delete;

  // The first document's root; null when the stream is empty.
  Result<Node*> Run() {
    TRY(Next());  // stream start
    TRY(Next());
    if (event_.type == YAML_STREAM_END_EVENT) return nullptr;
    TRY(Next());
    return Compose(options_.max_depth);
  }

 private:
  Status Next() {
    yaml_event_delete(&event_);
    if (!yaml_parser_parse(&parser_, &event_)) return Problem();
    return base::Ok();
  }

  Status Problem() const {
    size_t line = parser_.problem_mark.line;
    if (line != 0) {
      // A scanner stops in the line at fault, a parser at the token behind it.
      if (parser_.error == YAML_SCANNER_ERROR) ++line;
    } else {
      line = parser_.context_mark.line;
    }
    std::string message = "yaml: ";
    if (line != 0) message += "line " + std::to_string(line) + ": ";
    return InvalidArgument(message + (parser_.problem ? parser_.problem : "unknown problem parsing YAML content"));
  }

  static std::string Text(const unsigned char* s) { return s ? reinterpret_cast<const char*>(s) : std::string(); }
  static std::string ShortTag(const unsigned char* tag) {
    std::string text = Text(tag);
    return text.starts_with(kTagPrefix) ? "!!" + text.substr(kTagPrefix.size()) : text;
  }

  void Anchor(const unsigned char* name, Node* node) {
    if (name) anchors_[Text(name)] = node;
  }

  // The node whose first event is at hand; leaves the event behind it unread.
  Result<Node*> Compose(int depth) {
    if (nodes_.size() >= options_.max_nodes) return Err(InvalidArgument("yaml: document has too many values"));
    if (depth <= 0) return Err(InvalidArgument("yaml: exceeded max depth of " + std::to_string(options_.max_depth)));
    Node* node = &nodes_.emplace_back();
    node->line = event_.start_mark.line;
    switch (event_.type) {
      case YAML_ALIAS_EVENT: {
        node->kind = Node::Kind::kAlias;
        node->text = Text(event_.data.alias.anchor);
        auto found = anchors_.find(node->text);
        if (found == anchors_.end())
          return Err(InvalidArgument("yaml: unknown anchor '" + node->text + "' referenced"));
        node->target = found->second;
        return node;
      }
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event_.data.scalar;
        node->text.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);
        node->tag = ShortTag(scalar.tag);
        node->plain = scalar.plain_implicit != 0;
        Anchor(scalar.anchor, node);
        return node;
      }
      case YAML_SEQUENCE_START_EVENT:
        node->kind = Node::Kind::kSequence;
        Anchor(event_.data.sequence_start.anchor, node);
        return Children(node, YAML_SEQUENCE_END_EVENT, depth - 1);
      case YAML_MAPPING_START_EVENT:
        node->kind = Node::Kind::kMapping;
        Anchor(event_.data.mapping_start.anchor, node);
        return Children(node, YAML_MAPPING_END_EVENT, depth - 1);
      default:
        return Err(InvalidArgument("yaml: attempted to parse unknown event"));
    }
  }

  Result<Node*> Children(Node* node, yaml_event_type_t end, int depth) {
    for (;;) {
      TRY(Next());
      if (event_.type == end) return node;
      TRY_ASSIGN(Node * child, Compose(depth));
      node->children.push_back(child);
    }
  }

  const ParseOptions& options_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  std::deque<Node> nodes_;
  std::map<std::string, Node*> anchors_;
};

// Nodes -> tree, with go-yaml's guard against documents that are mostly alias expansion.
class Builder {
 public:
  Builder(const ParseOptions& options, std::vector<std::string>* duplicates)
      : options_(options), duplicates_(duplicates) {}

  Result<Value> Build(Node* node, int depth) {
    TRY(Count());
    if (depth <= 0) return Err(InvalidArgument("yaml: exceeded max depth of " + std::to_string(options_.max_depth)));
    switch (node->kind) {
      case Node::Kind::kAlias:
        return BuildAlias(node, depth);
      case Node::Kind::kScalar:
        return Scalar(*node);
      case Node::Kind::kSequence: {
        List list;
        list.reserve(node->children.size());
        for (Node* child : node->children) {
          TRY_ASSIGN(Value item, Build(child, depth - 1));
          list.push_back(std::move(item));
        }
        return Value(std::move(list));
      }
      case Node::Kind::kMapping: {
        Map map;
        TRY(FillMap(node, map, depth - 1));
        map.SortByKey();
        return Value(std::move(map));
      }
    }
    return Value();
  }

 private:
  Status Count() {
    ++built_;
    if (alias_depth_ > 0) ++from_aliases_;
    if (built_ > options_.max_nodes) return InvalidArgument("yaml: document has too many values");
    // Up to 400,000 values 99 % may come from aliases, from 4,000,000 on 10 %, and linear in between.
    double beyond = (static_cast<double>(built_) - 400'000) / 3'600'000;
    double allowed = 0.99 - 0.89 * std::clamp(beyond, 0.0, 1.0);
    if (from_aliases_ > 100 && built_ > 1000 &&
        static_cast<double>(from_aliases_) / static_cast<double>(built_) > allowed) {
      return InvalidArgument("yaml: document contains excessive aliasing");
    }
    return base::Ok();
  }

  Result<Value> BuildAlias(Node* node, int depth) {
    if (node->expanding) return Err(InvalidArgument("yaml: anchor '" + node->text + "' value contains itself"));
    node->expanding = true;
    ++alias_depth_;
    auto out = Build(node->target, depth - 1);
    --alias_depth_;
    node->expanding = false;
    return out;
  }

  static Result<YamlScalar> Resolve(const Node& node) {
    const std::string& tag = node.tag;
    if (tag.empty() && !node.plain) return YamlScalar{YamlTag::kString, Value(node.text)};
    if (tag == "!!binary") {
      auto bytes = base::Base64Decode(node.text);
      if (!bytes) return Err(InvalidArgument("yaml: !!binary value contains invalid base64 data"));
      return YamlScalar{YamlTag::kString, Value(ToValidUtf8(*bytes))};
    }
    static constexpr std::string_view kNames[] = {"!!str", "!!bool", "!!int", "!!float", "!!null", "!!timestamp"};
    const auto* want = std::find(std::begin(kNames), std::end(kNames), tag);
    if (!tag.empty() && (want == std::end(kNames) || tag == "!!str"))
      return YamlScalar{YamlTag::kString, Value(node.text)};
    YamlScalar out = ResolveYaml(node.text, tag.empty() || tag == "!!timestamp");
    if (tag.empty()) return out;
    auto asked = static_cast<YamlTag>(want - std::begin(kNames));
    if (asked == YamlTag::kFloat && out.tag == YamlTag::kInt) {
      double d = out.value.as_double();
      return YamlScalar{YamlTag::kFloat, Value::Double(d), d};
    }
    if (asked == out.tag) return out;
    static constexpr std::string_view kGot[] = {"!!str",  "!!bool",      "!!int",  "!!float",
                                                "!!null", "!!timestamp", "!!merge"};
    return Err(InvalidArgument("yaml: cannot decode " + std::string(kGot[static_cast<size_t>(out.tag)]) + " `" +
                               node.text + "` as a " + tag));
  }

  Result<Value> Scalar(const Node& node) {
    TRY_ASSIGN(YamlScalar scalar, Resolve(node));
    if (!scalar.finite) {
      std::string name = std::isnan(scalar.number) ? "NaN" : scalar.number > 0 ? "+Inf" : "-Inf";
      return Err(InvalidArgument("json: unsupported value: " + name));
    }
    return std::move(scalar.value);
  }

  // JSON knows text keys only: numbers and booleans become text.
  Result<std::string> Key(Node* node, std::string* shown) {
    TRY(Count());
    if (node->kind == Node::Kind::kAlias) node = node->target;
    if (node->kind != Node::Kind::kScalar) return Err(InvalidArgument("yaml: invalid map key: " + Describe(*node)));
    TRY_ASSIGN(YamlScalar scalar, Resolve(*node));
    switch (scalar.tag) {
      case YamlTag::kNull:
        return Err(InvalidArgument("unsupported map key of type: %!s(<nil>), key: <nil>, value: <nil>"));
      case YamlTag::kBool:
      case YamlTag::kInt:
        return *shown = ToJson(scalar.value);
      case YamlTag::kFloat:
        return *shown = YamlFloatKey(scalar.number);
      default:
        *shown = Quote(scalar.value.as_string());
        return scalar.value.as_string();
    }
  }
  static std::string Describe(const Node& node) {
    return node.kind == Node::Kind::kSequence ? "[]interface {}{...}" : "map[interface {}]interface {}{...}";
  }

  static bool IsMerge(const Node& node) {
    return node.kind == Node::Kind::kScalar && node.text == "<<" && (node.plain || node.tag == "!!merge");
  }

  Status FillMap(Node* node, Map& map, int depth) {
    for (size_t i = 0; i + 1 < node->children.size(); i += 2) {
      if (IsMerge(*node->children[i])) {
        TRY(Merge(node->children[i + 1], map, depth));
        continue;
      }
      std::string shown;
      TRY_ASSIGN(std::string key, Key(node->children[i], &shown));
      Node* item = node->children[i + 1];
      TRY_ASSIGN(Value v, Build(item, depth));
      if (duplicates_ && map.Has(key)) {
        duplicates_->push_back("line " + std::to_string(item->line + 1) + ": key " + shown + " already set in map");
      }
      map.Set(key, std::move(v));
    }
    return base::Ok();
  }

  Status Merge(Node* node, Map& map, int depth) {
    const Status want = InvalidArgument("yaml: map merge requires map or sequence of maps as the value");
    if (depth <= 0) return want;
    TRY(Count());
    switch (node->kind) {
      case Node::Kind::kMapping:
        return FillMap(node, map, depth - 1);
      case Node::Kind::kAlias: {
        if (node->target->kind != Node::Kind::kMapping) return want;
        if (node->expanding) return InvalidArgument("yaml: anchor '" + node->text + "' value contains itself");
        node->expanding = true;
        ++alias_depth_;
        Status s = FillMap(node->target, map, depth - 1);
        --alias_depth_;
        node->expanding = false;
        return s;
      }
      case Node::Kind::kSequence:
        // The first map of the sequence wins: it is put in last.
        for (size_t i = node->children.size(); i-- > 0;) {
          if (node->children[i]->kind == Node::Kind::kSequence) return want;
          TRY(Merge(node->children[i], map, depth - 1));
        }
        return base::Ok();
      default:
        return want;
    }
  }

  const ParseOptions& options_;
  std::vector<std::string>* duplicates_;
  size_t built_ = 0, from_aliases_ = 0;
  int alias_depth_ = 0;
};

}  // namespace

Result<Value> FromYaml(std::string_view text, const ParseOptions& options, std::vector<std::string>* duplicates) {
  Composer composer(text, options);
  TRY_ASSIGN(Node * root, composer.Run());
  if (!root) return Value();
  return Builder(options, duplicates).Build(root, options.max_depth);
}

Result<Value> FromYaml(std::string_view text, const ParseOptions& options) {
  std::vector<std::string> duplicates;
  TRY_ASSIGN(Value out, FromYaml(text, options, options.reject_duplicates ? &duplicates : nullptr));
  if (duplicates.empty()) return out;
  std::string message = "yaml: unmarshal errors:";
  for (const std::string& d : duplicates) message += "\n  " + d;
  return Err(InvalidArgument(std::move(message)));
}

}  // namespace machinery::value
