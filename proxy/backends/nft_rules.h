// The nftables form of the rule table, as text and values. Pure: no netlink here, so every transaction can be read in a
// test. Layout: verdict maps lead from (address, protocol, port) to one chain per service, which picks an endpoint with
// one dnat rule over an anonymous map; session affinity has a chain and a dynamic set per endpoint. One changed
// endpoint rewrites one rule and one set element, whatever the number of services.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/backends/backend.h"

namespace proxy::backends {

// What one service port puts into the table.
struct Fragment {
  // set or map name -> element key -> value ("" in a set)
  std::map<std::string, std::map<std::string, std::string>> elements;
  std::map<std::string, std::vector<std::string>> chains;  // name -> rules
  std::map<std::string, std::string> sets;                 // dynamic sets: name -> declaration
  bool operator==(const Fragment&) const = default;
};

class NftRules {
 public:
  explicit NftRules(const BackendOptions& options);

  // nft commands that turn the present table into the request's where `changed` names the differences; "" when there
  // are none. null `changed`: drops the whole table and builds it again. The object then assumes that they were
  // executed; Rollback after a failure.
  std::string Transaction(const SyncRequest& request);
  // The last Transaction did not take place.
  void Rollback();
  // In effect with the next full Transaction.
  void SetServiceCidrs(const std::vector<std::string>& cidrs);

  // "ip kube-proxy"
  const std::string& table_name() const { return table_name_; }
  // What the kernel should hold: chain -> one mark per rule (each rule carries it as its comment), and the keys of
  // every static set and map. For Verify.
  std::map<std::string, std::vector<std::string>> ExpectedChains() const;
  std::map<std::string, std::set<std::string>> ExpectedElements() const;

  Fragment Render(const ServicePortName& name, const ServiceRule& rule) const;

 private:
  struct Element {
    int uses = 0;
    std::string value;
  };
  using ElementKey = std::pair<std::string, std::string>;  // set or map, key
  struct Undo {
    bool full = false;  // then the maps are all there was
    std::map<ServicePortName, Fragment> fragments;
    std::map<ElementKey, Element> elements;
  };
  struct Text {
    std::string new_sets, new_chains, flushes, rules, stale_chains, stale_sets;
  };
  std::string Skeleton() const;
  Element& Touch(const std::string& set, const std::string& key);
  void WriteFragment(const Fragment& old, const Fragment& next, Text& text);
  std::string ElementLines();
  void AddPolicyChain(Fragment& f, const ServiceRule& rule, const std::string& kind, const std::string& id,
                      const std::vector<Backend>& backends) const;
  void AddExternal(Fragment& f, const ServiceRule& rule, const std::string& id) const;

  BackendOptions options_;
  std::string ip_;  // "ip" or "ip6"
  std::string table_name_;
  std::string mark_;
  std::map<std::string, std::vector<std::string>> base_chains_;
  std::map<ServicePortName, Fragment> current_;
  std::map<ElementKey, Element> elements_;
  Undo undo_;  // of the last Transaction
};

// The comment that marks a rule: eight characters that depend on its text.
std::string RuleMark(const std::string& rule);

}  // namespace proxy::backends
