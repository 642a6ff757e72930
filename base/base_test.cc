// The small tools: bytes, durations, JSON text, status, metrics, log lines, files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <zlib.h>

#include <cmath>
#include <cstdlib>

#include "base/bytes.h"
#include "base/file.h"
#include "base/go_duration.h"
#include "base/gzip.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/status.h"
#include "base/testing/temp_dir.h"

namespace base {
namespace internal {
uint32_t Crc32cByTable(uint32_t crc, std::string_view bytes);
}
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// A reference into a Result that is a temporary would dangle.
static_assert(std::is_same_v<decltype(StatusOf(std::declval<Result<int>&>())), const Status&>);
static_assert(std::is_same_v<decltype(StatusOf(std::declval<Result<int>>())), Status>);

TEST(Bytes, HexAndBase64) {
  EXPECT_EQ(HexEncode(std::string_view("\x00\xff\x1a", 3)), "00ff1a");
  EXPECT_EQ(HexDecode("00FF1a"), std::string("\x00\xff\x1a", 3));
  EXPECT_EQ(HexDecode("0"), std::nullopt);
  EXPECT_EQ(HexDecode("zz"), std::nullopt);
  const std::pair<const char*, const char*> kVectors[] = {
      // RFC 4648
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
  for (auto [plain, coded] : kVectors) {
    EXPECT_EQ(Base64Encode(plain), coded);
    EXPECT_EQ(Base64Decode(coded), plain);
  }
  for (auto bad : {"Zg=", "Zg", "Z===", "Zh==", "Zm9v\n", "Zm-_"}) EXPECT_EQ(Base64Decode(bad), std::nullopt) << bad;
  EXPECT_EQ(Base64UrlEncode("\xfb\xff"), "-_8");
  EXPECT_EQ(Base64UrlDecode("-_8"), "\xfb\xff");
}

TEST(Gzip, PiecesComeBackWhole) {
  Random random(3);
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += static_cast<char>('a' + random.Next() % 7);
  GzipWriter gzip(1);
  std::string packed;
  for (size_t at = 0; at < text.size(); at += 70'000)
    packed += gzip.Pack(std::string_view(text).substr(at, 70'000), at + 70'000 >= text.size());
  EXPECT_LT(packed.size(), text.size() / 2);
  z_stream z{};
  ASSERT_EQ(inflateInit2(&z, 15 + 16), Z_OK);
  std::string back(text.size() + 1, 0);
  z.next_in = reinterpret_cast<unsigned char*>(packed.data());
  z.avail_in = static_cast<unsigned>(packed.size());
  z.next_out = reinterpret_cast<unsigned char*>(back.data());
  z.avail_out = static_cast<unsigned>(back.size());
  EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(back.substr(0, z.total_out), text);
  inflateEnd(&z);
}

TEST(Bytes, Checksums) {
  EXPECT_EQ(Crc32c(0, "123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(Crc32c(0, "12345"), "6789"), 0xe3069283u);
  Random random(1);
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(Crc32c(7, bytes), internal::Crc32cByTable(7, bytes));
    bytes.push_back(static_cast<char>(random.Next()));
  }
  EXPECT_EQ(Fnv1a32("a"), 0xe40c292cu);
  EXPECT_EQ(Fnv1a64("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(HexEncode(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(UuidFromBytes(std::string(16, '\xff')), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  std::string ints;
  PutBigEndian32(ints, 0x01020304);
  PutLittleEndian64(ints, 0x0102030405060708);
  EXPECT_EQ(ints, std::string("\1\2\3\4\x08\7\6\5\4\3\2\1"));
  EXPECT_EQ(GetBigEndian32(ints.data()), 0x01020304u);
  EXPECT_EQ(GetLittleEndian64(ints.data() + 4), 0x0102030405060708u);
}

TEST(GoDuration, BothWays) {
  const std::pair<int64_t, const char*> kCases[] = {{0, "0s"},
                                                    {1, "1ns"},
                                                    {1100, "1.1\xc2\xb5s"},
                                                    {2200000, "2.2ms"},
                                                    {3300000000, "3.3s"},
                                                    {3600000000000, "1h0m0s"},
                                                    {245001000000000, "68h3m21s"},
                                                    {-1500000000, "-1.5s"},
                                                    {INT64_MIN, "-2562047h47m16.854775808s"}};
  for (auto [ns, text] : kCases) {
    EXPECT_EQ(FormatGoDuration(Duration(ns)), text);
    EXPECT_EQ(ParseGoDuration(text), Duration(ns)) << text;
  }
  EXPECT_EQ(ParseGoDuration("1h30m"), Duration(5400000000000));
  EXPECT_EQ(ParseGoDuration(".5s"), Duration(500000000));
  EXPECT_EQ(ParseGoDuration("0"), Duration(0));
  EXPECT_EQ(ParseGoDuration("5").error().message(), "time: missing unit in duration \"5\"");
  EXPECT_EQ(ParseGoDuration("5d").error().message(), "time: unknown unit \"d\" in duration \"5d\"");
  for (auto bad : {"", "-", "s", ".s", "1e3s", "9223372036854775808ns", "3000000h"})
    EXPECT_FALSE(ParseGoDuration(bad).has_value()) << bad;
}

TEST(JsonWriter, EscapesAsGoDoes) {
  std::string out;
  AppendJsonString(out, "a\"\\\n\t\x01<>&\xe2\x80\xa8\xc3\xa9\xff\xed\xa0\x80");
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\t\\u0001\\u003c\\u003e\\u0026\\u2028\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd\"");
  JsonWriter w;
  w.BeginObject().Key("ok").Bool(true).Key("names").BeginArray().String("a").Int(-1).EndArray();
  w.Key("n").Null().EndObject();
  EXPECT_EQ(w.text(), R"({"ok":true,"names":["a",-1],"n":null})");
}

TEST(JsonWriter, NumbersAsGoDoes) {
  auto json = [](double v) {
    std::string out;
    AppendJsonNumber(out, v);
    return out;
  };
  EXPECT_EQ(json(0), "0");
  EXPECT_EQ(json(1e20), "100000000000000000000");
  EXPECT_EQ(json(1e21), "1e+21");
  EXPECT_EQ(json(1e-6), "0.000001");
  EXPECT_EQ(json(1.5e-9), "1.5e-9");
  EXPECT_EQ(json(-0.25), "-0.25");
  EXPECT_EQ(GoFloat(1000000), "1e+06");
  EXPECT_EQ(GoFloat(123456), "123456");
  EXPECT_EQ(GoFloat(123456789), "1.23456789e+08");
  EXPECT_EQ(GoFloat(0.005), "0.005");
  EXPECT_EQ(GoFloat(INFINITY), "+Inf");
  EXPECT_EQ(GoQuote("a\"\n\x01\x7f"), "\"a\\\"\\n\\x01\\x7f\"");
}

TEST(Metrics, Text) {
  MetricsRegistry registry;
  auto& counter = registry.AddCounter("b_total", "Help \\ text.", {"code"});
  counter.With({"200"}).Add(2);
  counter.With({"a\"b"}).Add();
  EXPECT_EQ(&counter, &registry.AddCounter("b_total", "Help \\ text.", {"code"}));
  registry.AddGauge("a", "Gauge.").Get().Set(1.5);
  auto& histogram = registry.AddHistogram("c_seconds", "Hist.", {0.1, 1});
  for (double v : {0.05, 0.1, 0.5, 7.0}) histogram.Get().Observe(v);
  int collected = 0;
  registry.AddCollector([&] { ++collected; });
  std::string text = registry.ToText();
  EXPECT_EQ(collected, 1);
  EXPECT_THAT(text, HasSubstr("# HELP a Gauge.\n# TYPE a gauge\na 1.5\n# HELP b_total Help \\\\ text.\n"
                              "# TYPE b_total counter\nb_total{code=\"200\"} 2\nb_total{code=\"a\\\"b\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("c_seconds_bucket{le=\"0.1\"} 2\nc_seconds_bucket{le=\"1\"} 3\n"
                              "c_seconds_bucket{le=\"+Inf\"} 4\nc_seconds_sum 7.65\nc_seconds_count 4\n"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));
}

TEST(Metrics, SeriesFromOutsideAreBounded) {
  MetricsRegistry registry;
  auto& family = registry.AddCounter("a_total", "help", {"who"});
  family.With({std::string(10'000, 'x')}).Add();
  family.With({"a\xff\nb"}).Add();
  for (int i = 0; i < 30'000; ++i) family.With({std::to_string(i)}).Add();
  family.With({"19000"}).Add();
  std::string text = registry.ToText();
  EXPECT_THAT(text, HasSubstr("{who=\"" + std::string(256, 'x') + "\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("{who=\"a??b\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("{who=\"overflow\"} 10002\n"));
  EXPECT_THAT(text, HasSubstr("{who=\"19000\"} 2\n")) << "what is there goes on counting";
}

TEST(Log, Formats) {
  testing::TempDir dir;
  auto lines = [&](LogFormat format) {
    LogOptions options;
    options.format = format;
    options.verbosity = 2;
    std::string file = dir.path() + "/log" + std::to_string(static_cast<int>(format));
    options.outputs = {file};
    EXPECT_TRUE(SetupLogging(options).ok());
    LogInfo("Started", {{"pod", "a/b c"}, {"n", 3}, {"ok", true}});
    LogError("Failed", NotFound("gone"), {{"pod", "x"}});
    LogV(2, "seen");
    LogV(3, "unseen");
    EXPECT_TRUE(SetupLogging({}).ok());
    return *ReadFile(PosixFileSystem(), file);
  };
  EXPECT_THAT(
      lines(LogFormat::kText),
      MatchesRegex("I[0-9]{4} [0-9:.]{15} +[0-9]+ base_test.cc:[0-9]+\\] \"Started\" pod=\"a/b c\" n=3 ok=true\n"
                   "E[^\n]*\\] \"Failed\" err=\"NOT_FOUND: gone\" pod=\"x\"\nI[^\n]*\"seen\"\n"));
  EXPECT_THAT(
      lines(LogFormat::kJson),
      MatchesRegex("\\{\"ts\":[0-9]+\\.[0-9]{4},\"caller\":\"base/base_test.cc:[0-9]+\",\"msg\":\"Started\",\"v\":0,"
                   "\"pod\":\"a/b c\",\"n\":3,\"ok\":true\\}\n\\{[^\n]*\"msg\":\"Failed\",\"pod\":\"x\","
                   "\"err\":\"NOT_FOUND: gone\"\\}\n\\{[^\n]*\"v\":2\\}\n"));
  EXPECT_THAT(
      lines(LogFormat::kEtcdJson),
      MatchesRegex("\\{\"level\":\"info\",\"ts\":\"[0-9T:.-]+(Z|[+-][0-9]{4})\",\"caller\":\"base/base_test.cc:[0-9]+"
                   "\",\"msg\":\"Started\",\"pod\":\"a/b c\",\"n\":3,\"ok\":true\\}\n[^\n]*\n[^\n]*\n"));
  EXPECT_THAT(
      lines(LogFormat::kEtcdConsole),
      MatchesRegex("[0-9T:.-]+(Z|[+-][0-9]{4})\tinfo\tbase/base_test.cc:[0-9]+\tStarted\t\\{\"pod\": \"a/b c\", "
                   "\"n\": 3, \"ok\": true\\}\n[^\n]*\terror\t[^\n]*\tFailed\t\\{\"pod\": \"x\", \"error\": "
                   "\"NOT_FOUND: gone\"\\}\n[^\n]*\tseen\n"));
}

TEST(File, WholeLife) {
  testing::TempDir dir;
  FileSystem& fs = PosixFileSystem();
  std::string path = dir.path() + "/x/y";
  EXPECT_EQ(fs.Open(path, OpenMode::kRead).error().code(), Code::kNotFound);
  ASSERT_TRUE(fs.MakeDirectories(dir.path() + "/x").ok());
  ASSERT_TRUE(fs.MakeDirectories(dir.path() + "/x").ok());
  {
    auto file = *fs.Open(path, OpenMode::kCreateExclusive);
    EXPECT_TRUE(file->Append("hello").ok());
    EXPECT_TRUE(file->WriteAt(1, "E").ok());
    EXPECT_TRUE(file->Allocate(4096).ok());
    EXPECT_EQ(file->Size(), 4096u);
    EXPECT_TRUE(file->Truncate(5).ok());
    EXPECT_TRUE(file->Append("!").ok());
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_EQ(file->ReadAt(0, 100), "hEllo!");
    EXPECT_EQ(file->ReadAt(100, 10), "");
  }
  EXPECT_EQ(fs.Open(path, OpenMode::kCreateExclusive).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(ReadFile(fs, path), "hEllo!");
  EXPECT_TRUE(WriteFileAtomically(fs, path, "new").ok());
  EXPECT_EQ(ReadFile(fs, path), "new");
  EXPECT_EQ(fs.List(dir.path() + "/x"), std::vector<std::string>{"y"});
  EXPECT_TRUE(fs.Rename(path, dir.path() + "/z").ok());
  EXPECT_EQ(fs.Exists(path), false);
  EXPECT_TRUE(fs.SyncDirectory(dir.path()).ok());
  EXPECT_GT(*fs.FreeSpace(dir.path()), 0u);
  EXPECT_TRUE(fs.RemoveAll(dir.path() + "/x").ok());
  EXPECT_TRUE(fs.Remove(dir.path() + "/z").ok());
  EXPECT_THAT(*ReadFile(fs, "/proc/self/status"), HasSubstr("VmRSS"));
}

}  // namespace
}  // namespace base
