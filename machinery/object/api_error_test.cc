#include "machinery/object/api_error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace machinery::object {
namespace {

using value::Value;

std::string Json(const base::Status& s) { return value::ToJson(ToStatusObject(s)); }

TEST(ApiError, IsTheOriginalsStatus) {
  EXPECT_EQ(Json(NotFound({"", "configmaps"}, "none")),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
            R"("message":"configmaps \"none\" not found","reason":"NotFound",)"
            R"("details":{"name":"none","kind":"configmaps"},"code":404})");
  EXPECT_EQ(Json(Forbidden({"apps", "deployments"}, "", "because")),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
            R"("message":"deployments.apps is forbidden: because","reason":"Forbidden",)"
            R"("details":{"group":"apps","kind":"deployments"},"code":403})");
  EXPECT_EQ(Json(TooLargeResourceVersion(9, 5, 1)),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
            R"("message":"Timeout: Too large resource version: 9, current: 5","reason":"Timeout",)"
            R"("details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],)"
            R"("retryAfterSeconds":1},"code":504})");
  EXPECT_EQ(Json({}), R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":200})");
}

TEST(ApiError, NamesEveryFieldButSaysATextOnce) {
  FieldErrors errors{Required("spec.a"), Required("spec.a"), Invalid("spec.b", -1, "must be greater than 0"),
                     NotSupported("spec.c", "x", {"A", "B"})};
  base::Status s = InvalidObject({"apps", "Deployment"}, "d", errors);
  EXPECT_EQ(
      s.message(),
      "Deployment.apps \"d\" is invalid: [spec.a: Required value, spec.b: Invalid value: -1: must be greater than "
      "0, spec.c: Unsupported value: \"x\": supported values: \"A\", \"B\"]");
  EXPECT_EQ(AsApiError(s)->causes.size(), 4u);
  EXPECT_EQ(HttpCodeOf(s), 422);
  EXPECT_EQ(InvalidObject({}, "", {Required("f")}).message(), " \"\" is invalid: f: Required value");
}

TEST(ApiError, PlainStatusesHaveReasonsToo) {
  EXPECT_EQ(ReasonOf(base::NotFound("x")), "NotFound");
  EXPECT_EQ(HttpCodeOf(base::Unavailable("x")), 503);
  EXPECT_TRUE(IsConflict(Conflict({"", "pods"}, "p", "w")));
  EXPECT_TRUE(IsAlreadyExists(base::AlreadyExists("x")));
}

// Every error a real server answered survives the way in and out, and its code and reason are known here.
TEST(ApiError, RoundTripsRecordedErrors) {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  std::filesystem::path folder =
      shared ? std::filesystem::path(shared) : std::filesystem::path(source ? source : ".") / "../shared";
  folder /= "golden/rest-v1.36";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no recorded exchanges at " << folder;
  int seen = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".jsonl") continue;
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);) {
      auto exchange = value::FromJson(line);
      ASSERT_TRUE(exchange.has_value());
      const Value& response = exchange->At("response");
      if (response.At("kind").string_or() != "Status" || response.At("status").string_or() != "Failure") continue;
      ++seen;
      EXPECT_EQ(value::ToJson(ToStatusObject(FromStatusObject(response))), value::ToJson(response))
          << exchange->At("id").string_or();
    }
  }
  EXPECT_GT(seen, 200);
}

}  // namespace
}  // namespace machinery::object
