// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <random>

#include "values.hpp"

namespace troupe::test {
namespace {

using namespace std::literals;
using foreign::Encoding;
using foreign::Limits;
using foreign::Value;

std::string problem(const Result<Value>& parsed) {
  EXPECT_FALSE(parsed) << to_json(*parsed);
  if (parsed) return {};
  EXPECT_EQ(parsed.error().kind, ErrorKind::malformed);
  return parsed.error().text;
}

class BothEncodings : public ::testing::TestWithParam<Encoding> {};
INSTANTIATE_TEST_SUITE_P(Foreign, BothEncodings, ::testing::Values(Encoding::json, Encoding::msgpack),
                         [](const auto& at) { return at.param == Encoding::json ? "json" : "msgpack"; });

TEST_P(BothEncodings, CarryEveryKindOfValueThereAndBack) {
  const std::string text =
      R"({"array":[1,-2,[],{}],"false":false,"large":9007199254740991,"null":null,"number":0.5,"text":"ä\n€𝄞","true":true})";
  const auto bytes = foreign::print(from_json(text).value(), GetParam());
  EXPECT_EQ(foreign::encoding_of(bytes), GetParam());
  EXPECT_EQ(to_json(foreign::parse(bytes, GetParam(), {}).value()), text);
}

TEST_P(BothEncodings, HaveALimitOfDepth) {
  const auto nested = [](std::size_t depth) {
    Value value{Value::Array{}};
    for (std::size_t i = 1; i < depth; ++i) value = Value{Value::Array{std::move(value)}};
    return value;
  };
  const Limits limits{.depth_max = 5};
  EXPECT_TRUE(foreign::parse(foreign::print(nested(5), GetParam()), GetParam(), limits));
  EXPECT_NE(
      problem(foreign::parse(foreign::print(nested(6), GetParam()), GetParam(), limits)).find("too deeply"),
      std::string::npos);
}

TEST_P(BothEncodings, HaveALimitOfElements) {
  const Value five{Value::Array(4, Value{})};
  const auto bytes = foreign::print(five, GetParam());
  EXPECT_TRUE(foreign::parse(bytes, GetParam(), {.elements_max = 5}));
  EXPECT_NE(problem(foreign::parse(bytes, GetParam(), {.elements_max = 4})).find("too many"),
            std::string::npos);
}

TEST_P(BothEncodings, HaveALimitOfBytesThatIsLookedAtFirst) {
  const auto bytes = foreign::print(Value{std::string(100, 'x')}, GetParam());
  EXPECT_TRUE(foreign::parse(bytes, GetParam(), {.message_bytes_max = bytes.size()}));
  EXPECT_NE(problem(foreign::parse(bytes, GetParam(), {.message_bytes_max = bytes.size() - 1})).find("bytes"),
            std::string::npos);
}

TEST_P(BothEncodings, AreRefusedWhereverTheyAreCut) {
  const auto bytes =
      foreign::print(from_json(R"({"id":"1","body":{"a":[1,2.5,"x",null,true]}})").value(), GetParam());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(foreign::parse(std::span{bytes}.first(length), GetParam(), {})) << length;
}

TEST_P(BothEncodings, TakeNothingBehindTheValue) {
  auto bytes = foreign::print(Value{Value::Object{}}, GetParam());
  bytes.push_back(std::byte{'1'});
  EXPECT_FALSE(foreign::parse(bytes, GetParam(), {}));
}

/// Random bytes, and sound messages with some of their bytes damaged. What is taken has the invariant of
/// Value, since it can be printed and read again.
TEST_P(BothEncodings, SurviveDamage) {
  std::mt19937 random{7};
  const auto sound = foreign::print(
      from_json(R"({"id":"x","to":"counter","type":"Add","body":{"amount":-5,"d":1.5,"l":["é",{},[]]}})")
          .value(),
      GetParam());
  std::size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes = sound;
    for (auto damages = random() % 4 + 1; damages > 0; --damages)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    if (i % 4 == 0) std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    const auto value = foreign::parse(bytes, GetParam(), {});
    if (!value) continue;
    ++taken;
    EXPECT_TRUE(foreign::parse(foreign::print(*value, GetParam()), GetParam(), {}));
  }
  EXPECT_GT(taken, 0U);
  EXPECT_LT(taken, 20'000U);
}

TEST(ForeignEncoding, IsToldByTheFirstByte) {
  EXPECT_EQ(foreign::encoding_of(bytes_of("{}")), Encoding::json);
  EXPECT_EQ(foreign::encoding_of(bytes_of(" \r\n\t{}")), Encoding::json);
  for (const int first : {0x80, 0x8f, 0xde, 0xdf})
    EXPECT_EQ(foreign::encoding_of(bytes_of(std::string(1, static_cast<char>(first)))), Encoding::msgpack)
        << first;
  for (const auto& other : {""s, "["s, "\x90"s, "\xff"s, " \x80"s, "5"s})
    EXPECT_EQ(foreign::encoding_of(bytes_of(other)), Encoding::json) << other;
}

TEST(ForeignEncoding, RefusesANameThatOccursTwice) {
  EXPECT_NE(problem(from_json(R"({"a":1,"b":2,"a":1})")).find("twice"), std::string::npos);
  EXPECT_NE(problem(from_msgpack("\x82\xa1"
                                 "a\x01\xa1"
                                 "a\x02"))
                .find("twice"),
            std::string::npos);
  EXPECT_NE(problem(from_json(R"([{"x":{"":1,"":1}}])")).find("twice"), std::string::npos);
}

TEST(ForeignEncoding, RefusesTextThatIsNotUtf8) {
  for (const auto& broken : {"\xff"s, "\xc0\xaf"s, "\xe0\x80\xaf"s, "\xed\xa0\x80"s, "\xf4\x90\x80\x80"s,
                             "\xc3"s, "\xe2\x82"s, "\xf0\x8f\xbf\xbf"s, "\x80"s}) {
    EXPECT_FALSE(from_json("\"" + broken + "\""));
    EXPECT_FALSE(from_msgpack(static_cast<char>(0xa0 + broken.size()) + broken));
    EXPECT_FALSE(from_msgpack("\x81"s + static_cast<char>(0xa0 + broken.size()) + broken + "\x01"));
  }
  EXPECT_TRUE(from_msgpack("\xa4\xf0\x9d\x84\x9e"));
  EXPECT_TRUE(from_msgpack("\xa3\xed\x9f\xbf"));
  EXPECT_TRUE(from_msgpack("\xa4\xf4\x8f\xbf\xbf"));
}

TEST(ForeignEncoding, RefusesNumbersThatAreNotFinite) {
  for (const auto* text : {"NaN", "Infinity", "-Infinity", "1e999", "nan"})
    EXPECT_FALSE(from_json(text)) << text;
  EXPECT_NE(problem(from_msgpack("\xcb\x7f\xf8\0\0\0\0\0\0"s)).find("finite"), std::string::npos);
  EXPECT_NE(problem(from_msgpack("\xca\xff\x80\0\0"s)).find("finite"), std::string::npos);
}

TEST(ForeignEncoding, RefusesWhatOnlyMsgpackHas) {
  EXPECT_FALSE(from_msgpack("\xc4\x01x"s));     // bytes
  EXPECT_FALSE(from_msgpack("\xd4\x01x"s));     // an extension
  EXPECT_FALSE(from_msgpack("\xc1"s));          // never used
  EXPECT_FALSE(from_msgpack("\x81\x01\x01"s));  // a name that is no text
}

TEST(ForeignEncoding, BelievesNoAnnouncedSize) {
  EXPECT_FALSE(from_msgpack("\xdd\xff\xff\xff\xff"s));  // an array of 2^32 - 1
  EXPECT_FALSE(from_msgpack("\xdf\xff\xff\xff\xff"s));  // a map
  EXPECT_FALSE(
      from_msgpack("\xdb\xff\xff\xff\xff"
                   "abc"s));  // a text
  EXPECT_FALSE(
      from_msgpack("\xc6\xff\xff\xff\xff"
                   "abc"s));  // bytes
}

TEST(ForeignEncoding, TakesAnIntegerBeyond53BitsForANumberThatHasLostBits) {
  EXPECT_NE(from_json("9007199254740991").value().as<std::int64_t>(), nullptr);
  EXPECT_NE(from_json("9007199254740992").value().as<double>(), nullptr);
  EXPECT_NE(from_json("-9007199254740991").value().as<std::int64_t>(), nullptr);
  EXPECT_NE(from_json("-9007199254740992").value().as<double>(), nullptr);
  EXPECT_NE(from_json("18446744073709551616").value().as<double>(), nullptr);
  EXPECT_NE(from_msgpack("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"s).value().as<double>(), nullptr);
  EXPECT_NE(from_msgpack("\xd3\x80\0\0\0\0\0\0\0"s).value().as<double>(), nullptr);
}

TEST(ForeignEncoding, SurvivesAMillionBrackets) {
  EXPECT_NE(problem(from_json(std::string(1'000'000, '['))).find("too deeply"), std::string::npos);
  EXPECT_NE(problem(from_msgpack(std::string(1'000'000, '\x91'))).find("too deeply"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  EXPECT_NE(problem(from_json(objects)).find("too deeply"), std::string::npos);
}

}  // namespace
}  // namespace troupe::test
