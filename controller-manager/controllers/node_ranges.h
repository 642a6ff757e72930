// One cluster range of pod addresses, cut into equal ranges for nodes. Pure; one strand.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "machinery/object/names.h"

namespace controller_manager {

class NodeRanges {
 public:
  // `mask_v4` and `mask_v6`: the size of a node's range; at most 65,536 of them.
  static base::Result<NodeRanges> Parse(const std::string& cidr, int mask_v4, int mask_v6);

  // The next range of which no node has any address; it is the node's from now on.
  std::optional<std::string> Allocate(const std::string& node);
  // What a node says it has, whatever it is: every range it touches is taken. A text that is no range takes none.
  void Use(const std::string& node, const std::string& cidr);
  // All that Allocate and Use took for the node, and one range that Allocate gave.
  void Release(const std::string& node);
  void GiveBack(const std::string& node, const std::string& cidr);

 private:
  struct Span {
    uint32_t first = 0, count = 0;
  };
  Span Touched(const machinery::object::Cidr& cidr) const;
  void Take(const std::string& node, Span span);
  std::string Text(uint32_t index) const;
  int offset() const { return base_.address.v4 ? 96 : 0; }  // of the prefix within 128 bits

  machinery::object::Cidr base_;
  int mask_ = 24;
  uint32_t next_ = 0;
  std::vector<uint32_t> users_;  // of each range
  std::map<std::string, std::vector<Span>> of_;
};

}  // namespace controller_manager
