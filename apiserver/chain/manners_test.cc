#include "apiserver/chain/manners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace apiserver::chain {
namespace {

using ::testing::HasSubstr;

TEST(Manners, AreChecked) {
  auto why = [](Manners m) { return std::string(CheckManners(m).message()); };
  EXPECT_EQ(why({.cors_allowed_origins = {"//example\\.com(:|$)"},
                 .strict_transport_security_directives = {"max-age=1", "preload"},
                 .goaway_chance = 0.02}),
            "");
  EXPECT_THAT(why({.cors_allowed_origins = {"example.com"}}), HasSubstr("does not pin to start/end of host"));
  EXPECT_THAT(why({.cors_allowed_origins = {"^(//a$"}}), HasSubstr("--cors-allowed-origins has an invalid regular"));
  EXPECT_THAT(why({.strict_transport_security_directives = {"maxage=1"}}), HasSubstr("allowed values"));
  EXPECT_THAT(why({.strict_transport_security_directives = {" "}}), HasSubstr("empty value"));
  EXPECT_THAT(why({.goaway_chance = 0.03}), HasSubstr("--goaway-chance can not be less than 0"));
  EXPECT_THAT(why({.goaway_chance = std::numeric_limits<double>::quiet_NaN()}), HasSubstr("--goaway-chance"));
}

}  // namespace
}  // namespace apiserver::chain
