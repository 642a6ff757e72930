#include "base/net/transport.h"

#include <openssl/err.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace base::net {
namespace {
constexpr size_t kCopyBelow = 1024;       // smaller shared parts are cheaper to copy than to point at
constexpr size_t kOwnSegment = 32 << 10;  // copied bytes are put together up to this size
constexpr size_t kTlsRecord = 16 << 10;
constexpr int kMaxIov = 64;

// Emptied buffers of this thread, so that a busy connection does not allocate one per turn and an idle one keeps none.
std::vector<std::string>& SpareBuffers() {
  thread_local std::vector<std::string> spare;
  return spare;
}
std::string TakeBuffer() {
  auto& spare = SpareBuffers();
  if (spare.empty()) {
    std::string fresh;
    fresh.reserve(4096);
    return fresh;
  }
  std::string out = std::move(spare.back());
  spare.pop_back();
  return out;
}
void GiveBuffer(std::string buffer) {
  auto& spare = SpareBuffers();
  if (spare.size() >= 16 || buffer.capacity() > 2 * kOwnSegment || buffer.capacity() < 1024) return;
  buffer.clear();
  spare.push_back(std::move(buffer));
}
// OpenSSL writes with write(2), which raises SIGPIPE where sendmsg does not have to.
void IgnoreSigpipe() {
  static const bool done = [] {
    struct sigaction now{};
    ::sigaction(SIGPIPE, nullptr, &now);
    if (now.sa_handler == SIG_DFL) {
      now.sa_handler = [](int) {};
      now.sa_flags = SA_RESTART;
      ::sigaction(SIGPIPE, &now, nullptr);
    }
    return true;
  }();
  (void)done;
}
}  // namespace

char* ReadBuffer() {
  thread_local std::unique_ptr<char[]> buffer = std::make_unique_for_overwrite<char[]>(kReadBufferBytes);
  return buffer.get();
}

Transport::Transport(Loop& loop, int fd, SslPtr ssl, TransportUser& user)
    : loop_(loop), fd_(fd), ssl_(std::move(ssl)), user_(&user) {
  if (ssl_) IgnoreSigpipe();
}

Transport::~Transport() {
  Close();
  // Who had not heard that it is closed may have asked for one more turn.
  if (queued()) loop_.impl().CancelTurnEnd(this);
}

Status Transport::Start(bool connecting) {
  state_ = connecting ? State::kConnecting : ssl_ ? State::kHandshaking : State::kOpen;
  last_progress_ = loop_.impl().TurnTime();
  return loop_.impl().Add(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this);
}

void Transport::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  loop_.impl().CancelTurnEnd(this);
  loop_.impl().Remove(fd_, this);
  if (ssl_ && SSL_is_init_finished(ssl_.get())) {
    SSL_shutdown(ssl_.get());  // close_notify if the socket takes it
    ERR_clear_error();
  }
  ssl_.reset();
  ::close(fd_);
  segments_.clear();
  unsent_ = 0;
}

void Transport::Fail(Status why) {
  if (state_ == State::kClosed) return;
  Close();
  user_->OnFailed(why);
}

void Transport::OnEvents(uint32_t events) {
  if (events & EPOLLRDHUP) peer_ended_ = true;
  if (state_ == State::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Fail(FromErrno(error, "connect"));
    if (!(events & EPOLLOUT)) return;
    state_ = ssl_ ? State::kHandshaking : State::kOpen;
    if (state_ == State::kOpen) {
      user_->OnConnected();
      if (closed()) return;
      loop_.impl().AtTurnEnd(this);
    }
  }
  if (state_ == State::kHandshaking) {
    Handshake();
    if (state_ != State::kOpen) return;
    // OpenSSL reads ahead: what came after these events were reported it may have taken already, and the kernel then
    // has no edge left to report it with.
    events |= EPOLLIN;
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) user_->OnReadable();
  if (closed()) return;
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && write_blocked_) {
    write_blocked_ = false;
    loop_.impl().AtTurnEnd(this);
  }
}

void Transport::Handshake() {
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    state_ = State::kOpen;
    user_->OnConnected();
    if (!closed()) loop_.impl().AtTurnEnd(this);
    return;
  }
  int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  std::string text = TlsErrorText(ssl_.get());
  if (SSL_is_server(ssl_.get())) LogRejection(ssl_.get(), fd_, text);
  Fail(Unavailable("tls handshake: " + (text.empty() ? std::string("connection closed") : text)));
}

Transport::ReadResult Transport::Read(char* buffer, size_t size) {
  if (closed()) return {ReadEnd::kFailed};
  if (!ssl_) {
    ssize_t n;
    do n = ::recv(fd_, buffer, size, 0);
    while (n < 0 && errno == EINTR);
    // A short read has emptied the socket; what comes later is a new edge.
    if (n > 0) return {ReadEnd::kData, static_cast<size_t>(n), static_cast<size_t>(n) < size && !peer_ended_};
    if (n == 0) return {ReadEnd::kEof};
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {ReadEnd::kAgain};
    Fail(FromErrno(errno, "read"));
    return {ReadEnd::kFailed};
  }
  ERR_clear_error();
  size_t got = 0;
  int result = SSL_read_ex(ssl_.get(), buffer, size, &got);
  if (result == 1) return {ReadEnd::kData, got};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {ReadEnd::kAgain};
    case SSL_ERROR_ZERO_RETURN:
      return {ReadEnd::kEof};
    case SSL_ERROR_SYSCALL:
      Fail(FromErrno(errno != 0 ? errno : ECONNRESET, "tls read"));
      return {ReadEnd::kFailed};
    default:
      Fail(Unavailable("tls: " + TlsErrorText(nullptr)));
      return {ReadEnd::kFailed};
  }
}

