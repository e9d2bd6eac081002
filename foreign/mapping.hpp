// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <troupe/foreign/encoding.hpp>
#include <troupe/foreign/field_names.hpp>
#include <troupe/foreign/value.hpp>
#include <troupe/transport/codec_traits.hpp>
#include <troupe/transport/result.hpp>

/// Between C++ values and what other languages can say (docs/foreign.md has the table). A plain struct is an
/// object whose members are named as its fields; nothing is registered.
namespace troupe::foreign {

namespace detail {

using troupe::detail::is_array;
using troupe::detail::is_optional;

template <class T>
inline constexpr bool is_text_map = false;
template <class C, class R, class A, class V, class L, class B>
inline constexpr bool is_text_map<std::map<std::basic_string<C, R, A>, V, L, B>> = true;
template <class C, class R, class A, class V, class H, class E, class B>
inline constexpr bool is_text_map<std::unordered_map<std::basic_string<C, R, A>, V, H, E, B>> = true;

template <class T>
inline constexpr bool is_list = false;
template <class T, class A>
inline constexpr bool is_list<std::vector<T, A>> = true;
template <class T, class A>
inline constexpr bool is_list<std::deque<T, A>> = true;
template <class T, class A>
inline constexpr bool is_list<std::list<T, A>> = true;

/// A struct that says itself how it is written has no fields for us.
template <class T>
concept PlainStruct = troupe::detail::has_fields<T> && !troupe::detail::StandardType<T> &&
                      troupe::detail::way_of<T> == troupe::detail::Way::none;

template <class T>
consteval bool is_mappable();

template <class... Ts>
consteval bool are_mappable(troupe::detail::TypeList<Ts...> /*types*/) {
  return (is_mappable<std::remove_const_t<Ts>>() && ...);
}

template <class T>
consteval bool is_mappable() {
  if constexpr (std::is_same_v<T, std::byte> || std::is_same_v<T, long double>)
    return false;
  else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>)
    return true;
  else if constexpr (std::is_enum_v<T>)
    return troupe::detail::FixedEnum<T>;
  else if constexpr (is_text_map<T>)
    return is_mappable<typename T::mapped_type>();
  else if constexpr (is_list<T> || is_array<T> || is_optional<T>)
    return is_mappable<typename T::value_type>();
  else if constexpr (PlainStruct<T>)
    return are_mappable(troupe::detail::FieldTypes<T>{});
  else
    return false;
}

/// `malformed`; the text begins with the way to the place, which the callers write in front.
[[nodiscard]] inline tl::unexpected<Error> unfit(std::string_view what) {
  return failure(ErrorKind::malformed, ": " + std::string{what});
}
[[nodiscard]] inline Result<void> within(Result<void> read, std::string_view place) {
  if (!read) read.error().text.insert(0, place);
  return read;
}
[[nodiscard]] inline std::string place_of(std::size_t index) { return "[" + std::to_string(index) + "]"; }
[[nodiscard]] inline std::string place_of(std::string_view name) { return "." + std::string{name}; }

// ---- reading ----------------------------------------------------------------------------------------

/// An integer of up to 53 bits is a number, a larger one its digits in a text; only that form of each is
/// taken, since a number beyond 53 bits may have lost bits on its way through a language that has doubles
/// alone.
template <class T>
Result<void> read_integer(const Value& value, T& into) {
  if (const auto* const number = value.as<std::int64_t>()) {
    if (!std::in_range<T>(*number)) return unfit("an integer out of range");
    into = static_cast<T>(*number);
    return {};
  }
  const auto* const digits = value.as<std::string>();
  if (digits == nullptr)
    return unfit("wanted is an integer: up to 2^53 - 1 as a number, beyond that as digits in a string");
  const auto* const end = digits->data() + digits->size();
  const auto [behind, error] = std::from_chars(digits->data(), end, into);
  if (error == std::errc::result_out_of_range) return unfit("an integer out of range");
  if (error != std::errc{} || behind != end) return unfit("wanted is an integer: digits alone");
  return {};
}

template <class T>
Result<void> read_float(const Value& value, T& into) {
  double number = 0;
  if (const auto* const integer = value.as<std::int64_t>())
    number = static_cast<double>(*integer);
  else if (const auto* const with_point = value.as<double>())
    number = *with_point;
  else
    return unfit("wanted is a number");
  if (std::abs(number) > static_cast<double>(std::numeric_limits<T>::max()))
    return unfit("a number out of range");
  into = static_cast<T>(number);
  return {};
}

template <class T>
Result<void> read(const Value& value, T& into);

template <class T>
Result<void> read_enum(const Value& value, T& into) {
  std::underlying_type_t<T> number{};
  if (auto taken = read_integer(value, number); !taken) return taken;
  into = static_cast<T>(number);
  if constexpr (troupe::detail::HasIsValid<T>)
    if (!is_valid(into)) return unfit("no value of its enumeration");
  return {};
}

template <class T>
Result<void> read_list(const Value& value, T& into) {
  const auto* const from = value.as<Value::Array>();
  if (from == nullptr) return unfit("wanted is an array");
  std::size_t index = 0;
  for (const Value& one : *from) {
    typename T::value_type element{};
    if (auto taken = read(one, element); !taken) return within(std::move(taken), place_of(index));
    into.push_back(std::move(element));
    ++index;
  }
  return {};
}

template <class T>
Result<void> read_array(const Value& value, T& into) {
  const auto* const from = value.as<Value::Array>();
  if (from == nullptr || from->size() != into.size())
    return unfit("wanted is an array of " + std::to_string(into.size()));
  for (std::size_t i = 0; i < into.size(); ++i)
    if (auto taken = read((*from)[i], into[i]); !taken) return within(std::move(taken), place_of(i));
  return {};
}

template <class T>
Result<void> read_map(const Value& value, T& into) {
  const auto* const from = value.as<Value::Object>();
  if (from == nullptr) return unfit("wanted is an object");
  for (const auto& [name, one] : *from)
    if (auto taken = read(one, into[name]); !taken) return within(std::move(taken), place_of(name));
  return {};
}

template <class F>
Result<void> read_field(const Value& object, std::string_view name, F& into) {
  const Value* const found = object.member(name);
  if (found != nullptr) return within(read(*found, into), place_of(name));
  if constexpr (is_optional<F>) return {};
  return within(unfit("it is missing"), place_of(name));
}

template <class T>
Result<void> read_struct(const Value& value, T& into) {
  if (value.as<Value::Object>() == nullptr) return unfit("wanted is an object");
  return troupe::detail::with_fields(into, [&](auto&... fields) {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      Result<void> all{};
      static_cast<void>(((all = read_field(value, field_name<T, i>, fields)) && ...));
      return all;
    }
    (std::index_sequence_for<decltype(fields)...>{});
  });
}

