#include "kubelet/lines/lines.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

namespace kubelet::lines {
namespace {

const char kLog[] =
    "2026-11-22T17:29:31.48438905Z stdout F hi there\n"
    "2026-11-22T17:29:32Z stderr P two \n"
    "2026-11-22T17:29:32.5Z stderr P part\n"
    "2026-11-22T17:29:33.000000001Z stderr F s\n"
    "rubbish\n"
    "2026-11-22T17:29:34+01:00 stdout F \n"
    "2026-11-22T17:29:35Z stdout P no newline\n";

std::string All(Options options, std::string_view log = kLog) {
  // In pieces of every size: where the file is cut into reads changes nothing.
  std::string whole;
  for (size_t piece : {log.size(), size_t{1}, size_t{7}}) {
    Reader reader(options);
    std::string out;
    for (size_t at = 0; at < log.size(); at += piece) out += reader.Feed(log.substr(at, piece));
    out += reader.Finish();
    if (piece == log.size()) whole = out;
    EXPECT_EQ(out, whole) << piece;
  }
  return whole;
}

class File {
 public:
  explicit File(std::string_view text) {
    char name[] = "/tmp/linesXXXXXX";
    fd_ = mkstemp(name);
    unlink(name);
    EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  ~File() { close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

TEST(Lines, Parse) {
  auto line = Parse("2026-11-22T17:29:31.48438905Z stdout F hi there\n");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->time_ns, 1795368571484389050);
  EXPECT_FALSE(line->from_stderr);
  EXPECT_EQ(line->text, "hi there\n");
  EXPECT_EQ(Parse("2026-11-22T17:29:31Z stderr P part\n")->text, "part");
  EXPECT_EQ(Parse("2026-11-22T17:29:31Z stderr P:x part\n")->text, "part") << "more tags may follow";
  EXPECT_EQ(Parse("2026-11-22T17:29:31Z stderr Px part\n")->text, "part\n");
  EXPECT_EQ(Parse("2026-11-22T17:29:31Z stderr F cut")->text, "cut");
  EXPECT_EQ(Parse("2026-11-22T18:29:31+01:00 stderr F x")->time_ns, 1795368571000000000);
  for (const char* bad : {"", "\n", "rubbish", "2026-11-22T17:29:31Z stdout F", "2026-11-22T17:29:31Z stdin F x",
                          "2026-11-22T17:29:31 stdout F x", "2026-11-22T17:29:31.Z stdout F x", "x stdout F x",
                          "9999-11-22T17:29:31Z stdout F x", "2026-13-22T17:29:31Z stdout F x"})
    EXPECT_FALSE(Parse(bad)) << bad;
}

TEST(Lines, NewlinesAreTheContainers) {
  EXPECT_EQ(All({}), "hi there\ntwo parts\n\nno newline");
  EXPECT_EQ(All({.timestamps = true}),
            "2026-11-22T17:29:31.484389050Z hi there\n2026-11-22T17:29:32.000000000Z two parts\n"
            "2026-11-22T16:29:34.000000000Z \n2026-11-22T17:29:35.000000000Z no newline");
  EXPECT_EQ(All({}, "2026-11-22T17:29:31Z stdout F cut off"), "cut off");
}

TEST(Lines, Options) {
  EXPECT_EQ(All({.stream = "Stderr"}), "two parts\n");
  EXPECT_EQ(All({.stream = "Stdout"}), "hi there\n\nno newline");
  EXPECT_EQ(All({.since_ns = 1795368573000000001}), "s\nno newline");
  EXPECT_EQ(All({.limit_bytes = 11}), "hi there\ntw");
  EXPECT_EQ(All({.limit_bytes = 0}), "");
  EXPECT_EQ(All({.tail_lines = 2}), "hi there\ntwo ") << "the file's lines count, parts too";
  EXPECT_EQ(All({.tail_lines = 0}), "");
}

TEST(Lines, Tail) {
  File file("one\ntwo\nthree\n");
  EXPECT_EQ(TailOffset(file.fd(), 1), 8);
  EXPECT_EQ(TailOffset(file.fd(), 2), 4);
  EXPECT_EQ(TailOffset(file.fd(), 3), 0);
  EXPECT_EQ(TailOffset(file.fd(), 9), 0);
  EXPECT_EQ(TailOffset(file.fd(), 0), 14);
  EXPECT_EQ(TailOffset(file.fd(), -1), 14);
  std::string many;
  for (int i = 0; i < 30000; ++i) many += "line\n";
  File big(many);
  EXPECT_EQ(TailOffset(big.fd(), 20000), 50000) << "over several blocks";
}

TEST(Lines, LastWords) {
  EXPECT_EQ(LastWords(File("2026-11-22T17:29:31Z stderr P panic\n").fd()), "panic") << "no newline of our own";
  EXPECT_EQ(LastWords(File("2026-11-22T17:29:31Z stderr F panic\n").fd()), "panic\n");
  EXPECT_EQ(LastWords(File("").fd()), "");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "2026-11-22T17:29:31Z stdout F " + std::to_string(i) + "\n";
  std::string last = LastWords(File(many).fd());
  EXPECT_TRUE(last.starts_with("20\n21\n") && last.ends_with("98\n99\n")) << last;
  std::string wide = "2026-11-22T17:29:31Z stdout F " + std::string(5000, 'x') + "end\n";
  last = LastWords(File(wide).fd());
  EXPECT_EQ(last.size(), 2048u);
  EXPECT_TRUE(last.ends_with("xend\n"));
}

}  // namespace
}  // namespace kubelet::lines
