// systemd's journal, by its native protocol. Owned by a log sink; one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace base {

inline constexpr std::string_view kJournalSocket = "/run/systemd/journal/socket";

class Journal {
 public:
  // kUnavailable where no journal listens.
  static Result<std::unique_ptr<Journal>> Open(const std::string& socket = std::string(kJournalSocket));
  ~Journal();
  Journal(const Journal&) = delete;
  // `priority` is syslog's; `package` is kept as the field PACKAGE, the program's name as SYSLOG_IDENTIFIER. However
  // long the message is: what no datagram holds is handed over as a file.
  Status Send(std::string_view message, int priority, std::string_view package);

 private:
  explicit Journal(int fd) : fd_(fd) {}
  Status SendAsFile(std::string_view record);
  const int fd_;
};

}  // namespace base
