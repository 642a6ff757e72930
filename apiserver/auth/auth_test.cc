#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "apiserver/auth/authenticators.h"
#include "apiserver/auth/jwt.h"
#include "apiserver/auth/node_authorizer.h"
#include "apiserver/auth/rules.h"
#include "apiserver/auth/tokens.h"

namespace apiserver::auth {
namespace {

using machinery::value::FromJson;
using machinery::value::Value;

Attributes Ask(std::string verb, std::string group, std::string resource, std::string sub = "", std::string name = "") {
  return {.verb = std::move(verb),
          .group = std::move(group),
          .resource = std::move(resource),
          .subresource = std::move(sub),
          .name = std::move(name)};
}

TEST(Rules, AllowByVerbGroupResourceAndName) {
  PolicyRule rule{.verbs = {"get", "list"}, .groups = {""}, .resources = {"pods", "pods/log"}};
  EXPECT_TRUE(RuleAllows(rule, Ask("get", "", "pods")));
  EXPECT_TRUE(RuleAllows(rule, Ask("get", "", "pods", "log")));
  EXPECT_FALSE(RuleAllows(rule, Ask("get", "", "pods", "exec")));
  EXPECT_FALSE(RuleAllows(rule, Ask("delete", "", "pods")));
  EXPECT_FALSE(RuleAllows(rule, Ask("get", "apps", "pods")));
  rule.names = {"one"};
  EXPECT_TRUE(RuleAllows(rule, Ask("get", "", "pods", "", "one")));
  EXPECT_FALSE(RuleAllows(rule, Ask("get", "", "pods", "", "two")));
  EXPECT_FALSE(RuleAllows(rule, Ask("list", "", "pods")));
  PolicyRule scale{.verbs = {"*"}, .groups = {"*"}, .resources = {"*/scale"}};
  EXPECT_TRUE(RuleAllows(scale, Ask("update", "apps", "deployments", "scale")));
  EXPECT_FALSE(RuleAllows(scale, Ask("update", "apps", "deployments")));
}

TEST(Rules, AllowPathsByPrefix) {
  PolicyRule rule{.verbs = {"get"}, .paths = {"/healthz", "/api/*"}};
  auto path = [](std::string p) { return Attributes{.verb = "get", .resource_request = false, .path = std::move(p)}; };
  EXPECT_TRUE(RuleAllows(rule, path("/healthz")));
  EXPECT_TRUE(RuleAllows(rule, path("/api/v1")));
  EXPECT_FALSE(RuleAllows(rule, path("/api")));
  EXPECT_FALSE(RuleAllows(rule, path("/healthz/etcd")));
}

TEST(Rules, WhatIsNotHeldIsNamedCompactly) {
  std::vector<PolicyRule> held = {{.verbs = {"get"}, .groups = {""}, .resources = {"pods"}},
                                  {.verbs = {"*"}, .groups = {"apps"}, .resources = {"*"}},
                                  {.verbs = {"get"}, .paths = {"/api/*"}}};
  EXPECT_TRUE(Uncovered(held, {{.verbs = {"get"}, .groups = {""}, .resources = {"pods"}}}).empty());
  EXPECT_TRUE(Uncovered(held, {{.verbs = {"delete"}, .groups = {"apps"}, .resources = {"deployments"}}}).empty());
  EXPECT_TRUE(Uncovered(held, {{.verbs = {"get"}, .paths = {"/api/v1"}}}).empty());
  auto missing =
      Compact(Uncovered(held, {{.verbs = {"get", "list", "watch"}, .groups = {""}, .resources = {"pods", "secrets"}}}));
  ASSERT_EQ(missing.size(), 2u);
  EXPECT_EQ(missing[0].ToCompactText(), R"({APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]})");
  EXPECT_EQ(missing[1].ToCompactText(), R"({APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]})");
  // A rule for one name does not cover all names; one for all covers each.
  std::vector<PolicyRule> one = {{.verbs = {"get"}, .groups = {""}, .resources = {"pods"}, .names = {"a"}}};
  EXPECT_FALSE(Uncovered(one, {{.verbs = {"get"}, .groups = {""}, .resources = {"pods"}}}).empty());
  EXPECT_TRUE(Uncovered(held, one).empty());
}

std::string NewKey(bool rsa) {
  EVP_PKEY* key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  long n = BIO_get_mem_data(bio, &data);
  std::string pem(data, n);
  BIO_free(bio);
  EVP_PKEY_free(key);
  return pem;
}

TEST(Jwt, SignedTokensVerifyAndChangedOnesDoNot) {
  for (bool rsa : {true, false}) {
    auto key = PrivateKey::FromPem(NewKey(rsa));
    ASSERT_TRUE(key.has_value());
    EXPECT_EQ((*key)->public_key().algorithm(), rsa ? "RS256" : "ES256");
    auto claims = FromJson(R"({"sub":"x","aud":["a"]})");
    auto token = (*key)->Sign(*claims);
    ASSERT_TRUE(token.has_value());
    auto parsed = ParseToken(*token);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->claims.At("sub").string_or(), "x");
    EXPECT_EQ(parsed->key_id, (*key)->public_key().key_id());
    EXPECT_TRUE((*key)->public_key().Verify(parsed->signed_text, parsed->signature));
    EXPECT_FALSE((*key)->public_key().Verify(parsed->signed_text + "x", parsed->signature));
    EXPECT_FALSE((*key)->public_key().Verify(parsed->signed_text, parsed->signature.substr(1)));
    auto other = PrivateKey::FromPem(NewKey(rsa));
    EXPECT_FALSE((*other)->public_key().Verify(parsed->signed_text, parsed->signature));
    EXPECT_EQ((*key)->public_key().ToJwk().At("kty").string_or(), rsa ? "RSA" : "EC");
  }
}

TEST(Jwt, GarbageIsAnError) {
  for (std::string_view text : {"", "nonsense", "a.b", "a.b.c.d", "!!.??.==", "e30.e30."}) {
    auto parsed = ParseToken(text);
    if (text == "e30.e30.") continue;  // {} . {} . nothing: parses, and no key verifies it
    EXPECT_FALSE(parsed.has_value()) << text;
  }
}

TEST(Tokens, FileOfTokensWithQuotedGroups) {
  auto file = TokenFile("tok-alice,alice,u1,\"devs,qa\"\ntok-bob,bob,u2\n", {"api"});
  ASSERT_TRUE(file.has_value());
  auto alice = (*file)->AuthenticateToken("tok-alice", {});
  ASSERT_TRUE(alice.has_value() && alice->has_value());
  EXPECT_EQ((*alice)->identity.name, "alice");
  EXPECT_EQ((*alice)->identity.groups, (std::vector<std::string>{"devs", "qa"}));
  EXPECT_EQ((*alice)->audiences, std::vector<std::string>{"api"});
  auto nobody = (*file)->AuthenticateToken("x", {});
  EXPECT_TRUE(nobody.has_value() && !nobody->has_value());
  EXPECT_FALSE(TokenFile("a,b\n", {}).has_value());
}

TEST(Node, WhatAPodNames) {
  auto pod = FromJson(R"({"metadata":{"name":"p","namespace":"n"},"spec":{"serviceAccountName":"sa",
    "imagePullSecrets":[{"name":"pull"}],
    "volumes":[{"name":"a","secret":{"secretName":"s1"}},{"name":"b","projected":{"sources":[{"configMap":{"name":"c1"}}]}},
               {"name":"d","persistentVolumeClaim":{"claimName":"pvc"}},{"name":"e","ephemeral":{}}],
    "containers":[{"env":[{"name":"x","valueFrom":{"secretKeyRef":{"name":"s2","key":"k"}}}],
                   "envFrom":[{"configMapRef":{"name":"c2"}}]}]}})");
  EXPECT_EQ(ReferencesOf(*pod),
            (std::vector<std::string>{"configmaps/n/c1", "configmaps/n/c2", "persistentvolumeclaims/n/p-e",
                                      "persistentvolumeclaims/n/pvc", "secrets/n/pull", "secrets/n/s1", "secrets/n/s2",
                                      "serviceaccounts/n/sa"}));
}

}  // namespace
}  // namespace apiserver::auth
