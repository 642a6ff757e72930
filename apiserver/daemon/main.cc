#include "apiserver/daemon/serve.h"
#include "base/log.h"

int main(int argc, char** argv) {
  apiserver::Options options;
  if (auto code = apiserver::ParseOptions(argc, argv, options)) return *code;
  base::LogOptions log;
  log.verbosity = options.verbosity;
  if (options.logging_format == "json") log.format = base::LogFormat::kJson;
  if (auto s = base::SetupLogging(log); !s.ok()) base::LogFatal("Unable to set up logging", s);
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) -> base::Task<base::Status> {
    apiserver::Server server(d, options);
    co_return co_await server.Run();
  });
}
