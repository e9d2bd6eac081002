// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string_view>
#include <troupe/transport/input_archive.hpp>
#include <troupe/transport/output_archive.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/type_id.hpp>
#include <type_traits>

/// Messages to bytes and back, through cereal's functions for standard types and for your own.
///
/// A plain struct of up to 16 fields needs no code. Anything else has cereal's serialize, save and load, or
/// their minimal or versioned forms, as members or beside the class. What is encoded here decodes here, and
/// `encode` refuses what `decode` would not take. Bytes that are no encoding are refused, a set or map in
/// another order than its own included. See docs/codec.md.
namespace troupe {

namespace detail {

enum class Refusal {
  none,
  pointer,
  smart_pointer,
  view,
  polymorphic,
  c_array,
  base_class,
  too_many_fields,
  unknown_fields,
  unwritable,
  open_enum,
  no_default_constructor,
  no_function,
};

/// The first thing in a type that keeps it from travelling.
template <Refusal why, class Culprit>
struct Verdict {
  static constexpr Refusal refusal = why;
  using Type = Culprit;
};

template <class T, class... Outer>
consteval auto examine();

template <class... Outer>
consteval auto examine_all(TypeList<Outer...> /*outer*/, TypeList<> /*types*/) {
  return Verdict<Refusal::none, void>{};
}
template <class... Outer, class T, class... Rest>
consteval auto examine_all(TypeList<Outer...> outer, TypeList<T, Rest...> /*types*/) {
  using First = decltype(examine<T, Outer...>());
  if constexpr (First::refusal != Refusal::none)
    return First{};
  else
    return examine_all(outer, TypeList<Rest...>{});
}

/// cereal's own traits say yes to a vector of anything; this looks into it. `Outer` are the types that T is a
/// part of.
template <class T, class... Outer>
consteval auto examine() {
  // clang-format off
  if constexpr (std::is_reference_v<T> || std::is_const_v<T> || std::is_volatile_v<T>) return Verdict<Refusal::unwritable, T>{};
  else if constexpr (std::is_arithmetic_v<T> || (std::is_same_v<T, Outer> || ...)) return Verdict<Refusal::none, void>{};
  else if constexpr (std::is_enum_v<T>) return Verdict<FixedEnum<T> ? Refusal::none : Refusal::open_enum, T>{};
  else if constexpr (is_smart_pointer<T>) return Verdict<Refusal::smart_pointer, T>{};
  else if constexpr (is_view<T>) return Verdict<Refusal::view, T>{};
  else if constexpr (std::is_array_v<T>) return Verdict<Refusal::c_array, T>{};
  else if constexpr (std::is_polymorphic_v<T>) return Verdict<Refusal::polymorphic, T>{};
  else if constexpr (is_bound_to_process<T>) return Verdict<Refusal::pointer, T>{};
  else if constexpr (StandardType<T>) return examine_all(TypeList<Outer...>{}, typename Standard<T>::Parts{});
  else if constexpr (Aggregate<T> && HasBase<T> && !has_own_function<T>()) return Verdict<Refusal::base_class, T>{};
  else if constexpr (way_of<T> != Way::none) return Verdict<std::is_default_constructible_v<T> ? Refusal::none : Refusal::no_default_constructor, T>{};
  else if constexpr (!Aggregate<T>) return Verdict<Refusal::no_function, T>{};
  else if constexpr (field_count<T> == fields_too_many) return Verdict<Refusal::too_many_fields, T>{};
  else if constexpr (field_count<T> == fields_unknown) return Verdict<Refusal::unknown_fields, T>{};
  else return examine_all(TypeList<T, Outer...>{}, FieldTypes<T>{});
  // clang-format on
}

/// `Culprit` is the part that is meant by "it holds"; compilers print it.
template <Refusal why, class Culprit>
constexpr void refuse() {
  static_assert(why != Refusal::pointer,
                "troupe: this type cannot travel between processes: it holds a raw pointer, and an address "
                "means nothing elsewhere; hold the value itself");
  static_assert(why != Refusal::smart_pointer,
                "troupe: this type cannot travel between processes: it holds a unique, shared or weak "
                "pointer; hold the value itself, a std::optional or a std::vector");
  static_assert(why != Refusal::view,
                "troupe: this type cannot travel between processes: it holds a view of memory that the other "
                "process does not have; hold a std::string or a std::vector");
  static_assert(why != Refusal::polymorphic,
                "troupe: this type cannot travel between processes: it holds a class with virtual functions, "
                "and a sender may not choose what its receiver builds; hold a std::variant");
  static_assert(why != Refusal::c_array,
                "troupe: this type cannot travel between processes: it holds a C array; use std::array");
  static_assert(why != Refusal::base_class,
                "troupe: this type cannot travel between processes: it holds a struct with a base class; "
                "make the base a field, or give the struct a serialize function of its own");
  static_assert(why != Refusal::too_many_fields,
                "troupe: this type cannot travel between processes: it holds a struct of more than 16 "
                "fields; group some of them, or write a serialize function");
  static_assert(why != Refusal::unknown_fields,
                "troupe: this type cannot travel between processes: it holds a struct with a reference or "
                "with a field that {} cannot make; write a serialize function");
  static_assert(why != Refusal::unwritable,
                "troupe: this type cannot travel between processes: it holds something const or a reference, "
                "which cannot be filled on arrival");
  static_assert(why != Refusal::open_enum,
                "troupe: this type cannot travel between processes: it holds an enum without a fixed "
                "underlying type, for which most integers are undefined; write `enum Name : int`");
  static_assert(why != Refusal::no_default_constructor,
                "troupe: this type cannot travel between processes: it holds a class that cannot be made "
                "empty and then filled; give it a public default constructor");
  static_assert(why != Refusal::no_function,
                "troupe: this type cannot travel between processes: it holds a class that has no serialize "
                "function and is not a plain struct");
}

[[nodiscard]] Error no_room(std::string_view type, std::size_t needed, std::size_t room);
[[nodiscard]] Error wrong_size(std::string_view type, std::size_t size, std::size_t expected);
[[nodiscard]] Error not_encodable(std::string_view type, std::string_view why);
[[nodiscard]] Error not_deposited(std::string_view type, const Error& why);
[[nodiscard]] Error not_withdrawn(std::string_view type, const Error& why);
[[nodiscard]] Error no_memory(std::string_view what, std::string_view type);
[[nodiscard]] Error not_decodable(std::string_view type, std::string_view why, std::size_t at,
                                  std::size_t size);

}  // namespace detail

/// Whether T and all that it holds can be sent. A class with functions of its own is taken at its word.
template <class T>
concept Serializable = decltype(detail::examine<T>())::refusal == detail::Refusal::none;

/// Does not compile unless T can be sent; the compiler then says why and what to do.
template <class T>
constexpr void require_serializable() {
  using Verdict = decltype(detail::examine<T>());
  detail::refuse<Verdict::refusal, typename Verdict::Type>();
}

/// Writes `value` to the start of `out`; returns how many bytes that took. `full` if there is too little
/// room, `invalid` if `decode` would not take the value (see CodecLimits and is_valid) or its serialize
/// function threw.
///
/// Descriptors that the value holds are put into `store`, which outlives the call; without one such a value
/// is `refused`. A value that cannot be encoded leaves nothing there.
template <class T>
[[nodiscard]] Result<std::size_t> encode(const T& value, std::span<std::byte> out,
                                         [[maybe_unused]] DescriptorStore* store = nullptr) {
  require_serializable<T>();
  if constexpr (!Serializable<T>) {
    return 0;
  } else if constexpr (detail::is_block<T>) {
    if (out.size() < sizeof value)
      return tl::unexpected{detail::no_room(type_name<T>, sizeof value, out.size())};
    std::memcpy(out.data(), &value, sizeof value);
    return sizeof value;
  } else {
    detail::OutputArchive archive{out, store};
    try {
      archive(value);
    } catch (const std::bad_alloc&) {
      return tl::unexpected{detail::no_memory("encode", type_name<T>)};
    } catch (const std::exception& e) {
      return tl::unexpected{detail::not_encodable(type_name<T>, e.what())};
    } catch (...) {
      return tl::unexpected{detail::not_encodable(type_name<T>, "its serialize function threw")};
    }
    if (archive.fault() != nullptr)
      return tl::unexpected{detail::not_encodable(type_name<T>, archive.fault())};
    if (const auto deposited = archive.deposited(); !deposited)
      return tl::unexpected{detail::not_deposited(type_name<T>, deposited.error())};
    if (archive.overflowed())
      return tl::unexpected{detail::no_room(type_name<T>, archive.bytes(), out.size())};
    archive.keep_deposits();
    return archive.bytes();
  }
}

/// The room that `encode` needs for `value`; no store is needed to ask. Meaningless if a serialize function
/// throws; `encode` then says so.
template <class T>
[[nodiscard]] std::size_t encoded_size(const T& value) {
  require_serializable<T>();
  if constexpr (!Serializable<T>) {
    return 0;
  } else if constexpr (detail::is_block<T>) {
    return sizeof value;
  } else {
    detail::OutputArchive archive{{}};
    try {
      archive(value);
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
    return archive.bytes();
  }
}

/// The value of which `in` is the encoding, all of it. Anything else is `malformed`, whoever wrote it:
/// nothing is allocated beyond CodecLimits, and nothing is thrown but by the default constructor of T.
///
/// Descriptors that the value holds are taken out of `store`; `refused` without one, `malformed` for a name
/// that it does not know. `exhausted` when this process has no room for a descriptor, no memory, or a `load`
/// threw a Failure that says so: the same bytes may decode later.
template <class T>
[[nodiscard]] Result<T> decode(std::span<const std::byte> in,
                               [[maybe_unused]] DescriptorStore* store = nullptr) {
  require_serializable<T>();
  if constexpr (!Serializable<T>) {
    return {};
  } else if constexpr (detail::is_block<T>) {
    if (in.size() != sizeof(T)) {
      return tl::unexpected{detail::wrong_size(type_name<T>, in.size(), sizeof(T))};
    }
    Result<T> result{tl::in_place};
    std::memcpy(&*result, in.data(), sizeof(T));
    return result;
  } else {
    detail::InputArchive archive{in, store};
    Result<T> result{tl::in_place};
    const auto refuse = [&](std::string_view why) {
      result = tl::unexpected{
          detail::not_decodable(type_name<T>, why, in.size() - archive.bytes_left(), in.size())};
    };
    try {
      archive(*result);
      if (archive.bytes_left() != 0) refuse("bytes are left over");
    } catch (const detail::Malformed& e) {
      refuse(e.reason);
    } catch (const detail::NotWithdrawn& e) {
      result = tl::unexpected{detail::not_withdrawn(type_name<T>, e.error)};
    } catch (const std::bad_alloc&) {
      result = tl::unexpected{detail::no_memory("decode", type_name<T>)};
    } catch (const Failure& e) {
      if (e.error.kind == ErrorKind::exhausted)
        result = tl::unexpected{detail::not_withdrawn(type_name<T>, e.error)};
      else
        refuse(e.what());
    } catch (const std::exception& e) {
      refuse(e.what());
    } catch (...) {
      refuse("its serialize function threw");
    }
    return result;
  }
}

}  // namespace troupe
