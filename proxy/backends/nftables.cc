// The nftables back end: transactions of nft_rules.h, executed through libnftables; the kernel's generation number
// tells cheaply whether anybody changed anything since.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <nftables/libnftables.h>

#include <memory>
#include <optional>

#include "machinery/value/value.h"
#include "proxy/backends/backend.h"
#include "proxy/backends/nft_rules.h"

namespace proxy::backends {
namespace {

using machinery::value::Value;

// The generation number of the whole ruleset, or nullopt where the kernel does not tell.
std::optional<uint32_t> Generation() {
  std::unique_ptr<nl_sock, decltype(&nl_socket_free)> socket(nl_socket_alloc(), nl_socket_free);
  if (!socket || nl_connect(socket.get(), NETLINK_NETFILTER) < 0) return std::nullopt;
  std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(
      nlmsg_alloc_simple((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, NLM_F_REQUEST), nlmsg_free);
  nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, 0};
  if (!message || nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0) return std::nullopt;
  nl_socket_disable_auto_ack(socket.get());
  if (nl_send_auto(socket.get(), message.get()) < 0) return std::nullopt;
  std::optional<uint32_t> generation;
  nl_socket_modify_cb(
      socket.get(), NL_CB_VALID, NL_CB_CUSTOM,
      [](nl_msg* answer, void* out) {
        nlattr* attributes[NFTA_GEN_MAX + 1];
        if (nlmsg_parse(nlmsg_hdr(answer), sizeof(nfgenmsg), attributes, NFTA_GEN_MAX, nullptr) == 0 &&
            attributes[NFTA_GEN_ID]) {
          *static_cast<std::optional<uint32_t>*>(out) = __builtin_bswap32(nla_get_u32(attributes[NFTA_GEN_ID]));
        }
        return static_cast<int>(NL_OK);
      },
      &generation);
  if (nl_recvmsgs_default(socket.get()) < 0) return std::nullopt;
  return generation;
}

// nft's JSON for an element's key ({"concat": ["10.96.0.1", "tcp", 80]}, "10.0.0.1", {"prefix": ...}) as nft text.
std::string KeyText(const Value& v) {
  if (v.is_string()) return v.as_string();
  if (v.is_int()) return std::to_string(v.as_int());
  if (const Value& parts = v.At("concat"); parts.is_list()) {
    std::string out;
    for (const Value& part : parts.list()) out.append(out.empty() ? "" : " . ").append(KeyText(part));
    return out;
  }
  if (const Value& inner = v.At("elem"); inner.is_map()) return KeyText(inner.At("val"));
  return {};
}

std::string VerdictText(const Value& v) {
  if (const Value& target = v.At("goto", "target"); target.is_string()) return "goto " + target.as_string();
  return v.is_map() && v.map().size() == 1 ? v.map().begin()->key : std::string();
}

class Nftables final : public RuleBackend {
 public:
  explicit Nftables(const BackendOptions& options) : rules_(options), options_(options) {}

  base::Status Sync(const SyncRequest& request) override {
    std::string transaction = rules_.Transaction(request);
    if (transaction.empty()) return base::Ok();
    base::Result<std::string> done = Run(transaction, request.try_only ? Mode::kTryOnly : Mode::kWrite);
    if (!done || request.try_only) rules_.Rollback();
    if (!done) return done.error();
    if (!request.try_only) generation_ = Generation();
    return base::Ok();
  }

  void SetServiceCidrs(std::vector<std::string> cidrs) override { rules_.SetServiceCidrs(cidrs); }

  base::Result<bool> Verify() override {
    std::optional<uint32_t> now = Generation();
    if (now && now == generation_) return true;
    auto listing = Run("list table " + rules_.table_name(), Mode::kList);
    // A table that is gone is the plainest of foreign changes.
    if (!listing) return false;
    TRY_ASSIGN(Value tree, machinery::value::FromJson(*listing));
    if (!Agrees(tree)) return false;
    generation_ = now;
    return true;
  }

  base::Status Cleanup() override {
    const std::string& t = rules_.table_name();
    auto done = Run("add table " + t + "\ndelete table " + t + "\n", Mode::kWrite);
    return done ? base::Ok() : done.error();
  }

 private:
  bool Agrees(const Value& tree) const {
    std::map<std::string, std::vector<std::string>> chains;
    std::map<std::string, std::set<std::string>> elements;
    auto expected_elements = rules_.ExpectedElements();
    if (!tree.At("nftables").is_list()) return false;
    for (const Value& item : tree.At("nftables").list()) {
      if (const Value& chain = item.At("chain"); chain.is_map()) chains[std::string(chain.At("name").string_or())];
      if (const Value& rule = item.At("rule"); rule.is_map())
        chains[std::string(rule.At("chain").string_or())].emplace_back(rule.At("comment").string_or());
      for (const char* kind : {"set", "map"}) {
        const Value& set = item.At(kind);
        std::string name(set.At("name").string_or());
        if (!set.is_map() || !expected_elements.contains(name)) continue;  // affinity sets live their own life
        auto& keys = elements[name];
        if (!set.At("elem").is_list()) continue;
        for (const Value& element : set.At("elem").list()) {
          bool pair = element.is_list() && element.list().size() == 2;
          keys.insert(pair ? KeyText(element.At(size_t{0})) + " : " + VerdictText(element.At(size_t{1}))
                           : KeyText(element));
        }
      }
    }
    return chains == rules_.ExpectedChains() && elements == expected_elements;
  }

  enum class Mode { kWrite, kTryOnly, kList };
  base::Result<std::string> Run(const std::string& commands, Mode mode) {
    std::unique_ptr<nft_ctx, decltype(&nft_ctx_free)> context(nft_ctx_new(NFT_CTX_DEFAULT), nft_ctx_free);
    if (!context) return base::Err(base::ResourceExhausted("cannot open netfilter netlink"));
    nft_ctx_buffer_output(context.get());
    nft_ctx_buffer_error(context.get());
    nft_ctx_set_dry_run(context.get(), mode == Mode::kTryOnly);
    if (mode == Mode::kList) nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_JSON);
    if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
      std::string error = nft_ctx_get_error_buffer(context.get());
      if (error.size() > 2000) error.resize(2000);
      return base::Err(base::Internal("nftables refused the transaction: " + error));
    }
    return std::string(nft_ctx_get_output_buffer(context.get()));
  }

  NftRules rules_;
  BackendOptions options_;
  std::optional<uint32_t> generation_;
};

}  // namespace

std::unique_ptr<RuleBackend> NewNftables(const BackendOptions& options) { return std::make_unique<Nftables>(options); }

}  // namespace proxy::backends
