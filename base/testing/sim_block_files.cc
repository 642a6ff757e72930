#include "base/testing/sim_block_files.h"

namespace base::testing {
namespace {
constexpr uint64_t kRefusedOneIn = 8;
}

class SimBlockFiles::One final : public BlockFile {
 public:
  One(SimBlockFiles& owner, std::unique_ptr<File> file) : owner_(owner), file_(std::move(file)) {}

  Status Write(uint64_t offset, std::string_view blocks, bool durable) override {
    TRY(file_->WriteAt(offset, blocks));
    return durable ? file_->Sync() : Ok();
  }

  bool Start(uint64_t offset, std::string_view blocks, Done done) override {
    if (owner_.random_.OneIn(kRefusedOneIn)) return false;
    ++owner_.started_;
    Status begun =
        owner_.random_.OneIn(kRefusedOneIn) ? Unavailable("would have to wait") : file_->WriteAt(offset, blocks);
    owner_.executor_.Post([file = file_, begun = std::move(begun), done = std::move(done)]() mutable {
      done(begun.ok() ? file->Sync() : std::move(begun));
    });
    return true;
  }

 private:
  SimBlockFiles& owner_;
  std::shared_ptr<File> file_;
};

Result<std::unique_ptr<BlockFile>> SimBlockFiles::Open(const std::string& path) {
  TRY_ASSIGN(auto file, fs_.Open(path, OpenMode::kReadWrite));
  return std::make_unique<One>(*this, std::move(file));
}

}  // namespace base::testing
