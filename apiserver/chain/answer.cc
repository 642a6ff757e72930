#include "apiserver/chain/answer.h"

#include <algorithm>

#include "base/gzip.h"

namespace apiserver::chain {

using base::net::Headers;

namespace {

constexpr size_t kPackFrom = 128 << 10;  // shorter answers cost more to pack than to send
constexpr size_t kPackPiece = 256 << 10;
constexpr int kPackLevel = 1;

bool TakesGzip(const Headers& headers) {
  for (std::string_view all : headers.GetAll("accept-encoding")) {
    while (!all.empty()) {
      size_t comma = all.find(',');
      std::string_view one = all.substr(0, comma);
      all = comma == all.npos ? "" : all.substr(comma + 1);
      while (one.starts_with(' ')) one.remove_prefix(1);
      while (one.ends_with(' ')) one.remove_suffix(1);
      if (one == "gzip") return true;
    }
  }
  return false;
}

}  // namespace

void Answer::Complete(int status, Headers& headers) {
  scope_.code = status;
  for (const auto& [name, value] : scope_.answer_headers.fields())
    if (!headers.Has(name)) headers.Add(name, value);
}

base::Task<base::Status> Answer::Respond(int status, Headers headers, base::SharedBytes body) {
  Complete(status, headers);
  bool packed = body && body->size() > kPackFrom && !headers.Has("content-encoding") && method() != "HEAD" &&
                TakesGzip(inner_.headers());
  if (packed) return RespondPacked(status, std::move(headers), std::move(body));
  return inner_.Respond(status, std::move(headers), std::move(body));
}

base::Task<base::Status> Answer::StartResponse(int status, Headers headers) {
  Complete(status, headers);
  return inner_.StartResponse(status, std::move(headers));
}

base::Task<base::Status> Answer::RespondOnce(int status, Headers headers, std::string prefix, base::SharedBytes piece,
                                             Headers trailers) {
  Complete(status, headers);
  return inner_.RespondOnce(status, std::move(headers), std::move(prefix), std::move(piece), std::move(trailers));
}

base::Task<base::Status> Answer::RespondPacked(int status, Headers headers, base::SharedBytes body) {
  headers.Add("content-encoding", "gzip");
  headers.Add("vary", "Accept-Encoding");
  CO_TRY(co_await inner_.StartResponse(status, std::move(headers)));
  base::GzipWriter gzip(kPackLevel);
  std::string_view rest = *body;
  while (!rest.empty()) {
    std::string_view piece = rest.substr(0, kPackPiece);
    rest.remove_prefix(piece.size());
    std::string out = gzip.Pack(piece, rest.empty());
    if (!out.empty()) CO_TRY(co_await inner_.Write(base::Share(std::move(out))));
    // Others have their turn between the pieces.
    if (!rest.empty()) co_await base::Yield(executor());
  }
  co_return co_await inner_.Finish({});
}

}  // namespace apiserver::chain
