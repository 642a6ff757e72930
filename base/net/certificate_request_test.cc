#include "base/net/certificate_request.h"

#include <gtest/gtest.h>

namespace base::net {
namespace {

// openssl req -subj "/O=devs+O=system:masters/CN=a/CN=b"
constexpr std::string_view kRequest =
    "-----BEGIN CERTIFICATE REQUEST-----\n"
    "MIH6MIGgAgEAMD4xJDALBgNVBAoMBGRldnMwFQYDVQQKDA5zeXN0ZW06bWFzdGVy\n"
    "czEKMAgGA1UEAwwBYTEKMAgGA1UEAwwBYjBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABAKnn6c7byhT0kErpIh9auPoGyrD2rHWkJsyBR//wsQjk56E2Svv9zVMvvz7\n"
    "CRJUCa4eC52l/RmXeLn/1IJ6W02gADAKBggqhkjOPQQDAgNJADBGAiEAijzwdelh\n"
    "2hbcII6NyQEga7cfji/gRHWfA+ogI042hdICIQDCPc7jbIaJyyWX9PiWa2njn8+3\n"
    "gz0xE2Z7e9KxxPnVLA==\n"
    "-----END CERTIFICATE REQUEST-----\n";

TEST(CertificateRequest, NamesOfTheSubject) {
  auto subject = ReadCertificateRequest(kRequest);
  ASSERT_TRUE(subject) << subject.error().ToString();
  EXPECT_EQ(subject->common_name, "b");
  EXPECT_EQ(subject->organizations, (std::vector<std::string>{"devs", "system:masters"}));
}

TEST(CertificateRequest, TextBeforeTheBlockDoesNotCount) {
  EXPECT_TRUE(ReadCertificateRequest("hello\n" + std::string(kRequest)));
}

TEST(CertificateRequest, WhatIsNoRequestIsRefused) {
  std::string cut(kRequest), other(kRequest);
  cut.erase(60, 64);
  for (size_t at; (at = other.find("CERTIFICATE REQUEST")) != other.npos;) other.replace(at, 19, "CERTIFICATE");
  for (std::string_view bad : {std::string_view(), std::string_view("x"), std::string_view(cut),
                               std::string_view(other), kRequest.substr(0, 200)})
    EXPECT_FALSE(ReadCertificateRequest(bad)) << bad;
}

}  // namespace
}  // namespace base::net
