// The part of a pod that wants to reach the node's files.
#include "kubelet/paths/paths.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace kubelet::paths {
namespace {

namespace fs = std::filesystem;

class PathsTest : public testing::Test {
 protected:
  PathsTest() {
    char name[] = "/tmp/pathsXXXXXX";
    top_ = mkdtemp(name);
    fs::create_directories(volume());
    fs::create_directories(top_ + "/host");
    std::ofstream(top_ + "/host/secret") << "secret";
    chmod((top_ + "/host/secret").c_str(), 0600);
    chmod((top_ + "/host").c_str(), 0700);
  }
  ~PathsTest() override { fs::remove_all(top_); }
  std::string volume() const { return top_ + "/volume"; }
  Fd Root() const { return std::move(*OpenDirectory(volume())); }
  mode_t ModeOf(const std::string& path) const {
    struct stat st{};
    return stat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
  }
  static std::string Seen(const Fd& fd) { return fs::read_symlink(fd.ProcPath()); }

  std::string top_;
};

TEST_F(PathsTest, Names) {
  EXPECT_TRUE(IsComponent("web-0.log"));
  for (const char* bad : {"", ".", "..", "a/b", "a\nb", "/"}) EXPECT_FALSE(IsComponent(bad)) << bad;
  EXPECT_TRUE(IsInside("a/..b/c..")) << "two dots are a step back only when they stand alone";
  for (const char* bad : {"/a", "..", "a/..", "a/../b", "../a"}) EXPECT_FALSE(IsInside(bad)) << bad;
}

TEST_F(PathsTest, MakesWithTheModeWhateverTheUmask) {
  mode_t before = umask(077);
  auto made = MakeInside(Root(), "a/b/c", 02775);
  umask(before);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(Seen(*made), volume() + "/a/b/c");
  EXPECT_EQ(ModeOf(volume() + "/a"), 02775u);
  EXPECT_EQ(ModeOf(volume() + "/a/b/c"), 02775u);
  chmod((volume() + "/a").c_str(), 0700);
  ASSERT_TRUE(MakeInside(Root(), "a/d", 0755));
  EXPECT_EQ(ModeOf(volume() + "/a"), 0700u) << "what was there keeps its mode";
}

TEST_F(PathsTest, LinksStayInside) {
  fs::create_directories(volume() + "/real/deep");
  fs::create_symlink("real", volume() + "/ok");
  fs::create_symlink("../volume/real", volume() + "/around");
  fs::create_symlink(top_ + "/host", volume() + "/absolute");
  fs::create_symlink("../host", volume() + "/relative");
  fs::create_symlink("/proc/self/root", volume() + "/magic");
  fs::create_symlink("loop", volume() + "/loop");
  auto inside = OpenInside(Root(), "ok/deep", O_PATH, Links::kInside);
  ASSERT_TRUE(inside);
  EXPECT_EQ(Seen(*inside), volume() + "/real/deep");
  EXPECT_FALSE(OpenInside(Root(), "ok/deep", O_PATH, Links::kNever));
  for (const char* name : {"around", "absolute", "relative", "magic", "loop"}) {
    EXPECT_FALSE(OpenInside(Root(), name, O_PATH, Links::kInside)) << name;
    EXPECT_FALSE(MakeInside(Root(), std::string(name) + "/new", 0777)) << name;
    EXPECT_FALSE(MakeInside(Root(), std::string(name) + "/secret", 0777)) << name;
  }
  EXPECT_FALSE(fs::exists(top_ + "/host/new"));
  EXPECT_EQ(ModeOf(top_ + "/host"), 0700u);
  EXPECT_EQ(ModeOf(top_ + "/host/secret"), 0600u);
}

TEST_F(PathsTest, ADanglingLinkIsNotMadeWhole) {
  fs::create_symlink("../host/new", volume() + "/dangling");
  fs::create_symlink("elsewhere", volume() + "/inner");
  EXPECT_FALSE(MakeInside(Root(), "dangling", 0777));
  EXPECT_FALSE(MakeInside(Root(), "inner", 0777));
  EXPECT_FALSE(fs::exists(top_ + "/host/new"));
}

// The pod swaps a directory and a link for as long as the kubelet makes its subPath.
TEST_F(PathsTest, RacesLeadNowhere) {
  std::atomic<bool> stop = false;
  fs::create_directories(volume() + "/d");
  fs::create_symlink("../host", volume() + "/l");
  std::thread pod([&] {
    std::string d = volume() + "/d", l = volume() + "/l";
    while (!stop) renameat2(AT_FDCWD, d.c_str(), AT_FDCWD, l.c_str(), RENAME_EXCHANGE);
  });
  for (int i = 0; i < 3000; ++i) {
    auto made = MakeInside(Root(), "d/x" + std::to_string(i), 0777);
    if (made) EXPECT_TRUE(Seen(*made).starts_with(volume())) << Seen(*made);
  }
  stop = true;
  pod.join();
  EXPECT_EQ(std::distance(fs::directory_iterator(top_ + "/host"), fs::directory_iterator()), 1);
  EXPECT_EQ(ModeOf(top_ + "/host"), 0700u);
}

TEST_F(PathsTest, PlainFilesOnly) {
  std::ofstream(volume() + "/words") << "last words";
  EXPECT_EQ(*ReadPlainFile(top_, volume() + "/words", 4), "last");
  ASSERT_EQ(mkfifo((volume() + "/pipe").c_str(), 0666), 0);
  EXPECT_FALSE(ReadPlainFile(top_, volume() + "/pipe", 10)) << "and it does not wait";
  fs::create_symlink(top_ + "/host/secret", volume() + "/link");
  EXPECT_FALSE(ReadPlainFile(top_, volume() + "/link", 10));
  EXPECT_FALSE(ReadPlainFile(volume(), volume() + "/../host/secret", 10));
  EXPECT_FALSE(ReadPlainFile(volume(), top_ + "/host/secret", 10));
  EXPECT_FALSE(ReadPlainFile(top_, volume(), 10)) << "a directory";
  EXPECT_FALSE(WriteOwnFile(volume() + "/pipe", "x", 0644).ok());
  EXPECT_FALSE(WriteOwnFile(volume() + "/link", "x", 0644).ok());
  ASSERT_TRUE(WriteOwnFile(volume() + "/own", "text", 0640).ok());
  EXPECT_EQ(ModeOf(volume() + "/own"), 0640u);
}

TEST_F(PathsTest, RemovesLinksAndNotWhatTheyName) {
  fs::create_directories(volume() + "/a/b");
  fs::create_symlink(top_ + "/host", volume() + "/a/b/host");
  fs::create_symlink("../../../host/secret", volume() + "/a/b/secret");
  ASSERT_TRUE(RemoveTree(volume()).ok());
  EXPECT_FALSE(fs::exists(volume()));
  EXPECT_TRUE(fs::exists(top_ + "/host/secret"));
  fs::create_symlink(top_ + "/host", volume());
  ASSERT_TRUE(RemoveTree(volume()).ok());
  EXPECT_TRUE(fs::exists(top_ + "/host/secret"));
  EXPECT_TRUE(RemoveTree(volume()).ok()) << "nothing there";
}

TEST_F(PathsTest, RemovesWhatIsDeeperThanAnyPath) {
  int at = open(volume().c_str(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 20000; ++i) {
    ASSERT_EQ(mkdirat(at, "d", 0700), 0);
    int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
    close(at);
    at = next;
  }
  close(openat(at, "f", O_CREAT | O_WRONLY, 0600));
  close(at);
  base::Status s = RemoveTree(volume());
  EXPECT_TRUE(s.ok()) << s.ToString();
  EXPECT_FALSE(fs::exists(volume()));
}

TEST_F(PathsTest, DoesNotEnterMounts) {
  // In a mount namespace of a child: what it mounts is gone with it.
  fs::create_directories(volume() + "/in/deep");
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    if (mount((top_ + "/host").c_str(), (volume() + "/in/deep").c_str(), nullptr, MS_BIND, nullptr) != 0) _exit(77);
    bool refused = !RemoveTree(volume()).ok();
    _exit(refused && fs::exists(top_ + "/host/secret") ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "mounting is not permitted here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(fs::exists(top_ + "/host/secret"));
}

}  // namespace
}  // namespace kubelet::paths
