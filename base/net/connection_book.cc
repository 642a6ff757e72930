#include "base/net/connection_book.h"

#include <netinet/in.h>

#include <cstring>

namespace base::net {

namespace {

bool IsLocal(const sockaddr_storage& from) {
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
  }
  if (from.ss_family != AF_INET6) return true;  // unix
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

// The bytes that tell one peer from another.
std::string PeerOf(const sockaddr_storage& from) {
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    return std::string(reinterpret_cast<const char*>(&v4.sin_addr), 4);
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from).sin6_addr;
  const char* bytes = reinterpret_cast<const char*>(v6.s6_addr);
  return IN6_IS_ADDR_V4MAPPED(&v6) ? std::string(bytes + 12, 4) : std::string(bytes, 8);
}

}  // namespace

void ConnectionBook::Place::Identified() {
  if (!book_ || peer_.empty()) return;
  std::lock_guard lock(book_->mutex_);
  --book_->strangers_;
  if (auto it = book_->by_peer_.find(peer_); --it->second == 0) book_->by_peer_.erase(it);
  peer_.clear();
}

bool ConnectionBook::Place::Unwelcome() const {
  if (!book_ || peer_.empty()) return false;
  std::lock_guard lock(book_->mutex_);
  return !book_->StrangerFits(peer_, 0);
}

void ConnectionBook::Place::Leave() {
  if (!book_) return;
  Identified();
  {
    std::lock_guard lock(book_->mutex_);
    --book_->count_;
  }
  book_.reset();
}

// `more`: on top of those counted.
bool ConnectionBook::StrangerFits(const std::string& peer, size_t more) const {
  auto it = by_peer_.find(peer);
  size_t own = it == by_peer_.end() ? 0 : it->second;
  return strangers_ + more <= total_ - kept_ && own + more <= per_peer_;
}

std::optional<ConnectionBook::Place> ConnectionBook::Enter(const sockaddr_storage& from, bool may_identify) {
  Place place;
  place.local_ = IsLocal(from);
  if (!place.local_) place.peer_ = PeerOf(from);
  std::lock_guard lock(mutex_);
  if (count_ >= total_) return std::nullopt;
  if (!place.local_) {
    auto it = by_peer_.find(place.peer_);
    size_t own = it == by_peer_.end() ? 0 : it->second;
    bool fits = may_identify ? own < per_peer_ + kHandshakesPerPeer : StrangerFits(place.peer_, 1);
    if (!fits) {
      place.peer_.clear();
      return std::nullopt;
    }
    ++strangers_;
    ++by_peer_[place.peer_];
  }
  ++count_;
  place.book_ = shared_from_this();
  return place;
}

size_t ConnectionBook::size() const {
  std::lock_guard lock(mutex_);
  return count_;
}

bool ConnectionBook::Crowded() const {
  std::lock_guard lock(mutex_);
  return strangers_ > total_ - kept_ || count_ + kept_ / 2 > total_;
}

}  // namespace base::net
