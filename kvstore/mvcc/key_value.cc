#include "kvstore/mvcc/key_value.h"

#include "base/bytes.h"
#include "base/protobuf_wire.h"

namespace kvstore::mvcc {

namespace wire = base::wire;

std::string EncodeKeyValue(const KeyValueView& kv) {
  std::string out;
  out.reserve(kv.key.size() + kv.value.size() + 40);
  wire::PutNonEmpty(out, 1, kv.key);
  wire::PutNonZero(out, 2, static_cast<uint64_t>(kv.create_revision));
  wire::PutNonZero(out, 3, static_cast<uint64_t>(kv.mod_revision));
  wire::PutNonZero(out, 4, static_cast<uint64_t>(kv.version));
  wire::PutNonEmpty(out, 5, kv.value);
  wire::PutNonZero(out, 6, static_cast<uint64_t>(kv.lease));
  return out;
}

std::string WithoutValue(std::string_view encoded, bool without_lease) {
  auto kv = DecodeKeyValue(encoded);
  if (!kv) return std::string(encoded);
  kv->value = {};
  if (without_lease) kv->lease = 0;
  return EncodeKeyValue(*kv);
}

std::optional<KeyValueView> DecodeKeyValue(std::string_view bytes) {
  KeyValueView kv;
  wire::Reader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1:
        kv.key = r.bytes();
        break;
      case 2:
        kv.create_revision = static_cast<int64_t>(r.value());
        break;
      case 3:
        kv.mod_revision = static_cast<int64_t>(r.value());
        break;
      case 4:
        kv.version = static_cast<int64_t>(r.value());
        break;
      case 5:
        kv.value = r.bytes();
        break;
      case 6:
        kv.lease = static_cast<int64_t>(r.value());
        break;
    }
  }
  if (!r.ok()) return std::nullopt;
  return kv;
}

std::string RevisionKey(const Revision& r, bool tombstone) {
  std::string out;
  base::PutBigEndian64(out, static_cast<uint64_t>(r.main));
  out.push_back('_');
  base::PutBigEndian64(out, static_cast<uint64_t>(r.sub));
  if (tombstone) out.push_back('t');
  return out;
}

}  // namespace kvstore::mvcc
