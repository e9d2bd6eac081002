// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <troupe/transport/codec.hpp>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using Bytes = std::vector<std::byte>;

// --- What is sent here
// ---------------------------------------------------------------------------------------------

// clang-format off
struct F0 { bool operator==(const F0&) const = default; };
struct F1 { std::string a; bool operator==(const F1&) const = default; };
struct F2 { std::string a; int b; bool operator==(const F2&) const = default; };
struct F3 { std::string a; int b, c; bool operator==(const F3&) const = default; };
struct F4 { std::string a; int b, c, d; bool operator==(const F4&) const = default; };
struct F5 { std::string a; int b, c, d, e; bool operator==(const F5&) const = default; };
struct F6 { std::string a; int b, c, d, e, f; bool operator==(const F6&) const = default; };
struct F7 { std::string a; int b, c, d, e, f, g; bool operator==(const F7&) const = default; };
struct F8 { std::string a; int b, c, d, e, f, g, h; bool operator==(const F8&) const = default; };
struct F9 { std::string a; int b, c, d, e, f, g, h, i; bool operator==(const F9&) const = default; };
struct F10 { std::string a; int b, c, d, e, f, g, h, i, j; bool operator==(const F10&) const = default; };
struct F11 { std::string a; int b, c, d, e, f, g, h, i, j, k; bool operator==(const F11&) const = default; };
struct F12 { std::string a; int b, c, d, e, f, g, h, i, j, k, l; bool operator==(const F12&) const = default; };
struct F13 { std::string a; int b, c, d, e, f, g, h, i, j, k, l, m; bool operator==(const F13&) const = default; };
struct F14 { std::string a; int b, c, d, e, f, g, h, i, j, k, l, m, n; bool operator==(const F14&) const = default; };
struct F15 { std::string a; int b, c, d, e, f, g, h, i, j, k, l, m, n, o; bool operator==(const F15&) const = default; };
struct F16 { std::string a; int b, c, d, e, f, g, h, i, j, k, l, m, n, o, p; bool operator==(const F16&) const = default; };
// clang-format on

struct Point {
  std::int32_t x = 0;
  std::int32_t y = 0;
  bool operator==(const Point&) const = default;
};

struct Padded {
  std::uint8_t small = 0;
  std::uint64_t large = 0;
  bool operator==(const Padded&) const = default;
};

struct Tree {
  int value = 0;
  std::vector<Tree> children;
  bool operator==(const Tree&) const = default;
};

enum class Free : std::int16_t { zero, one };
enum class Checked : std::uint8_t { red = 1, green = 2 };
constexpr bool is_valid(Checked color) { return color == Checked::red || color == Checked::green; }

class MemberSerialize {
 public:
  MemberSerialize() = default;
  explicit MemberSerialize(int a) : a_{a}, b_{std::to_string(a)} {}
  bool operator==(const MemberSerialize&) const = default;

 private:
  friend class cereal::access;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::make_nvp("a", a_), CEREAL_NVP(b_));
  }
  int a_ = 0;
  std::string b_;
};

struct FreeSerialize {
  int kept = 0;
  int dropped = 0;
  bool operator==(const FreeSerialize&) const = default;
};
template <class Archive>
void serialize(Archive& archive, FreeSerialize& value) {
  archive& value.kept;
}

struct MemberSaveLoad {
  std::string text;
  template <class Archive>
  void save(Archive& archive) const {
    archive << text;
  }
  template <class Archive>
  void load(Archive& archive) {
    archive >> text;
  }
  bool operator==(const MemberSaveLoad&) const = default;
};

struct FreeSaveLoad {
  std::vector<int> items;
  bool operator==(const FreeSaveLoad&) const = default;
};
template <class Archive>
void save(Archive& archive, const FreeSaveLoad& value) {
  archive(cereal::make_size_tag(value.items.size()));
  for (const int item : value.items) archive(item);
}
template <class Archive>
void load(Archive& archive, FreeSaveLoad& value) {
  cereal::size_type size = 0;
  archive(cereal::make_size_tag(size));
  value.items.resize(size);
  for (int& item : value.items) archive(item);
}

