#include "base/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "base/net/address.h"
#include "base/net/certificate.h"
#include "base/net/tls_impl.h"
#include "base/net/tls_restrictions.h"

namespace base::net {
namespace {

struct BioFree {
  void operator()(BIO* b) const { BIO_free(b); }
};
struct X509Free {
  void operator()(X509* x) const { X509_free(x); }
};
struct KeyFree {
  void operator()(EVP_PKEY* k) const { EVP_PKEY_free(k); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;
using X509Ptr = std::unique_ptr<X509, X509Free>;

BioPtr Reader(const std::string& pem) { return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

Status TlsFailure(const std::string& what) {
  std::string text = TlsErrorText(nullptr);
  return InvalidArgument(text.empty() ? what : what + ": " + text);
}

std::vector<X509Ptr> ReadCertificates(const std::string& pem) {
  std::vector<X509Ptr> out;
  BioPtr bio = Reader(pem);
  while (X509* x = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(x);
  ERR_clear_error();  // the end of the text is reported as an error
  return out;
}

// An encrypted key would make OpenSSL ask on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

Status LoadIdentity(SSL_CTX* ctx, const std::string& cert_pem, const std::string& key_pem) {
  auto chain = ReadCertificates(cert_pem);
  if (chain.empty()) return TlsFailure("no certificate in PEM data");
  if (SSL_CTX_use_certificate(ctx, chain[0].get()) != 1) return TlsFailure("certificate");
  for (size_t i = 1; i < chain.size(); ++i)
    if (SSL_CTX_add0_chain_cert(ctx, chain[i].get()) == 1) (void)chain[i].release();
  BioPtr bio = Reader(key_pem);
  std::unique_ptr<EVP_PKEY, KeyFree> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (!key) return TlsFailure("no usable private key in PEM data");
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1) return TlsFailure("private key does not match certificate");
  return Ok();
}

Status LoadAuthorities(SSL_CTX* ctx, const std::string& pem, bool announce) {
  auto certificates = ReadCertificates(pem);
  if (certificates.empty()) return TlsFailure("no certificate authority in PEM data");
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  for (const auto& x : certificates) {
    X509_STORE_add_cert(store, x.get());
    if (announce) SSL_CTX_add_client_CA(ctx, x.get());
  }
  ERR_clear_error();
  return Ok();
}

// IANA names ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256") to OpenSSL's two lists.
Status SetCiphers(SSL_CTX* ctx, const std::vector<std::string>& names) {
  if (names.empty()) {
    // As Go orders them: the shorter key is a quarter cheaper per byte, and what it protects is not weaker in practice.
    if (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") !=
        1)
      return TlsFailure("cipher suites");
    return Ok();
  }
  SSL_CTX_set_cipher_list(ctx, "ALL");
  std::string old_style, tls13;
  for (const std::string& name : names) {
    bool found = false;
    const auto* all = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i) {
      const SSL_CIPHER* c = sk_SSL_CIPHER_value(all, i);
      const char* standard = SSL_CIPHER_standard_name(c);
      if (standard == nullptr || name != standard) continue;
      bool is13 = std::string_view(SSL_CIPHER_get_version(c)) == "TLSv1.3";
      std::string& list = is13 ? tls13 : old_style;
      list.append(list.empty() ? "" : ":").append(SSL_CIPHER_get_name(c));
      found = true;
    }
    if (!found) return InvalidArgument("Cipher suite " + name + " not supported or doesn't exist");
  }
  // As in Go, a list chooses among the suites of TLS 1.2; 1.3's are all good.
  if (!tls13.empty() && SSL_CTX_set_ciphersuites(ctx, tls13.c_str()) != 1) return TlsFailure("cipher suites");
  if (SSL_CTX_set_cipher_list(ctx, old_style.empty() ? "ECDHE+AESGCM" : old_style.c_str()) != 1)
    return TlsFailure("cipher suites");
  return Ok();
}

std::string AlpnWire(const std::vector<std::string>& protocols) {
  std::string out;
  for (const auto& p : protocols) {
    out.push_back(static_cast<char>(p.size()));
    out += p;
  }
  return out;
}

// Our order decides; no common protocol means none is named and HTTP/1.1 is spoken.
// tidy: parameters: OpenSSL's callback
int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
               unsigned int offered_length, void* ours) {
  const auto& wire = *static_cast<const std::string*>(ours);
  unsigned char* selected = nullptr;
  int result = SSL_select_next_proto(&selected, out_length, reinterpret_cast<const unsigned char*>(wire.data()),
                                     static_cast<unsigned>(wire.size()), offered, offered_length);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// What belongs to a context beside OpenSSL's own; lives and dies with it.
struct ContextExtras {
  std::string alpn;
  std::unique_ptr<TlsRestrictions> restrictions;
  std::string rejection_message;
};
// tidy: parameters: OpenSSL's callback
void FreeExtras(void*, void* extras, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<ContextExtras*>(extras); }
int ExtrasSlot() {
  static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, FreeExtras);
  return slot;
}
const ContextExtras* ExtrasOf(const SSL* ssl) {
  return static_cast<const ContextExtras*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ExtrasSlot()));
}

// What a handshake that fails shall be told of: OpenSSL forgets a certificate that it did not accept.
struct Refusal {
  X509Ptr leaf;
  std::string why;
};
// tidy: parameters: OpenSSL's callback
void FreeRefusal(void*, void* refusal, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<Refusal*>(refusal); }
int RefusalSlot() {
  static const int slot = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, FreeRefusal);
  return slot;
}
const Refusal* RefusalOf(const SSL* ssl) { return static_cast<const Refusal*>(SSL_get_ex_data(ssl, RefusalSlot())); }

