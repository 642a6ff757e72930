// One HTTP/2 connection on nghttp2, the part that server and client share, for the engine's own .cc files: frames in
// and out, flow control both ways, shared buffers sent uncopied, keepalive pings, and the bounds on a hostile peer.
//
// A session owns its transport and its streams (together with whoever works on them). Everything happens on the
// transport's loop. A session is never destroyed inside a callback: it ends with OnSessionEnd and its owner frees it in
// a later turn.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/net/transport.h"

namespace base::net {

class Http2Session;

// What a request's fields must be (RFC 9113, 8.1 to 8.3), checked here rather than by the library, because the library
// refuses one thing that clients in use do: Debian's etcdctl and others of its age send their whole URL as authority.
class RequestRules {
 public:
  // False: the request is malformed. Called for each field in order; `trailer` behind the body.
  bool Field(std::string_view name, std::string_view value, bool trailer);
  bool HeadComplete() const;
  bool malformed() const { return malformed_; }
  void AddBody(size_t n) { body_ += n; }
  // The body is as long as content-length said.
  bool BodyComplete() const { return !length_ || *length_ == body_; }

 private:
  bool Pseudo(std::string_view name);
  bool malformed_ = false, regular_ = false;
  uint8_t seen_ = 0;
  std::optional<uint64_t> length_;
  uint64_t body_ = 0;
};

// One stream's buffers; server exchanges and client requests derive from it.
class Http2Stream {
 public:
  virtual ~Http2Stream() = default;

  // Bytes to send, in order; they leave as flow control and the peer allow.
  void QueueOut(std::string_view bytes);
  void QueueOut(SharedBytes bytes);
  // Nothing follows but `trailers`.
  void EndOut(Headers trailers = {});
  size_t out_bytes() const { return out_bytes_; }
  // Received bytes have been used up: the peer may send as many again.
  void Consume(size_t n);
  void Reset(uint32_t error_code);
  // Null once the stream is closed.
  Http2Session* session() const { return session_; }
  int32_t id() const { return id_; }
  // When output last moved, or began to wait.
  MonoTime out_progress() const { return out_progress_; }
  // Our head has gone to the transport: the peer may have acted on it.
  bool head_sent() const { return head_sent_; }

 protected:
  friend class Http2Session;
  friend struct Http2Callbacks;
  virtual void OnHeader(std::string_view name, std::string_view value) = 0;
  // A block of fields is complete: the head, an informational head, or trailers.
  virtual void OnHeadersEnd() = 0;
  virtual void OnData(std::string_view bytes) = 0;
  // The peer ended its half.
  virtual void OnInEnd() = 0;
  // Much of the output has left.
  virtual void OnOutDrained() = 0;
  // Our END_STREAM has gone to the transport.
  virtual void OnOutFinished() {}
  // The stream is over; session() is null from here on.
  virtual void OnClosed(uint32_t error_code) = 0;

  // Received header bytes, for the bound.
  size_t header_bytes_ = 0;
  bool headers_too_large_ = false;
  RequestRules rules_;  // of a server's streams

 private:
  struct Piece {
    std::string own;
    SharedBytes shared;
    std::string_view bytes() const { return shared ? std::string_view(*shared) : std::string_view(own); }
  };
  void Wake();

  Http2Session* session_ = nullptr;
  int32_t id_ = -1;
  std::vector<Piece> pieces_;
  size_t first_ = 0, offset_ = 0;
  size_t out_bytes_ = 0;
  bool out_ended_ = false, deferred_ = false, head_sent_ = false;
  Headers out_trailers_;
  uint64_t unconsumed_ = 0;
  MonoTime out_progress_{};
};

struct Http2Options {
  bool server = false;
  uint32_t max_concurrent_streams = 250;
  uint32_t stream_window = 256 << 10;
  uint32_t connection_window = 1 << 20;
  size_t max_header_bytes = 64 << 10;
  uint32_t max_resets = 1000;  // within kFloodPeriod
};
// Floods are counted over this time. A stream may be reset as often as the options say, whoever's fault it is; frames
// that cost us more than their sender may come kMaxIdleFrames times (settings, priorities, empty data), pings
// kMaxPings times. Beyond: GOAWAY, ENHANCE_YOUR_CALM.
inline constexpr std::chrono::seconds kFloodPeriod{30};
inline constexpr uint32_t kMaxIdleFrames = 2000;
inline constexpr uint32_t kMaxPings = 100'000;  // gRPC measures a busy path with one after the other
// Frames of ours that wait for a peer that reads nothing, beyond which nothing more is read from it.
inline constexpr size_t kMaxQueuedFrames = 5000;
// OnClosed's code when the whole connection ended; no error code of HTTP/2.
inline constexpr uint32_t kConnectionLost = 0xffffffff;

class Http2Session : public TransportUser {
 public:
  Http2Session(std::unique_ptr<Transport> transport, const Http2Options& options);
  virtual ~Http2Session();
  Http2Session(const Http2Session&) = delete;

