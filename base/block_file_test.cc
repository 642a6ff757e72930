// On the machine's own disk: what was started is in the file once the loop says so.
#include "base/block_file.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/file.h"
#include "base/loop.h"
#include "base/testing/temp_dir.h"

namespace base {
namespace {

constexpr size_t kBlock = BlockFile::kBlock;

class BlockFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto plain = PosixFileSystem().Open(path_, OpenMode::kCreate);
    ASSERT_TRUE(plain.has_value() && (*plain)->Allocate(16 * kBlock).ok());
    files_ = NewBlockFiles(loop_);
    auto opened = files_ ? files_->Open(path_) : Err(Unimplemented("no asynchronous writes"));
    if (!opened) GTEST_SKIP() << opened.error().ToString();
    file_ = std::move(*opened);
    buffer_.Resize(2 * kBlock, 0);
  }
  std::string_view Fill(char c, size_t blocks) {
    std::fill_n(buffer_.data(), blocks * kBlock, c);
    return {buffer_.data(), blocks * kBlock};
  }
  std::string Content(uint64_t offset, size_t size) {
    auto all = ReadFile(PosixFileSystem(), path_);
    return all ? all->substr(offset, size) : "";
  }

  testing::TempDir directory_;
  std::string path_ = directory_.path() + "/file";
  Loop loop_;
  std::unique_ptr<BlockFiles> files_;
  std::unique_ptr<BlockFile> file_;
  BlockBuffer buffer_;
};

TEST_F(BlockFileTest, WhatWasStartedIsThereWhenTheLoopSaysSo) {
  ASSERT_TRUE(file_->Write(0, Fill('a', 2), true).ok());
  EXPECT_EQ(Content(0, 2 * kBlock), std::string(2 * kBlock, 'a'));
  for (char c = 'b'; c < 'm'; ++c) {
    std::optional<Status> ended;
    std::string_view bytes = Fill(c, 1);
    bool started = file_->Start(kBlock, bytes, [&](Status s) {
      ended = std::move(s);
      loop_.Stop();
    });
    ASSERT_FALSE(ended.has_value()) << "never inside the call";
    if (started) loop_.Run();
    if (!started || ended->code() == Code::kUnavailable) ended = file_->Write(kBlock, bytes, true);
    ASSERT_TRUE(ended->ok()) << ended->ToString();
    EXPECT_EQ(Content(0, kBlock), std::string(kBlock, 'a'));
    EXPECT_EQ(Content(kBlock, kBlock), std::string(kBlock, c));
  }
}

TEST_F(BlockFileTest, BuffersKeepWhatTheyAreToldTo) {
  Fill('x', 1);
  buffer_.Resize(5 * kBlock + 1, kBlock);
  EXPECT_EQ(buffer_.size(), 6 * kBlock);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer_.data()) % kBlock, 0u);
  EXPECT_EQ(std::string(buffer_.data(), kBlock), std::string(kBlock, 'x'));
}

}  // namespace
}  // namespace base
