// The label client_api_version: what clients say of themselves, bounded, since every value is a time series and a
// client may say anything. One strand.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace kvstore::service {

class ClientVersions {
 public:
  // etcd's clients say the API's version, "3.7"; there have been eight of them.
  static constexpr size_t kMost = 16;
  static constexpr std::string_view kOther = "other";

  // The metadata "client-api-version" as a label: itself, when it looks like a version (two or three numbers of up to
  // three digits) and is one of the first kMost that were said; else kOther.
  std::string_view Label(std::string_view said);

 private:
  std::set<std::string, std::less<>> known_;
};

}  // namespace kvstore::service
