#include "base/net/http2_session.h"

#include <algorithm>
#include <charconv>

namespace base::net {
namespace {
// Output that waits in the transport, beyond which frames stay in their streams, where they are counted.
constexpr size_t kOutputHigh = 64 << 10;
constexpr size_t kDrainedBelow = 64 << 10;
constexpr size_t kMergeBelow = 1024;
constexpr int kReadsPerEvent = 4;

struct OptionFree {
  void operator()(nghttp2_option* o) const { nghttp2_option_del(o); }
};
struct CallbacksFree {
  void operator()(nghttp2_session_callbacks* c) const { nghttp2_session_callbacks_del(c); }
};
}  // namespace

bool IsConnectionField(std::string_view name) {
  return name == "connection" || name == "transfer-encoding" || name == "keep-alive" || name == "upgrade" ||
         name == "proxy-connection" || name == "host";
}

void Http2Stream::Wake() {
  if (session_ == nullptr) return;
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
  }
  session_->transport_->Kick();
}

void Http2Stream::QueueOut(std::string_view bytes) {
  if (bytes.empty()) return;
  if (out_bytes_ == 0 && session_ != nullptr) out_progress_ = session_->loop().impl().TurnTime();
  out_bytes_ += bytes.size();
  if (first_ < pieces_.size() && !pieces_.back().shared && pieces_.back().own.size() + bytes.size() <= 16384) {
    pieces_.back().own.append(bytes);
  } else {
    pieces_.push_back({std::string(bytes), nullptr});
  }
  Wake();
}

void Http2Stream::QueueOut(SharedBytes bytes) {
  if (!bytes || bytes->empty()) return;
  if (bytes->size() < kMergeBelow && first_ < pieces_.size()) return QueueOut(std::string_view(*bytes));
  if (out_bytes_ == 0 && session_ != nullptr) out_progress_ = session_->loop().impl().TurnTime();
  out_bytes_ += bytes->size();
  pieces_.push_back({{}, std::move(bytes)});
  Wake();
}

void Http2Stream::EndOut(Headers trailers) {
  out_trailers_ = std::move(trailers);
  out_ended_ = true;
  Wake();
}

void Http2Stream::Consume(size_t n) {
  unconsumed_ -= std::min<uint64_t>(n, unconsumed_);
  if (session_ == nullptr || n == 0) return;
  nghttp2_session_consume(session_->session_, id_, n);
  session_->transport_->Kick();
}

void Http2Stream::Reset(uint32_t error_code) {
  if (session_ == nullptr) return;
  nghttp2_submit_rst_stream(session_->session_, NGHTTP2_FLAG_NONE, id_, error_code);
  session_->transport_->Kick();
}

bool RequestRules::Pseudo(std::string_view name) {
  static constexpr std::string_view kNames[] = {":method", ":scheme", ":path", ":authority"};
  for (uint8_t i = 0; i < 4; ++i) {
    if (name != kNames[i]) continue;
    bool first = (seen_ & (1 << i)) == 0;
    seen_ |= static_cast<uint8_t>(1 << i);
    return first && !regular_;
  }
  return false;
}

bool RequestRules::Field(std::string_view name, std::string_view value, bool trailer) {
  auto bytes = [](std::string_view v) { return reinterpret_cast<const uint8_t*>(v.data()); };
  bool good = !name.empty() && nghttp2_check_header_value(bytes(value), value.size()) != 0;
  if (good && name[0] == ':') {
    good = !trailer && Pseudo(name) && !(name != ":authority" && value.empty());
  } else if (good) {
    regular_ = true;
    good = nghttp2_check_header_name(bytes(name), name.size()) != 0 && !(name != "host" && IsConnectionField(name)) &&
           (name != "te" || value == "trailers");
    if (good && name == "content-length" && !trailer) {
      uint64_t n = 0;
      auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
      good = !length_ && error == std::errc() && end == value.data() + value.size();
      length_ = n;
    }
  }
  malformed_ |= !good;
  return good;
}