// The one place where a peer's certificate is judged: the chain by OpenSSL, then the restrictions. Sessions are never
// resumed, so nobody comes past it.
int JudgePeer(X509_STORE_CTX* chain, void* of_context) {
  const auto& extras = *static_cast<const ContextExtras*>(of_context);
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto refusal = std::make_unique<Refusal>();
  X509* leaf = X509_STORE_CTX_get0_cert(chain);
  if (leaf != nullptr && X509_up_ref(leaf) == 1) refusal->leaf.reset(leaf);
  int accepted = X509_verify_cert(chain);
  if (accepted == 1) {
    Status s = extras.restrictions->Check(chain);
    if (!s.ok()) {
      refusal->why = s.message();
      X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REJECTED);
      accepted = 0;
    }
  }
  delete RefusalOf(ssl);
  SSL_set_ex_data(ssl, RefusalSlot(), accepted == 1 ? nullptr : refusal.release());
  return accepted;
}

// Lets the handshake go on; SSL_get_verify_result keeps what was wrong.
int RecordOnly(int, X509_STORE_CTX*) { return 1; }

void SetVerification(SSL_CTX* ctx, const TlsFiles& files, bool server) {
  if (!server) {
    SSL_CTX_set_verify(ctx, files.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    return;
  }
  switch (files.client_auth) {
    case TlsFiles::ClientAuth::kNone:
      SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
      break;
    case TlsFiles::ClientAuth::kRequest:
      SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, RecordOnly);
      break;
    case TlsFiles::ClientAuth::kRequireAndVerify:
      SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      break;
  }
}

