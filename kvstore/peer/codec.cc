#include "kvstore/peer/codec.h"

#include <utility>

#include "base/bytes.h"
#include "base/protobuf_wire.h"
#include "kvstore/wal/codec.h"

namespace kvstore::peer {

namespace wire = base::wire;

using base::Err;
using base::Result;
using raft::Message;
using raft::MessageType;

namespace {

// The append stream's frames.
constexpr char kLinkHeartbeat = 0;
constexpr char kEntriesOnly = 1;
constexpr char kWholeMessage = 2;

std::unexpected<base::Status> Malformed() { return Err(base::DataLoss("malformed raft stream")); }

}  // namespace

void EncodeMessage(std::string& out, const Message& m) {
  wire::PutUint(out, 1, static_cast<uint64_t>(m.type));
  wire::PutNonZero(out, 2, m.to);
  wire::PutNonZero(out, 3, m.from);
  wire::PutNonZero(out, 4, m.term);
  wire::PutNonZero(out, 5, m.log_term);
  wire::PutNonZero(out, 6, m.index);
  std::string part;
  for (const raft::Entry& e : m.entries) {
    part.clear();
    wal::EncodeEntry(part, e);
    wire::PutBytes(out, 7, part);
  }
  wire::PutNonZero(out, 8, m.commit);
  if (m.snapshot) wire::PutBytes(out, 9, wal::EncodeSnapshot(*m.snapshot));
  wire::PutNonZero(out, 10, m.reject);
  wire::PutNonZero(out, 11, m.reject_hint);
  wire::PutNonEmpty(out, 12, m.context);
  wire::PutNonZero(out, 13, m.vote);
}

std::optional<Message> DecodeMessage(std::string_view bytes) {
  Message m;
  wire::Reader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1:
        if (r.value() > static_cast<uint64_t>(MessageType::kForgetLeader)) return std::nullopt;
        m.type = static_cast<MessageType>(r.value());
        break;
      case 2:
        m.to = r.value();
        break;
      case 3:
        m.from = r.value();
        break;
      case 4:
        m.term = r.value();
        break;
      case 5:
        m.log_term = r.value();
        break;
      case 6:
        m.index = r.value();
        break;
      case 7: {
        auto e = wal::DecodeEntry(r.bytes());
        if (!e || m.entries.size() == kMaxEntries) return std::nullopt;
        m.entries.push_back(std::move(*e));
        break;
      }
      case 8:
        m.commit = r.value();
        break;
      case 9: {
        auto s = wal::DecodeSnapshot(r.bytes());
        if (!s) return std::nullopt;
        // Members of older lines send an empty one with every message.
        if (s->meta.index != 0) m.snapshot = std::make_shared<const raft::Snapshot>(std::move(*s));
        break;
      }
      case 10:
        m.reject = r.value() != 0;
        break;
      case 11:
        m.reject_hint = r.value();
        break;
      case 12:
        m.context = r.bytes();
        break;
      case 13:
        m.vote = r.value();
        break;
      default:
        break;
    }
  }
  if (!r.ok()) return std::nullopt;
  return m;
}

bool IsLinkHeartbeat(const Message& m) {
  return m.type == MessageType::kHeartbeat && m.from == raft::kNone && m.to == raft::kNone;
}

// ---- encoder

void StreamEncoder::Heartbeat(std::string& out) const {
  if (kind_ == StreamKind::kAppend) {
    out.push_back(kLinkHeartbeat);
    return;
  }
  std::string body;
  EncodeMessage(body, {.type = MessageType::kHeartbeat});
  base::PutBigEndian64(out, body.size());
  out += body;
}

void StreamEncoder::Message(std::string& out, const raft::Message& m) {
  if (kind_ == StreamKind::kAppend) {
    if (at_.index == m.index && at_.term == m.log_term && m.log_term == m.term) {
      out.push_back(kEntriesOnly);
      base::PutBigEndian64(out, m.entries.size());
      std::string part;
      for (const raft::Entry& e : m.entries) {
        part.clear();
        wal::EncodeEntry(part, e);
        base::PutBigEndian64(out, part.size());
        out += part;
        ++at_.index;
      }
      base::PutBigEndian64(out, m.commit);
      return;
    }
    out.push_back(kWholeMessage);
    at_ = {m.term, m.entries.empty() ? m.index : m.entries.back().index};
  }
  std::string body;
  EncodeMessage(body, m);
  base::PutBigEndian64(out, body.size());
  out += body;
}

// ---- decoder

void StreamDecoder::Feed(std::string_view bytes) {
  if (head_ == buffer_.size()) {
    buffer_.clear();
    head_ = 0;
  }
  buffer_ += bytes;
}

void StreamDecoder::Consume(size_t n) {
  head_ += n;
  if (head_ > (1 << 20)) {
    buffer_.erase(0, head_);
    head_ = 0;
  }
}

std::optional<uint64_t> StreamDecoder::Number(size_t at) const {
  if (buffer_.size() < head_ + at + 8) return std::nullopt;
  return base::GetBigEndian64(buffer_.data() + head_ + at);
}

Result<std::optional<Message>> StreamDecoder::Next() {
  if (kind_ == StreamKind::kMessage) return NextFramed(0);
  if (partial_) return NextEntries();
  if (head_ == buffer_.size()) return std::nullopt;
  switch (buffer_[head_]) {
    case kLinkHeartbeat:
      Consume(1);
      return Message{.type = MessageType::kHeartbeat};
    case kEntriesOnly:
      return NextEntries();
    case kWholeMessage: {
      auto m = NextFramed(1);
      if (m && *m) at_ = {(*m)->term, (*m)->entries.empty() ? (*m)->index : (*m)->entries.back().index};
      return m;
    }
    default:
      return Malformed();
  }
}

Result<std::optional<Message>> StreamDecoder::NextFramed(size_t at) {
  auto size = Number(at);
  if (!size) return std::nullopt;
  if (*size > kMaxFrameBytes) return Malformed();
  if (buffer_.size() < head_ + at + 8 + *size) return std::nullopt;
  auto m = DecodeMessage(std::string_view(buffer_).substr(head_ + at + 8, *size));
  if (!m) return Malformed();
  Consume(at + 8 + *size);
  return std::move(*m);
}

Result<std::optional<Message>> StreamDecoder::NextEntries() {
  if (!partial_) {
    auto count = Number(1);
    if (!count) return std::nullopt;
    if (*count > kMaxEntries) return Malformed();
    partial_ = Message{.type = MessageType::kApp,
                       .to = local_,
                       .from = remote_,
                       .term = at_.term,
                       .log_term = at_.term,
                       .index = at_.index};
    expected_ = *count;
    partial_bytes_ = 0;
    Consume(9);
  }
  while (partial_->entries.size() < expected_) {
    auto size = Number(0);
    if (!size) return std::nullopt;
    if (*size > kMaxFrameBytes - partial_bytes_) return Malformed();
    if (buffer_.size() < head_ + 8 + *size) return std::nullopt;
    auto e = wal::DecodeEntry(std::string_view(buffer_).substr(head_ + 8, *size));
    if (!e) return Malformed();
    partial_->entries.push_back(std::move(*e));
    partial_bytes_ += *size;
    Consume(8 + *size);
  }
  auto commit = Number(0);
  if (!commit) return std::nullopt;
  partial_->commit = *commit;
  at_.index += expected_;
  Consume(8);
  return std::exchange(partial_, std::nullopt);
}

}  // namespace kvstore::peer
