#include "base/rotating_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "base/journal.h"
#include "base/testing/temp_dir.h"

namespace base {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kNow = 1795418640123;  // 2026-11-23T07:24:00.123Z

std::string Piece(size_t bytes) { return std::string(bytes - 1, 'x') + "\n"; }

TEST(RotatingFile, NamesWhatIsPutAside) {
  EXPECT_EQ(BackupName("/var/log/etcd.log", kNow, false), "/var/log/etcd-2026-11-23T07-24-00.123.log");
  EXPECT_EQ(BackupName("etcd", kNow, false), "./etcd-2026-11-23T07-24-00.123");
}

TEST(RotatingFile, StartsAnewWhenFull) {
  testing::TempDir dir;
  std::string path = dir.path() + "/logs/etcd.log";
  int64_t now = kNow;
  auto file = *RotatingFile::Open(path, {.max_megabytes = 1}, [&] { return now; });
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  ASSERT_TRUE(file->Write(Piece(700 << 10)).ok());
  ASSERT_TRUE(file->Write(Piece(100 << 10)).ok());
  ASSERT_TRUE(file->Write(Piece(300 << 10)).ok());  // no room for it any more
  EXPECT_THAT(*PosixFileSystem().List(dir.path() + "/logs"),
              ElementsAre("etcd-2026-11-23T07-24-00.123.log", "etcd.log"));
  EXPECT_EQ(ReadFile(PosixFileSystem(), path)->size(), 300u << 10);
  struct stat st;
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0640u);
  Status s = file->Write(Piece((1 << 20) + 1));
  EXPECT_EQ(s.message(), "write length 1048577 exceeds maximum file size 1048576");
  // Who takes the file away gets a new one at the next turn.
  ASSERT_TRUE(PosixFileSystem().Remove(path).ok());
  ASSERT_TRUE(file->Write(Piece(800 << 10)).ok());
  ASSERT_TRUE(file->Write(Piece(300 << 10)).ok());
  EXPECT_EQ(ReadFile(PosixFileSystem(), path)->size(), 300u << 10);
  // Another process goes on where this one ended.
  file = *RotatingFile::Open(path, {.max_megabytes = 1}, [&] { return now; });
  ASSERT_TRUE(file->Write("more\n").ok());
  EXPECT_EQ(ReadFile(PosixFileSystem(), path)->size(), (300u << 10) + 5);
}

TEST(RotatingFile, KeepsAFewAndPacksThem) {
  testing::TempDir dir;
  std::string path = dir.path() + "/etcd.log";
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), dir.path() + "/etcd-notes.log", "not ours").ok());
  int64_t now = kNow;
  auto file = *RotatingFile::Open(path, {.max_megabytes = 1, .max_backups = 2, .compress = true}, [&] { return now; });
  for (int i = 0; i < 5; ++i, now += 1000) ASSERT_TRUE(file->Write(Piece(600 << 10)).ok());
  file.reset();  // the last tidying is over
  EXPECT_THAT(*PosixFileSystem().List(dir.path()),
              ElementsAre("etcd-2026-11-23T07-24-03.123.log.gz", "etcd-2026-11-23T07-24-04.123.log.gz",
                          "etcd-notes.log", "etcd.log"));
  std::string packed = *ReadFile(PosixFileSystem(), dir.path() + "/etcd-2026-11-23T07-24-04.123.log.gz");
  EXPECT_THAT(packed, StartsWith("\x1f\x8b"));
  EXPECT_LT(packed.size(), 10000u);
}

TEST(RotatingFile, ForgetsTheOld) {
  testing::TempDir dir;
  std::string path = dir.path() + "/etcd.log";
  int64_t now = kNow;
  for (int day = 0; day < 5; ++day, now += 24 * 3600 * 1000) {
    auto file = *RotatingFile::Open(path, {.max_megabytes = 1, .max_days = 2}, [&] { return now; });
    ASSERT_TRUE(file->Write(Piece(900 << 10)).ok());
  }
  EXPECT_THAT(*PosixFileSystem().List(dir.path()),
              ElementsAre("etcd-2026-11-25T07-24-00.123.log", "etcd-2026-11-26T07-24-00.123.log",
                          "etcd-2026-11-27T07-24-00.123.log", "etcd.log"));
}

// A journal of the test's own.
class FakeJournal {
 public:
  FakeJournal() {
    sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
    path().copy(at.sun_path, sizeof at.sun_path - 1);
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  }
  ~FakeJournal() { ::close(fd_); }
  std::string path() const { return dir_.path() + "/socket"; }
  // A record, out of its file where it came as one.
  std::string Receive() {
    std::string bytes(1 << 16, '\0');
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec part{bytes.data(), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    bytes.resize(static_cast<size_t>(::recvmsg(fd_, &m, 0)));
    if (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr) {
      int file;
      std::memcpy(&file, CMSG_DATA(c), sizeof file);
      bytes = *ReadFile(PosixFileSystem(), "/proc/self/fd/" + std::to_string(file));
      ::close(file);
    }
    return bytes;
  }

 private:
  testing::TempDir dir_;
  int fd_;
};

TEST(Journal, TakesLinesOfAnyLength) {
  FakeJournal fake;
  auto journal = *Journal::Open(fake.path());
  ASSERT_TRUE(journal->Send("{\"msg\":\"hello\"}", 4, "service").ok());
  EXPECT_THAT(fake.Receive(),
              StartsWith("MESSAGE={\"msg\":\"hello\"}\nPRIORITY=4\nPACKAGE=service\nSYSLOG_IDENTIFIER="));
  ASSERT_TRUE(journal->Send("two\nlines", 6, "").ok());
  EXPECT_THAT(fake.Receive(), StartsWith(std::string("MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n", 37)));
  std::string huge(4 << 20, 'h');
  ASSERT_TRUE(journal->Send(huge, 6, "").ok());
  EXPECT_THAT(fake.Receive(), StartsWith("MESSAGE=" + huge + "\nPRIORITY=6\n"));
}

TEST(Journal, IsNotEverywhere) {
  auto journal = Journal::Open("/nowhere/socket");
  ASSERT_FALSE(journal.has_value());
  EXPECT_EQ(journal.error().message(),
            "can't find journal (dial unixgram /nowhere/socket: connect: no such file or directory)");
}

}  // namespace
}  // namespace base
