// What names, labels and addresses must look like. Each check gives the reasons why a text is refused (none: it is
// fine), in the original's words (apimachinery util/validation). Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/object/api_error.h"

namespace machinery::object {

using Reasons = std::vector<std::string>;

Reasons IsDns1123Label(std::string_view s);      // "my-name", 63
Reasons IsDns1123Subdomain(std::string_view s);  // "example.com", 253
Reasons IsDns1123SubdomainWithUnderscore(std::string_view s);
Reasons IsWildcardDns1123Subdomain(std::string_view s);  // "*.example.com"
Reasons IsDns1035Label(std::string_view s);              // "my-name", a letter first, 63
Reasons IsQualifiedName(std::string_view s);             // "example.com/MyName": label keys, resource names
Reasons IsLabelValue(std::string_view s);
Reasons IsPathSegmentName(std::string_view s);  // not . or .., no / or %
Reasons IsPathSegmentPrefix(std::string_view s);
Reasons IsConfigMapKey(std::string_view s);
Reasons IsEnvVarName(std::string_view s);
Reasons IsRelaxedEnvVarName(std::string_view s);
Reasons IsCIdentifier(std::string_view s);
Reasons IsPortName(std::string_view s);  // "http", 15
Reasons IsPortNumber(int64_t port);      // 1..65535
Reasons IsInRange(int64_t v, int64_t low, int64_t high);
Reasons IsPercent(std::string_view s);  // "25%"
Reasons IsHttpHeaderName(std::string_view s);
Reasons IsUserId(int64_t id);  // 0..2147483647
Reasons IsConditionReason(std::string_view s);
std::string MaxLengthReason(int length);             // must be no more than N characters
std::string RangeReason(int64_t low, int64_t high);  // must be between ...

// A rule for the names of a kind. `prefix`: the text is a generateName, to which something is appended.
using NameRule = Reasons (*)(std::string_view name, bool prefix);
Reasons NameIsDnsSubdomain(std::string_view name, bool prefix);
Reasons NameIsDnsLabel(std::string_view name, bool prefix);
Reasons NameIsPathSegment(std::string_view name, bool prefix);

FieldErrors IsFullyQualifiedName(const std::string& field, std::string_view s);
FieldErrors IsDomainPrefixedPath(const std::string& field, std::string_view s);  // "acme.io/foo"

// An address as 16 bytes of IPv6; IPv4 stands in ::ffff:0:0/96.
struct Ip {
  uint8_t bytes[16] = {};
  bool v4 = false;      // written as, or mapping, IPv4
  bool mapped = false;  // written as IPv6 that maps IPv4
  bool leading_zero = false;
  std::string ToString() const;  // canonical text (RFC 5952)
  bool IsUnspecified() const;
  bool IsLoopback() const;
  bool IsLinkLocalUnicast() const;
  bool IsLinkLocalMulticast() const;
  friend bool operator==(const Ip& a, const Ip& b);
};
// Accepts leading zeros in IPv4 (read as decimal), as the API always did.
std::optional<Ip> ParseIp(std::string_view s);
struct Cidr {
  Ip address;      // as written
  int prefix = 0;  // of 32 or 128
  bool leading_zero = false;
  bool Contains(const Ip& ip) const;
  Ip Masked() const;
  std::string ToString() const;  // of the masked network
};
std::optional<Cidr> ParseCidr(std::string_view s);
// IPs and CIDRs in fields that took sloppy texts once (since 1.36 they take nothing that two readers could understand
// differently: no leading zeros, no IPv4 in IPv6, no bits beyond a prefix; what an object already holds is for the
// caller to tolerate), and in newer fields (canonical form only).
FieldErrors IsValidLegacyIp(const std::string& field, std::string_view s);
FieldErrors IsValidIp(const std::string& field, std::string_view s);
FieldErrors IsValidLegacyCidr(const std::string& field, std::string_view s);
FieldErrors IsValidCidr(const std::string& field, std::string_view s);

}  // namespace machinery::object
