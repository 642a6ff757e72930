// The engine against grpc++, both ways round: a stack nobody here wrote.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <latch>
#include <thread>

#include "base/net/testing_peers.h"

namespace base::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

grpc::ByteBuffer Buffer(const std::string& text) {
  grpc::Slice slice(text);
  return grpc::ByteBuffer(&slice, 1);
}
std::string Text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string out;
  for (const auto& s : slices) out.append(reinterpret_cast<const char*>(s.begin()), s.size());
  return out;
}

// ---- grpc++ calls our server ---------------------------------------------------------------------------------------

class OurServer : public ::testing::Test {
 protected:
  void SetUp() override {
    service_.Unary("/t.T/Echo", [](const GrpcCall& call, std::string request) -> Task<Result<std::string>> {
      if (request == "fail") co_return Err(FailedPrecondition("no \xe2\x82\xac 5%"));
      if (request == "sleep") CO_TRY(co_await Sleep(call.executor, call.ctx, seconds(10)));
      co_return request;
    });
    service_.Stream("/t.T/Chat", [](GrpcServerStream& stream) -> Task<Status> {
      for (;;) {
        CO_TRY_ASSIGN(auto message, co_await stream.Read());
        if (!message) break;
        CO_TRY(co_await stream.Write(Share(std::move(*message))));
      }
      stream.AddTrailer("x-end", "bye");
      co_return DataLoss("the end");
    });
    thread_ = std::thread([this] {
      server_ = std::make_unique<Server>(std::vector<Loop*>{&loop_}, [this](Exchange& e) { return service_.Serve(e); });
      address_ = *server_->Listen("127.0.0.1:0");
      ready_.count_down();
      loop_.Run();
      server_.reset();
    });
    ready_.wait();
    stub_ = std::make_unique<grpc::GenericStub>(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    Spawn(loop_, server_->Stop(seconds(1)), [this] { loop_.Stop(); });
    thread_.join();
  }
  grpc::Status Call(const std::string& method, const std::string& request, std::string* response = nullptr,
                    milliseconds timeout = milliseconds(10000)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    grpc::ByteBuffer in = Buffer(request), out;
    std::mutex mutex;
    std::condition_variable cv;
    bool done = false;
    grpc::Status status;
    stub_->UnaryCall(&context, method, {}, &in, &out, [&](grpc::Status s) {
      std::lock_guard lock(mutex);
      status = s;
      done = true;
      cv.notify_one();
    });
    std::unique_lock lock(mutex);
    cv.wait(lock, [&] { return done; });
    if (response != nullptr) *response = Text(out);
    return status;
  }

  Loop loop_;
  GrpcService service_;
  std::unique_ptr<Server> server_;
  std::string address_;
  std::latch ready_{1};
  std::thread thread_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

TEST_F(OurServer, Unary) {
  std::string back;
  for (size_t size : {0, 10, 100000, 3000000}) {
    std::string text(size, 'x');
    grpc::Status s = Call("/t.T/Echo", text, &back);
    EXPECT_TRUE(s.ok()) << s.error_message();
    EXPECT_TRUE(back == text);
  }
  grpc::Status failed = Call("/t.T/Echo", "fail");
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(failed.error_message(), "no \xe2\x82\xac 5%");
  EXPECT_EQ(Call("/t.T/Nope", "x").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call("/t.T/Echo", "sleep", nullptr, milliseconds(100)).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Call("/t.T/Echo", std::string(5 << 20, 'x')).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(OurServer, CompressionIsRefused) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  context.set_deadline(std::chrono::system_clock::now() + seconds(10));
  grpc::CompletionQueue queue;
  auto call = stub_->PrepareUnaryCall(&context, "/t.T/Echo", Buffer(std::string(10000, 'z')), &queue);
  call->StartCall();
  grpc::ByteBuffer out;
  grpc::Status status;
  call->Finish(&out, &status, nullptr);
  void* tag;
  bool ok;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

TEST_F(OurServer, BidirectionalStream) {
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = stub_->PrepareCall(&context, "/t.T/Chat", &queue);
  auto wait = [&] {
    void* tag;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(wait());
  for (int i = 0; i < 50; ++i) {
    std::string text = "m" + std::to_string(i) + std::string(static_cast<size_t>(i) * 1000, '-');
    call->Write(Buffer(text), nullptr);
    ASSERT_TRUE(wait());
    grpc::ByteBuffer in;
    call->Read(&in, nullptr);
    ASSERT_TRUE(wait());
    EXPECT_EQ(Text(in), text);
  }
  call->WritesDone(nullptr);
  ASSERT_TRUE(wait());
  grpc::ByteBuffer in;
  call->Read(&in, nullptr);
  EXPECT_FALSE(wait());
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(status.error_message(), "the end");
  auto trailer = context.GetServerTrailingMetadata().find("x-end");
  ASSERT_NE(trailer, context.GetServerTrailingMetadata().end());
  EXPECT_EQ(std::string(trailer->second.data(), trailer->second.size()), "bye");
  queue.Shutdown();
  void* tag;
  bool ok;
  while (queue.Next(&tag, &ok)) {
  }
}

// ---- our client calls grpc++'s server ------------------------------------------------------------------------------

class Reactor : public grpc::ServerGenericBidiReactor {
 public:
  explicit Reactor(grpc::GenericCallbackServerContext* context) : method_(context->method()) { StartRead(&in_); }
  void OnReadDone(bool ok) override {
    if (!ok)
      return Finish(method_ == "/t.T/Chat" ? grpc::Status(grpc::StatusCode::ABORTED, "over 100%") : grpc::Status());
    if (Text(in_) == "fail") return Finish({grpc::StatusCode::NOT_FOUND, "not \xc3\xa4 here"});
    if (Text(in_) == "hang") return;
    out_ = in_;
    StartWrite(&out_);
  }
  void OnWriteDone(bool) override { StartRead(&in_); }
  void OnCancel() override { Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  std::string method_;
  grpc::ByteBuffer in_, out_;
};

class TheirService : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Reactor(context);
  }
};

TEST(OurClient, AgainstGrpcpp) {
  TheirService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  auto server = builder.BuildAndStart();
  Loop loop;
  ClientOptions options;
  options.endpoints = {"http://127.0.0.1:" + std::to_string(port)};
  auto channel = std::make_unique<GrpcChannel>(loop, options, GrpcLimits{.max_receive_bytes = 8 << 20});
  RunTask(loop, [](Loop& loop, GrpcChannel& channel) -> Task<void> {
    for (size_t size : {0, 10, 100000, 3000000}) {
      std::string text(size, 'x');
      auto back = co_await channel.Unary(Context(), "/t.T/Echo", Share(text));
      EXPECT_TRUE(back.has_value()) << back.error().ToString();
      EXPECT_TRUE(back && *back == text);
    }
    auto failed = co_await channel.Unary(Context(), "/t.T/Echo", Share("fail"));
    EXPECT_EQ(failed.error(), NotFound("not \xc3\xa4 here"));
    auto late = co_await channel.Unary(Context().WithTimeout(loop, milliseconds(100)), "/t.T/Echo", Share("hang"));
    EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
    auto stream = co_await channel.Open(Context(), "/t.T/Chat");
    EXPECT_TRUE(stream.has_value());
    if (!stream) co_return;
    for (int i = 0; i < 50; ++i) {
      std::string text = "m" + std::to_string(i) + std::string(static_cast<size_t>(i) * 1000, '-');
      EXPECT_TRUE((co_await (*stream)->Write(Context(), Share(text))).ok());
      auto back = co_await (*stream)->Read(Context());
      EXPECT_TRUE(back && *back && **back == text);
    }
    EXPECT_TRUE((co_await (*stream)->CloseWrite(Context())).ok());
    auto end = co_await (*stream)->Read(Context());
    EXPECT_EQ(end.error(), Aborted("over 100%"));
  }(loop, *channel));
  channel.reset();
  server->Shutdown(std::chrono::system_clock::now());
}

}  // namespace
}  // namespace base::net
