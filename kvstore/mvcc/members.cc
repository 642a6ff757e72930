#include "kvstore/mvcc/members.h"

#include <cstdio>
#include <cstdlib>

#include "base/json_writer.h"

namespace kvstore::mvcc {
namespace {

// As much of JSON as a member needs, skipping what it does not know.
class Parser {
 public:
  explicit Parser(std::string_view in) : in_(in) {}

  bool Object(Member& m, int depth = 0) {
    if (depth > 4 || !Eat('{')) return false;
    if (Eat('}')) return true;
    do {
      std::string name;
      if (!String(name) || !Eat(':') || !Field(m, name, depth)) return false;
    } while (Eat(','));
    return Eat('}');
  }

 private:
  bool Field(Member& m, const std::string& name, int depth) {
    if (name == "id") return Number(m.id);
    if (name == "name") return String(m.name);
    if (name == "peerURLs") return Strings(m.peer_urls);
    if (name == "clientURLs") return Strings(m.client_urls);
    if (name == "isLearner") return Bool(m.is_learner);
    Member ignored;
    std::string text;
    std::vector<std::string> texts;
    uint64_t number;
    bool flag;
    return Peek('{')   ? Object(ignored, depth + 1)
           : Peek('"') ? String(text)
           : Peek('[') ? Strings(texts)
                       : Bool(flag) || Word("null") || Number(number);
  }
  void Space() {
    while (!in_.empty() && (in_[0] == ' ' || in_[0] == '\n' || in_[0] == '\t' || in_[0] == '\r')) in_.remove_prefix(1);
  }
  bool Peek(char c) {
    Space();
    return !in_.empty() && in_[0] == c;
  }
  bool Eat(char c) {
    if (!Peek(c)) return false;
    in_.remove_prefix(1);
    return true;
  }
  bool Word(std::string_view w) {
    Space();
    if (!in_.starts_with(w)) return false;
    in_.remove_prefix(w.size());
    return true;
  }
  bool Bool(bool& b) {
    if (Word("true")) return b = true, true;
    if (Word("false")) return b = false, true;
    return false;
  }
  bool Number(uint64_t& n) {
    Space();
    size_t i = 0;
    for (n = 0; i < in_.size() && in_[i] >= '0' && in_[i] <= '9'; ++i) n = n * 10 + static_cast<uint64_t>(in_[i] - '0');
    in_.remove_prefix(i);
    return i > 0;
  }
  bool String(std::string& out) {
    if (!Eat('"')) return false;
    while (!in_.empty() && in_[0] != '"') {
      if (in_[0] == '\\') {
        if (in_.size() < 2) return false;
        if (in_[1] == 'u') {
          if (in_.size() < 6) return false;
          // URLs and names are ASCII; anything else would be written as itself.
          out.push_back(static_cast<char>(std::strtoul(std::string(in_.substr(2, 4)).c_str(), nullptr, 16)));
          in_.remove_prefix(6);
          continue;
        }
        in_.remove_prefix(1);
      }
      out.push_back(in_[0]);
      in_.remove_prefix(1);
    }
    return Eat('"');
  }
  bool Strings(std::vector<std::string>& out) {
    if (Word("null")) return true;
    if (!Eat('[')) return false;
    if (Eat(']')) return true;
    do {
      if (!String(out.emplace_back())) return false;
    } while (Eat(','));
    return Eat(']');
  }

  std::string_view in_;
};

}  // namespace

std::string MemberToJson(const Member& m) {
  base::JsonWriter w;
  w.BeginObject().Key("id").Uint(m.id).Key("peerURLs").BeginArray();
  for (const std::string& u : m.peer_urls) w.String(u);
  w.EndArray();
  if (m.is_learner) w.Key("isLearner").Bool(true);
  if (!m.name.empty()) w.Key("name").String(m.name);
  if (!m.client_urls.empty()) {
    w.Key("clientURLs").BeginArray();
    for (const std::string& u : m.client_urls) w.String(u);
    w.EndArray();
  }
  w.EndObject();
  return w.Take();
}

std::optional<Member> MemberFromJson(std::string_view json) {
  Member m;
  if (!Parser(json).Object(m)) return std::nullopt;
  return m;
}

std::string MemberKey(uint64_t id) {
  char buf[24];
  std::snprintf(buf, sizeof buf, "%lx", static_cast<unsigned long>(id));
  return buf;
}

}  // namespace kvstore::mvcc
