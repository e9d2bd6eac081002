// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <troupe/transport/aggregate.hpp>
#include <type_traits>

/// Names and numbers for message types, known while compiling.
///
/// `type_name<T>` is for people. `type_id<T>` is for the wire: it hashes the name *and* the fields, so two
/// structs that share a name in two anonymous namespaces differ, and so does a struct that gained a field
/// between two builds. Both are the same with g++ and clang, except for local classes and for lambdas.
namespace troupe {
namespace detail {

template <class T>
consteval auto compiler_text() {
  return std::string_view{__PRETTY_FUNCTION__};
}

template <class T>
consteval std::string_view compiler_name() {
  constexpr std::string_view text = compiler_text<T>();
  constexpr std::size_t begin = text.find("T = ") + 4;
  return text.substr(begin, text.size() - begin - 1);
}

struct Spelling {
  std::string_view from;
  std::string_view to;
};

/// What g++ writes differently from clang, longer spellings first.
inline constexpr std::array spellings{
    Spelling{"std::__cxx11::basic_string<char>", "std::string"},
    Spelling{"std::basic_string<char>", "std::string"},
    Spelling{"std::__cxx11::", "std::"},
    Spelling{"{anonymous}", "(anonymous namespace)"},
    Spelling{"long long unsigned int", "unsigned long long"},
    Spelling{"short unsigned int", "unsigned short"},
    Spelling{"long unsigned int", "unsigned long"},
    Spelling{"long long int", "long long"},
    Spelling{"short int", "short"},
    Spelling{"long int", "long"},
    Spelling{" >", ">"},
};

/// Writes `name` in one spelling; only counts if `out` is null. Returns the length.
constexpr std::size_t respell(std::string_view name, char* out) {
  std::size_t length = 0;
  const auto write = [&](std::string_view text) {
    for (const char c : text) {
      if (out != nullptr) out[length] = c;
      ++length;
    }
  };
  while (!name.empty()) {
    std::size_t taken = 0;
    for (const Spelling& spelling : spellings) {
      if (!name.starts_with(spelling.from)) continue;
      write(spelling.to);
      taken = spelling.from.size();
      break;
    }
    if (taken == 0) {
      write(name.substr(0, 1));
      taken = 1;
    }
    name.remove_prefix(taken);
  }
  return length;
}

template <class T>
inline constexpr auto name_text = [] {
  std::array<char, respell(compiler_name<T>(), nullptr)> text{};
  respell(compiler_name<T>(), text.data());
  return text;
}();

}  // namespace detail

/// "shop::Order", "std::vector<int>", "(anonymous namespace)::Add".
template <class T>
inline constexpr std::string_view type_name{detail::name_text<T>.data(), detail::name_text<T>.size()};

namespace detail {

/// FNV-1a, 64 bit.
class Hash {
 public:
  constexpr void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0);
  }
  constexpr void add(std::uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) add_byte(static_cast<unsigned char>(number >> shift));
  }
  [[nodiscard]] constexpr std::uint64_t value() const { return state_; }

 private:
  constexpr void add_byte(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3U; }

  std::uint64_t state_ = 0xcbf29ce484222325U;
};

template <class T, class... Outer>
constexpr void add_type(Hash& hash);

template <class... Outer, class... Ts>
constexpr void add_types(Hash& hash, TypeList<Outer...> /*outer*/, TypeList<Ts...> /*types*/) {
  hash.add(std::uint64_t{sizeof...(Ts)});
  (add_type<Ts, Outer...>(hash), ...);
}

/// "std::vector" of "std::vector<int>".
constexpr std::string_view template_of(std::string_view name) {
  std::size_t depth = 0;
  for (std::size_t end = name.size(); end > 0; --end) {
    if (name[end - 1] == '>') ++depth;
    if (name[end - 1] == '<' && --depth == 0) return name.substr(0, end - 1);
  }
  return name;
}

/// The name and what a template was given: types one by one, since compilers differ in which defaults they
/// print.
template <class T, class... Outer>
struct AddName {
  static constexpr void to(Hash& hash) { hash.add(type_name<T>); }
};
template <template <class...> class Template, class... Ts, class... Outer>
struct AddName<Template<Ts...>, Outer...> {
  static constexpr void to(Hash& hash) {
    hash.add(template_of(type_name<Template<Ts...>>));
    add_types(hash, TypeList<Template<Ts...>, Outer...>{}, TypeList<Ts...>{});
  }
};
template <template <class, std::size_t> class Template, class T, std::size_t n, class... Outer>
struct AddName<Template<T, n>, Outer...> {
  static constexpr void to(Hash& hash) {
    hash.add(template_of(type_name<Template<T, n>>));
    hash.add(std::uint64_t{n});
    add_types(hash, TypeList<Template<T, n>, Outer...>{}, TypeList<T>{});
  }
};

/// `Outer` are the types that T is a part of: their parts are being added already.
template <class T, class... Outer>
constexpr void add_type(Hash& hash) {
  if constexpr ((std::is_same_v<T, Outer> || ...)) {
    hash.add(type_name<T>);
  } else if constexpr (std::is_array_v<T>) {
    hash.add(std::uint64_t{std::extent_v<T>});
    add_type<std::remove_extent_t<T>, Outer...>(hash);
  } else {
    AddName<T, Outer...>::to(hash);
    if constexpr (requires { sizeof(T); }) hash.add(std::uint64_t{sizeof(T)});
    if constexpr (std::is_enum_v<T>) add_type<std::underlying_type_t<T>>(hash);
    if constexpr (has_fields<T>) add_types(hash, TypeList<T, Outer...>{}, FieldTypes<T>{});
  }
}

template <class T>
consteval std::uint64_t hash_of_type() {
  Hash hash;
  add_type<T>(hash);
  return hash.value();
}

}  // namespace detail

/// Stable over builds as long as the name and the fields of T and of all it is made of stay the same.
template <class T>
inline constexpr std::uint64_t type_id = detail::hash_of_type<T>();

}  // namespace troupe
