// A socket with or without TLS, for the engine's own .cc files: non-blocking, edge-triggered, and corked: what is
// appended during a turn of the loop leaves at its end in as few system calls as possible, shared buffers uncopied
// (TLS copies into its records).
//
// Owned by a connection, on that connection's loop. Callbacks never come from inside Append or Close; they may call
// anything here but must not destroy the transport: connections die in a later turn.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/loop_impl.h"
#include "base/net/http.h"
#include "base/net/tls_impl.h"

namespace base::net {

class TransportUser {
 public:
  // The handshake (if any) is over.
  virtual void OnConnected() = 0;
  // There may be bytes: Read until it says kAgain.
  virtual void OnReadable() = 0;
  // Before output is handed to the kernel, and again when it took everything: append what is ready.
  virtual void OnFill() = 0;
  // The connection failed; called once.
  virtual void OnFailed(const Status& why) = 0;

 protected:
  ~TransportUser() = default;
};

class Transport final : public FdHandler, public TurnEndHook {
 public:
  // Takes the descriptor over. `ssl` null for plain text.
  Transport(Loop& loop, int fd, SslPtr ssl, TransportUser& user);
  ~Transport();

  // Registers with the loop; `connecting` waits for connect() to end first.
  Status Start(bool connecting);
  // Hands the connection to another user (after an upgrade).
  void SetUser(TransportUser& user) { user_ = &user; }

  enum class ReadEnd { kData, kAgain, kEof, kFailed };
  struct ReadResult {
    ReadEnd end;
    size_t size = 0;
    bool drained = false;  // with kData: the next Read would say kAgain
  };
  ReadResult Read(char* buffer, size_t size);
  // OnReadable will be called in a later turn: after a pause, or to let others go first.
  void ReadLater();

  void Append(std::string_view bytes);
  void AppendShared(SharedBytes owner, std::string_view part);
  // Asks for OnFill at the end of the turn even when nothing was appended.
  void Kick();
  size_t unsent() const { return unsent_; }
  // When the kernel last took something, or output began to wait.
  MonoTime last_progress() const { return last_progress_; }
  bool handshaking() const { return state_ == State::kConnecting || state_ == State::kHandshaking; }

  // After everything appended so far has left: ends our half.
  void ShutdownAfterFlush();
  bool shutdown_sent() const { return state_ == State::kShut; }
  // Closes the descriptor now; no callback follows.
  void Close();
  bool closed() const { return state_ == State::kClosed; }

  SSL* ssl() const { return ssl_.get(); }
  int fd() const { return fd_; }
  Loop& loop() { return loop_; }

 private:
  enum class State { kNew, kConnecting, kHandshaking, kOpen, kShut, kClosed };
  struct Segment {
    std::string own;     // bytes copied together
    SharedBytes shared;  // or a part of somebody's buffer
    std::string_view part;
    std::string_view bytes() const { return shared ? part : std::string_view(own); }
  };

  void OnEvents(uint32_t events) override;
  void OnTurnEnd() override;
  void Handshake();
  void FlushLater();
  void Flush();
  ssize_t WritePlain();
  ssize_t WriteTls();
  void Consume(size_t n);
  void Fail(Status why);

  Loop& loop_;
  int fd_;
  SslPtr ssl_;
  TransportUser* user_;
  State state_ = State::kNew;
  bool write_blocked_ = false;
  bool shutdown_wanted_ = false;
  bool peer_ended_ = false;  // the kernel has reported the end of the peer's half: reads go on to the very end
  bool read_later_ = false;
  bool flushing_ = false;
  size_t unsent_ = 0;
  size_t head_offset_ = 0;  // sent bytes of the first segment
  std::vector<Segment> segments_;
  size_t first_ = 0;
  MonoTime last_progress_{};
};

// The loop's thread's buffer for reading: connections own none, so an idle one costs little. Valid until the next read.
inline constexpr size_t kReadBufferBytes = 64 << 10;
char* ReadBuffer();

}  // namespace base::net
