#include "base/protobuf_wire.h"

#include <gtest/gtest.h>

#include <vector>

namespace base::wire {
namespace {

using namespace std::string_literals;

// "1=5 2='ab' ..." of a message; " !" and the reason at the end where it is malformed.
std::string Fields(std::string_view message) {
  std::string out;
  Reader r(message);
  while (r.Next()) {
    out += std::to_string(r.field()) + "=";
    out += r.bytes().empty() ? std::to_string(r.value()) : "'" + std::string(r.bytes()) + "'";
    out += ' ';
  }
  return out + (r.ok() ? "" : "!");
}

std::string ErrorOf(std::string_view message) {
  Cursor in(message);
  while (!in.AtEnd()) {
    uint32_t number;
    WireType type;
    if (!in.Tag(&number, &type) || !in.Skip(type)) return in.error();
  }
  return "";
}

TEST(ProtobufWire, WhatIsWrittenIsRead) {
  std::string out;
  PutUint(out, 1, 0);
  PutUint(out, 2, UINT64_MAX);
  PutBytes(out, 3, "ab");
  PutBytes(out, 16, std::string(200, 'x'));
  PutNonZero(out, 4, 0);
  PutNonEmpty(out, 5, "");
  PutNonZero(out, (1u << 29) - 1, 300);
  EXPECT_EQ(Fields(out), "1=0 2=18446744073709551615 3='ab' 16='" + std::string(200, 'x') + "' 536870911=300 ");
  EXPECT_EQ(Fields(""), "");
  EXPECT_EQ(Fields("\x09\x01\0\0\0\0\0\0\x02\x15\x03\0\0\0"s), "1=144115188075855873 2=3 ");
}

TEST(ProtobufWire, SizesAreThoseOfTheBytes) {
  for (uint64_t v : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{16383}, uint64_t{16384}, uint64_t{1} << 35,
                     uint64_t{1} << 63, UINT64_MAX}) {
    std::string out;
    PutVarint(out, v);
    EXPECT_EQ(VarintSize(v), out.size()) << v;
    Cursor in(out);
    uint64_t read = 1;
    ASSERT_TRUE(in.Varint(&read));
    EXPECT_EQ(read, v);
    EXPECT_TRUE(in.AtEnd());
  }
  std::string field;
  PutBytes(field, 100, std::string(1000, 'y'));
  EXPECT_EQ(BytesFieldSize(100, 1000), field.size());
}

TEST(ProtobufWire, MalformedInputIsAnError) {
  struct Case {
    std::string bytes, fields, error;
  };
  const std::string tens(9, '\xff');
  for (const Case& c : std::vector<Case>{
           {"\x08", "!", "unexpected EOF"},
           {"\x08\x80", "!", "unexpected EOF"},
           {"\x08" + tens + "\x01", "1=18446744073709551615 ", ""},
           {"\x08" + tens + "\x02", "!", "proto: integer overflow"},
           {"\x08" + tens + "\x81\x01", "!", "proto: integer overflow"},
           {"\x80\x80", "!", "unexpected EOF"},
           {"\x0a\x05xx", "!", "unexpected EOF"},
           {"\x0a" + tens + "\x01", "!", "proto: negative length found during unmarshaling"},
           {"\x0a\xff\xff\xff\xff\x7f", "!", "unexpected EOF"},
           {"\x00\x01"s, "!", "proto: illegal tag"},
           {"\x80\x80\x80\x80\x10\x01", "!", "proto: illegal tag"},
           {"\x09\x01\x02", "!", "unexpected EOF"},
           {"\x0d\x01\x02", "!", "unexpected EOF"},
           {"\x0e\x01", "!", "proto: illegal wireType"},
           {"\x0f\x01", "!", "proto: illegal wireType"},
           {"\x10\x01\x08", "2=1 !", "unexpected EOF"},
       }) {
    EXPECT_EQ(Fields(c.bytes), c.fields);
    EXPECT_EQ(ErrorOf(c.bytes), c.error);
  }
}

TEST(ProtobufWire, GroupsAreSkippedWholeOrRefused) {
  // 1 { 2 = 5, 3 { 4 = "ab" } } 5 = 6
  const std::string group = "\x0b\x10\x05\x1b\x22\x02\x61\x62\x1c\x0c\x28\x06"s;
  EXPECT_EQ(ErrorOf(group), "");
  EXPECT_EQ(Fields(group), "!");
  EXPECT_EQ(ErrorOf("\x0c"), "proto: unexpected end of group");
  EXPECT_EQ(ErrorOf("\x0b\x10\x05"), "unexpected EOF");
  EXPECT_EQ(ErrorOf(std::string(100'000, '\x0b')), "unexpected EOF");
}

TEST(ProtobufWire, BackwardsIsTheSameAsForwards) {
  BackWriter back;
  std::string inner, forward;
  back.IntField(7, 70'000);
  size_t before = back.size();
  back.Field(2, std::string(3000, 'z'));
  back.IntField(1, 0);
  back.Close(20, before);
  back.Field(1, "");
  PutBytes(forward, 1, "");
  PutUint(inner, 1, 0);
  PutBytes(inner, 2, std::string(3000, 'z'));
  PutBytes(forward, 20, inner);
  PutUint(forward, 7, 70'000);
  EXPECT_EQ(back.Take(), forward);
  EXPECT_EQ(back.size(), forward.size());
}

}  // namespace
}  // namespace base::wire