Result<SslCtxPtr> BuildContext(const TlsFiles& files, bool server, const std::string& ca, const std::string& cert,
                               const std::string& key) {
  SslCtxPtr ctx(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), SslCtxFree());
  // unreachable from outside: fails only without memory
  CHECK_MSG(ctx != nullptr, "SSL_CTX_new");
  SSL_CTX_set_min_proto_version(ctx.get(), files.minimum_version >= 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  if (files.maximum_version == 12) SSL_CTX_set_max_proto_version(ctx.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(ctx.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // A resumed session would carry an identity past a change of the authorities.
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  SSL_CTX_set_read_ahead(ctx.get(), 1);
  if (!cert.empty()) TRY(LoadIdentity(ctx.get(), cert, key));
  if (!ca.empty()) {
    TRY(LoadAuthorities(ctx.get(), ca, server));
  } else if (!server || files.client_auth == TlsFiles::ClientAuth::kRequireAndVerify) {
    SSL_CTX_set_default_verify_paths(ctx.get());
  }
  TRY(SetCiphers(ctx.get(), files.cipher_suites));
  SetVerification(ctx.get(), files, server);
  auto* extras = new ContextExtras{AlpnWire(files.alpn), std::make_unique<TlsRestrictions>(files, server),
                                   server ? files.rejection_message : ""};
  SSL_CTX_set_ex_data(ctx.get(), ExtrasSlot(), extras);
  if (server && !files.alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx.get(), SelectAlpn, &extras->alpn);
  if (extras->restrictions->any() || !extras->rejection_message.empty()) {
    SSL_CTX_set_cert_verify_callback(ctx.get(), JudgePeer, extras);
  }
  return ctx;
}

}  // namespace

namespace {

// What the other end said in an alert, in the words of Go's programs, which people look for; "" for anything else.
std::string AlertText(unsigned long error) {
  static constexpr std::pair<int, const char*> kAlerts[] = {{10, "unexpected message"},
                                                            {20, "bad record MAC"},
                                                            {40, "handshake failure"},
                                                            {42, "bad certificate"},
                                                            {43, "unsupported certificate"},
                                                            {44, "revoked certificate"},
                                                            {45, "expired certificate"},
                                                            {46, "unknown certificate"},
                                                            {47, "illegal parameter"},
                                                            {48, "unknown certificate authority"},
                                                            {49, "access denied"},
                                                            {50, "error decoding message"},
                                                            {51, "error decrypting message"},
                                                            {70, "protocol version not supported"},
                                                            {71, "insufficient security level"},
                                                            {80, "internal error"},
                                                            {112, "unrecognized name"},
                                                            {116, "certificate required"},
                                                            {120, "no application protocol"}};
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return {};
  for (const auto& [alert, text] : kAlerts) {
    if (ERR_GET_REASON(error) == SSL_AD_REASON_OFFSET + alert) return std::string("remote error: tls: ") + text;
  }
  return {};
}

}  // namespace

std::string TlsErrorText(const SSL* ssl) {
  std::string out;
  if (ssl != nullptr) {
    long verify = SSL_get_verify_result(ssl);
    if (verify != X509_V_OK) out = X509_verify_cert_error_string(verify);
    if (const Refusal* refusal = RefusalOf(ssl); refusal != nullptr && !refusal->why.empty()) out = refusal->why;
  }
  unsigned long last = ERR_peek_last_error();
  ERR_clear_error();
  if (std::string alert = last != 0 ? AlertText(last) : ""; !alert.empty()) return alert;
  const char* reason = last != 0 ? ERR_reason_error_string(last) : nullptr;
  if (reason != nullptr) out.append(out.empty() ? "" : ": ").append(reason);
  return out;
}

void LogRejection(const SSL* ssl, int fd, const std::string& why) {
  const ContextExtras* extras = ExtrasOf(ssl);
  if (extras == nullptr || extras->rejection_message.empty()) return;
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  ::getpeername(fd, reinterpret_cast<sockaddr*>(&from), &size);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  std::string remote = AddressText(from), server_name = name != nullptr ? name : "";
  const Refusal* refusal = RefusalOf(ssl);
  if (refusal == nullptr || refusal->leaf == nullptr) {
    // Who only looks whether the port is open is worth no warning.
    Log(why.empty() ? LogLevel::kDebug : LogLevel::kWarning, extras->rejection_message,
        {{"remote-addr", remote}, {"server-name", server_name}, {"error", why.empty() ? "EOF" : why}});
    return;
  }
  CertificateNames names = NamesOf(refusal->leaf.get());
  LogWarning(extras->rejection_message, {{"remote-addr", remote},
                                         {"server-name", server_name},
                                         {"ip-addresses", names.addresses},
                                         {"dns-names", names.dns},
                                         {"error", why}});
}

std::string FileFingerprint(const std::string& path) {
  struct stat st;
  if (path.empty() || ::stat(path.c_str(), &st) != 0) return {};
  return std::to_string(st.st_ino) + "/" + std::to_string(st.st_size) + "/" + std::to_string(st.st_mtim.tv_sec) + "." +
         std::to_string(st.st_mtim.tv_nsec);
}

std::string TlsSettings::Fingerprint() const {
  std::string out;
  for (const std::string& path : {source_.files.cert_file, source_.files.key_file, source_.files.ca_file}) {
    out += FileFingerprint(path) + " ";
  }
  return out;
}

namespace {
Result<SslCtxPtr> Build(const TlsSettings::Source& source) {
  if (source.from_pem) return BuildContext(source.files, source.server, source.ca_pem, source.cert_pem, source.key_pem);
  auto read = [](const std::string& path) -> Result<std::string> {
    if (path.empty()) return std::string();
    return ReadFile(PosixFileSystem(), path);
  };
  TRY_ASSIGN(std::string ca, read(source.files.ca_file));
  TRY_ASSIGN(std::string cert, read(source.files.cert_file));
  TRY_ASSIGN(std::string key, read(source.files.key_file));
  auto built = BuildContext(source.files, source.server, ca, cert, key);
  if (!built) return Err(built.error().Annotate("tls (" + source.files.cert_file + " " + source.files.ca_file + "): "));
  return built;
}
}  // namespace

Result<std::unique_ptr<TlsSettings>> TlsSettings::Make(Source source) {
  std::unique_ptr<TlsSettings> out(new TlsSettings(std::move(source)));
  out->fingerprint_ = out->Fingerprint();
  TRY_ASSIGN(out->current_, Build(out->source_));
  return out;
}

SslCtxPtr TlsSettings::Current() {
  std::lock_guard lock(mutex_);
  MonoTime now = SystemClock().Now();
  if (source_.from_pem || now < next_check_) return current_;
  next_check_ = now + std::chrono::seconds(1);
  std::string fingerprint = Fingerprint();
  if (fingerprint == fingerprint_) return current_;
  auto fresh = Build(source_);
  if (fresh) {
    current_ = *fresh;
    fingerprint_ = fingerprint;
    LogInfo("Loaded changed certificates", {{"cert", source_.files.cert_file}});
  } else {
    LogError("Changed certificates are unusable, keeping the old ones", fresh.error());
  }
  return current_;
}

Result<std::shared_ptr<ServerTls>> ServerTls::FromFiles(TlsFiles files) {
  if (files.cert_file.empty() || files.key_file.empty())
    return Err(InvalidArgument("a TLS server needs a certificate and a key"));
  TRY_ASSIGN(auto settings, TlsSettings::Make({.files = std::move(files), .server = true}));
  return std::make_shared<ServerTlsImpl>(std::move(settings));
}

Result<std::shared_ptr<ClientTls>> ClientTls::FromFiles(TlsFiles files) {
  TRY_ASSIGN(auto settings, TlsSettings::Make({.files = std::move(files)}));
  return std::make_shared<ClientTlsImpl>(std::move(settings));
}

Result<std::shared_ptr<ClientTls>> ClientTls::FromPem(std::string ca_pem, std::string cert_pem, std::string key_pem,
                                                      TlsFiles options) {
  TlsSettings::Source source{.files = std::move(options), .from_pem = true};
  source.ca_pem = std::move(ca_pem);
  source.cert_pem = std::move(cert_pem);
  source.key_pem = std::move(key_pem);
  TRY_ASSIGN(auto settings, TlsSettings::Make(std::move(source)));
  return std::make_shared<ClientTlsImpl>(std::move(settings));
}

SslPtr NewServerSsl(ServerTls& tls, int fd) {
  auto& settings = *static_cast<ServerTlsImpl&>(tls).settings;
  SslCtxPtr ctx = settings.Current();
  SslPtr ssl(SSL_new(ctx.get()));
  // unreachable from outside: fails only without memory
  CHECK_MSG(ssl != nullptr, "SSL_new");
  SSL_set_fd(ssl.get(), fd);
  SSL_set_accept_state(ssl.get());
  return ssl;
}

Result<SslPtr> NewClientSsl(ClientTls& tls, int fd, const std::string& host, const std::vector<std::string>& alpn) {
  auto& settings = *static_cast<ClientTlsImpl&>(tls).settings;
  const TlsFiles& files = settings.files();
  SslCtxPtr ctx = settings.Current();
  SslPtr ssl(SSL_new(ctx.get()));
  // unreachable from outside: fails only without memory
  CHECK_MSG(ssl != nullptr, "SSL_new");
  SSL_set_fd(ssl.get(), fd);
  SSL_set_connect_state(ssl.get());
  std::string name = files.server_name.empty() ? host : files.server_name;
  if (name.size() > 1 && name.ends_with('.')) name.pop_back();  // as DNS ends a name; certificates do not
  if (IsAddressText(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str());
  } else if (!name.empty()) {
    SSL_set_tlsext_host_name(ssl.get(), name.c_str());
    SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl.get(), name.c_str()) != 1) return Err(InvalidArgument("tls: bad server name " + name));
  } else if (!files.skip_verify) {
    return Err(InvalidArgument("tls: either a server name or skip_verify must be specified"));
  }
  std::string wire = AlpnWire(alpn.empty() ? files.alpn : alpn);
  if (!wire.empty())
    SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                        static_cast<unsigned>(wire.size()));
  return ssl;
}

