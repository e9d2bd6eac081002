// SPDX-License-Identifier: MIT
#pragma once
// Internal. How a shared value lies in memory: as one word, or twice.

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <troupe/runtime/shared_file.hpp>
#include <troupe/transport/codec.hpp>
#include <type_traits>

namespace troupe::detail {

template <class T>
consteval bool check_plain();

/// Numbers, bool, enums, and structs and std::arrays of them: their encoding has always the same length.
template <class T>
inline constexpr bool is_plain = check_plain<T>();

template <class... Fields>
consteval bool all_plain(TypeList<Fields...> /*fields*/) {
  return (is_plain<Fields> && ...);
}

template <class T>
consteval bool check_plain() {
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::byte> || FixedEnum<T>)
    return true;
  else if constexpr (is_array<T>)
    return is_plain<typename T::value_type>;
  else if constexpr (!StandardType<T> && way_of<T> == Way::none && has_fields<T>)
    return all_plain(FieldTypes<T>{});
  else
    return false;
}

/// True, or does not compile: then the compiler says why a T cannot be shared, and what to do.
template <class T>
consteval bool check_shareable() {
  require_serializable<T>();
  if constexpr (Serializable<T>)
    static_assert(is_plain<T>,
                  "troupe: this type cannot be shared in place: it holds something of no fixed size; share "
                  "numbers, bool, enums, and structs and std::arrays of them, or send it as a message");
  return true;
}
template <class T>
consteval bool check_element() {
  require_serializable<T>();
  if constexpr (Serializable<T>)
    static_assert(
        is_block<T>,
        "troupe: this type cannot be an element of a SharedArray: some of its bytes may be no value; "
        "use integers, floats, std::byte, and structs and std::arrays of them without padding");
  return true;
}

template <std::size_t bytes>
using WordOf =
    std::conditional_t<bytes == 1, std::uint8_t,
                       std::conditional_t<bytes == 2, std::uint16_t,
                                          std::conditional_t<bytes == 4, std::uint32_t, std::uint64_t>>>;

/// Whether T is one word, every value of which is a T: then no lock is needed.
template <class T>
inline constexpr bool fits_word = (is_block<T> || std::is_same_v<T, bool> ||
                                   (FixedEnum<T> && !HasIsValid<T>)) &&
                                  (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8) &&
                                  std::atomic<WordOf<sizeof(T)>>::is_always_lock_free;

/// The encoding of a value twice, and a version that says which one counts, so that a writer that dies
/// changes nothing, and a reader need not wait for one.
class SharedSlots {
 public:
  [[nodiscard]] static constexpr std::size_t data_bytes(std::size_t value_bytes) noexcept {
    return 2 * words_for(value_bytes) * sizeof(std::uint64_t);
  }
  explicit SharedSlots(const SharedFile& file) noexcept;

  /// False if it was changed meanwhile so often that it is time to take the lock.
  [[nodiscard]] bool read(std::span<std::byte> into) const noexcept;
  /// With the lock.
  void write(std::span<const std::byte> bytes) noexcept;

 private:
  using Word = std::atomic<std::uint64_t>;
  static_assert(Word::is_always_lock_free);
  [[nodiscard]] static constexpr std::size_t words_for(std::size_t bytes) noexcept {
    return (bytes + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t);
  }
  [[nodiscard]] Word* slot(std::uint64_t version) const noexcept;

  Word* version_;
  std::span<std::byte> data_;
};

}  // namespace troupe::detail