  // Sends the preface; `received` are bytes read before the session was made.
  void Greet(std::string_view received);
  // Client: opens a stream; kUnavailable when no further one may be opened on this connection.
  Status Open(std::shared_ptr<Http2Stream> stream, const std::vector<nghttp2_nv>& head, bool end_stream);
  // Server: the head of the answer.
  void Respond(Http2Stream& stream, const std::vector<nghttp2_nv>& head, bool end_stream);
  // No new streams; the session ends when those under way have.
  void GoAway();
  // Ends everything now: streams get OnClosed, then OnSessionEnd.
  void End(const Status& why);
  void Ping();

  bool ended() const { return ended_; }
  bool going_away() const { return going_away_; }
  size_t stream_count() const { return streams_.size(); }
  // PINGs without an answer yet.
  int pings_missed() const { return pings_missed_; }
  MonoTime last_receive() const { return last_receive_; }
  // When the block of header fields began whose end has not come; nullopt: there is none.
  const std::optional<MonoTime>& head_open_since() const { return head_open_since_; }
  Transport& transport() { return *transport_; }
  const Transport& transport() const { return *transport_; }
  Loop& loop() { return transport_->loop(); }
  const Status& why() const { return why_; }
  nghttp2_session* native() { return session_; }
  // An empty list for the fields of one head, good until the next call.
  std::vector<nghttp2_nv>& FieldBuffer() {
    field_buffer_.clear();
    return field_buffer_;
  }
  const std::unordered_map<int32_t, std::shared_ptr<Http2Stream>>& streams() const { return streams_; }

 protected:
  // Server: a stream for a request that begins; null refuses it.
  virtual std::shared_ptr<Http2Stream> OnNewStream() { return nullptr; }
  // After a batch of frames: work that must not run inside nghttp2.
  virtual void OnBatchEnd() {}
  virtual void OnPeerSettings() {}
  // The peer will not take streams above `last_stream_id`.
  virtual void OnGoAwayReceived(int32_t last_stream_id) {}
  virtual void OnSessionEnd(const Status& why) = 0;

  void OnConnected() override {}
  void OnReadable() override;
  void OnFill() override;
  void OnFailed(const Status& why) override { End(why); }

 private:
  friend class Http2Stream;
  friend struct Http2Callbacks;
  bool Receive(std::string_view bytes);
  // False, and the session is told to end, when there were too many.
  bool CountFlood(uint32_t& count, uint32_t most);
  void CountIdleFrame() {
    if (options_.server) (void)CountFlood(idle_frames_, kMaxIdleFrames);
  }
  bool Backlogged() const;
  void SubmitSettings();

  std::unique_ptr<Transport> transport_;
  Http2Options options_;
  nghttp2_session* session_ = nullptr;
  std::vector<nghttp2_nv> field_buffer_;
  std::unordered_map<int32_t, std::shared_ptr<Http2Stream>> streams_;
  Http2Stream* latest_ = nullptr;  // among streams_
  bool ended_ = false, going_away_ = false, begun_ = false;
  int pings_missed_ = 0;
  MonoTime last_receive_{};
  uint32_t resets_ = 0, idle_frames_ = 0, pings_ = 0;
  MonoTime flood_since_{};
  std::optional<MonoTime> head_open_since_;
  bool paused_ = false;  // until the peer has read some of our frames
  Status why_;
};

inline nghttp2_nv MakeNv(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}
// Fields that HTTP/2 forbids because they speak of an HTTP/1.1 connection.
bool IsConnectionField(std::string_view name);

}  // namespace base::net