// :method, :scheme and :path; CONNECT is not served.
bool RequestRules::HeadComplete() const { return !malformed_ && (seen_ & 7) == 7; }

// nghttp2's C callbacks. None of them may re-enter nghttp2_session_send or mem_recv.
struct Http2Callbacks {
  static Http2Session& Self(void* user) { return *static_cast<Http2Session*>(user); }
  // Most callbacks in a row are about the same stream.
  static Http2Stream* Find(nghttp2_session* s, int32_t id, void* user) {
    Http2Stream*& latest = Self(user).latest_;
    if (latest == nullptr || latest->id_ != id) {
      latest = static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(s, id));
    }
    return latest;
  }

  static ssize_t Send(nghttp2_session*, const uint8_t* data, size_t length, int, void* user) {
    Transport& t = *Self(user).transport_;
    if (t.unsent() >= kOutputHigh) return NGHTTP2_ERR_WOULDBLOCK;
    t.Append({reinterpret_cast<const char*>(data), length});
    return static_cast<ssize_t>(length);
  }

  // tidy: parameters: nghttp2's callback
  static ssize_t ReadData(nghttp2_session* s, int32_t, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    if (stream.out_bytes_ == 0 && !stream.out_ended_) {
      stream.deferred_ = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    size_t n = std::min(length, stream.out_bytes_);
    if (n == stream.out_bytes_ && stream.out_ended_) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.out_trailers_.fields().empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        std::vector<nghttp2_nv>& nv = stream.session_->FieldBuffer();
        for (const auto& [name, value] : stream.out_trailers_.fields()) nv.push_back(MakeNv(name, value));
        nghttp2_submit_trailer(s, stream.id_, nv.data(), nv.size());
      }
    }
    return static_cast<ssize_t>(n);
  }

  // tidy: parameters: nghttp2's callback
  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* header, size_t length,
                      nghttp2_data_source* source, void* user) {
    Transport& t = *Self(user).transport_;
    if (t.unsent() >= kOutputHigh) return NGHTTP2_ERR_WOULDBLOCK;
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    t.Append({reinterpret_cast<const char*>(header), 9});
    stream.out_bytes_ -= length;
    while (length > 0) {
      auto& piece = stream.pieces_[stream.first_];
      std::string_view part = piece.bytes().substr(stream.offset_, length);
      piece.shared ? t.AppendShared(piece.shared, part) : t.Append(part);
      length -= part.size();
      stream.offset_ += part.size();
      if (stream.offset_ < piece.bytes().size()) break;
      stream.offset_ = 0;
      piece = {};
      ++stream.first_;
    }
    if (stream.first_ == stream.pieces_.size()) {
      stream.pieces_.clear();
      stream.first_ = 0;
    } else if (stream.first_ >= 64) {
      stream.pieces_.erase(stream.pieces_.begin(), stream.pieces_.begin() + static_cast<long>(stream.first_));
      stream.first_ = 0;
    }
    stream.out_progress_ = Self(user).loop().impl().TurnTime();
    if (stream.out_bytes_ < kDrainedBelow) stream.OnOutDrained();
    return 0;
  }

  // A head that does not fit into a frame of the library's: its stream would hang.
  static int FrameNotSent(nghttp2_session* s, const nghttp2_frame* frame, int, void* user) {
    if (frame->hd.type == NGHTTP2_HEADERS && Find(s, frame->hd.stream_id, user) != nullptr)
      nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    return 0;
  }

  static int FrameSent(nghttp2_session* s, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      // For the peer's mistakes; what we give up by ourselves does not count.
      uint32_t code = frame->rst_stream.error_code;
      bool mistake = code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
                     code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_REFUSED_STREAM ||
                     code == NGHTTP2_FRAME_SIZE_ERROR;
      Http2Session& self = Self(user);
      if (self.options_.server && mistake) (void)self.CountFlood(self.resets_, self.options_.max_resets);
      return 0;
    }
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    Http2Stream* stream = Find(s, frame->hd.stream_id, user);
    if (stream == nullptr) return 0;
    stream->head_sent_ = true;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) stream->OnOutFinished();
    return 0;
  }

  static int BeginHeaders(nghttp2_session* s, const nghttp2_frame* frame, void* user) {
    Http2Session& self = Self(user);
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_HEADERS)) self.head_open_since_ = self.loop().impl().TurnTime();
    if (!self.options_.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
      if (Http2Stream* stream = Find(s, frame->hd.stream_id, user)) stream->header_bytes_ = 0;
      return 0;
    }
    std::shared_ptr<Http2Stream> stream = self.going_away_ ? nullptr : self.OnNewStream();
    if (!stream) {
      nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
      return 0;
    }
    stream->session_ = &self;
    stream->id_ = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(s, frame->hd.stream_id, stream.get());
    self.streams_.emplace(frame->hd.stream_id, std::move(stream));
    return 0;
  }

  // tidy: parameters: nghttp2's callback
  static int Header(nghttp2_session* s, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                    const uint8_t* value, size_t value_length, uint8_t, void* user) {
    Http2Stream* stream = Find(s, frame->hd.stream_id, user);
    if (stream == nullptr) return 0;
    stream->header_bytes_ += name_length + value_length + 32;  // as RFC 9113 counts them
    if (stream->header_bytes_ > Self(user).options_.max_header_bytes) {
      stream->headers_too_large_ = true;
      // Its end may be answered; one without end is not listened to.
      if (stream->header_bytes_ > 16 * Self(user).options_.max_header_bytes)
        nghttp2_session_terminate_session(s, NGHTTP2_ENHANCE_YOUR_CALM);
      return 0;
    }
    std::string_view n{reinterpret_cast<const char*>(name), name_length};
    std::string_view v{reinterpret_cast<const char*>(value), value_length};
    if (Self(user).options_.server) {
      bool trailer = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
      if (stream->rules_.malformed() || !stream->rules_.Field(n, v, trailer)) return 0;
    }
    stream->OnHeader(n, v);
    return 0;
  }

  static int Malformed(nghttp2_session* s, int32_t id) {
    nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
    return 0;
  }

  static int FrameReceived(nghttp2_session* s, const nghttp2_frame* frame, void* user) {
    Http2Session& self = Self(user);
    Http2Stream* stream = frame->hd.stream_id != 0 ? Find(s, frame->hd.stream_id, user) : nullptr;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        self.head_open_since_.reset();
        if (stream == nullptr) break;
        if (self.options_.server) {
          bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
          bool head = frame->headers.cat == NGHTTP2_HCAT_REQUEST;
          // Trailers are the last frame of a request.
          bool good = stream->headers_too_large_ ||
                      (!stream->rules_.malformed() && (head ? stream->rules_.HeadComplete() : ends));
          if (!good || (ends && !stream->rules_.BodyComplete())) return Malformed(s, frame->hd.stream_id);
        }
        stream->OnHeadersEnd();
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) stream->OnInEnd();
        break;
      case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) self.CountIdleFrame();
        if (stream != nullptr && self.options_.server && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
            !stream->rules_.BodyComplete()) {
          return Malformed(s, frame->hd.stream_id);
        }
        if (stream != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) stream->OnInEnd();
        break;
      case NGHTTP2_PRIORITY:
        self.CountIdleFrame();
        break;
      case NGHTTP2_PING:
        if (self.options_.server) (void)self.CountFlood(self.pings_, kMaxPings);
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) self.pings_missed_ = 0;
        break;
      case NGHTTP2_SETTINGS:
        self.CountIdleFrame();
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) self.OnPeerSettings();
        break;
      case NGHTTP2_GOAWAY:
        self.going_away_ = true;
        self.OnGoAwayReceived(frame->goaway.last_stream_id);
        break;
      case NGHTTP2_RST_STREAM:
        if (self.options_.server) (void)self.CountFlood(self.resets_, self.options_.max_resets);
        break;
      default:
        break;
    }
    return 0;
  }

  // tidy: parameters: nghttp2's callback
  static int Data(nghttp2_session* s, uint8_t, int32_t id, const uint8_t* data, size_t length, void* user) {
    Http2Stream* stream = Find(s, id, user);
    if (stream == nullptr) {
      nghttp2_session_consume(s, id, length);
      return 0;
    }
    if (stream->rules_.malformed()) {
      nghttp2_session_consume(s, id, length);
      return 0;
    }
    stream->rules_.AddBody(length);
    stream->unconsumed_ += length;
    stream->OnData({reinterpret_cast<const char*>(data), length});
    return 0;
  }

  static int Closed(nghttp2_session* s, int32_t id, uint32_t error_code, void* user) {
    Http2Session& self = Self(user);
    auto it = self.streams_.find(id);
    if (it == self.streams_.end()) return 0;
    std::shared_ptr<Http2Stream> stream = std::move(it->second);
    self.streams_.erase(it);
    if (self.latest_ == stream.get()) self.latest_ = nullptr;
    if (stream->unconsumed_ > 0) nghttp2_session_consume_connection(s, stream->unconsumed_);
    stream->session_ = nullptr;
    stream->OnClosed(error_code);
    return 0;
  }

  static nghttp2_session_callbacks* Table() {
    static const std::unique_ptr<nghttp2_session_callbacks, CallbacksFree> table = [] {
      nghttp2_session_callbacks* c = nullptr;
      // unreachable from outside: fails only without memory
      CHECK(nghttp2_session_callbacks_new(&c) == 0);
      nghttp2_session_callbacks_set_send_callback(c, Send);
      nghttp2_session_callbacks_set_send_data_callback(c, SendData);
      nghttp2_session_callbacks_set_on_frame_send_callback(c, FrameSent);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(c, FrameNotSent);
      nghttp2_session_callbacks_set_on_begin_headers_callback(c, BeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(c, Header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(c, FrameReceived);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, Data);
      nghttp2_session_callbacks_set_on_stream_close_callback(c, Closed);
      return std::unique_ptr<nghttp2_session_callbacks, CallbacksFree>(c);
    }();
    return table.get();
  }
};

