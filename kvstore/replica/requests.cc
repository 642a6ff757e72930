#include "kvstore/replica/requests.h"

#include "base/protobuf_wire.h"

namespace kvstore::replica {

namespace wire = base::wire;

std::string WithHeader(std::string fields, uint64_t id, const mvcc::Identity& who) {
  std::string header;
  wire::PutUint(header, 1, id);
  if (!who.user.empty()) wire::PutBytes(header, 2, who.user);
  wire::PutNonZero(header, 3, who.revision);
  wire::PutBytes(fields, 100, header);
  return fields;
}

std::string LeaseRevokeRequest(int64_t lease) {
  std::string inner, out;
  wire::PutUint(inner, 1, static_cast<uint64_t>(lease));
  wire::PutBytes(out, 9, inner);
  return out;
}

uint64_t ChangeId(const raft::Entry& e) {
  if (e.type != raft::EntryType::kConfChange) return 0;
  wire::Reader r(e.bytes());
  while (r.Next()) {
    if (r.field() == 1) return r.value();
  }
  return 0;
}

std::string LeaseKeepAliveQuestion(int64_t lease) {
  std::string body;
  wire::PutUint(body, 1, static_cast<uint64_t>(lease));
  return body;
}

int64_t LeaseKeepAliveAnswer(std::string_view body) {
  int64_t ttl = 0;
  wire::Reader r(body);
  while (r.Next()) {
    if (r.field() == 3) ttl = static_cast<int64_t>(r.value());
  }
  return ttl;
}

std::string LeaseTimesQuestion(int64_t lease, bool keys) {
  std::string inner, body;
  wire::PutUint(inner, 1, static_cast<uint64_t>(lease));
  if (keys) wire::PutUint(inner, 2, 1);
  wire::PutBytes(body, 1, inner);
  return body;
}

LeaseTimes LeaseTimesAnswer(std::string_view body) {
  LeaseTimes out;
  wire::Reader outer(body);
  while (outer.Next()) {
    wire::Reader r(outer.bytes());
    while (r.Next()) {
      if (r.field() == 3) out.ttl = static_cast<int64_t>(r.value());
      if (r.field() == 4) out.granted = static_cast<int64_t>(r.value());
      if (r.field() == 5) out.keys.emplace_back(r.bytes());
    }
  }
  return out;
}

}  // namespace kvstore::replica