struct Minimal {
  std::string text;
  template <class Archive>
  std::string save_minimal(const Archive& /*archive*/) const {
    return text;
  }
  template <class Archive>
  void load_minimal(const Archive& /*archive*/, const std::string& value) {
    text = value;
  }
  bool operator==(const Minimal&) const = default;
};

struct FreeMinimal {
  int number = 0;
  bool operator==(const FreeMinimal&) const = default;
};
template <class Archive>
int save_minimal(const Archive& /*archive*/, const FreeMinimal& value) {
  return value.number;
}
template <class Archive>
void load_minimal(const Archive& /*archive*/, FreeMinimal& value, const int& number) {
  value.number = number;
}

struct Versioned {
  int number = 0;
  std::uint32_t seen = 0;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t version) {
    archive(number);
    seen = version;
  }
};

struct Base {
  int a = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(a);
  }
};
struct Derived : Base {
  int b = 0;
  std::array<int, 2> c{};
  int raw[3] = {};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::base_class<Base>(this), b, c, raw);
  }
};

struct Touchy {
  int number = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(number);
    if (number == 13) throw std::runtime_error{"thirteen"};
    if (number == 14) throw std::bad_alloc{};
    if (number == 15) throw Failure{{ErrorKind::exhausted, EMFILE, "fifteen"}};
    if (number == 16) throw Failure{{ErrorKind::closed, 0, "sixteen"}};
  }
};

struct Rich {
  std::int32_t number = 0;
  bool flag = false;
  Checked color = Checked::red;
  Free free = Free::zero;
  std::string text;
  std::vector<Point> points;
  std::map<std::string, std::vector<std::string>> lists;
  std::optional<Padded> padded;
  std::variant<std::monostate, int, std::string, Point> choice;
  std::list<bool> flags;
  Tree tree;
  std::tuple<char, double, std::set<int>> tuple;
  std::unordered_map<int, std::string> names;
  std::array<F2, 2> nested;
  MemberSerialize own;
  std::bitset<13> bits;
  bool operator==(const Rich&) const = default;
};

Rich rich_sample() {
  return {.number = -7,
          .flag = true,
          .color = Checked::green,
          .free = Free::one,
          .text = "a text that does not fit into a small string",
          .points = {{1, 2}, {3, 4}},
          .lists = {{"a", {"x", "y"}}, {"b", {}}},
          .padded = Padded{1, 2},
          .choice = "chosen",
          .flags = {true, false, true},
          .tree = {1, {{2, {}}, {3, {{4, {}}}}}},
          .tuple = {'c', 2.5, {3, 1, 2}},
          .names = {{1, "one"}, {2, "two"}},
          .nested = {F2{"n", 1}, F2{"m", 2}},
          .own = MemberSerialize{42},
          .bits = 77};
}

Tree chain(std::size_t depth) {
  Tree tree;
  for (std::size_t level = 1; level < depth; ++level) {
    Tree parent;
    parent.children.push_back(std::move(tree));
    tree = std::move(parent);
  }
  return tree;
}

// --- Helpers
// -------------------------------------------------------------------------------------------------------

template <class T>
Bytes encoded(const T& value) {
  Bytes bytes(encoded_size(value));
  const Result<std::size_t> written = encode(value, bytes);
  EXPECT_TRUE(written.has_value()) << (written ? "" : written.error().text);
  EXPECT_EQ(written.value_or(0), bytes.size());
  return bytes;
}

template <class T>
void expect_round_trip(const T& value) {
  SCOPED_TRACE(type_name<T>);
  const Result<T> copy = decode<T>(encoded(value));
  ASSERT_TRUE(copy.has_value()) << copy.error().text;
  EXPECT_TRUE(*copy == value);
}

template <class T>
void expect_malformed(std::span<const std::byte> bytes, std::string_view why = "") {
  SCOPED_TRACE(type_name<T>);
  const Result<T> value = decode<T>(bytes);
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().kind, ErrorKind::malformed);
  EXPECT_NE(value.error().text.find(why), std::string::npos) << value.error().text;
}