Http2Session::Http2Session(std::unique_ptr<Transport> transport, const Http2Options& options)
    : transport_(std::move(transport)), options_(options) {
  transport_->SetUser(*this);
  nghttp2_option* raw = nullptr;
  // unreachable from outside: fails only without memory
  CHECK(nghttp2_option_new(&raw) == 0);
  std::unique_ptr<nghttp2_option, OptionFree> option(raw);
  nghttp2_option_set_no_auto_window_update(raw, 1);
  nghttp2_option_set_no_closed_streams(raw, 1);
  nghttp2_option_set_max_settings(raw, 32);
  nghttp2_option_set_max_outbound_ack(raw, 200);
  nghttp2_option_set_peer_max_concurrent_streams(raw, 100);
  // Its place is taken by RequestRules.
  if (options.server) nghttp2_option_set_no_http_messaging(raw, 1);
  int made = options.server ? nghttp2_session_server_new2(&session_, Http2Callbacks::Table(), this, raw)
                            : nghttp2_session_client_new2(&session_, Http2Callbacks::Table(), this, raw);
  // unreachable from outside: fails only without memory
  CHECK_MSG(made == 0, "nghttp2_session_new");
  last_receive_ = loop().impl().TurnTime();
}

Http2Session::~Http2Session() {
  if (!ended_) {
    // Streams must not reach a session that is gone.
    for (auto& [id, stream] : streams_) stream->session_ = nullptr;
  }
  nghttp2_session_del(session_);
}

