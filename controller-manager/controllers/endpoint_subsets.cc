// helper: endpoints grouped by their ports, as Endpoints objects have them, for endpoints.cc.
#include "controller-manager/controllers/endpoint_subsets.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

namespace controller_manager {
namespace {
using core::EndpointAddress;
using core::EndpointPort;
using core::EndpointSubset;

__extension__ using Wide = unsigned __int128;

// FNV-1a of 128 bits, as big-endian bytes compare.
Wide Hash(const std::string& text) {
  constexpr Wide kPrime = (Wide{1} << 88) + 0x13B;
  Wide h = (Wide{0x6C62272E07BB0142} << 64) | 0x62B821756295C58D;
  for (unsigned char c : text) h = (h ^ c) * kPrime;
  return h;
}

// --- the text that the original hashes: its structures as go-spew prints them ---

std::string PortText(const EndpointPort& p) {
  return "{Name:(string)" + p.name() + " Port:(int32)" + std::to_string(p.port()) + " Protocol:(v1.Protocol)" +
         p.protocol() + " AppProtocol:(*string)" + (p.has_appprotocol() ? p.appprotocol() : "<nil>") + "}";
}

std::string AddressText(const EndpointAddress& a) {
  std::string out = "{IP:(string)" + a.ip() + " Hostname:(string)" + a.hostname() + " NodeName:(*string)" +
                    (a.has_nodename() ? a.nodename() : "<nil>") + " TargetRef:(*v1.ObjectReference)";
  if (!a.has_targetref()) return out + "<nil>}";
  const auto& r = a.targetref();
  return out + "{Kind:(string)" + r.kind() + " Namespace:(string)" + r.namespace_() + " Name:(string)" + r.name() +
         " UID:(types.UID)" + r.uid() + " APIVersion:(string)" + r.apiversion() + " ResourceVersion:(string)" +
         r.resourceversion() + " FieldPath:(string)" + r.fieldpath() + "}}";
}

template <class List, class Text>
std::string ListText(const List& list, const char* type, Text text) {
  std::string out = std::string("([]v1.") + type + ")";
  if (list.empty()) return out + "<nil>";
  char before = '[';
  for (const auto& item : list) out.append(1, std::exchange(before, ' ')).append(text(item));
  return out + "]";
}

std::string SubsetText(const EndpointSubset& s) {
  return "(v1.EndpointSubset){Addresses:" + ListText(s.addresses(), "EndpointAddress", AddressText) +
         " NotReadyAddresses:" + ListText(s.notreadyaddresses(), "EndpointAddress", AddressText) +
         " Ports:" + ListText(s.ports(), "EndpointPort", PortText) + "}";
}

// --- who serves what ---

using AddressKey = std::pair<std::string, std::string>;  // IP, uid of the pod
struct Offer {
  EndpointPort port;
  bool none = false;  // addresses without a port
  std::map<AddressKey, bool> ready;
};

struct Offers {
  std::map<AddressKey, EndpointAddress> addresses;
  std::map<std::string, Offer> by_port;  // by its text

  void Add(const EndpointSubset& subset, const EndpointPort* port) {
    Offer& offer = by_port[port ? PortText(*port) : ""];
    offer.none = !port;
    if (port) offer.port = *port;
    for (const auto& a : subset.addresses()) Put(offer, a, true);
    for (const auto& a : subset.notreadyaddresses()) Put(offer, a, false);
  }
  void Put(Offer& offer, const EndpointAddress& a, bool ready) {
    AddressKey key{a.ip(), a.targetref().uid()};
    addresses.try_emplace(key, a);
    auto [it, fresh] = offer.ready.try_emplace(key, ready);
    if (!fresh) it->second = it->second && ready;
  }
};

template <class T, class Text>
void SortByHash(google::protobuf::RepeatedPtrField<T>& list, Text text) {
  std::vector<std::pair<Wide, T>> order;
  for (auto& item : list) order.emplace_back(Hash(text(item)), std::move(item));
  std::ranges::sort(order, {}, [](const auto& e) { return e.first; });
  list.Clear();
  for (auto& [hash, item] : order) *list.Add() = std::move(item);
}
}  // namespace

Subsets RepackSubsets(const Subsets& subsets) {
  Offers offers;
  for (const auto& s : subsets) {
    for (const auto& port : s.ports()) offers.Add(s, &port);
    if (s.ports().empty()) offers.Add(s, nullptr);
  }
  std::map<std::map<AddressKey, bool>, std::vector<EndpointPort>> groups;
  for (const auto& [text, offer] : offers.by_port) {
    auto& ports = groups[offer.ready];
    if (!offer.none && offer.port.port() > 0) ports.push_back(offer.port);
  }
  Subsets out;
  for (const auto& [addresses, ports] : groups) {
    auto* s = out.Add();
    for (const auto& [key, ready] : addresses)
      *(ready ? s->add_addresses() : s->add_notreadyaddresses()) = offers.addresses.at(key);
    for (const auto& port : ports) *s->add_ports() = port;
    SortByHash(*s->mutable_ports(), [](const auto& p) { return "(v1.EndpointPort)" + PortText(p); });
  }
  SortByHash(out, SubsetText);
  return out;
}

}  // namespace controller_manager
