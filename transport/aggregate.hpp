// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

/// The fields of a plain struct, without a word from whoever wrote it (internal).
///
/// Works for aggregates of up to 16 fields. Counting asks whether `T{{}, {}, …}` is valid: each `{}` stands
/// for exactly one field, also where that field is itself an aggregate, a C array or a class that converts
/// from anything. A wrong count cannot pass unseen, since a structured binding names every field or does not
/// compile. Not seen through: bit-fields and anonymous unions; they do not compile.
namespace troupe::detail {

inline constexpr std::size_t fields_max = 16;
inline constexpr std::size_t fields_too_many = fields_max + 1;
inline constexpr std::size_t fields_unknown =
    fields_max + 2;  ///< a reference, or a field that `{}` cannot make

template <class... Ts>
struct TypeList {};

/// std::array and all that says itself how to be taken apart is not ours to look into.
template <class T>
concept Aggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !requires {
  std::tuple_size<T>::value;
};

template <class T>
consteval std::size_t count_fields() {
  // clang-format off
  if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return fields_too_many;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 16;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 15;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 14;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 13;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 12;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 11;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 10;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; }) return 9;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; }) return 8;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}}; }) return 7;
  else if constexpr (requires { T{{}, {}, {}, {}, {}, {}}; }) return 6;
  else if constexpr (requires { T{{}, {}, {}, {}, {}}; }) return 5;
  else if constexpr (requires { T{{}, {}, {}, {}}; }) return 4;
  else if constexpr (requires { T{{}, {}, {}}; }) return 3;
  else if constexpr (requires { T{{}, {}}; }) return 2;
  else if constexpr (requires { T{{}}; }) return 1;
  else if constexpr (requires { T{}; }) return 0;
  else return fields_unknown;
  // clang-format on
}

template <class T>
inline constexpr std::size_t field_count = count_fields<T>();

/// Turns into any base class of T, and so can initialise the first element of T only if that is a base.
template <class T>
struct AnyBaseOf {
  template <class Base>
  requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>) operator Base() const;
};
struct Nothing {};

template <class T>
concept HasBase = requires {
  T{AnyBaseOf<T>{}};
}
&&!requires { T{Nothing{}}; };

template <class T>
inline constexpr bool has_fields = false;
template <Aggregate T>
inline constexpr bool has_fields<T> = field_count<T> <= fields_max && !HasBase<T>;

/// Calls `function` once, with a reference to every field in order.
template <class T, class Function>
constexpr decltype(auto) with_fields(T& value, Function&& function) {
  constexpr std::size_t count = field_count<std::remove_const_t<T>>;
  static_assert(count <= fields_max);
  // clang-format off
  if constexpr (count == 0) { return function(); }
  else if constexpr (count == 1) { auto& [a] = value; return function(a); }
  else if constexpr (count == 2) { auto& [a, b] = value; return function(a, b); }
  else if constexpr (count == 3) { auto& [a, b, c] = value; return function(a, b, c); }
  else if constexpr (count == 4) { auto& [a, b, c, d] = value; return function(a, b, c, d); }
  else if constexpr (count == 5) { auto& [a, b, c, d, e] = value; return function(a, b, c, d, e); }
  else if constexpr (count == 6) { auto& [a, b, c, d, e, f] = value; return function(a, b, c, d, e, f); }
  else if constexpr (count == 7) { auto& [a, b, c, d, e, f, g] = value; return function(a, b, c, d, e, f, g); }
  else if constexpr (count == 8) { auto& [a, b, c, d, e, f, g, h] = value; return function(a, b, c, d, e, f, g, h); }
  else if constexpr (count == 9) { auto& [a, b, c, d, e, f, g, h, i] = value; return function(a, b, c, d, e, f, g, h, i); }
  else if constexpr (count == 10) { auto& [a, b, c, d, e, f, g, h, i, j] = value; return function(a, b, c, d, e, f, g, h, i, j); }
  else if constexpr (count == 11) { auto& [a, b, c, d, e, f, g, h, i, j, k] = value; return function(a, b, c, d, e, f, g, h, i, j, k); }
  else if constexpr (count == 12) { auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value; return function(a, b, c, d, e, f, g, h, i, j, k, l); }
  else if constexpr (count == 13) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value; return function(a, b, c, d, e, f, g, h, i, j, k, l, m); }
  else if constexpr (count == 14) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = value; return function(a, b, c, d, e, f, g, h, i, j, k, l, m, n); }
  else if constexpr (count == 15) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = value; return function(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o); }
  else if constexpr (count == 16) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value; return function(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p); }
  // clang-format on
}

struct ListTypes {
  template <class... Fields>
  constexpr TypeList<Fields...> operator()(Fields&...) const {
    return {};
  }
};

/// The types of the fields, with their const: TypeList<int, std::string, const double>.
template <class T>
using FieldTypes = decltype(with_fields(std::declval<T&>(), ListTypes{}));

}  // namespace troupe::detail
