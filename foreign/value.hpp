// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace troupe::foreign {

/// What JSON and msgpack have in common, and so what a program in another language can say.
///
/// Invariant: an `integer` lies within ±integer_max, a number is finite, text is UTF-8, and the members of an
/// object are sorted by their names, each of which occurs once.
struct Value {
  struct Member;
  using Array = std::vector<Value>;
  using Object = std::vector<Member>;

  /// The largest integer that every language here holds exactly: JavaScript's numbers are doubles.
  static constexpr std::int64_t integer_max = (std::int64_t{1} << 53) - 1;

  using Content = std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object>;

  Value() noexcept;  ///< null
  Value(Content what) noexcept;
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();

  template <class T>
  [[nodiscard]] const T* as() const noexcept {
    return std::get_if<T>(&content);
  }
  [[nodiscard]] bool is_null() const noexcept { return as<std::monostate>() != nullptr; }
  /// The member of that name; none if there is none, or this is no object.
  [[nodiscard]] const Value* member(std::string_view name) const noexcept;

  Content content;
};

struct Value::Member {
  std::string name{};
  Value value{};
};

// A vector of members is whole only here.
inline Value::Value() noexcept : content{} {}
inline Value::Value(Content what) noexcept : content{std::move(what)} {}
inline Value::Value(const Value&) = default;
inline Value::Value(Value&&) noexcept = default;
inline Value& Value::operator=(const Value&) = default;
inline Value& Value::operator=(Value&&) noexcept = default;
inline Value::~Value() = default;

inline const Value* Value::member(std::string_view name) const noexcept {
  const auto* const members = as<Object>();
  if (members == nullptr) return nullptr;
  const auto at =
      std::lower_bound(members->begin(), members->end(), name,
                       [](const Member& one, std::string_view wanted) { return one.name < wanted; });
  return at != members->end() && at->name == name ? &at->value : nullptr;
}

/// An object of these members, in any order.
[[nodiscard]] inline Value object(Value::Object members) {
  std::sort(members.begin(), members.end(),
            [](const Value::Member& a, const Value::Member& b) { return a.name < b.name; });
  return {std::move(members)};
}

}  // namespace troupe::foreign
