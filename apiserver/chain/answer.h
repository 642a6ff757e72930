// An exchange as the REST front shows it to handlers: every answer carries what the steps want it to carry, its code is
// noted in the Scope, the request ends with the Scope's context, and a long answer is packed for clients that take
// gzip. Everything else passes through. Lives as long as the handler's call.
#pragma once

#include <string>

#include "apiserver/chain/scope.h"
#include "base/net/server.h"

namespace apiserver::chain {

class Answer final : public base::net::Exchange {
 public:
  Answer(base::net::Exchange& inner, Scope& scope) : inner_(inner), scope_(scope) {}

  std::string_view method() const override { return inner_.method(); }
  std::string_view path() const override { return inner_.path(); }
  std::string_view query() const override { return inner_.query(); }
  const base::net::Headers& headers() const override { return inner_.headers(); }
  const base::net::Peer& peer() const override { return inner_.peer(); }
  int http_major() const override { return inner_.http_major(); }
  const base::Context& context() const override { return scope_.context; }
  base::Executor& executor() override { return inner_.executor(); }
  base::Task<base::Result<std::string>> ReadBody(base::Context ctx) override { return inner_.ReadBody(std::move(ctx)); }
  base::Status HoldBody(size_t bytes) override { return inner_.HoldBody(bytes); }
  void ReleaseBody() override { inner_.ReleaseBody(); }
  std::optional<std::string> TakeWholeBody() override { return inner_.TakeWholeBody(); }

  using Exchange::Respond;
  base::Task<base::Status> Respond(int status, base::net::Headers headers, base::SharedBytes body) override;
  base::Task<base::Status> StartResponse(int status, base::net::Headers headers) override;
  base::Task<base::Status> Write(base::SharedBytes piece) override { return inner_.Write(std::move(piece)); }
  base::Task<base::Status> Write(std::string prefix, base::SharedBytes piece) override {
    return inner_.Write(std::move(prefix), std::move(piece));
  }
  bool TryWrite(base::SharedBytes& piece) override { return inner_.TryWrite(piece); }
  size_t unsent_bytes() const override { return inner_.unsent_bytes(); }
  base::Task<base::Status> Finish(base::net::Headers trailers) override { return inner_.Finish(std::move(trailers)); }
  base::Task<base::Status> RespondOnce(int status, base::net::Headers headers, std::string prefix,
                                       base::SharedBytes piece, base::net::Headers trailers) override;
  base::Task<base::Result<std::unique_ptr<base::net::ByteStream>>> Upgrade(base::net::Headers headers) override {
    return inner_.Upgrade(std::move(headers));
  }

 private:
  base::Task<base::Status> RespondPacked(int status, base::net::Headers headers, base::SharedBytes body);
  // Notes the code; the headers that the steps add.
  void Complete(int status, base::net::Headers& headers);

  base::net::Exchange& inner_;
  Scope& scope_;
};

}  // namespace apiserver::chain