std::string NegotiatedAlpn(const SSL* ssl) {
  const unsigned char* data = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl, &data, &length);
  return std::string(reinterpret_cast<const char*>(data), length);
}

namespace {
std::string DerOf(const X509* certificate) {
  std::string out;
  int n = i2d_X509(certificate, nullptr);
  if (n <= 0) return out;
  out.resize(static_cast<size_t>(n));
  auto* p = reinterpret_cast<unsigned char*>(out.data());
  i2d_X509(certificate, &p);
  return out;
}
}  // namespace

void DescribePeer(const SSL* ssl, Peer& peer) {
  peer.tls = true;
  X509Ptr leaf(SSL_get1_peer_certificate(ssl));
  if (!leaf) return;
  peer.verified_chain = SSL_get_verify_result(ssl) == X509_V_OK;
  peer.certificate_der = DerOf(leaf.get());
  const STACK_OF(X509)* sent = SSL_is_server(ssl) ? SSL_get_peer_cert_chain(ssl) : nullptr;
  for (int i = 0; sent != nullptr && i < sk_X509_num(sent); ++i)
    peer.intermediates_der.push_back(DerOf(sk_X509_value(sent, i)));
  CertificateNames names = NamesOf(leaf.get());
  peer.common_name = std::move(names.common_name);
  peer.organizations = std::move(names.organizations);
  peer.dns_names = std::move(names.dns);
  peer.ip_addresses = std::move(names.addresses);
}

}  // namespace base::net
