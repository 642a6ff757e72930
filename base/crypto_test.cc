#include <gtest/gtest.h>

#include "base/bcrypt.h"
#include "base/bytes.h"
#include "base/jws.h"

namespace base {
namespace {

TEST(Bcrypt, AnswersForItsOwnHashesAndThoseOfOthers) {
  auto hash = BcryptHash("secret", kBcryptMinCost);
  ASSERT_TRUE(hash.has_value());
  EXPECT_TRUE(hash->starts_with("$2a$04$"));
  EXPECT_TRUE(BcryptMatches(*hash, "secret"));
  EXPECT_FALSE(BcryptMatches(*hash, "Secret"));
  EXPECT_FALSE(BcryptMatches("", ""));
  EXPECT_FALSE(BcryptMatches("secret", "secret"));
  EXPECT_FALSE(BcryptHash(std::string(73, 'x'), kBcryptMinCost).has_value());
}

constexpr char kEcKey[] = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
)";
constexpr char kEcPublic[] = R"(-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----
)";

constexpr char kEcCertificate[] = R"(-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIUJQ7MPAYZaZpfzHbp6QhPbyWEdTwwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDand0MCAXDTI2MTIwMTAwMTE0MFoYDzIxMjYxMTA3MDAxMTQw
WjAOMQwwCgYDVQQDDANqd3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQRWz+j
n65BtOMvdyHKcvjBeBSDZH2r1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0
E7oH50VpuZ1P087Go1MwUTAdBgNVHQ4EFgQUmqhY86bNahvsdgzyEo2l01rEznQw
HwYDVR0jBBgwFoAUmqhY86bNahvsdgzyEo2l01rEznQwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEAnKpc0g7aRa6oyqhurlMC4GcQpacb5SoT0rOV
agSZsZoCIQDrHtYV1AA+gxRr4tvDTcXN+xhiprRP/W2kFzDjXuslgw==
-----END CERTIFICATE-----
)";

TEST(Jws, SignsAndVerifies) {
  auto hmac = JwsKey::Make("HS256", "your-256-bit-secret");
  ASSERT_TRUE(hmac.has_value());
  // The example every description of the format uses.
  EXPECT_EQ((*hmac)->Verify("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
                            "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
                            "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"),
            R"({"sub":"1234567890","name":"John Doe","iat":1516239022})");
  auto key = JwsKey::Make("ES256", kEcKey), verifier = JwsKey::Make("ES256", kEcPublic);
  ASSERT_TRUE(key.has_value() && verifier.has_value());
  auto token = (*key)->Sign("{\"a\":1}");
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ((*verifier)->Verify(*token), "{\"a\":1}");
  EXPECT_FALSE((*verifier)->can_sign());
  EXPECT_FALSE((*verifier)->Sign("{}").has_value());
  auto certificate = JwsKey::Make("ES256", kEcCertificate);
  ASSERT_TRUE(certificate.has_value());
  EXPECT_EQ((*certificate)->Verify(*token), "{\"a\":1}");
  EXPECT_FALSE((*certificate)->can_sign());
  std::string broken = *token;
  broken[broken.size() - 8] ^= 1;
  EXPECT_EQ((*verifier)->Verify(broken), std::nullopt);
  EXPECT_EQ((*hmac)->Verify(*token), std::nullopt) << "another algorithm";
  EXPECT_FALSE(JwsKey::Make("none", "x").has_value());
  EXPECT_FALSE(JwsKey::Make("RS256", kEcKey).has_value());
}

}  // namespace
}  // namespace base
