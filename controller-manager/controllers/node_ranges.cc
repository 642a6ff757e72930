// helper: which pod ranges nodes have, for node_ipam.cc.
#include "controller-manager/controllers/node_ranges.h"

#include <algorithm>

namespace controller_manager {

using machinery::object::Cidr;
using machinery::object::Ip;

base::Result<NodeRanges> NodeRanges::Parse(const std::string& cidr, int mask_v4, int mask_v6) {
  auto parsed = machinery::object::ParseCidr(cidr);
  if (!parsed || parsed->address.mapped) return base::Err(base::InvalidArgument("invalid CIDR address: " + cidr));
  NodeRanges out;
  out.base_ = *parsed;
  out.base_.address = parsed->Masked();
  bool v4 = parsed->address.v4;
  out.mask_ = v4 ? mask_v4 : mask_v6;
  int bits = out.mask_ - parsed->prefix;
  if (bits < 0 || bits > 16 || out.mask_ > (v4 ? 32 : 128))
    return base::Err(base::InvalidArgument("node CIDR mask size " + std::to_string(out.mask_) +
                                           " does not fit the cluster CIDR " + cidr));
  out.users_.resize(size_t{1} << bits);
  return out;
}

// The bits between the cluster's prefix and the node's, as a number.
NodeRanges::Span NodeRanges::Touched(const Cidr& cidr) const {
  auto all = static_cast<uint32_t>(users_.size());
  if (cidr.address.v4 != base_.address.v4 || cidr.address.mapped) return {};
  if (cidr.prefix <= base_.prefix) return cidr.Contains(base_.address) ? Span{0, all} : Span{};
  if (!base_.Contains(cidr.address)) return {};
  Ip ip = cidr.Masked();
  uint32_t index = 0;
  for (int bit = offset() + base_.prefix; bit < offset() + mask_; ++bit)
    index = index << 1 | (ip.bytes[bit / 8] >> (7 - bit % 8) & 1);
  return {index, cidr.prefix >= mask_ ? 1u : 1u << (mask_ - cidr.prefix)};
}

std::string NodeRanges::Text(uint32_t index) const {
  Cidr out = base_;
  out.prefix = mask_;
  for (int bit = offset() + mask_ - 1; index != 0; --bit, index >>= 1)
    out.address.bytes[bit / 8] |= static_cast<uint8_t>((index & 1) << (7 - bit % 8));
  return out.ToString();
}

void NodeRanges::Take(const std::string& node, Span span) {
  if (span.count == 0) return;
  for (uint32_t i = 0; i < span.count; ++i) ++users_[span.first + i];
  of_[node].push_back(span);
}

std::optional<std::string> NodeRanges::Allocate(const std::string& node) {
  auto count = static_cast<uint32_t>(users_.size());
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t n = (next_ + i) % count;
    if (users_[n] != 0) continue;
    Take(node, {n, 1});
    next_ = (n + 1) % count;
    return Text(n);
  }
  return std::nullopt;
}

void NodeRanges::Use(const std::string& node, const std::string& cidr) {
  if (auto parsed = machinery::object::ParseCidr(cidr)) Take(node, Touched(*parsed));
}

void NodeRanges::Release(const std::string& node) {
  auto found = of_.find(node);
  if (found == of_.end()) return;
  for (Span span : found->second)
    for (uint32_t i = 0; i < span.count; ++i) --users_[span.first + i];
  of_.erase(found);
}

void NodeRanges::GiveBack(const std::string& node, const std::string& cidr) {
  auto parsed = machinery::object::ParseCidr(cidr);
  auto found = of_.find(node);
  if (!parsed || found == of_.end()) return;
  Span span = Touched(*parsed);
  auto it = std::ranges::find_if(found->second, [&](Span s) { return s.first == span.first && s.count == span.count; });
  if (it == found->second.end()) return;
  for (uint32_t i = 0; i < span.count; ++i) --users_[span.first + i];
  found->second.erase(it);
}

}  // namespace controller_manager
