// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cereal/cereal.hpp>
#include <cereal/types/array.hpp>
#include <cereal/types/bitset.hpp>
#include <cereal/types/chrono.hpp>
#include <cereal/types/complex.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/unordered_set.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <troupe/transport/aggregate.hpp>
#include <type_traits>

/// What kind of type a message is made of, and through which of cereal's functions it passes (internal).
///
/// Questions to the compiler only: nothing here runs.
namespace troupe::detail {

class OutputArchive;
class InputArchive;

/// How a class is written and read.
enum class Way {
  none,
  member_serialize,
  free_serialize,
  member_save_load,
  free_save_load,
  member_minimal,
  free_minimal,
  member_serialize_versioned,
  free_serialize_versioned,
  member_save_load_versioned,
  free_save_load_versioned,
};

/// The types that a standard type is made of, and how cereal treats it. For anything else `way` is `none`.
template <class T>
struct Standard {
  using Parts = TypeList<>;
  static constexpr Way way = Way::none;
};

template <Way way_of_cereal, class... Ts>
struct MadeOf {
  using Parts = TypeList<Ts...>;
  static constexpr Way way = way_of_cereal;
};

/// A container with a size tag. A node costs more than the element in it.
template <std::size_t node_bytes, class... Ts>
struct ContainerOf : MadeOf<Way::free_save_load, Ts...> {
  static constexpr std::size_t element_bytes = (sizeof(Ts) + ...);
  static constexpr std::size_t overhead_bytes = node_bytes;
};

// clang-format off
template <class C, class R, class A> struct Standard<std::basic_string<C, R, A>> : ContainerOf<0, C> {};
template <class T, class A> struct Standard<std::vector<T, A>> : ContainerOf<0, T> {};
template <class T, class A> struct Standard<std::deque<T, A>> : ContainerOf<0, T> {};
template <class T, class A> struct Standard<std::list<T, A>> : ContainerOf<32, T> {};
template <class T, class C, class A> struct Standard<std::set<T, C, A>> : ContainerOf<48, T> {};
template <class T, class C, class A> struct Standard<std::multiset<T, C, A>> : ContainerOf<48, T> {};
template <class T, class H, class E, class A> struct Standard<std::unordered_set<T, H, E, A>> : ContainerOf<48, T> {};
template <class T, class H, class E, class A> struct Standard<std::unordered_multiset<T, H, E, A>> : ContainerOf<48, T> {};
template <class K, class V, class C, class A> struct Standard<std::map<K, V, C, A>> : ContainerOf<48, K, V> {};
template <class K, class V, class C, class A> struct Standard<std::multimap<K, V, C, A>> : ContainerOf<48, K, V> {};
template <class K, class V, class H, class E, class A> struct Standard<std::unordered_map<K, V, H, E, A>> : ContainerOf<48, K, V> {};
template <class K, class V, class H, class E, class A> struct Standard<std::unordered_multimap<K, V, H, E, A>> : ContainerOf<48, K, V> {};
template <class T, std::size_t n> struct Standard<std::array<T, n>> : MadeOf<Way::free_save_load, T> {};
template <class T> struct Standard<std::optional<T>> : MadeOf<Way::free_save_load, T> {};
template <class... Ts> struct Standard<std::variant<Ts...>> : MadeOf<Way::free_save_load, Ts...> {};
template <class A, class B> struct Standard<std::pair<A, B>> : MadeOf<Way::free_serialize, A, B> {};
template <class... Ts> struct Standard<std::tuple<Ts...>> : MadeOf<Way::free_serialize, Ts...> {};
template <class T> struct Standard<std::complex<T>> : MadeOf<Way::free_save_load, T> {};
template <class R, class P> struct Standard<std::chrono::duration<R, P>> : MadeOf<Way::free_save_load, R> {};
template <class C, class D> struct Standard<std::chrono::time_point<C, D>> : MadeOf<Way::free_save_load, D> {};
template <std::size_t n> struct Standard<std::bitset<n>> : MadeOf<Way::free_save_load> {};
template <> struct Standard<std::monostate> : MadeOf<Way::free_serialize> {};
// clang-format on

template <class T>
concept StandardType = Standard<T>::way != Way::none;

template <class T>
concept Container = requires {
  Standard<T>::element_bytes;
};

template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t n>
inline constexpr bool is_array<std::array<T, n>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
/// Sets and maps.
template <class T>
concept Keyed = requires {
  typename T::key_type;
};
/// Those whose order is known where they are read: a comparator with a state may be another one there.
template <class T>
concept Ordered = Keyed<T> && std::is_empty_v<typename T::key_compare>;
template <class T>
inline constexpr bool is_multi = false;
template <class T, class C, class A>
inline constexpr bool is_multi<std::multiset<T, C, A>> = true;
template <class K, class V, class C, class A>
inline constexpr bool is_multi<std::multimap<K, V, C, A>> = true;
template <class T, class H, class E, class A>
inline constexpr bool is_multi<std::unordered_multiset<T, H, E, A>> = true;
template <class K, class V, class H, class E, class A>
inline constexpr bool is_multi<std::unordered_multimap<K, V, H, E, A>> = true;
template <class T>
inline constexpr bool is_variant = false;
template <class... Ts>
inline constexpr bool is_variant<std::variant<Ts...>> = true;

/// Whether cereal would use this function. With `cereal::specialize` the user has named the one that counts.
template <class T, class Archive, class Has, class Named>
inline constexpr bool uses = Has::value &&
                             (Named::value || !cereal::traits::is_specialized<T, Archive>::value);

/// The function that writes T to an Archive. Members come first: a free one may have been meant for a base
/// class.
template <class T, class Archive = OutputArchive>
consteval Way find_way_out() {
  namespace has = cereal::traits;
  namespace named = cereal::traits::detail;
  using A = Archive;
  // clang-format off
  if constexpr (!std::is_class_v<T>) return Way::none;
  else if constexpr (uses<T, A, has::has_member_serialize<T, A>, named::is_specialized_member_serialize<T, A>>) return Way::member_serialize;
  else if constexpr (uses<T, A, has::has_member_save<T, A>, named::is_specialized_member_load_save<T, A>>) return Way::member_save_load;
  else if constexpr (uses<T, A, has::has_non_member_serialize<T, A>, named::is_specialized_non_member_serialize<T, A>>) return Way::free_serialize;
  else if constexpr (uses<T, A, has::has_non_member_save<T, A>, named::is_specialized_non_member_load_save<T, A>>) return Way::free_save_load;
  else if constexpr (uses<T, A, has::has_member_save_minimal<T, A>, named::is_specialized_member_load_save_minimal<T, A>>) return Way::member_minimal;
  else if constexpr (uses<T, A, has::has_non_member_save_minimal<T, A>, named::is_specialized_non_member_load_save_minimal<T, A>>) return Way::free_minimal;
  else if constexpr (uses<T, A, has::has_member_versioned_serialize<T, A>, named::is_specialized_member_serialize<T, A>>) return Way::member_serialize_versioned;
  else if constexpr (uses<T, A, has::has_non_member_versioned_serialize<T, A>, named::is_specialized_non_member_serialize<T, A>>) return Way::free_serialize_versioned;
  else if constexpr (uses<T, A, has::has_member_versioned_save<T, A>, named::is_specialized_member_load_save<T, A>>) return Way::member_save_load_versioned;
  else if constexpr (uses<T, A, has::has_non_member_versioned_save<T, A>, named::is_specialized_non_member_load_save<T, A>>) return Way::free_save_load_versioned;
  else return Way::none;
  // clang-format on
}

/// Whether what was written that way can be read that way.
template <class T, Way way, class Archive = InputArchive>
consteval bool has_way_in() {
  namespace has = cereal::traits;
  using A = Archive;
  // clang-format off
  if constexpr (way == Way::member_serialize) return has::has_member_serialize<T, A>::value;
  else if constexpr (way == Way::free_serialize) return has::has_non_member_serialize<T, A>::value;
  else if constexpr (way == Way::member_save_load) return has::has_member_load<T, A>::value;
  else if constexpr (way == Way::free_save_load) return has::has_non_member_load<T, A>::value;
  else if constexpr (way == Way::member_minimal) return has::has_member_load_minimal<T, A>::value;
  else if constexpr (way == Way::free_minimal) return has::has_non_member_load_minimal<T, A>::value;
  else if constexpr (way == Way::member_serialize_versioned) return has::has_member_versioned_serialize<T, A>::value;
  else if constexpr (way == Way::free_serialize_versioned) return has::has_non_member_versioned_serialize<T, A>::value;
  else if constexpr (way == Way::member_save_load_versioned) return has::has_member_versioned_load<T, A>::value;
  else if constexpr (way == Way::free_save_load_versioned) return has::has_non_member_versioned_load<T, A>::value;
  else return false;
  // clang-format on
}

template <class T>
consteval Way find_way() {
  if constexpr (StandardType<T>) {
    return Standard<T>::way;
  } else {
    constexpr Way way = find_way_out<T>();
    return has_way_in<T, way>() ? way : Way::none;
  }
}

template <class T>
inline constexpr Way way_of = find_way<T>();

/// What only means something in the process it was made in, even if somebody has a serialize function for it.
template <class T>
inline constexpr bool is_smart_pointer = false;
template <class T, class D>
inline constexpr bool is_smart_pointer<std::unique_ptr<T, D>> = true;
template <class T>
inline constexpr bool is_smart_pointer<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool is_smart_pointer<std::weak_ptr<T>> = true;

template <class T>
inline constexpr bool is_view = false;
template <class C, class R>
inline constexpr bool is_view<std::basic_string_view<C, R>> = true;
template <class T, std::size_t n>
inline constexpr bool is_view<std::span<T, n>> = true;
template <class T>
inline constexpr bool is_view<std::reference_wrapper<T>> = true;

template <class T>
inline constexpr bool is_bound_to_process =
    std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T> || is_smart_pointer<T> ||
    is_view<T> || std::is_polymorphic_v<T>;

/// Whether the function that would write T was written for T, and not for a base class of T whose fields it
/// knows alone.
template <class T>
struct Exactly {
  template <class U>
  requires std::is_same_v<U, T>
  operator U&() const;
};

template <class T, class Archive = OutputArchive>
consteval bool has_own_function() {
  // clang-format off
  if constexpr (way_of<T> == Way::none) return false;
  else if constexpr (way_of<T> == Way::free_serialize) return requires(Archive& archive, Exactly<T> value) { serialize(archive, value); };
  else if constexpr (way_of<T> == Way::free_save_load) return requires(Archive& archive, Exactly<T> value) { save(archive, value); };
  else if constexpr (requires { &T::template serialize<Archive>; }) return requires(void (T::*own)(Archive&)) { requires std::is_same_v<decltype(&T::template serialize<Archive>), decltype(own)>; };
  else if constexpr (requires { &T::template save<Archive>; }) return requires(void (T::*own)(Archive&) const) { requires std::is_same_v<decltype(&T::template save<Archive>), decltype(own)>; };
  else return true;
  // clang-format on
}

/// An enum for which every integer of its underlying type is a value.
template <class T>
concept FixedEnum = std::is_enum_v<T> && requires {
  T{std::underlying_type_t<T>{}};
};

template <class T>
concept HasIsValid = requires(T value) {
  { is_valid(value) } -> std::convertible_to<bool>;
};

// --- Blocks: types whose bytes are their encoding
// ------------------------------------------------------------------

template <class T>
consteval bool check_block();

/// Integers, floats, std::byte, and structs and arrays of nothing else and without padding. A bool or an enum
/// has bytes that are no value, so it is read one by one.
template <class T>
inline constexpr bool is_block = check_block<T>();

template <class T, class... Fields>
consteval bool check_block_of_fields(TypeList<Fields...> /*fields*/) {
  return ((is_block<Fields> && !std::is_const_v<Fields>)&&...) && (sizeof(Fields) + ... + 0) == sizeof(T);
}

template <class T>
consteval bool check_block() {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, long double>) {  // 6 of its 16 bytes are padding
    return false;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::byte>) {
    return true;
  } else if constexpr (std::is_array_v<T>) {
    return is_block<std::remove_extent_t<T>>;
  } else if constexpr (is_array<T>) {
    return is_block<typename T::value_type> && std::tuple_size_v<T> != 0;
  } else if constexpr (!StandardType<T> && std::is_trivially_copyable_v<T> && has_fields<T>) {
    return way_of<T> == Way::none && check_block_of_fields<T>(FieldTypes<T>{});
  } else {
    return false;
  }
}