/// One after the other, as a hostile writer would put them.
template <class... Ts>
Bytes bytes_of(const Ts&... values) {
  Bytes bytes((sizeof(Ts) + ... + 0));
  std::size_t at = 0;
  ((std::memcpy(bytes.data() + at, &values, sizeof values), at += sizeof values), ...);
  return bytes;
}

#if defined(__SANITIZE_THREAD__)
constexpr long growth_max_kib = 32 * 1024;  // it keeps books of several bytes for each that is used
#else
constexpr long growth_max_kib = 4 * 1024;
#endif

/// How much the peak memory of a process grows by `function`, in KiB.
template <class Function>
long peak_growth_kib(Function function) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    rusage before{};
    rusage after{};
    getrusage(RUSAGE_SELF, &before);
    function();
    getrusage(RUSAGE_SELF, &after);
    const long growth = after.ru_maxrss - before.ru_maxrss;
    _exit(write(ends[1], &growth, sizeof growth) == sizeof growth ? 0 : 1);
  }
  close(ends[1]);
  long growth = -1;
  if (read(ends[0], &growth, sizeof growth) != sizeof growth) growth = -1;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return growth;
}

// --- Which types may travel
// ----------------------------------------------------------------------------------------

struct Opaque {
  Opaque(int, int);
};
struct WithPointer {
  int* pointer;
};
struct WithBase : Point {
  int z;
};
struct Named : std::vector<int> {
  std::string name;
};
struct WithArray {
  int cells[3];
};
struct WithReference {
  int& target;
};
struct WithConst {
  const int value;
};
struct Many {
  int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct Virtual {
  virtual ~Virtual() = default;
};
enum Open { open_a, open_b };
struct Empty {};

static_assert(Serializable<int> && Serializable<bool> && Serializable<std::byte> && Serializable<Free>);
static_assert(Serializable<Rich> && Serializable<Tree> && Serializable<Empty> && Serializable<Derived>);
static_assert(Serializable<std::vector<std::map<int, std::optional<Tree>>>>);
static_assert(!Serializable<int*> && !Serializable<WithPointer> && !Serializable<const char*>);
static_assert(!Serializable<std::vector<WithPointer>> && !Serializable<std::tuple<int, WithPointer>>);
static_assert(!Serializable<std::unique_ptr<int>> && !Serializable<std::shared_ptr<int>>);
static_assert(!Serializable<std::vector<std::unique_ptr<int>>> && !Serializable<std::weak_ptr<int>>);
static_assert(!Serializable<std::string_view> && !Serializable<std::span<int>>);
static_assert(!Serializable<std::reference_wrapper<int>> && !Serializable<int&> && !Serializable<const int>);
static_assert(!Serializable<std::function<void()>> && !Serializable<std::mutex> &&
              !Serializable<std::thread>);
static_assert(!Serializable<std::future<int>> && !Serializable<std::optional<std::mutex>>);
static_assert(!Serializable<std::vector<Opaque>> && !Serializable<std::map<int, Opaque>>);
static_assert(!Serializable<std::variant<int, Opaque>> && !Serializable<std::pair<int, Opaque>>);
static_assert(!Serializable<WithBase> && !Serializable<Named> && !Serializable<WithArray>);
static_assert(!Serializable<WithReference> && !Serializable<WithConst> && !Serializable<Many>);
static_assert(!Serializable<Virtual> && !Serializable<Open> && !Serializable<std::array<Opaque, 2>>);
static_assert(!Serializable<std::tuple<int&>> && !Serializable<std::nullptr_t> &&
              !Serializable<int Point::*>);

// --- Round trips
// ---------------------------------------------------------------------------------------------------

TEST(Codec, ReturnsNumbersAsTheyWere) {
  expect_round_trip(true);
  expect_round_trip('x');
  expect_round_trip(std::numeric_limits<std::int64_t>::min());
  expect_round_trip(std::uint16_t{65535});
  expect_round_trip(1.5F);
  expect_round_trip(-0.1);
  expect_round_trip(1.1L);
  expect_round_trip(std::byte{200});
  expect_round_trip(u'x');
}

TEST(Codec, ReturnsStandardValuesAsTheyWere) {
  expect_round_trip(""s);
  expect_round_trip("with a zero \0 inside"s);
  expect_round_trip(std::u32string{U"wide"});
  expect_round_trip(std::vector<int>{1, 2, 3});
  expect_round_trip(std::vector<bool>{true, false, true});
  expect_round_trip(std::vector<std::string>{"a", ""});
  expect_round_trip(std::vector<std::vector<Point>>{{{1, 2}}, {}});
  expect_round_trip(std::deque<std::string>{"a", "b"});
  expect_round_trip(std::list<double>{1, 2});
  expect_round_trip(std::set<std::string>{"a", "b"});
  expect_round_trip(std::multiset<int>{1, 1, 2});
  expect_round_trip(std::unordered_set<int>{1, 2, 3});
  expect_round_trip(std::unordered_multiset<int>{1, 1, 2});
  expect_round_trip(std::map<int, std::string>{{1, "a"}, {2, "b"}});
  expect_round_trip(std::multimap<int, int>{{1, 1}, {1, 2}});
  expect_round_trip(std::unordered_map<std::string, Point>{{"a", {1, 2}}});
  expect_round_trip(std::unordered_multimap<int, int>{{1, 1}, {1, 2}});
  expect_round_trip(std::optional<int>{});
  expect_round_trip(std::optional<std::string>{"a"});
  expect_round_trip(std::variant<int, std::string>{"a"});
  expect_round_trip(std::variant<std::monostate, Point>{});
  expect_round_trip(std::pair<int, std::string>{1, "a"});
  expect_round_trip(std::tuple<>{});
  expect_round_trip(std::tuple<int, bool, std::string>{1, true, "a"});
  expect_round_trip(std::array<int, 3>{1, 2, 3});
  expect_round_trip(std::array<bool, 2>{true, false});
  expect_round_trip(std::array<std::string, 2>{"a", "b"});
  expect_round_trip(std::array<int, 0>{});
  expect_round_trip(std::complex<float>{1, 2});
  expect_round_trip(std::bitset<70>{0x123456789abcdef0U});
  expect_round_trip(5ms);
  expect_round_trip(std::chrono::steady_clock::time_point{5s});
}

TEST(Codec, ReturnsStructsOfNoneToSixteenFields) {
  expect_round_trip(F0{});
  expect_round_trip(F1{"a"});
  expect_round_trip(F2{"a", 2});
  expect_round_trip(F3{"a", 2, 3});
  expect_round_trip(F4{"a", 2, 3, 4});
  expect_round_trip(F5{"a", 2, 3, 4, 5});
  expect_round_trip(F6{"a", 2, 3, 4, 5, 6});
  expect_round_trip(F7{"a", 2, 3, 4, 5, 6, 7});
  expect_round_trip(F8{"a", 2, 3, 4, 5, 6, 7, 8});
  expect_round_trip(F9{"a", 2, 3, 4, 5, 6, 7, 8, 9});
  expect_round_trip(F10{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10});
  expect_round_trip(F11{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  expect_round_trip(F12{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  expect_round_trip(F13{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13});
  expect_round_trip(F14{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
  expect_round_trip(F15{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  expect_round_trip(F16{"a", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
}

struct Elided {
  struct Inner {
    int a, b, c;
    bool operator==(const Inner&) const = default;
  };
  Inner one;
  std::array<Inner, 2> two;
  std::optional<Inner> three;
  std::string four = "default";
  bool operator==(const Elided&) const = default;
};

TEST(Codec, CountsFieldsThatAreStructsThemselves) {
  static_assert(detail::field_count<Elided> == 4);
  static_assert(detail::field_count<F16> == 16);
  expect_round_trip(Elided{{1, 2, 3}, {{{4, 5, 6}, {7, 8, 9}}}, Elided::Inner{10, 11, 12}, "x"});
  expect_round_trip(rich_sample());
}

TEST(Codec, TakesNoBytesForAnEmptyStruct) {
  EXPECT_EQ(encoded_size(F0{}), 0U);
  EXPECT_TRUE(decode<F0>({}).has_value());
}

TEST(Codec, WritesNoPadding) {
  EXPECT_EQ(encoded_size(Padded{}), 9U);
  EXPECT_EQ(encoded_size(std::vector<Padded>(3)), 8U + 27U);
  EXPECT_EQ(encoded_size(1.0L), 10U);
}

TEST(Codec, WritesNumbersAsOneBlock) {
  static_assert(detail::is_block<Point> && detail::is_block<std::array<Point, 3>> &&
                detail::is_block<std::byte>);
  static_assert(!detail::is_block<Padded> && !detail::is_block<bool> && !detail::is_block<Free>);
  static_assert(!detail::is_block<std::array<bool, 4>> && !detail::is_block<FreeSerialize>);
  EXPECT_EQ(encoded(std::vector<Point>{{1, 2}}), bytes_of(std::uint64_t{1}, 1, 2));
}

TEST(Codec, UsesTheFunctionsOfTheUser) {
  expect_round_trip(MemberSerialize{42});
  expect_round_trip(MemberSaveLoad{"a"});
  expect_round_trip(FreeSaveLoad{{1, 2, 3}});
  expect_round_trip(Minimal{"a"});
  expect_round_trip(FreeMinimal{7});
  EXPECT_EQ(*decode<FreeSerialize>(encoded(FreeSerialize{1, 2})), (FreeSerialize{1, 0}));
  EXPECT_EQ(encoded_size(std::vector<FreeSerialize>(3)), 8U + 3 * 4U);
}

TEST(Codec, SendsTheVersionOfAClass) {
  const Versioned copy = *decode<Versioned>(encoded(Versioned{3}));
  EXPECT_EQ(copy.number, 3);
  EXPECT_EQ(copy.seen, 0U);
  EXPECT_EQ(encoded_size(Versioned{}), 8U);
}

TEST(Codec, SendsBaseClassesAndArraysThatAFunctionNames) {
  Derived value;
  value.a = 1;
  value.b = 2;
  value.c = {3, 4};
  value.raw[2] = 5;
  const Derived copy = *decode<Derived>(encoded(value));
  EXPECT_EQ(copy.a, 1);
  EXPECT_EQ(copy.b, 2);
  EXPECT_EQ(copy.c, value.c);
  EXPECT_EQ(copy.raw[2], 5);
}

// --- Values that are none
// ------------------------------------------------------------------------------------------

TEST(Codec, RefusesABoolThatIsNeitherZeroNorOne) {
  for (int byte = 2; byte < 256; ++byte)
    expect_malformed<bool>(bytes_of(static_cast<std::uint8_t>(byte)), "bool");
  expect_malformed<std::array<bool, 2>>(bytes_of(std::uint8_t{1}, std::uint8_t{0x37}), "bool");
  expect_malformed<std::vector<bool>>(bytes_of(std::uint64_t{1}, std::uint8_t{2}), "bool");
  expect_malformed<std::optional<int>>(bytes_of(std::uint8_t{3}, 1), "bool");
}

TEST(Codec, LetsAnEnumHaveAnyValueOfItsType) { expect_round_trip(static_cast<Free>(-1234)); }

TEST(Codec, AsksIsValidAboutAnEnum) {
  expect_round_trip(Checked::green);
  expect_malformed<Checked>(bytes_of(std::uint8_t{3}), "is_valid");
  std::array<std::byte, 8> room{};
  EXPECT_EQ(encode(static_cast<Checked>(9), room).error().kind, ErrorKind::invalid);
}

TEST(Codec, RefusesAVariantThatHasNoSuchAlternative) {
  using Choice = std::variant<int, std::string>;
  expect_malformed<Choice>(bytes_of(std::int32_t{2}, 1));
  expect_malformed<Choice>(bytes_of(std::int32_t{-1}, 1));
}

TEST(Codec, MakesAnErrorOfWhatASerializeFunctionThrows) {
  std::array<std::byte, 8> room{};
  EXPECT_EQ(encode(Touchy{13}, room).error().kind, ErrorKind::invalid);
  expect_malformed<Touchy>(bytes_of(13), "thirteen");
  EXPECT_EQ(encoded_size(Touchy{13}), 4U);
}

/// A map or set of these keys, as bytes; each with a value where it is a map.
template <class T>
std::vector<std::byte> of_keys(std::initializer_list<std::int32_t> keys) {
  std::vector<std::byte> bytes = bytes_of(std::uint64_t{keys.size()});
  for (const std::int32_t key : keys)
    for (int i = 0; i < (
                            requires { typename T::mapped_type; } ? 2 : 1);
         ++i) {
      const auto one = bytes_of(key);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
  return bytes;
}

struct ByRemainder {
  int modulus = 10;
  bool operator()(int a, int b) const { return a % modulus < b % modulus; }
};

TEST(Codec, RefusesKeysThatComeTwiceOrInAnotherOrder) {
  using Set = std::set<std::int32_t>;
  using Map = std::map<std::int32_t, std::int32_t>;
  EXPECT_EQ(decode<Set>(of_keys<Set>({-1, 2, 3})).value(), (Set{-1, 2, 3}));
  EXPECT_EQ(decode<Map>(of_keys<Map>({1, 2})).value(), (Map{{1, 1}, {2, 2}}));
  expect_malformed<Set>(of_keys<Set>({1, 3, 2}), "order");
  expect_malformed<Set>(of_keys<Set>({1, 1}), "twice");
  expect_malformed<Map>(of_keys<Map>({2, 1}), "order");
  expect_malformed<Map>(of_keys<Map>({1, 1}), "twice");
  using Descending = std::set<std::int32_t, std::greater<>>;
  EXPECT_TRUE(decode<Descending>(of_keys<Descending>({3, 2})).has_value());
  expect_malformed<Descending>(of_keys<Descending>({2, 3}), "order");
  using Multiset = std::multiset<std::int32_t>;
  EXPECT_EQ(decode<Multiset>(of_keys<Multiset>({1, 1, 2})).value(), (Multiset{1, 1, 2}));
  expect_malformed<Multiset>(of_keys<Multiset>({1, 2, 1}), "order");
  using Hashed = std::unordered_set<std::int32_t>;
  EXPECT_EQ(decode<Hashed>(of_keys<Hashed>({3, 1, 2})).value(), (Hashed{1, 2, 3}));
  expect_malformed<Hashed>(of_keys<Hashed>({3, 1, 3}), "twice");
  using HashedMap = std::unordered_map<std::int32_t, std::int32_t>;
  expect_malformed<HashedMap>(of_keys<HashedMap>({3, 3}), "twice");
  using HashedMultimap = std::unordered_multimap<std::int32_t, std::int32_t>;
  EXPECT_EQ(decode<HashedMultimap>(of_keys<HashedMultimap>({3, 3})).value().size(), 2U);
}

TEST(Codec, DoesNotJudgeTheOrderOfAComparatorWithAState) {
  using Set = std::set<std::int32_t, ByRemainder>;
  EXPECT_EQ(decode<Set>(of_keys<Set>({2, 1})).value().size(), 2U);
  expect_malformed<Set>(of_keys<Set>({1, 11}), "twice");
}

TEST(Codec, TellsWantOfMemoryFromBytesThatAreWrong) {
  std::array<std::byte, 8> room{};
  EXPECT_EQ(encode(Touchy{14}, room).error().kind, ErrorKind::exhausted);
  EXPECT_EQ(decode<Touchy>(bytes_of(14)).error().kind, ErrorKind::exhausted);
  const auto fifteen = decode<Touchy>(bytes_of(15)).error();
  EXPECT_EQ(fifteen.kind, ErrorKind::exhausted);
  EXPECT_EQ(fifteen.errnum, EMFILE);
  expect_malformed<Touchy>(bytes_of(16), "sixteen");
}

// --- Bytes that are cut, long, or ask for too much
// -----------------------------------------------------------------

TEST(Codec, RefusesASampleCutAtAnyByte) {
  const Bytes bytes = encoded(rich_sample());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    expect_malformed<Rich>(std::span{bytes}.first(size));
}

TEST(Codec, RefusesATrailingByte) {
  Bytes bytes = encoded(rich_sample());
  bytes.push_back(std::byte{});
  expect_malformed<Rich>(bytes, "left over");
  expect_malformed<F0>(bytes_of('x'), "left over");
  expect_malformed<int>(bytes_of(1, 'x'), "left over");
}

TEST(Codec, SaysHowMuchRoomIsMissing) {
  const Rich value = rich_sample();
  Bytes bytes(encoded_size(value));
  for (std::size_t room = 0; room < bytes.size(); ++room) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xee});
    const Result<std::size_t> written = encode(value, std::span{bytes}.first(room));
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().kind, ErrorKind::full);
    EXPECT_NE(written.error().text.find("takes " + std::to_string(bytes.size())), std::string::npos);
    EXPECT_NE(written.error().text.find("room was " + std::to_string(room)), std::string::npos);
    for (std::size_t i = room; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], std::byte{0xee});
  }
}

template <class T>
void expect_bomb_refused(std::uint64_t elements) {
  SCOPED_TRACE(type_name<T>);
  const Bytes bomb = bytes_of(elements, 'x');
  expect_malformed<T>(bomb);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_LT(peak_growth_kib([&] { std::ignore = decode<T>(bomb); }), growth_max_kib);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST(Codec, AllocatesNothingForSizesThatTheBytesDoNotBear) {
  for (const std::uint64_t elements : {std::uint64_t{2}, std::uint64_t{1} << 20, std::uint64_t{1} << 30,
                                       std::uint64_t{1} << 60, ~std::uint64_t{0}}) {
    expect_bomb_refused<std::string>(elements);
    expect_bomb_refused<std::u32string>(elements);
    expect_bomb_refused<std::vector<char>>(elements);
    expect_bomb_refused<std::vector<Point>>(elements);
    expect_bomb_refused<std::vector<bool>>(elements);
    expect_bomb_refused<std::vector<std::string>>(elements);
    expect_bomb_refused<std::vector<Tree>>(elements);
    expect_bomb_refused<std::list<int>>(elements);
    expect_bomb_refused<std::deque<int>>(elements);
    expect_bomb_refused<std::set<int>>(elements);
    expect_bomb_refused<std::unordered_set<int>>(elements);
    expect_bomb_refused<std::map<int, int>>(elements);
    expect_bomb_refused<std::unordered_map<int, int>>(elements);
    expect_bomb_refused<FreeSaveLoad>(elements);
  }
}

TEST(Codec, BoundsContainersOfElementsThatTakeNoBytes) {
  const auto claim = [](std::uint64_t elements) { return bytes_of(elements); };
  EXPECT_EQ(decode<std::vector<Empty>>(claim(1000))->size(), 1000U);
  EXPECT_EQ(decode<std::vector<Empty>>(claim(CodecLimits::elements_max))->size(), CodecLimits::elements_max);
  expect_malformed<std::vector<Empty>>(claim(CodecLimits::elements_max + 1), "too many elements");
  expect_malformed<std::vector<Empty>>(claim(std::uint64_t{1} << 60), "too many elements");
  expect_malformed<std::list<Empty>>(claim(std::uint64_t{1} << 60), "too many elements");
  expect_malformed<std::list<Empty>>(claim(CodecLimits::elements_max), "too much memory");
  EXPECT_LT(peak_growth_kib([&] { std::ignore = decode<std::list<Empty>>(claim(30'000)); }), growth_max_kib);
}

TEST(Codec, CountsTheMemoryOfAllContainersTogether) {
  constexpr std::uint64_t many = 1000;
  Bytes bomb = bytes_of(many);
  for (std::uint64_t i = 0; i < many; ++i) {
    for (const std::byte byte : bytes_of(std::uint64_t{CodecLimits::elements_max})) bomb.push_back(byte);
  }
  expect_malformed<std::vector<std::vector<Empty>>>(bomb, "too much memory");
  EXPECT_LT(peak_growth_kib([&] { std::ignore = decode<std::vector<std::vector<Empty>>>(bomb); }),
            growth_max_kib);
}

TEST(Codec, RefusesToEncodeWhatWouldNotDecode) {
  std::array<std::byte, 64> room{};
  const auto refused = [&](const auto& value) {
    return encode(value, room).error().kind == ErrorKind::invalid;
  };
  EXPECT_TRUE(refused(std::vector<Empty>(CodecLimits::elements_max + 1)));
  EXPECT_TRUE(refused(std::vector<std::optional<std::array<int, 1000>>>(300)));
  EXPECT_TRUE(refused(chain(CodecLimits::depth_max + 1)));
}

TEST(Codec, HoldsLargeBlocksToTheirBytesOnly) {
  expect_round_trip(std::string(3 << 20, 'x'));
  expect_round_trip(std::vector<int>((1 << 20) + 1, 7));
}

TEST(Codec, FollowsRecursiveTypesToTheirDepthLimit) {
  expect_round_trip(chain(CodecLimits::depth_max));
  std::array<std::byte, 4096> room{};
  EXPECT_EQ(encode(chain(CodecLimits::depth_max + 1), room).error().kind, ErrorKind::invalid);

  const auto nested = [](std::size_t depth) {
    Bytes bytes;
    for (std::size_t level = 1; level <= depth; ++level) {
      for (const std::byte byte : bytes_of(0, std::uint64_t{level < depth ? 1U : 0U})) bytes.push_back(byte);
    }
    return bytes;
  };
  EXPECT_TRUE(decode<Tree>(nested(CodecLimits::depth_max)).has_value());
  expect_malformed<Tree>(nested(CodecLimits::depth_max + 1), "too deep");
  expect_malformed<Tree>(nested(1'000'000), "too deep");
}

// --- Bytes that mean nothing
// ---------------------------------------------------------------------------------------

/// What decodes must encode again, and then decode to the same.
template <class T>
void expect_sane(std::span<const std::byte> bytes) {
  const Result<T> value = decode<T>(bytes);
  if (!value) {
    ASSERT_EQ(value.error().kind, ErrorKind::malformed);
    return;
  }
  Bytes again(encoded_size(*value));
  ASSERT_TRUE(encode(*value, again).has_value()) << type_name<T>;
  ASSERT_TRUE(decode<T>(again).has_value()) << type_name<T>;
}

template <class T>
void fuzz(std::uint32_t seed, int frames, const T& sample) {
  std::mt19937 random{seed};
  const auto below = [&](std::size_t bound) { return random() % bound; };
  const Bytes valid = encoded(sample);
  for (int frame = 0; frame < frames; ++frame) {
    Bytes bytes;
    if (frame % 2 == 0) {
      bytes.resize(below(64));
      // Mostly small bytes, so that sizes and tags are often plausible.
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(below(4) != 0 ? below(3) : below(256));
    } else {
      bytes = valid;
      for (std::size_t damages = 1 + below(3); damages > 0 && !bytes.empty(); --damages) {
        bytes[below(bytes.size())] = static_cast<std::byte>(below(2) != 0 ? below(4) : below(256));
      }
      if (below(4) == 0) bytes.resize(below(bytes.size() + 8));
    }
    ASSERT_NO_FATAL_FAILURE(expect_sane<T>(bytes)) << "seed " << seed << ", frame " << frame;
  }
}

TEST(Codec, SurvivesTwoHundredThousandRandomFrames) {
  fuzz(1, 60'000, rich_sample());
  fuzz(2, 20'000, chain(5));
  fuzz(3, 20'000, std::vector<std::variant<bool, Checked, std::string>>{true, Checked::red, "a"});
  fuzz(4, 20'000, std::map<std::string, std::list<Empty>>{{"a", std::list<Empty>(3)}});
  fuzz(5, 20'000, std::tuple<std::deque<Padded>, std::optional<std::vector<bool>>>{{{1, 2}}, {{true}}});
  fuzz(6, 20'000, std::vector<FreeSaveLoad>{{{1, 2}}, {{3}}});
  fuzz(7, 20'000, std::unordered_map<int, std::set<std::string>>{{1, {"a", "b"}}});
  fuzz(8, 20'000, std::pair<std::bitset<70>, std::complex<double>>{77, {1, 2}});
}

}  // namespace
}  // namespace troupe
