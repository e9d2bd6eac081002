// SPDX-License-Identifier: MIT
#pragma once
// Internal. Records as they lie in a packet from another process: bytes, until they were looked at.

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <troupe/transport/aggregate.hpp>
#include <troupe/transport/codec_traits.hpp>
#include <type_traits>

namespace troupe::control {

template <class T>
[[nodiscard]] bool is_sound(const std::byte* at);

/// Field by field, each where it lies in a T.
template <class T>
[[nodiscard]] bool has_sound_fields(const std::byte* at) {
  T shape{};
  const auto place = [&](const auto& field) {
    return at + (reinterpret_cast<const std::byte*>(std::addressof(field)) -
                 reinterpret_cast<const std::byte*>(std::addressof(shape)));
  };
  return detail::with_fields(shape, [&](const auto&... fields) {
    return (is_sound<std::remove_cvref_t<decltype(fields)>>(place(fields)) && ...);
  });
}

/// Whether these bytes may become a T: a bool of another value than 0 and 1 must not even be looked at, and
/// an enum that is none of its values would be taken for the rest of a switch. Enums without an is_valid()
/// are for their reader to judge.
template <class T>
[[nodiscard]] bool is_sound(const std::byte* at) {
  if constexpr (std::is_same_v<T, bool>) {
    return *at <= std::byte{1};
  } else if constexpr (std::is_enum_v<T> && detail::HasIsValid<T>) {
    T value{};
    std::memcpy(&value, at, sizeof value);
    return is_valid(value);
  } else if constexpr (detail::is_array<T>) {
    for (std::size_t i = 0; i < std::tuple_size_v<T>; ++i)
      if (!is_sound<typename T::value_type>(at + i * sizeof(typename T::value_type))) return false;
    return true;
  } else if constexpr (detail::Aggregate<T>) {
    return has_sound_fields<T>(at);
  } else {
    return true;
  }
}

/// The record at the front of a packet; none if the packet is too short for it, or holds what is none.
template <class Record>
[[nodiscard]] std::optional<Record> read(std::span<const std::byte> packet) {
  static_assert(std::is_trivially_copyable_v<Record>);
  if (packet.size() < sizeof(Record) || !is_sound<Record>(packet.data())) return std::nullopt;
  Record record;
  std::memcpy(static_cast<void*>(&record), packet.data(), sizeof record);
  return record;
}

}  // namespace troupe::control
