// Addresses and ranges as users wrote them, made into the one text that may stand in a rule. Nothing that came from an
// API object reaches a back end without having been through here. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/object/names.h"

namespace proxy {

enum class Family { kIPv4, kIPv6 };

inline Family FamilyOf(const machinery::object::Ip& ip) { return ip.v4 ? Family::kIPv4 : Family::kIPv6; }

// An address that packets of others can be sent to: not unspecified, loopback, link-local, multicast or broadcast.
bool IsRoutable(const machinery::object::Ip& ip);

// The canonical text of `text` where it is a routable address of the family ("10.96.0.01" -> "10.96.0.1",
// "::ffff:10.0.0.1" is IPv4); nullopt otherwise.
std::optional<std::string> RoutableAddress(std::string_view text, Family family);

struct Ranges {
  std::vector<std::string> cidrs;  // of the family, canonical, sorted, none inside another; a single "/0" covers all
  std::vector<std::string> bad;    // texts that are no range at all
  bool everything() const;
};
Ranges ParseRanges(const std::vector<std::string>& texts, Family family);

// Whether the address (of any family, canonical or not) lies in one of the ranges.
bool Covers(const std::vector<std::string>& cidrs, std::string_view ip);

// A text of a user, fit for a log line or an event: at most 64 bytes, printable ASCII, quoted.
std::string Shown(std::string_view text);

}  // namespace proxy
