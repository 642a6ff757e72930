// HTTP/1.1 messages from bytes (RFC 9112), one message at a time, for the engine's own .cc files. Pure: it is fed and
// asked; it reads no socket and keeps no more than the head of a message.
//
//   while ((event = parser.Next(input)) != kNeedMore) ...      // `input` shrinks from the front
//
// Strict where leniency lets requests be smuggled past a proxy: no content-length beside transfer-encoding, no
// differing lengths, no space before a colon, no folded lines, no bare CR, no unknown transfer coding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/net/http.h"

namespace base::net {

struct Http1Head {
  std::string method, target;  // requests
  int status = 0;              // responses
  std::string reason;
  int minor = 1;  // HTTP/1.x
  Headers headers;
};

class Http1Parser {
 public:
  enum class Kind { kRequest, kResponse };
  enum class Event {
    kNeedMore,
    kHead,   // head() is complete
    kBody,   // body() holds a piece, a view into the input
    kEnd,    // the message is complete; Reset() begins the next one
    kError,  // error_status() and error() say what; nothing more can be read
  };

  Http1Parser(Kind kind, size_t max_head_bytes) : kind_(kind), max_head_bytes_(max_head_bytes) {}

  Event Next(std::string_view& input);
  // The peer ended its half: completes a body that lasts until the end, else it is an error (or kNeedMore when nothing
  // of a message has come).
  Event NextAtEof();
  void Reset();
  // The next response answers a HEAD or CONNECT: it has no body whatever its headers say.
  void ExpectNoBody() { no_body_ = true; }

  Http1Head& head() { return head_; }
  const Headers& trailers() const { return trailers_; }
  std::string_view body() const { return body_; }
  // Nothing of a message has come yet.
  bool idle() const { return state_ == State::kHead && buffer_.empty(); }
  bool has_body() const {
    return state_ == State::kLength || state_ == State::kUntilEof || state_ >= State::kChunkSize;
  }
  // Connection persists after this message.
  bool keep_alive() const { return keep_alive_; }
  int error_status() const { return error_status_; }
  const std::string& error() const { return error_; }

 private:
  enum class State { kHead, kEnd, kError, kLength, kUntilEof, kChunkSize, kChunkData, kChunkEnd, kTrailers };

  Event Fail(int status, std::string_view what);
  Event ReadHead(std::string_view& input);
  Event ReadBody(std::string_view& input);
  Event ReadChunkSize(std::string_view& input);
  Event ReadChunkData(std::string_view& input);
  Event ReadChunkEnd(std::string_view& input);
  Event ReadTrailers(std::string_view& input);
  // Moves bytes up to and including the next LF to buffer_; false when there is none yet or the limit is passed.
  bool TakeLine(std::string_view& input, size_t limit, bool& too_long);
  bool ParseStartLine(std::string_view line);
  bool ParseField(std::string_view line, Headers& out);
  bool DecideBody();

  Kind kind_;
  size_t max_head_bytes_;
  State state_ = State::kHead;
  std::string buffer_;     // the head or line that is being put together
  size_t line_start_ = 0;  // of the head's current line in buffer_
  bool no_body_ = false;
  bool keep_alive_ = true;
  uint64_t left_ = 0;  // of a body or chunk
  size_t trailer_bytes_ = 0;
  Http1Head head_;
  Headers trailers_;
  std::string_view body_;
  int error_status_ = 0;
  std::string error_;
};

// Comma-separated tokens contain `token`, ignoring case.
bool HasToken(std::string_view list, std::string_view token);

}  // namespace base::net
