// SPDX-License-Identifier: MIT
// Messages from anywhere: refused, or a value that encodes into the same bytes.

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <troupe/transport/codec.hpp>
#include <tuple>
#include <variant>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

enum class Color : std::uint8_t { red = 1, green = 2 };
constexpr bool is_valid(Color color) { return color == Color::red || color == Color::green; }

struct Part {
  std::int32_t number = 0;
  bool yes = false;
  Color color = Color::red;
  std::optional<std::string> text{};
};
struct Containers {
  std::vector<Part> parts{};
  std::map<std::string, std::vector<std::uint16_t>> map{};
  std::multiset<std::int32_t> set{};
  std::deque<std::array<std::uint8_t, 3>> arrays{};
  std::vector<bool> flags{};
};
struct Tree {
  std::uint8_t value = 0;
  std::vector<Tree> children{};
};
using Choice =
    std::variant<std::monostate, std::int64_t, std::string, Part, std::tuple<bool, std::chrono::seconds>>;

template <class T>
void read(std::span<const std::byte> bytes) {
  const auto value = decode<T>(bytes);
  if (!value) return;
  Bytes again(encoded_size(*value));
  TROUPE_ASSERT(encode(*value, again).value_or(~0U) == bytes.size() && std::ranges::equal(again, bytes));
}

template <class T>
Bytes seed(std::uint8_t type, const T& value) {
  Bytes bytes(1 + encoded_size(value), std::byte{type});
  TROUPE_ASSERT(encode(value, std::span{bytes}.subspan(1)).has_value());
  return bytes;
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  Input input{bytes};
  switch (input.take<std::uint8_t>() % 4) {
    case 0: return read<Containers>(input.rest());
    case 1: return read<Tree>(input.rest());
    case 2: return read<Choice>(input.rest());
    case 3: return read<std::optional<std::map<Color, Choice>>>(input.rest());
  }
}

std::vector<Bytes> seeds() {
  const Part part{.number = 7, .yes = true, .color = Color::green, .text = "seven"};
  return {seed(0, Containers{{part, {}}, {{"a", {1, 2}}, {"b", {}}}, {-1, 5, 5}, {{1, 2, 3}}, {true, false}}),
          seed(1, Tree{1, {{2, {}}, {3, {{4, {}}}}}}), seed(2, Choice{part}),
          seed(2, Choice{std::string{"text"}}),
          seed(3, std::optional{std::map<Color, Choice>{{Color::red, part}, {Color::green, 5}}})};
}

}  // namespace troupe::fuzz