void Transport::ReadLater() {
  read_later_ = true;
  loop_.impl().AtTurnEnd(this);
}

void Transport::Kick() { loop_.impl().AtTurnEnd(this); }

void Transport::FlushLater() {
  if (!flushing_) loop_.impl().AtTurnEnd(this);
}

void Transport::Append(std::string_view bytes) {
  if (closed() || bytes.empty()) return;
  if (unsent_ == 0) last_progress_ = loop_.impl().TurnTime();
  unsent_ += bytes.size();
  if (segments_.size() == first_ || segments_.back().shared ||
      segments_.back().own.size() + bytes.size() > kOwnSegment) {
    segments_.push_back({TakeBuffer(), nullptr, {}});
  }
  segments_.back().own.append(bytes);
  FlushLater();
}

void Transport::AppendShared(SharedBytes owner, std::string_view part) {
  // TLS puts whole records together from small parts anyway: better now than once more when they are sent.
  if (part.size() < (ssl_ ? kTlsRecord : kCopyBelow)) return Append(part);
  if (closed()) return;
  if (unsent_ == 0) last_progress_ = loop_.impl().TurnTime();
  unsent_ += part.size();
  segments_.push_back({{}, std::move(owner), part});
  FlushLater();
}

void Transport::ShutdownAfterFlush() {
  shutdown_wanted_ = true;
  loop_.impl().AtTurnEnd(this);
}

void Transport::OnTurnEnd() {
  if (state_ != State::kOpen && state_ != State::kShut) return;
  if (std::exchange(read_later_, false)) {
    user_->OnReadable();
    if (closed()) return;
    loop_.impl().CancelTurnEnd(this);  // what was appended just now leaves below
    if (read_later_) loop_.impl().AtTurnEnd(this);
  }
  // What is appended meanwhile leaves with the rest: a further turn would find nothing to do.
  flushing_ = true;
  Flush();
  flushing_ = false;
}

void Transport::Flush() {
  // The user gets as many rounds as the kernel takes everything, within reason: others wait for their turn.
  for (int round = 0; round < 16; ++round) {
    user_->OnFill();
    if (closed()) return;
    if (unsent_ == 0) break;
    while (unsent_ > 0 && !write_blocked_) {
      ssize_t n = ssl_ ? WriteTls() : WritePlain();
      if (n < 0) return;  // failed
      if (n == 0) break;
      last_progress_ = loop_.impl().TurnTime();
      Consume(static_cast<size_t>(n));
    }
    if (write_blocked_) return;
    if (round == 15) loop_.impl().AtTurnEnd(this);
  }
  if (unsent_ == 0 && shutdown_wanted_ && state_ == State::kOpen) {
    state_ = State::kShut;
    if (ssl_) SSL_shutdown(ssl_.get());
    ::shutdown(fd_, SHUT_WR);
  }
}

// Bytes taken; 0 when the socket is full (write_blocked_), -1 when it failed.
ssize_t Transport::WritePlain() {
  iovec iov[kMaxIov];
  int count = 0;
  for (size_t i = first_; i < segments_.size() && count < kMaxIov; ++i) {
    std::string_view bytes = segments_[i].bytes();
    if (i == first_) bytes.remove_prefix(head_offset_);
    iov[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  msghdr message{};
  message.msg_iov = iov;
  message.msg_iovlen = static_cast<size_t>(count);
  ssize_t n;
  do {
    // One piece is the rule, and cheaper to hand over.
    n = count == 1 ? ::send(fd_, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : ::sendmsg(fd_, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      Fail(FromErrno(errno, "write"));
      return -1;
    }
    write_blocked_ = true;
    return 0;
  }
  return n;
}

ssize_t Transport::WriteTls() {
  std::string_view bytes = segments_[first_].bytes().substr(head_offset_);
  char gathered[kTlsRecord];
  if (bytes.size() < kTlsRecord && segments_.size() - first_ > 1) {
    // One record for several small segments. A retry gathers the same bytes again, as OpenSSL demands.
    size_t size = 0;
    for (size_t i = first_; i < segments_.size() && size < kTlsRecord; ++i) {
      std::string_view piece = segments_[i].bytes();
      if (i == first_) piece.remove_prefix(head_offset_);
      piece = piece.substr(0, kTlsRecord - size);
      std::memcpy(gathered + size, piece.data(), piece.size());
      size += piece.size();
    }
    bytes = {gathered, size};
  }
  ERR_clear_error();
  size_t written = 0;
  int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written);
  if (result == 1) return static_cast<ssize_t>(written);
  int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) {
    write_blocked_ = true;
    return 0;
  }
  if (error == SSL_ERROR_SYSCALL) {
    Fail(FromErrno(errno != 0 ? errno : EPIPE, "tls write"));
  } else {
    Fail(Unavailable("tls: " + TlsErrorText(nullptr)));
  }
  return -1;
}

void Transport::Consume(size_t n) {
  unsent_ -= n;
  while (n > 0) {
    Segment& head = segments_[first_];
    size_t left = head.bytes().size() - head_offset_;
    if (n < left) {
      head_offset_ += n;
      return;
    }
    n -= left;
    head_offset_ = 0;
    if (!head.shared) GiveBuffer(std::move(head.own));
    head.shared.reset();
    ++first_;
  }
  if (first_ == segments_.size()) {
    segments_.clear();
    first_ = 0;
  } else if (first_ > 256) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<long>(first_));
    first_ = 0;
  }
}

}  // namespace base::net
