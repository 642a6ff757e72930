#include "apiserver/chain/negotiate.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

namespace object = machinery::object;
using machinery::request::kJson;
using machinery::request::kProtobuf;
using machinery::request::kYaml;

namespace {

constexpr size_t kMaxClauses = 64;

std::string_view Cut(std::string_view& rest, char at) {
  auto i = rest.find(at);
  auto head = rest.substr(0, i);
  rest = i == rest.npos ? std::string_view() : rest.substr(i + 1);
  return base::Trim(head);
}

bool PickMedia(const AcceptClause& c, const Offer& offer, Media& media) {
  struct Row {
    std::string_view type, subtype;
    Media media;
  };
  static constexpr Row kRows[] = {{"application", "json", Media::kJson},
                                  {"application", "yaml", Media::kYaml},
                                  {"application", "vnd.kubernetes.protobuf", Media::kProtobuf}};
  for (const auto& row : kRows) {
    bool fits =
        (c.type == "*" && c.subtype == "*") || (c.type == row.type && (c.subtype == "*" || c.subtype == row.subtype));
    if (!fits || (offer.watch && row.media == Media::kYaml)) continue;
    media = row.media;
    return true;
  }
  return false;
}

// The transformation a clause asks for; false when this endpoint cannot do it.
bool PickTransform(const AcceptClause& c, const Offer& offer, Negotiated& n) {
  auto as = c.Parameter("as");
  if (as.empty()) return true;
  auto group = c.Parameter("g"), version = c.Parameter("v");
  if (!offer.transforms || group != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) return false;
  n.as_version = version;
  if (as == "Table") {
    n.as = As::kTable;
    return n.media != Media::kProtobuf;
  }
  bool single = !offer.list || offer.watch;
  if ((as == "PartialObjectMetadata" && single) || (as == "PartialObjectMetadataList" && offer.list)) {
    n.as = As::kPartial;
    return true;
  }
  return false;
}

std::string_view MediaName(Media media) {
  switch (media) {
    case Media::kYaml:
      return kYaml;
    case Media::kProtobuf:
      return kProtobuf;
    default:
      return kJson;
  }
}

}  // namespace

std::string_view AcceptClause::Parameter(std::string_view name) const {
  for (const auto& [k, v] : parameters)
    if (k == name) return v;
  return {};
}

std::vector<AcceptClause> ParseAccept(std::string_view accept) {
  std::vector<AcceptClause> out;
  while (!accept.empty() && out.size() < kMaxClauses) {
    auto clause = Cut(accept, ',');
    if (clause.empty()) continue;
    AcceptClause c;
    auto media = Cut(clause, ';');
    auto slash = media.find('/');
    c.type = base::Lower(media.substr(0, slash));
    c.subtype = slash == media.npos ? "" : base::Lower(media.substr(slash + 1));
    if (media == "*") c.type = c.subtype = "*";
    while (!clause.empty()) {
      auto parameter = Cut(clause, ';');
      auto name = Cut(parameter, '=');
      if (name == "q")
        std::from_chars(parameter.data(), parameter.data() + parameter.size(), c.quality);
      else if (!name.empty())
        c.parameters.emplace_back(name, parameter);
    }
    c.place = out.size();
    out.push_back(std::move(c));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.quality != b.quality ? a.quality > b.quality : a.place < b.place;
  });
  return out;
}

base::Result<Negotiated> Negotiate(std::string_view accept, const Offer& offer) {
  auto clauses = ParseAccept(accept);
  if (clauses.empty()) clauses.push_back({.type = "*", .subtype = "*"});
  bool known = false;
  for (const auto& c : clauses) {
    Negotiated n;
    if (!PickMedia(c, offer, n.media)) continue;
    known = true;
    if (!PickTransform(c, offer, n)) continue;
    auto pretty = c.Parameter("pretty");
    n.pretty = pretty == "1" || pretty == "true";
    n.content_type = MediaName(n.media);
    if (offer.watch && n.media == Media::kProtobuf) n.content_type += ";stream=watch";
    return n;
  }
  if (known) return base::Err(object::NotAcceptable({std::string(kJson), std::string(kYaml), std::string(kProtobuf)}));
  std::string text = "406: Not Acceptable\n\nAvailable representations: " + std::string(kJson) + ", " +
                     std::string(kYaml) + ", " + std::string(kProtobuf);
  return base::Err(object::GenericResponse(406, std::move(text)));
}

}  // namespace apiserver::chain