void Http2Session::SubmitSettings() {
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options_.max_header_bytes)}};
  if (options_.server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.max_concurrent_streams});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  // unreachable from outside: fails only without memory
  CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(options_.connection_window));
}

void Http2Session::Greet(std::string_view received) {
  begun_ = true;
  SubmitSettings();
  transport_->Kick();
  if (!received.empty() && !Receive(received)) return;
  if (!ended_) transport_->ReadLater();
}

bool Http2Session::CountFlood(uint32_t& count, uint32_t most) {
  MonoTime now = loop().impl().TurnTime();
  if (now - flood_since_ > kFloodPeriod) {
    flood_since_ = now;
    resets_ = idle_frames_ = pings_ = 0;
  }
  if (++count <= most) return true;
  nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
  return false;
}

bool Http2Session::Backlogged() const { return nghttp2_session_get_outbound_queue_size(session_) > kMaxQueuedFrames; }

bool Http2Session::Receive(std::string_view bytes) {
  ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (n < 0) {
    // Beyond repair; for ordinary protocol errors nghttp2 has queued a GOAWAY and returned normally.
    End(Unavailable(std::string("http2: ") + nghttp2_strerror(static_cast<int>(n))));
    return false;
  }
  OnBatchEnd();
  return !ended_;
}

void Http2Session::OnReadable() {
  if (ended_ || !begun_) return;
  last_receive_ = loop().impl().TurnTime();
  for (int i = 0; i < kReadsPerEvent; ++i) {
    if (Backlogged()) {
      paused_ = true;
      return transport_->Kick();
    }
    Transport::ReadResult r = transport_->Read(ReadBuffer(), kReadBufferBytes);
    if (r.end == Transport::ReadEnd::kEof) return End(Unavailable("connection closed by peer"));
    if (r.end != Transport::ReadEnd::kData) {
      if (!ended_) transport_->Kick();
      return;
    }
    if (!Receive({ReadBuffer(), r.size})) return;
    if (r.drained) return transport_->Kick();
  }
  transport_->ReadLater();
}

