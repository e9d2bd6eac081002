// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <limits>
#include <troupe/foreign/mapping.hpp>

#include "values.hpp"

namespace shop {

enum class Colour : std::uint8_t { red, green };
constexpr bool is_valid(Colour colour) { return colour == Colour::red || colour == Colour::green; }

struct Item {
  std::string name{};
  int count = 0;
  friend bool operator==(const Item&, const Item&) = default;
};

struct Order {
  std::string customer_id{};
  std::vector<Item> items{};
  std::optional<std::string> note{};
  std::map<std::string, double> prices{};
  std::array<bool, 2> flags{};
  Colour colour{};
  std::optional<Item> gift{};
  friend bool operator==(const Order&, const Order&) = default;
};

template <class T>
struct Box {
  T content{};
  struct Inner {
    int deep_down = 0;
  } inner{};
};

struct Größe {
  int höhe_2 = 0;
};

struct Everything {
  std::int8_t a{};
  std::uint8_t b{};
  std::int64_t c{};
  std::uint64_t d{};
  float e{};
  double f{};
  bool g{};
};

}  // namespace shop

namespace troupe::test {
namespace {

using foreign::from_value;
using foreign::to_value;
using foreign::detail::field_name;
using foreign::detail::message_name;
using shop::Order;

template <class T>
Result<T> read(std::string_view text) {
  return from_value<T>(from_json(text).value(), "body");
}
template <class T>
std::string problem(std::string_view text) {
  const auto value = read<T>(text);
  EXPECT_FALSE(value) << text;
  if (value) return {};
  EXPECT_EQ(value.error().kind, ErrorKind::malformed);
  return value.error().text;
}
template <class T>
struct One {
  T value{};
};
template <class T>
Result<T> read_one(std::string_view text) {
  auto one = read<One<T>>(R"({"value":)" + std::string{text} + "}");
  if (!one) return failure(std::move(one));
  return one->value;
}

struct Serialised {
  int a = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(a);
  }
};

const Order order{"c7",          {{"pen", 3}, {"ink", 1}}, std::nullopt,        {{"ink", 2.5}, {"pen", 1.0}},
                  {true, false}, shop::Colour::green,      shop::Item{"cap", 1}};
constexpr auto order_text =
    R"({"colour":1,"customer_id":"c7","flags":[true,false],"gift":{"count":1,"name":"cap"},)"
    R"("items":[{"count":3,"name":"pen"},{"count":1,"name":"ink"}],"note":null,"prices":{"ink":2.5,"pen":1.0}})";

TEST(ForeignNames, AreThoseOfTheSource) {
  struct Local {
    int inside_a_function = 0;
    std::vector<std::string> x{};
  };
  static_assert(field_name<Order, 0> == "customer_id");
  static_assert(field_name<Order, 3> == "prices");
  static_assert(field_name<Order, 6> == "gift");
  static_assert(field_name<shop::Box<std::vector<int>>, 0> == "content");
  static_assert(field_name<shop::Box<int>::Inner, 0> == "deep_down");
  static_assert(field_name<Local, 0> == "inside_a_function" && field_name<Local, 1> == "x");
  static_assert(message_name<Order> == "Order");
  static_assert(message_name<shop::Box<int>::Inner> == "Inner");
  static_assert(message_name<Local> == "Local");
  EXPECT_EQ((field_name<shop::Größe, 0>), "höhe_2");
}

TEST(ForeignMapping, MakesAnObjectOfAStructAndBack) {
  EXPECT_EQ(to_json(to_value(order).value()), order_text);
  EXPECT_EQ(read<Order>(order_text).value(), order);
}

TEST(ForeignMapping, IgnoresMembersThatTheStructDoesNotHave) {
  EXPECT_EQ(read<shop::Item>(R"({"name":"pen","count":1,"weight":{"g":5}})").value(), (shop::Item{"pen", 1}));
}

TEST(ForeignMapping, NamesAFieldThatIsMissing) {
  EXPECT_EQ(problem<shop::Item>(R"({"name":"pen"})"), "body.count: it is missing");
  EXPECT_EQ(problem<std::vector<shop::Item>>(R"([{"name":"pen","count":1},{"name":null,"count":1}])"),
            "body[1].name: wanted is a string");
  EXPECT_EQ((problem<std::map<std::string, shop::Item>>(R"({"a":{"count":1}})")),
            "body.a.name: it is missing");
}

TEST(ForeignMapping, TakesAMissingOptionalAndANullForNone) {
  struct Two {
    std::optional<int> a{};
    std::optional<shop::Item> b{};
  };
  const auto two = read<Two>(R"({"b":null})").value();
  EXPECT_FALSE(two.a || two.b);
  EXPECT_EQ(read<Two>(R"({"a":4})").value().a, 4);
}

TEST(ForeignMapping, RefusesValuesOfTheWrongKind) {
  for (const auto* wrong : {"null", "1", "\"x\"", "[]", "true"})
    EXPECT_FALSE(read<shop::Item>(wrong)) << wrong;
  for (const auto* wrong :
       {"null", "1.5", "\"x\"", "[]", "{}", "true", "\"\"", "\" 1\"", "\"+1\"", "\"1 \"", "1e3"})
    EXPECT_FALSE(read_one<int>(wrong)) << wrong;
  for (const auto* wrong : {"null", "1", "\"true\"", "[]", "{}"})
    EXPECT_FALSE(read_one<bool>(wrong)) << wrong;
  for (const auto* wrong : {"null", "1", "true", "[]", "{}"})
    EXPECT_FALSE(read_one<std::string>(wrong)) << wrong;
  for (const auto* wrong : {"null", "\"1.5\"", "true", "[]", "{}"})
    EXPECT_FALSE(read_one<double>(wrong)) << wrong;
  for (const auto* wrong : {"null", "1", "\"x\"", "{}", "[null]"})
    EXPECT_FALSE(read_one<std::vector<int>>(wrong)) << wrong;
  for (const auto* wrong : {"null", "1", "[]", "[1]", "[1,2,3]", "{}"})
    EXPECT_FALSE((read_one<std::array<int, 2>>(wrong))) << wrong;
  for (const auto* wrong : {"null", "1", "[]", R"({"a":"b"})"})
    EXPECT_FALSE((read_one<std::map<std::string, int>>(wrong))) << wrong;
}

TEST(ForeignMapping, KeepsIntegersWithinTheirType) {
  EXPECT_EQ(read_one<std::int8_t>("-128").value(), -128);
  EXPECT_FALSE(read_one<std::int8_t>("-129"));
  EXPECT_FALSE(read_one<std::int8_t>("128"));
  EXPECT_FALSE(read_one<std::uint8_t>("-1"));
  EXPECT_EQ(read_one<std::uint8_t>("255").value(), 255);
  EXPECT_FALSE(read_one<std::uint32_t>("4294967296"));
  EXPECT_EQ(read_one<int>("\"-17\"").value(), -17);
}

TEST(ForeignMapping, CarriesIntegersBeyond53BitsAsText) {
  EXPECT_EQ(read_one<std::int64_t>("9007199254740991").value(), 9007199254740991);
  EXPECT_FALSE(read_one<std::int64_t>("9007199254740992"));
  EXPECT_EQ(read_one<std::int64_t>("\"9007199254740993\"").value(), 9007199254740993);
  EXPECT_EQ(read_one<std::uint64_t>("\"18446744073709551615\"").value(), 18446744073709551615U);
  EXPECT_FALSE(read_one<std::uint64_t>("\"18446744073709551616\""));
  EXPECT_FALSE(read_one<std::uint64_t>("\"-1\""));
  const auto said = [](auto number) { return to_json(to_value(One<decltype(number)>{number}).value()); };
  EXPECT_EQ(said(std::int64_t{9007199254740991}), R"({"value":9007199254740991})");
  EXPECT_EQ(said(std::int64_t{9007199254740992}), R"({"value":"9007199254740992"})");
  EXPECT_EQ(said(std::numeric_limits<std::int64_t>::min()), R"({"value":"-9223372036854775808"})");
  EXPECT_EQ(said(std::numeric_limits<std::uint64_t>::max()), R"({"value":"18446744073709551615"})");
}

TEST(ForeignMapping, CarriesTheBordersOfEveryNumberType) {
  const auto there_and_back = [](const shop::Everything& all) {
    for (const auto encoding : {foreign::Encoding::json, foreign::Encoding::msgpack}) {
      const auto bytes = foreign::print(to_value(all).value(), encoding);
      const auto back = from_value<shop::Everything>(foreign::parse(bytes, encoding, {}).value(), "").value();
      EXPECT_TRUE(back.a == all.a && back.b == all.b && back.c == all.c && back.d == all.d &&
                  back.e == all.e && back.f == all.f && back.g == all.g)
          << text_of(bytes);
    }
  };
  const auto borders = []<class T>(T) {
    return std::pair{std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()};
  };
  shop::Everything low;
  shop::Everything high;
  std::tie(low.a, high.a) = borders(low.a);
  std::tie(low.b, high.b) = borders(low.b);
  std::tie(low.c, high.c) = borders(low.c);
  std::tie(low.d, high.d) = borders(low.d);
  std::tie(low.e, high.e) = borders(low.e);
  std::tie(low.f, high.f) = borders(low.f);
  high.g = true;
  there_and_back(low);
  there_and_back(high);
}

TEST(ForeignMapping, TakesAnyNumberForAFloatThatItCanHold) {
  EXPECT_EQ(read_one<double>("3").value(), 3.0);
  EXPECT_EQ(read_one<double>("9007199254740992").value(), 9007199254740992.0);
  EXPECT_EQ(read_one<float>("0.1").value(), 0.1F);
  EXPECT_FALSE(read_one<float>("1e39"));
}

TEST(ForeignMapping, ChecksEnums) {
  EXPECT_EQ(read_one<shop::Colour>("1").value(), shop::Colour::green);
  EXPECT_FALSE(read_one<shop::Colour>("2"));
  EXPECT_FALSE(read_one<shop::Colour>("\"green\""));
}

TEST(ForeignMapping, DoesNotSayWhatOtherLanguagesCannotHear) {
  EXPECT_EQ(to_value(One<double>{std::numeric_limits<double>::quiet_NaN()}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(to_value(One<float>{std::numeric_limits<float>::infinity()}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(to_value(One<std::string>{"\xff"}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(to_value(One<std::vector<std::string>>{{"ok", "\xc0"}}).error().kind, ErrorKind::invalid);
  EXPECT_EQ((to_value(One<std::map<std::string, int>>{{{"\xff", 1}}}).error().kind), ErrorKind::invalid);
}

TEST(ForeignMapping, KnowsWhatItCannotMap) {
  static_assert(foreign::Mappable<Order>);
  static_assert(!foreign::Mappable<int*>);
  static_assert(!foreign::Mappable<std::byte>);
  static_assert(!foreign::Mappable<std::map<int, int>>);
  static_assert(!foreign::Mappable<std::variant<int>>);
  static_assert(!foreign::Mappable<One<std::variant<int>>>);
  static_assert(!foreign::Mappable<One<long double>>);
  static_assert(!foreign::Mappable<std::vector<std::byte>>);
  static_assert(!foreign::Mappable<Serialised>);
}

}  // namespace
}  // namespace troupe::test
