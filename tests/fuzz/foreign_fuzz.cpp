// SPDX-License-Identifier: MIT
// Bytes from anywhere at the foreign endpoint: read, or refused with an answer.

#include "../foreign/fuzz_foreign.hpp"

#include <string_view>

#include "target.hpp"

namespace troupe::fuzz {

void run(std::span<const std::byte> bytes) { test::fuzz_foreign(bytes); }

std::vector<Bytes> seeds() {
  constexpr std::string_view text =
      R"({"id":"7","to":"counter","type":"Add","within_ms":100,"version":1,"body":{"yes":true,"kind":1,)"
      R"("parts":[{"number":"9007199254740993","real":0.5,"text":"x"},{"number":-3,"real":1}],)"
      R"("map":{"a":[1,255],"ß":[]},"pair":[-5,7]}})";
  const auto json = std::as_bytes(std::span{text});
  const auto value = foreign::parse(json, foreign::Encoding::json, {}).value();
  return {{json.begin(), json.end()}, foreign::print(value, foreign::Encoding::msgpack)};
}

}  // namespace troupe::fuzz
