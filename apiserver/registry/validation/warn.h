// The parts of warnings.h. Internal to this folder.
#pragma once

#include <string>
#include <vector>

#include "apiserver/registry/validation/check.h"

namespace apiserver::registry::validation {

// A list that stops growing at a bound: some rules compare everything with everything.
class Warnings {
 public:
  void Add(std::string text) {
    if (!full()) texts_.push_back(std::move(text));
  }
  bool full() const { return texts_.size() >= kMost; }
  std::vector<std::string> Take() { return std::move(texts_); }

 private:
  static constexpr size_t kMost = 1000;
  std::vector<std::string> texts_;
};

// metadata and spec of a pod (`path` is "") or of a template (`path` is where it stands).
void WarnOfPod(const Value& pod, const std::string& path, Warnings& out);
// A term of a node selector; `path` is where the term stands.
void WarnOfNodeTerm(const Value& term, bool check_values, const std::string& path, Warnings& out);
void WarnOfVolumes(const Value& volumes, const std::string& path, Warnings& out);
void WarnOfService(const Value& service, Warnings& out);
void WarnOfClaimSpec(const Value& spec, const std::string& path, Warnings& out);
void WarnOfIp(const std::string& path, std::string_view ip, Warnings& out);
void WarnOfCidr(const std::string& path, std::string_view cidr, Warnings& out);
// A number of bytes that is no whole number; absent is fine.
void WarnOfFraction(const Value& amount, const std::string& path, Warnings& out);
// What to use instead of a label that nodes had once; "" = the label is fine.
std::string_view DeprecatedNodeLabel(std::string_view key);

}  // namespace apiserver::registry::validation