template <class T>
Result<void> read(const Value& value, T& into) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.as<bool>() == nullptr) return unfit("wanted is true or false");
    into = *value.as<bool>();
    return {};
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.as<std::string>() == nullptr) return unfit("wanted is a string");
    into = *value.as<std::string>();
    return {};
  } else if constexpr (is_optional<T>) {
    if (value.is_null()) return {};
    return read(value, into.emplace());
  } else if constexpr (std::is_integral_v<T>)
    return read_integer(value, into);
  else if constexpr (std::is_floating_point_v<T>)
    return read_float(value, into);
  else if constexpr (std::is_enum_v<T>)
    return read_enum(value, into);
  else if constexpr (is_list<T>)
    return read_list(value, into);
  else if constexpr (is_array<T>)
    return read_array(value, into);
  else if constexpr (is_text_map<T>)
    return read_map(value, into);
  else
    return read_struct(value, into);
}

// ---- writing ----------------------------------------------------------------------------------------

template <class T>
Result<Value> write(const T& from);

template <class T>
Value write_integer(T from) {
  const bool small =
      std::cmp_less_equal(from, Value::integer_max) && std::cmp_greater_equal(from, -Value::integer_max);
  if (small) return {static_cast<std::int64_t>(from)};
  return {std::to_string(from)};
}

template <class T>
Result<Value> write_list(const T& from) {
  Value::Array array;
  for (const auto& one : from) {
    auto value = write<typename T::value_type>(one);
    if (!value) return value;
    array.push_back(std::move(*value));
  }
  return Value{std::move(array)};
}

template <class F>
Result<void> write_member(Value::Object& object, std::string_view name, const F& from) {
  if (!is_utf8(name)) return failure(ErrorKind::invalid, "foreign: a name that is not UTF-8");
  auto value = write(from);
  if (!value) return failure(std::move(value));
  object.push_back({std::string{name}, std::move(*value)});
  return {};
}

template <class T>
Result<Value> write_map(const T& from) {
  Value::Object members;
  for (const auto& [name, one] : from)
    if (auto written = write_member(members, name, one); !written) return failure(std::move(written));
  return object(std::move(members));
}

template <class T>
Result<Value> write_struct(const T& from) {
  Value::Object members;
  auto written = troupe::detail::with_fields(from, [&](const auto&... fields) {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      Result<void> all{};
      static_cast<void>(((all = write_member(members, field_name<T, i>, fields)) && ...));
      return all;
    }
    (std::index_sequence_for<decltype(fields)...>{});
  });
  if (!written) return failure(std::move(written));
  return object(std::move(members));
}

template <class T>
Result<Value> write(const T& from) {
  if constexpr (std::is_same_v<T, bool>) {
    return Value{from};
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!is_utf8(from)) return failure(ErrorKind::invalid, "foreign: text that is not UTF-8");
    return Value{from};
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(from)) return failure(ErrorKind::invalid, "foreign: a number that is not finite");
    return Value{static_cast<double>(from)};
  } else if constexpr (is_optional<T>) {
    return from ? write(*from) : Result<Value>{};
  } else if constexpr (std::is_integral_v<T>)
    return write_integer(from);
  else if constexpr (std::is_enum_v<T>)
    return write_integer(static_cast<std::underlying_type_t<T>>(from));
  else if constexpr (is_list<T> || is_array<T>)
    return write_list(from);
  else if constexpr (is_text_map<T>)
    return write_map(from);
  else
    return write_struct(from);
}

}  // namespace detail

template <class T>
concept Mappable = detail::is_mappable<T>();

/// Does not compile unless T can be said in JSON.
template <class T>
consteval bool require_mappable() {
  static_assert(
      Mappable<T>,
      "troupe: other languages have no such type; a message to or from them is a plain struct of numbers, "
      "bool, std::string, enums, optional, vector, deque, list, array, map<std::string, …> and such structs");
  return Mappable<T>;
}

/// Fields that the object does not have are `malformed`, unless they are optional; members that the struct
/// does not have are ignored. The error's text begins with the place: "body.items[3].name: …".
template <Mappable T>
[[nodiscard]] Result<T> from_value(const Value& value, std::string_view place) {
  T into{};
  auto taken = detail::read(value, into);
  if (!taken) return failure(detail::within(std::move(taken), place));
  return into;
}

/// `invalid` for what has no form there: text that is not UTF-8, NaN, an infinity.
template <Mappable T>
[[nodiscard]] Result<Value> to_value(const T& from) {
  return detail::write(from);
}

}  // namespace troupe::foreign
