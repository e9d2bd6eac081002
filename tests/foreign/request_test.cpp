// SPDX-License-Identifier: MIT
// Requests from hostile hands, without a socket: what the fuzzer does with corpora, here with damaged
// samples.
#include <gtest/gtest.h>

#include <random>

#include "fuzz_foreign.hpp"
#include "values.hpp"

namespace troupe::test {
namespace {

using foreign::Encoding;

constexpr auto sample =
    R"({"id":"é7","to":"counter","type":"Add","within_ms":100,"version":1,"body":{"yes":true,"kind":1,)"
    R"("parts":[{"number":"9007199254740993","real":0.5,"text":"x"},{"number":-3,"real":1}],)"
    R"("map":{"a":[1,255],"ß":[]},"pair":[-5,7]}})";

TEST(ForeignRequest, IsTakenWhole) {
  const auto request =
      foreign::detail::read_request(bytes_of(sample), Encoding::json, {}, std::chrono::minutes{1});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->id, "é7");
  EXPECT_EQ(request->within, std::chrono::milliseconds{100});
  const auto body = foreign::from_value<FuzzedBody>(request->body, "body").value();
  EXPECT_EQ(body.parts.at(0).number, 9007199254740993);
  EXPECT_EQ(body.map.at("a"), (std::vector<std::uint8_t>{1, 255}));
}

TEST(ForeignRequest, HarmsNobodyHoweverItIsDamaged) {
  std::mt19937 random{3};
  const auto packed = foreign::print(from_json(sample).value(), Encoding::msgpack);
  const std::string samples[] = {sample, text_of(packed)};
  for (int i = 0; i < 20'000; ++i) {
    std::string request = samples[static_cast<std::size_t>(i) % 2];
    for (auto damages = random() % 4; damages > 0; --damages)
      request[random() % request.size()] = static_cast<char>(random());
    if (i % 5 == 0) request.resize(1 + random() % (request.size() - 1));
    if (i % 7 == 0) request.insert(random() % request.size(), request, 0, random() % request.size());
    fuzz_foreign(bytes_of(request));
  }
}

TEST(ForeignRequest, ErrorsOfOthersAreSaidInUtf8) {
  const auto reply = foreign::detail::make_reply("1", failure(ErrorKind::refused, "no\xff way"));
  EXPECT_EQ(to_json(reply), R"({"error":{"kind":"refused","text":"no? way"},"id":"1","ok":false})");
}

}  // namespace
}  // namespace troupe::test
