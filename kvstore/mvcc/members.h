// A member of the cluster as etcd keeps it in its database and sends it in membership entries: one small JSON object.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvstore::mvcc {

struct Member {
  uint64_t id = 0;
  std::string name;
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool is_learner = false;
};

std::string MemberToJson(const Member& m);
// Unknown names are skipped; nullopt: not a JSON object.
std::optional<Member> MemberFromJson(std::string_view json);
// The key in the bucket `members`: hexadecimal without zeros in front, as etcd writes it (a member that one of them
// adds the other must be able to remove).
std::string MemberKey(uint64_t id);

}  // namespace kvstore::mvcc
