#include "machinery/client/kubeconfig.h"

#include <memory>

#include "base/bytes.h"
#include "base/executor.h"
#include "machinery/value/value.h"

namespace machinery::client {
namespace {
using value::Value;

const Value& Named(const Value& list, std::string_view name, std::string_view part) {
  if (list.is_list())
    for (const auto& entry : list.list())
      if (entry.At("name").string_or() == name) return entry.At(part);
  return Value::Null();
}

class Loader {
 public:
  Loader(base::FileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}

  base::Status Error(std::string_view what) const {
    return base::InvalidArgument("kubeconfig " + path_ + ": " + std::string(what));
  }
  std::string Path(std::string_view file) const {
    if (file.empty() || file.starts_with('/')) return std::string(file);
    auto slash = path_.rfind('/');
    return slash == path_.npos ? std::string(file) : path_.substr(0, slash + 1).append(file);
  }
  // PEM text from `field`-data or the file `field` names.
  base::Result<std::string> Pem(const Value& from, std::string_view field) const {
    std::string data(from.At(std::string(field) + "-data").string_or());
    if (!data.empty()) {
      auto pem = base::Base64Decode(data);
      if (!pem) return base::Err(Error(std::string(field) + "-data is no base64"));
      return *pem;
    }
    std::string file = Path(from.At(field).string_or());
    if (file.empty()) return std::string();
    return base::ReadFile(fs_, file);
  }

  base::Status Tls(const Value& cluster, const Value& user, Kubeconfig& out) const {
    base::net::TlsFiles files;
    files.server_name = cluster.At("tls-server-name").string_or();
    files.skip_verify = cluster.At("insecure-skip-tls-verify").bool_or();
    files.ca_file = Path(cluster.At("certificate-authority").string_or());
    files.cert_file = Path(user.At("client-certificate").string_or());
    files.key_file = Path(user.At("client-key").string_or());
    bool inline_data = !cluster.At("certificate-authority-data").string_or().empty() ||
                       !user.At("client-certificate-data").string_or().empty() ||
                       !user.At("client-key-data").string_or().empty();
    // Files are read again when they change, so they are passed as files where everything is a file.
    if (!inline_data) {
      TRY_ASSIGN(out.options.tls, base::net::ClientTls::FromFiles(files));
      files.cert_file = files.key_file = "";
      TRY_ASSIGN(out.anonymous_options.tls, base::net::ClientTls::FromFiles(files));
      return base::Ok();
    }
    TRY_ASSIGN(auto ca, Pem(cluster, "certificate-authority"));
    TRY_ASSIGN(auto cert, Pem(user, "client-certificate"));
    TRY_ASSIGN(auto key, Pem(user, "client-key"));
    files.ca_file = files.cert_file = files.key_file = "";
    TRY_ASSIGN(out.options.tls, base::net::ClientTls::FromPem(ca, cert, key, files));
    TRY_ASSIGN(out.anonymous_options.tls, base::net::ClientTls::FromPem(ca, "", "", files));
    return base::Ok();
  }

  base::Status Token(const Value& user, Kubeconfig& out) const {
    for (std::string_view field : {"exec", "auth-provider", "username", "as"})
      if (!user.At(field).is_null()) return Error("user field " + std::string(field) + " is not supported yet");
    std::string file = Path(user.At("tokenFile").string_or());
    if (file.empty()) {
      std::string token(user.At("token").string_or());
      if (!token.empty()) out.token = [token] { return token; };
      return base::Ok();
    }
    struct Cached {
      std::string token;
      base::MonoTime at{};
      bool read = false;
    };
    out.token = [&fs = fs_, file, cached = std::make_shared<Cached>()] {
      base::MonoTime now = base::SystemClock().Now();
      if (cached->read && now - cached->at < std::chrono::minutes(1)) return cached->token;
      if (auto text = base::ReadFile(fs, file)) {
        while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
        *cached = {std::move(*text), now, true};
      }
      return cached->token;
    };
    return base::Ok();
  }

 private:
  base::FileSystem& fs_;
  std::string path_;
};
}  // namespace

base::Result<Kubeconfig> LoadKubeconfig(base::FileSystem& fs, const std::string& path, const std::string& context) {
  Loader loader(fs, path);
  TRY_ASSIGN(auto text, base::ReadFile(fs, path));
  TRY_ASSIGN(auto config, value::FromYaml(text));
  std::string name = context.empty() ? std::string(config.At("current-context").string_or()) : context;
  const Value& chosen = Named(config.At("contexts"), name, "context");
  if (chosen.is_null()) return base::Err(loader.Error("context \"" + name + "\" does not exist"));
  const Value& cluster = Named(config.At("clusters"), chosen.At("cluster").string_or(), "cluster");
  const Value& user = Named(config.At("users"), chosen.At("user").string_or(), "user");
  Kubeconfig out;
  out.namespace_name = chosen.At("namespace").string_or();
  out.server = cluster.At("server").string_or();
  if (out.server.empty()) return base::Err(loader.Error("no server for context \"" + name + "\""));
  if (!cluster.At("proxy-url").is_null()) return base::Err(loader.Error("proxy-url is not supported yet"));
  while (out.server.ends_with('/')) out.server.pop_back();
  out.options.endpoints = {out.server};
  out.options.http2_prior_knowledge = out.server.starts_with("http://");
  out.anonymous_options = out.options;
  TRY(loader.Token(user, out));
  if (out.server.starts_with("https://")) TRY(loader.Tls(cluster, user, out));
  return out;
}

}  // namespace machinery::client
