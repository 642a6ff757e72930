// JSON from anywhere into etcd's requests, as the gateway does: refused, or the same message again from its own text.
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace {

using namespace kvstore::transcode;

std::unique_ptr<google::protobuf::Message> Picked(uint8_t pick) {
  switch (pick % 8) {
    case 0:
      return std::make_unique<etcdserverpb::RangeRequest>();
    case 1:
      return std::make_unique<etcdserverpb::PutRequest>();
    case 2:
      return std::make_unique<etcdserverpb::TxnRequest>();
    case 3:
      return std::make_unique<etcdserverpb::WatchRequest>();
    case 4:
      return std::make_unique<etcdserverpb::AuthRoleGrantPermissionRequest>();
    case 5:
      return std::make_unique<etcdserverpb::TxnResponse>();
    case 6:
      return std::make_unique<etcdserverpb::AlarmRequest>();
    default:
      return std::make_unique<etcdserverpb::MemberAddRequest>();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string_view rest;
  (void)ParseJson(text, &rest);
  auto value = ParseJson(text);
  if (!value) return 0;
  auto message = Picked(data[0]);
  if (!FromJson(*value, *message).ok()) return 0;
  (void)ToJson(*message, JsonStyle::kGo);
  std::string written = ToJson(*message, JsonStyle::kGateway);
  auto again = ParseJson(written);
  CHECK_MSG(again.has_value(), written);
  auto copy = Picked(data[0]);
  CHECK_MSG(FromJson(*again, *copy).ok(), written);
  CHECK_MSG(copy->SerializeAsString() == message->SerializeAsString(), written);
  return 0;
}
