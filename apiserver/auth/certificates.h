// Client certificates against the authorities of a file, judged for every request: a connection may outlive its
// certificate, and the file may change under it. A verdict is remembered by certificate until the authorities change or
// a certificate of its chain ends, so that a request costs a look-up.
//
// One strand.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/executor.h"
#include "base/net/http.h"
#include "base/status.h"

namespace apiserver::auth {

// A file of certificates, read again when it changes (looked at once a second at most). What does not parse is logged
// and the last good content stays, as with the original's dynamic certificates.
class CaFile {
 public:
  static base::Result<std::shared_ptr<CaFile>> Open(const std::string& flag, const std::string& path,
                                                    base::Executor& executor);
  ~CaFile();
  const std::string& pem() const { return pem_; }

 private:
  friend class CertificateJudge;
  struct Store;
  CaFile(std::string path, base::Executor& executor) : path_(std::move(path)), executor_(executor) {}
  // The authorities now; another object when they have changed.
  const std::shared_ptr<Store>& Current();
  base::Status Read();

  std::string path_, pem_, fingerprint_;
  base::Executor& executor_;
  base::MonoTime next_look_{};
  std::shared_ptr<Store> store_;
};

class CertificateJudge {
 public:
  CertificateJudge(std::shared_ptr<CaFile> authorities, base::Executor& executor)
      : authorities_(std::move(authorities)), executor_(executor) {}

  // The fingerprint by which the certificate is known ("X509SHA256=..."), or why it is not good now.
  base::Result<std::string> Judge(const base::net::Peer& peer);

 private:
  struct Verdict {
    bool good = false;
    int64_t from = 0, until = 0;  // seconds, within which it holds
    std::string text;             // the fingerprint, or what is wrong
  };
  Verdict Verify(const base::net::Peer& peer, int64_t now) const;

  std::shared_ptr<CaFile> authorities_;
  base::Executor& executor_;
  std::shared_ptr<CaFile::Store> seen_;  // the authorities that the verdicts are about
  std::unordered_map<std::string, Verdict> good_, bad_;
};

}  // namespace apiserver::auth
