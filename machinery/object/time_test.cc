#include "machinery/object/time.h"

#include <gtest/gtest.h>

namespace machinery::object {
namespace {

std::string Read(std::string_view in) {
  auto t = ParseTime(in);
  return t ? FormatTime(t->seconds) : std::string(t.error().message());
}
std::string ReadMicro(std::string_view in) {
  auto t = ParseMicroTime(in);
  return t ? FormatMicroTime(t->seconds, t->nanos) : std::string(t.error().message());
}

TEST(Time, ReadsAnyZoneAndWritesUtcSeconds) {
  EXPECT_EQ(Read("2024-02-29T12:34:56Z"), "2024-02-29T12:34:56Z");
  EXPECT_EQ(Read("2024-01-01T00:30:00+01:00"), "2023-12-31T23:30:00Z");
  EXPECT_EQ(Read("1969-12-31T23:59:59.999Z"), "1969-12-31T23:59:59Z");
  EXPECT_EQ(Read("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z");
  EXPECT_TRUE(ParseTime("0001-01-01T00:00:00Z")->IsZero());
  EXPECT_EQ(ReadMicro("2024-02-29T12:34:56.000007Z"), "2024-02-29T12:34:56.000007Z");
}

TEST(Time, RefusesInGosWords) {
  const std::string layout = R"( as "2006-01-02T15:04:05Z07:00": cannot parse )";
  EXPECT_EQ(Read("abc"), "parsing time \"abc\"" + layout + R"("abc" as "2006")");
  EXPECT_EQ(Read(""), "parsing time \"\"" + layout + R"("" as "2006")");
  EXPECT_EQ(Read("2024-1-01T00:00:00Z"),
            "parsing time \"2024-1-01T00:00:00Z\"" + layout + R"("1-01T00:00:00Z" as "01")");
  EXPECT_EQ(Read("2024-01-01"), "parsing time \"2024-01-01\"" + layout + R"("" as "T")");
  EXPECT_EQ(Read("2024-01-01T00:00:00"), "parsing time \"2024-01-01T00:00:00\"" + layout + R"("" as "Z07:00")");
  EXPECT_EQ(Read("2024-13-01T00:00:00Z"), R"(parsing time "2024-13-01T00:00:00Z": month out of range)");
  EXPECT_EQ(Read("2023-02-29T00:00:00Z"), R"(parsing time "2023-02-29T00:00:00Z": day out of range)");
  EXPECT_EQ(Read("2023-02-28T00:00:00Zx"), R"(parsing time "2023-02-28T00:00:00Zx": extra text: "x")");
  EXPECT_EQ(
      ReadMicro("2024-01-01T00:00:00Z"),
      R"(parsing time "2024-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000")");
}

}  // namespace
}  // namespace machinery::object
