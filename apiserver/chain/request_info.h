// What a request asks for, read from its method, path and query alone: nothing is looked up, so whoever may not ask
// learns nothing. It is what the authorizer is asked, verbatim, and gives for each request what the original's
// RequestInfo gives (apiserver/pkg/endpoints/request); tests/component/authorization_matrix.tsv compares them.
//
// Pure. REST reads it from the exchange, every other wire from its Request; both ways give the same for the same wish.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/auth/authorizer.h"
#include "machinery/request/request.h"

namespace apiserver::chain {

struct RequestInfo {
  bool resource_request = false;
  std::string path;  // percent-decoded, bytes that are no UTF-8 replaced
  // "get", "list" ... of resources, "watch" and "proxy" also where they stand in the path, "" for a method that means
  // nothing; the method in lower case for paths.
  std::string verb;
  std::string group, version, resource, subresource;
  std::string namespace_name;                  // a namespace's own name where that is the resource
  std::string name;                            // of the path, or of the field selector of a list or watch
  std::string label_selector, field_selector;  // only where the verb heeds them
  // For those who act on a path: resource, name, subresource and what follows.
  std::vector<std::string> parts;
  bool by_prefix = false;     // /watch/ or /proxy/ stands before the resource
  bool in_namespace = false;  // /namespaces/{namespace_name}/ does

  std::string_view path_name() const { return parts.size() > 1 ? std::string_view(parts[1]) : std::string_view(); }
  // A stream, or bytes to and from somewhere else: outside the limits of requests in flight, as in the original.
  bool long_running() const;
};

using Query = std::vector<std::pair<std::string, std::string>>;
// Parameters in order, decoded as forms are; a pair that Go cannot read is left out.
Query ReadQuery(std::string_view query);
// Whether the wish for a watch (or another boolean) is true: anything but "false" and "0".
bool TrueParameter(std::string_view value);

// `method` as sent, `path` as sent without the query. An error: a path that is no path (400), or one that stops after
// its special verb (500).
base::Result<RequestInfo> ReadRequestInfo(std::string_view method, std::string_view path, const Query& query);

// The same for a Request that CheckSayable lets through.
RequestInfo InfoOf(const machinery::request::Request& r);

// Whether REST could have said this Request: BadRequest with the reason when not. Every Request, whatever its wire,
// passes here before anybody is asked anything about it, so that no wire reaches what another cannot: a name beside a
// verb for collections, a verb without its name, segments that would be another path.
base::Status CheckSayable(const machinery::request::Request& r);
// Its two halves: verb, name and subresource fit together; each part is one segment of a path.
base::Status CheckShape(const machinery::request::Request& r);
base::Status CheckSegments(const machinery::request::Request& r);

auth::Attributes AttributesOf(const machinery::request::Identity& identity, const RequestInfo& info);

}  // namespace apiserver::chain
