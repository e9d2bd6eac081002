// SPDX-License-Identifier: MIT
#pragma once
// Internal. The names of a plain struct's fields and of types, as their author wrote them.

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>
#include <troupe/transport/aggregate.hpp>
#include <troupe/transport/type_id.hpp>
#include <tuple>

/// The name of a field stands in the compiler's text for a function that has the field's address as its
/// template argument. The address is one within an object that nobody ever makes: only the compiler speaks of
/// it.
namespace troupe::foreign::detail {

template <class T>
union Unmade {
  char nothing{};
  T object;
  constexpr Unmade() noexcept {}  // NOLINT(modernize-use-equals-default): the same
  constexpr ~Unmade() {}          // NOLINT(modernize-use-equals-default): deleted where T's is not trivial
};
template <class T>
inline Unmade<T> unmade{};

/// clang 14 takes the address of a part only inside a class.
template <class Pointer>
struct Place {
  Pointer at;
};

template <class T, std::size_t index>
consteval auto place() {
  return troupe::detail::with_fields(unmade<T>.object, [](auto&... fields) {
    const auto pointers = std::make_tuple(std::addressof(fields)...);
    return Place<std::tuple_element_t<index, decltype(pointers)>>{std::get<index>(pointers)};
  });
}

template <auto place>
consteval auto compiler_text() {
  return std::string_view{__PRETTY_FUNCTION__};
}

[[nodiscard]] consteval bool is_word(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         static_cast<unsigned char>(c) >= 0x80;
}

/// g++ ends "… object.shop::Order::amount)}]", clang "… unmade.object.amount}]".
consteval std::string_view last_word(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0 && !is_word(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 && is_word(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}

/// The name of field number `index` of T.
template <class T, std::size_t index>
inline constexpr std::string_view field_name = last_word(compiler_text<place<T, index>()>());

/// What is left of "shop::Order" without the namespaces, or the function, that it stands in.
consteval std::string_view unqualified(std::string_view name) {
  std::size_t end = name.size();
  while (end > 0 && is_word(name[end - 1])) --end;
  return name.substr(end);
}

/// The name of a message's type on the wire: its own, without namespaces. Empty for an instance of a
/// template.
template <class T>
inline constexpr std::string_view message_name = unqualified(type_name<T>);

}  // namespace troupe::foreign::detail
