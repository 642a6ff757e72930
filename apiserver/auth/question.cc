#include "apiserver/auth/question.h"

#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"

namespace apiserver::auth {

namespace object = machinery::object;

Verdict Ask(Authorizer* authorizer, const Attributes& question) {
  if (!authorizer) return {.decision = Decision::kAllow};
  return authorizer->Authorize(question);
}

Attributes QuestionAbout(const machinery::request::Request& r, std::string verb) {
  return {.identity = r.identity,
          .verb = std::move(verb),
          .group = r.group,
          .version = r.version,
          .resource = r.resource,
          .subresource = r.subresource,
          .namespace_name = r.namespace_name,
          .name = r.name};
}

bool MayAlso(Authorizer* authorizer, const machinery::request::Request* request, Attributes question) {
  if (!request) return true;
  question.identity = request->identity;
  return May(authorizer, question);
}

namespace {

// A browser may be shown this text, and parts of it are the asker's.
std::string Escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string RefusalText(const Attributes& a, const Verdict& verdict) {
  std::string text = "User " + object::GoQuote(a.identity.name) + " cannot " + a.verb;
  if (!a.resource_request) {
    text += " path " + object::GoQuote(a.path);
  } else {
    std::string resource = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
    text += " resource " + object::GoQuote(resource) + " in API group " + object::GoQuote(a.group);
    text += a.namespace_name.empty() ? std::string(" at the cluster scope")
                                     : " in the namespace " + object::GoQuote(a.namespace_name);
  }
  text = Escaped(text);
  return verdict.reason.empty() ? text : text + ": " + verdict.reason;
}

base::Status Refusal(const Attributes& a, const Verdict& verdict) {
  std::string why = RefusalText(a, verdict);
  return a.resource_request ? object::Forbidden({a.group, a.resource}, a.name, why) : object::Forbidden({}, "", why);
}

}  // namespace apiserver::auth
