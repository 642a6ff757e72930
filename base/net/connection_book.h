// Who is connected, so that no peer takes all places: connections are counted in all and per address, with places kept
// for the machine itself and for whoever shows a certificate that the listener trusts. For the engine's own .cc files.
// Thread-safe: listeners enter connections, the loops they stay on let them go.
#pragma once

#include <sys/socket.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace base::net {

class ConnectionBook : public std::enable_shared_from_this<ConnectionBook> {
 public:
  // Of `total` places, `kept` are not for strangers (neither local nor identified), who have at most `per_peer` from
  // one address (of IPv6: one /64).
  ConnectionBook(size_t total, size_t per_peer, size_t kept) : total_(total), per_peer_(per_peer), kept_(kept) {}

  // One connection's place; given back when it is destroyed.
  class Place {
   public:
    Place() = default;
    Place(Place&& o) noexcept = default;
    Place& operator=(Place&& o) noexcept {
      Leave();
      book_ = std::move(o.book_);
      peer_ = std::move(o.peer_);
      local_ = o.local_;
      return *this;
    }
    ~Place() { Leave(); }
    // From the machine itself: loopback or a unix socket.
    bool local() const { return local_; }
    // It has shown who it is: it no longer counts as a stranger.
    void Identified();
    // A stranger where there is room only for others: it has to go.
    bool Unwelcome() const;

   private:
    friend class ConnectionBook;
    void Leave();
    std::shared_ptr<ConnectionBook> book_;
    std::string peer_;  // "" = no stranger
    bool local_ = false;
  };

  // nullopt: no room. `may_identify`: a certificate may follow, so a stranger gets as far as the handshake.
  std::optional<Place> Enter(const sockaddr_storage& from, bool may_identify);
  size_t size() const;
  // So many that strangers are asked to be quick.
  bool Crowded() const;

 private:
  static constexpr size_t kHandshakesPerPeer = 64;  // beyond per_peer, until they have shown who they are
  bool StrangerFits(const std::string& peer, size_t more) const;

  const size_t total_, per_peer_, kept_;
  mutable std::mutex mutex_;
  size_t count_ = 0, strangers_ = 0;
  std::map<std::string, size_t> by_peer_;
};

}  // namespace base::net