void Http2Session::OnFill() {
  if (ended_ || !begun_) return;
  int rv = nghttp2_session_send(session_);
  if (rv != 0) return End(Unavailable(std::string("http2: ") + nghttp2_strerror(rv)));
  OnBatchEnd();
  if (ended_) return;
  if (paused_ && !Backlogged()) {
    paused_ = false;
    transport_->ReadLater();
  }
  if (!nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_)) {
    if (transport_->unsent() == 0) {
      End(Unavailable("http2: connection ended"));
    } else {
      transport_->ShutdownAfterFlush();
    }
  }
}

Status Http2Session::Open(std::shared_ptr<Http2Stream> stream, const std::vector<nghttp2_nv>& head, bool end_stream) {
  if (ended_) return why_;
  nghttp2_data_provider provider{};
  provider.source.ptr = stream.get();
  provider.read_callback = Http2Callbacks::ReadData;
  int32_t id = nghttp2_submit_request(session_, nullptr, head.data(), head.size(), end_stream ? nullptr : &provider,
                                      stream.get());
  if (id < 0) return Unavailable(std::string("http2: ") + nghttp2_strerror(id));
  stream->session_ = this;
  stream->id_ = id;
  streams_.emplace(id, std::move(stream));
  transport_->Kick();
  return Ok();
}

void Http2Session::Respond(Http2Stream& stream, const std::vector<nghttp2_nv>& head, bool end_stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Http2Callbacks::ReadData;
  int rv = nghttp2_submit_response(session_, stream.id_, head.data(), head.size(), end_stream ? nullptr : &provider);
  if (rv != 0) stream.Reset(NGHTTP2_INTERNAL_ERROR);
  transport_->Kick();
}

void Http2Session::GoAway() {
  if (ended_ || going_away_) return;
  going_away_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  transport_->Kick();
}

void Http2Session::Ping() {
  if (ended_) return;
  ++pings_missed_;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  transport_->Kick();
}

void Http2Session::End(const Status& why) {
  if (ended_) return;
  ended_ = true;
  why_ = why;
  transport_->Close();
  auto streams = std::move(streams_);
  streams_.clear();
  latest_ = nullptr;
  for (auto& [id, stream] : streams) {
    stream->session_ = nullptr;
    stream->OnClosed(kConnectionLost);
  }
  OnSessionEnd(why);
}

}  // namespace base::net
