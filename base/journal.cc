#include "base/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace base {
namespace {

// NAME=value, or NAME, a length of 8 bytes and the value where that has more than one line.
void AppendField(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  if (value.find('\n') == value.npos) {
    out.append("=").append(value);
  } else {
    out += '\n';
    for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(value.size() >> shift & 0xff);
    out += value;
  }
  out += '\n';
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::Open(const std::string& socket) {
  sockaddr_un to{.sun_family = AF_UNIX, .sun_path = {}};
  if (socket.size() >= sizeof to.sun_path) return Err(InvalidArgument("the journal's path is too long"));
  std::memcpy(to.sun_path, socket.data(), socket.size());
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Err(FromErrno(errno, "socket"));
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    std::string why = errno == ENOENT ? "no such file or directory" : std::strerror(errno);
    ::close(fd);
    return Err(Unavailable("can't find journal (dial unixgram " + socket + ": connect: " + why + ")"));
  }
  return std::unique_ptr<Journal>(new Journal(fd));
}

Journal::~Journal() { ::close(fd_); }

Status Journal::Send(std::string_view message, int priority, std::string_view package) {
  std::string record;
  AppendField(record, "MESSAGE", message);
  AppendField(record, "PRIORITY", std::to_string(priority));
  AppendField(record, "PACKAGE", package);
  AppendField(record, "SYSLOG_IDENTIFIER", program_invocation_short_name);
  if (::send(fd_, record.data(), record.size(), MSG_NOSIGNAL) >= 0) return Ok();
  if (errno == EMSGSIZE || errno == ENOBUFS) return SendAsFile(record);
  return FromErrno(errno, "journal");
}

Status Journal::SendAsFile(std::string_view record) {
  int file = ::memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return FromErrno(errno, "memfd_create");
  Status done = Ok();
  // The journal takes a memory file only once nobody can change it.
  if (::write(file, record.data(), record.size()) != static_cast<ssize_t>(record.size()) ||
      ::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    done = FromErrno(errno, "memfd");
  } else {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &file, sizeof file);
    if (::sendmsg(fd_, &message, MSG_NOSIGNAL) < 0) done = FromErrno(errno, "journal");
  }
  ::close(file);
  return done;
}

}  // namespace base