/// A string or vector of blocks: one size tag, one copy.
template <class T>
inline constexpr bool is_block_sequence = false;
template <class C, class R, class A>
inline constexpr bool is_block_sequence<std::basic_string<C, R, A>> = true;
template <class T, class A>
inline constexpr bool is_block_sequence<std::vector<T, A>> = is_block<T>;

// --- The fewest bytes that a value can take on the wire
// ------------------------------------------------------------

template <class T>
consteval std::size_t find_wire_bytes_min();

template <class... Ts>
consteval std::size_t sum_wire_bytes_min(TypeList<Ts...> /*types*/) {
  return (std::size_t{0} + ... + find_wire_bytes_min<Ts>());
}

template <class... Ts>
consteval std::size_t least_wire_bytes_min(TypeList<Ts...> /*types*/) {
  return std::min({find_wire_bytes_min<Ts>()...});
}

inline constexpr std::size_t long_double_bytes =
    std::numeric_limits<long double>::digits == 64 ? 10 : sizeof(long double);

/// Stops at containers, and so at every way in which a type can contain itself. 0 where a user's function
/// decides.
template <class T>
consteval std::size_t find_wire_bytes_min() {
  if constexpr (std::is_same_v<T, long double>) {
    return long_double_bytes;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    return sizeof(T);
  } else if constexpr (Container<T>) {
    return sizeof(cereal::size_type);
  } else if constexpr (is_optional<T>) {
    return 1;
  } else if constexpr (is_variant<T>) {
    return sizeof(std::int32_t) + least_wire_bytes_min(typename Standard<T>::Parts{});
  } else if constexpr (is_array<T>) {
    return std::tuple_size_v<T> * find_wire_bytes_min<typename T::value_type>();
  } else if constexpr (StandardType<T>) {
    return sum_wire_bytes_min(typename Standard<T>::Parts{});
  } else if constexpr (way_of<T> == Way::none && has_fields<T>) {
    return sum_wire_bytes_min(FieldTypes<T>{});
  } else {
    return 0;
  }
}

template <class T>
inline constexpr std::size_t wire_bytes_min = find_wire_bytes_min<T>();

/// What one element of the container that is on its way costs in memory and on the wire.
struct ElementCost {
  std::size_t memory_bytes = 8;
  std::size_t wire_bytes = 1;
};

/// Nodes are charged only where the wire does not pay for them: an empty struct in a list costs its sender
/// nothing.
template <class T>
consteval ElementCost find_element_cost() {
  constexpr std::size_t wire = sum_wire_bytes_min(typename Standard<T>::Parts{});
  return {Standard<T>::element_bytes + (wire == 0 ? Standard<T>::overhead_bytes : 0), wire};
}

}  // namespace troupe::detail
