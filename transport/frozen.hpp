// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>
#include <type_traits>
#include <vector>

namespace troupe {

/// A value that is built once and read by every process that it is sent to.
///
/// Where T's bytes are its value (integers, floats, structs and arrays of them without padding), and for a
/// vector of such, all processes read the same memory: get() is a view of a Blob, whatever its size. Any
/// other T that can be sent is encoded once, and decoded once in each process, at the first get(); the copies
/// of a Frozen within a process share it. Any thread.
template <class T>
class Frozen {
  static constexpr bool is_vector = detail::is_block_sequence<T>;
  static constexpr bool is_in_place = is_vector || detail::is_block<T>;

 public:
  Frozen() = default;  ///< holds nothing

  /// Errors of `encode` and of Blob::create.
  [[nodiscard]] static Result<Frozen> create(const T& value);

  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

  /// The value: `const T&`, or for a vector of plain values a std::span. Valid while a copy of this Frozen
  /// lives in this process. Throws Failure where there is no memory to map or decode it in. Not for one that
  /// holds nothing.
  [[nodiscard]] decltype(auto) get() const {
    TROUPE_ASSERT(state_ != nullptr);
    if constexpr (is_vector) {
      using Element = const typename T::value_type;
      const auto bytes = state_->blob.bytes().value();
      return std::span<Element>{reinterpret_cast<Element*>(bytes.data()), bytes.size() / sizeof(Element)};
    } else if constexpr (is_in_place) {
      return *reinterpret_cast<const T*>(state_->blob.bytes().value().data());
    } else {
      return decoded();
    }
  }

  template <class Archive>
  void save(Archive& archive) const {
    archive(state_ != nullptr);
    if (state_) archive(state_->blob);
  }
  template <class Archive>
  void load(Archive& archive) {
    bool is_there = false;
    archive(is_there);
    Blob blob;
    if (is_there) archive(blob);
    state_ = is_there ? checked(std::move(blob)).value() : nullptr;
  }

 private:
  struct Nothing {};
  struct State {
    Blob blob{};
    std::mutex decoding{};
    std::conditional_t<is_in_place, Nothing, std::optional<T>> value{};
  };

  static Result<std::shared_ptr<State>> checked(Blob blob);
  const T& decoded() const;

  std::shared_ptr<State> state_{};
};

template <class T>
Result<Frozen<T>> Frozen<T>::create(const T& value) {
  require_serializable<T>();
  Result<Blob> blob{};
  if constexpr (is_vector)
    blob = Blob::create(std::as_bytes(std::span{value}));
  else if constexpr (is_in_place)
    blob = Blob::create(std::as_bytes(std::span{&value, 1}));
  else {
    Result<std::size_t> encoded{0};
    blob =
        Blob::create(encoded_size(value), [&](std::span<std::byte> room) { encoded = encode(value, room); });
    if (!encoded) return failure(std::move(encoded));
  }
  if (!blob) return failure(std::move(blob));
  auto state = checked(std::move(*blob));
  if (!state) return failure(std::move(state));
  Frozen frozen;
  frozen.state_ = std::move(*state);
  return frozen;
}

/// What comes from another process may be of any size.
template <class T>
auto Frozen<T>::checked(Blob blob) -> Result<std::shared_ptr<State>> {
  bool fits = true;
  if constexpr (is_vector)
    fits = blob.size() % sizeof(typename T::value_type) == 0;
  else if constexpr (is_in_place)
    fits = blob.size() == sizeof(T);
  if (!fits)
    return failure(ErrorKind::malformed, "frozen " + std::string{type_name<T>} + ": a blob of " +
                                             std::to_string(blob.size()) + " bytes is none");
  auto state = std::make_shared<State>();
  state->blob = std::move(blob);
  return state;
}

template <class T>
const T& Frozen<T>::decoded() const {
  const std::lock_guard lock{state_->decoding};
  if (!state_->value) state_->value.emplace(decode<T>(state_->blob.bytes().value()).value());
  return *state_->value;
}

}  // namespace troupe
