#include "machinery/object/quantity.h"

#include <gtest/gtest.h>

namespace machinery::object {
namespace {

std::string Text(std::string_view in) {
  auto q = Quantity::Normalize(in);
  return q ? *q : std::string(q.error().message());
}
Quantity Q(std::string_view in) { return Quantity::Parse(in).value(); }

TEST(Quantity, PrintsWhatTheOriginalPrints) {
  struct {
    const char *in, *out;
  } cases[] = {
      {"0", "0"},
      {"0Ki", "0"},
      {"-0", "0"},
      {"1", "1"},
      {"100m", "100m"},
      {"1000m", "1"},
      {"1500m", "1500m"},
      {"0.5", "500m"},
      {"1.5", "1500m"},
      {"1.500", "1.500"},
      {"1.5Gi", "1536Mi"},
      {"1024Mi", "1Gi"},
      {"500Mi", "500Mi"},
      {"1000Ki", "1000Ki"},
      {"1Gi", "1Gi"},
      {"1000", "1k"},
      {"1200", "1200"},
      {"12000", "12k"},
      {"1e3", "1e3"},
      {"12e2", "1200"},
      {"1E3", "1E3"},
      {"1E", "1E"},
      {"+5", "+5"},
      {"-5", "-5"},
      {"0.1n", "1n"},
      {"0.9999999999", "1"},
      {"1023", "1023"},
      {"2Ei", "2Ei"},
      {"8Ei", "9223372036854775807"},
      {"0.5Ki", "512"},
      {"0.0001Ki", "102400u"},
      {".5", "500m"},
      {"5.", "5."},
      {"64Gi", "64Gi"},
      {"1e-3", "1e-3"},
      {"100000000", "100M"},
      {"123456789012345678901", "123456789012345678901"},
  };
  for (const auto& c : cases) EXPECT_EQ(Text(c.in), c.out) << c.in;
}

TEST(Quantity, RefusesInTheOriginalsWords) {
  const char* format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  EXPECT_EQ(Text(""), format);
  EXPECT_EQ(Text("abc"), format);
  EXPECT_EQ(Text("1 Gi"), format);
  EXPECT_EQ(Text("1.2.3"), format);
  EXPECT_EQ(Text("1Kii"), "unable to parse quantity's suffix");
  EXPECT_EQ(Text("--5"), "unable to parse quantity's suffix");
  EXPECT_EQ(Text("1e99999999999999999999"), "unable to parse quantity's suffix");
}

TEST(Quantity, ReadsBackWhatItPrints) {
  // Two zeros come with making the exponent a multiple of three; they may be the 39th and 40th digit.
  Quantity q = Q("20000084467000000147210339056765363556E07580737");
  EXPECT_EQ(Q(q.ToString()), q);
}

TEST(Quantity, IsExact) {
  EXPECT_EQ((Q("0.1") + Q("0.2")), Q("300m"));
  EXPECT_EQ((Q("1Gi") + Q("1Mi")).ToString(), "1025Mi");
  EXPECT_EQ((Q("1") - Q("100m")).ToString(), "900m");
  EXPECT_EQ((Q("0") + Q("1Gi")).ToString(), "1Gi");
  EXPECT_EQ((Q("1Gi") - Q("1Gi")).ToString(), "0");
  EXPECT_EQ((Q("1Ki") + Q("0.5")).ToString(), "1024500m");
  EXPECT_LT(Q("999m"), Q("1"));
  EXPECT_GT(Q("1Ki"), Q("1k"));
  EXPECT_LT(Q("-1E"), Q("1n"));
  EXPECT_GT(Q("1e1000000"), Q("1E"));
  EXPECT_EQ(Q("1e3"), Q("1k"));
}

TEST(Quantity, RoundsUpToUnits) {
  EXPECT_EQ(Q("1500m").Value(), 2);
  EXPECT_EQ(Q("-1500m").Value(), -2);
  EXPECT_EQ(Q("1500m").MilliValue(), 1500);
  EXPECT_EQ(Q("1n").MilliValue(), 1);
  EXPECT_EQ(Q("1Gi").Value(), 1 << 30);
  EXPECT_EQ(Q("1e40").Value(), INT64_MAX);
  EXPECT_EQ(Quantity::FromMilli(250).ToString(), "250m");
  EXPECT_EQ(Quantity::FromInt(2048, Quantity::Format::kBinarySI).ToString(), "2Ki");
  EXPECT_DOUBLE_EQ(Q("250m").AsDouble(), 0.25);
}

}  // namespace
}  // namespace machinery::object
