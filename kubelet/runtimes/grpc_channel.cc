#include "kubelet/runtimes/grpc_channel.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "base/sync.h"

namespace kubelet::runtimes {
namespace {

// One call under way. Shared by the waiting coroutine and by grpc's thread: either may be gone first.
struct Call {
  explicit Call(base::Executor& e) : executor(e), done(e) {}
  base::Executor& executor;
  grpc::ClientContext context;
  grpc::ByteBuffer request, response;
  base::OneShot<grpc::Status> done;  // touched on the strand only
};

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  out.reserve(buffer.Length());
  if (buffer.Dump(&slices).ok())
    for (const auto& s : slices) out.append(reinterpret_cast<const char*>(s.begin()), s.size());
  return out;
}

class GrpcChannel final : public Channel {
 public:
  GrpcChannel(base::Executor& executor, const std::string& endpoint) : executor_(executor) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(16 << 20);  // lists of many containers
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 3000);
    std::string target = "unix:" + endpoint.substr(std::string_view("unix://").size());
    channel_ = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
  }

  base::Task<base::Result<std::string>> Unary(base::Context ctx, std::string method, std::string request,
                                              base::Duration timeout) override {
    CO_TRY(ctx.status());
    auto call = std::make_shared<Call>(executor_);
    grpc::Slice slice(request);
    call->request = grpc::ByteBuffer(&slice, 1);
    if (timeout > base::Duration(0)) call->context.set_deadline(std::chrono::system_clock::now() + timeout);
    // containerd looks at the authority and takes no path there.
    call->context.set_authority("localhost");
    stub_->UnaryCall(
        &call->context, method, grpc::StubOptions(), &call->request, &call->response, [call](grpc::Status status) {
          base::Executor& executor = call->executor;
          executor.Post([call, status = std::move(status)]() mutable { call->done.Set(std::move(status)); });
        });
    auto cancel = ctx.OnDone([call] { call->context.TryCancel(); });
    // Waits without the context: cancelling ends the call itself, and its buffers must stay until then.
    auto waited = co_await call->done.Wait(base::Context());
    if (!waited) co_return base::Err(std::move(waited.error()));
    const grpc::Status& status = *waited;
    if (!status.ok())
      co_return base::Err(base::Status(static_cast<base::Code>(status.error_code()), status.error_message()));
    co_return BytesOf(call->response);
  }

 private:
  base::Executor& executor_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

}  // namespace

std::unique_ptr<Channel> NewGrpcChannel(base::Executor& executor, const std::string& endpoint) {
  return std::make_unique<GrpcChannel>(executor, endpoint);
}

}  // namespace kubelet::runtimes
