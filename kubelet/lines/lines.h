// Lines of container logs as CRI runtimes write them, "<RFC 3339 time> stdout|stderr P|F <text>": P marks a part of a
// line, whose end (newline included) comes with a later one. What a client sees has the newlines that the container
// wrote, and no other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kubelet::lines {

struct Line {
  int64_t time_ns = 0;
  bool from_stderr = false;
  std::string_view text;  // with its newline, where the container wrote one
};
// One line of the file, with or without the newline that ends it; nullopt when it is none.
std::optional<Line> Parse(std::string_view raw);

struct Options {
  bool follow = false, timestamps = false;
  std::optional<int64_t> tail_lines, limit_bytes;
  int64_t since_ns = 0;
  std::string stream;  // "", "All", "Stdout", "Stderr"
};

// Turns the bytes of a file, from TailOffset on, into what the options ask for. One strand.
class Reader {
 public:
  explicit Reader(Options options);
  // What these bytes add to the answer.
  std::string Feed(std::string_view bytes);
  // The file ends here: what its last, unfinished line adds.
  std::string Finish();
  // The file begins anew (rotated): an unfinished line is dropped.
  void Restart() { pending_.clear(); }
  // Nothing that comes can add to the answer.
  bool done() const { return left_ == 0 || lines_left_ == 0; }

 private:
  void Add(std::string_view raw, std::string& out);

  Options options_;
  int64_t left_ = -1, lines_left_ = -1;  // -1: no limit
  bool line_start_ = true;
  std::string pending_;
};

// Where the last `lines` lines of an open file begin.
int64_t TailOffset(int fd, int64_t lines);
// The end of a log as a termination message: of its last 80 lines the last 2048 bytes.
std::string LastWords(int fd);

}  // namespace kubelet::lines
