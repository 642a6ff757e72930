#include "base/gzip.h"

#include <zlib.h>

#include "base/status.h"

namespace base {

namespace {
constexpr int kGzipWindow = 15 + 16;  // the largest window, with gzip's header and trailer
constexpr int kMemoryLevel = 8;
constexpr size_t kOutput = 32 << 10;
}  // namespace

struct GzipWriter::Impl {
  z_stream z{};
};

GzipWriter::GzipWriter(int level) : impl_(std::make_unique<Impl>()) {
  CHECK(deflateInit2(&impl_->z, level, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) == Z_OK);
}

GzipWriter::~GzipWriter() { deflateEnd(&impl_->z); }

std::string GzipWriter::Pack(std::string_view piece, bool last) {
  z_stream& z = impl_->z;
  // zlib does not write through this pointer.
  z.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data()));
  z.avail_in = static_cast<unsigned>(piece.size());
  std::string out;
  do {
    size_t have = out.size();
    out.resize(have + kOutput);
    z.next_out = reinterpret_cast<unsigned char*>(out.data() + have);
    z.avail_out = kOutput;
    int result = deflate(&z, last ? Z_FINISH : Z_NO_FLUSH);
    CHECK(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
    out.resize(out.size() - z.avail_out);
  } while (z.avail_out == 0);
  return out;
}

}  // namespace base
