// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <troupe/transport/type_id.hpp>
#include <variant>
#include <vector>

namespace shop {

struct Order {
  int number;
  std::string text;
};
enum class Color : std::uint8_t { red };
template <class T>
struct Box {
  T inner;
};

}  // namespace shop

namespace troupe {
namespace {

struct Tree {
  int value;
  std::vector<Tree> children;
};
struct Left {
  std::vector<struct Right> others;
};
struct Right {
  std::vector<Left> others;
};
struct WithArray {
  int cells[3];
};
class Opaque {
 public:
  explicit Opaque(int number) : number_{number} {}
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

std::uint64_t id_with_name(std::string_view name, auto add_fields) {
  detail::Hash hash;
  hash.add(name);
  add_fields(hash);
  return hash.value();
}

TEST(TypeName, ReadsAsInTheSource) {
  EXPECT_EQ(type_name<int>, "int");
  EXPECT_EQ(type_name<unsigned long>, "unsigned long");
  EXPECT_EQ(type_name<std::uint16_t>, "unsigned short");
  EXPECT_EQ(type_name<shop::Order>, "shop::Order");
  EXPECT_EQ(type_name<std::string>, "std::string");
  EXPECT_EQ((type_name<std::map<long, std::vector<std::string>>>),
            "std::map<long, std::vector<std::string>>");
  EXPECT_EQ((type_name<std::array<shop::Order, 3>>), "std::array<shop::Order, 3>");
  EXPECT_EQ(type_name<shop::Box<shop::Box<int>>>, "shop::Box<shop::Box<int>>");
  EXPECT_EQ(type_name<Tree>, "troupe::(anonymous namespace)::Tree");
}

TEST(TypeId, IsTheSameInEveryProgramAndCompiler) {
  static_assert(type_id<shop::Order> != type_id<shop::Color>);
  EXPECT_EQ(type_id<int>, 0x90ddf16b323f991eU);
  EXPECT_EQ(type_id<shop::Order>, 0x31e8ccc198ae3b65U);
  EXPECT_EQ((type_id<std::variant<int, std::vector<std::string>>>), 0xebf7eab6562dabb4U);
}

TEST(TypeId, DiffersWithTheFields) {
  // The name alone does not decide: this is the hash of Tree's name with other fields.
  const std::uint64_t other = id_with_name(type_name<Tree>, [](detail::Hash& hash) {
    hash.add(std::uint64_t{sizeof(Tree)});
    detail::add_types(hash, detail::TypeList<Tree>{}, detail::TypeList<int, std::vector<int>>{});
  });
  const std::uint64_t same = id_with_name(type_name<Tree>, [](detail::Hash& hash) {
    hash.add(std::uint64_t{sizeof(Tree)});
    detail::add_types(hash, detail::TypeList<Tree>{}, detail::TypeList<int, std::vector<Tree>>{});
  });
  EXPECT_EQ(type_id<Tree>, same);
  EXPECT_NE(type_id<Tree>, other);
}

TEST(TypeId, DiffersBetweenWhatTemplatesHold) {
  EXPECT_NE(type_id<std::vector<int>>, type_id<std::vector<unsigned>>);
  EXPECT_NE(type_id<std::vector<int>>, type_id<std::optional<int>>);
  EXPECT_NE((type_id<std::array<int, 2>>), (type_id<std::array<int, 3>>));
  EXPECT_NE(type_id<shop::Box<int>>, type_id<shop::Box<float>>);
  EXPECT_NE((type_id<std::variant<int, float>>), (type_id<std::variant<float, int>>));
}

TEST(TypeId, ExistsForTypesThatContainThemselves) {
  EXPECT_NE(type_id<Tree>, type_id<std::vector<Tree>>);
  EXPECT_NE(type_id<Left>, type_id<Right>);
}

TEST(TypeId, ExistsForTypesThatCannotBeTakenApart) {
  EXPECT_NE(type_id<Opaque>, type_id<WithArray>);
  EXPECT_NE(type_id<int*>, type_id<int>);
  EXPECT_NE(type_id<shop::Color>, type_id<std::uint8_t>);
}

}  // namespace
}  // namespace troupe
