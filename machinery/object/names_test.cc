#include "machinery/object/names.h"
#include "base/strings.h"

#include <gtest/gtest.h>

#include <map>

#include "base/testing/story.h"
#include "machinery/object/go_text.h"

namespace machinery::object {
namespace {

std::string Show(const Reasons& reasons) { return reasons.empty() ? "fine" : base::Join(reasons, "\n"); }

std::string ShowErrors(const FieldErrors& errors) {
  std::vector<std::string> texts;
  for (const FieldError& e : errors) texts.push_back(e.ToString());
  return Show(texts);
}

// Each input line is one text; '-' stands for the empty one, 'x*N' for N times x.
std::string Expand(const std::string& line) {
  if (line == "-") return "";
  size_t star = line.find("**");
  if (star == std::string::npos) return line;
  std::string out;
  for (int i = 0; i < std::stoi(line.substr(star + 2)); ++i) out += line.substr(0, star);
  return out;
}

std::string CheckOne(const std::string& rule, const std::string& text) {
  static const std::map<std::string, Reasons (*)(std::string_view)> kRules = {
      {"label", IsDns1123Label},
      {"subdomain", IsDns1123Subdomain},
      {"wildcard", IsWildcardDns1123Subdomain},
      {"dns1035", IsDns1035Label},
      {"qualified", IsQualifiedName},
      {"labelvalue", IsLabelValue},
      {"path", IsPathSegmentName},
      {"configkey", IsConfigMapKey},
      {"env", IsEnvVarName},
      {"relaxedenv", IsRelaxedEnvVarName},
      {"cidentifier", IsCIdentifier},
      {"port", IsPortName},
      {"percent", IsPercent},
      {"header", IsHttpHeaderName},
      {"conditionreason", IsConditionReason},
  };
  if (auto it = kRules.find(rule); it != kRules.end()) return Show(it->second(text));
  if (rule == "ip") {
    auto ip = ParseIp(text);
    return ip ? ip->ToString() + (ip->mapped ? " mapped" : ip->v4 ? " v4" : " v6") : "no address";
  }
  if (rule == "cidr") {
    auto c = ParseCidr(text);
    return c ? c->ToString() : "no network";
  }
  if (rule == "strictip") return ShowErrors(IsValidIp("f", text));
  if (rule == "strictcidr") return ShowErrors(IsValidCidr("f", text));
  if (rule == "fqname") return ShowErrors(IsFullyQualifiedName("f", text));
  if (rule == "prefixedpath") return ShowErrors(IsDomainPrefixedPath("f", text));
  return "no such rule";
}

TEST(Names, Story) {
  base::testing::RunStory("stories/names.txt", [](const base::testing::Step& step) {
    std::string out;
    for (const std::string& line : base::Split(step.input, '\n'))
      out += line + ": " + CheckOne(step.command, Expand(line)) + "\n";
    return out;
  });
}

TEST(Names, PrefixMayEndWithDash) {
  EXPECT_TRUE(NameIsDnsSubdomain("web-", true).empty());
  EXPECT_FALSE(NameIsDnsSubdomain("web-", false).empty());
  EXPECT_FALSE(NameIsDnsLabel("a.b", false).empty());
}

TEST(Cidr, ContainsWhatItCovers) {
  Cidr c = *ParseCidr("10.96.0.0/12");
  EXPECT_TRUE(c.Contains(*ParseIp("10.111.255.255")));
  EXPECT_FALSE(c.Contains(*ParseIp("10.112.0.0")));
  EXPECT_FALSE(c.Contains(*ParseIp("fd00::1")));
  EXPECT_TRUE(ParseCidr("fd00::/8")->Contains(*ParseIp("fd12:3456::1")));
}

TEST(GoText, QuotesLikeGo) {
  EXPECT_EQ(GoQuote("a\"b\\c\n\t\x01"), R"("a\"b\\c\n\t\x01")");
  EXPECT_EQ(GoQuote("gr\xC3\xBC\xC3\x9F"), "\"gr\xC3\xBC\xC3\x9F\"");
  EXPECT_EQ(GoQuote("\xFF"), R"("\xff")");
  EXPECT_EQ(GoQuote("\xE2\x80\xA8"), R"("\u2028")");
}

}  // namespace
}  // namespace machinery::object
