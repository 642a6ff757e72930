// gzip, piece by piece, so that a long text can be packed in turns. A value per stream; one strand.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace base {

class GzipWriter {
 public:
  explicit GzipWriter(int level);  // 1 (fast) to 9 (small)
  ~GzipWriter();
  GzipWriter(const GzipWriter&) = delete;
  // What came out while `piece` went in; may be "". The last piece closes the stream, nothing follows it.
  std::string Pack(std::string_view piece, bool last);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base
