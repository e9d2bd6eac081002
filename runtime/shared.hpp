// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <troupe/runtime/shared_slots.hpp>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/type_id.hpp>
#include <utility>

namespace troupe {

/// One value that any number of processes read and change: a number, a bool, an enum, or a struct or
/// std::array of them.
///
/// A T of 1, 2, 4 or 8 bytes without padding is one atomic word (`is_lock_free`): no operation ever waits.
/// Any other is kept twice and changed under a robust lock of its own: it changes all at once or not at all,
/// a writer that is killed leaves the old value, and readers do not wait for writers. Copies are the same
/// value, in other processes too: as an argument of a Process, in a message to an actor, and in the child of
/// a plain fork. Threads: any. docs/shared.md.
template <class T>
class Shared {
  static_assert(detail::check_shareable<T>());

 public:
  static constexpr bool is_lock_free = detail::fits_word<T>;

  explicit Shared(T initial = T{}) : Shared{create(initial).value()} {}  ///< throws Failure
  /// `exhausted` without memory or descriptors; `invalid` for an enum's value for which is_valid is false.
  [[nodiscard]] static Result<Shared> create(const T& initial = T{});

  /// The present value. Only without is_lock_free can it fail: `malformed` if another process has
  /// overwritten it with what is no T; and if it changes all the time, as a Mutex's lock().
  [[nodiscard]] Result<T> read(Duration within = Duration::max()) const;

  /// Calls `change(value)` with a T& and keeps what that makes of it, which is returned. Nobody changes the
  /// value meanwhile; what throws leaves the old one. With is_lock_free `change` is called again when another
  /// process was faster, and nothing can fail. Without: errors as Mutex::lock, so `invalid` within another
  /// update of the same value; `malformed` as above; `invalid` for what create() would not take.
  template <class Change>
  Result<T> update(Change&& change, Duration within = Duration::max());

  // clang-format off
  [[nodiscard]] T load() const noexcept requires detail::fits_word<T> { return value_of(word().load(std::memory_order_acquire)); }
  void store(T value) noexcept requires detail::fits_word<T> { word().store(word_of(value), std::memory_order_release); }
  T exchange(T value) noexcept requires detail::fits_word<T> { return value_of(word().exchange(word_of(value))); }
  /// Compares bytes: 0.0 is not -0.0. If it was another value, `expected` is that.
  bool compare_exchange(T& expected, T desired) noexcept requires detail::fits_word<T>;
  /// The value before. Of integers it wraps around.
  T fetch_add(T more) noexcept requires detail::fits_word<T> && std::is_arithmetic_v<T> && (!std::same_as<T, bool>);
  T fetch_subtract(T less) noexcept requires detail::fits_word<T> && std::is_arithmetic_v<T> && (!std::same_as<T, bool>);
  // clang-format on

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    file_ = detail::load_shared(archive, spec);
  }

 private:
  static constexpr std::size_t value_bytes = detail::wire_bytes_min<T>;
  static constexpr detail::SharedSpec spec{
      .kind = detail::SharedKind::shared,
      .type = type_id<T>,
      .data_bytes = is_lock_free ? 0 : detail::SharedSlots::data_bytes(value_bytes)};
  using Word = detail::WordOf<sizeof(T)>;
  using Bytes = std::array<std::byte, value_bytes>;

  explicit Shared(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}

  [[nodiscard]] std::atomic<Word>& word() const noexcept { return file_->words<std::atomic<Word>>(); }
  [[nodiscard]] static Word word_of(const T& value) noexcept {
    Word word{};
    std::memcpy(&word, &value, sizeof word);
    return word;
  }
  [[nodiscard]] static T value_of(Word word) noexcept {
    if constexpr (std::is_same_v<T, bool>) {
      return word != 0;
    } else {
      T value{};
      std::memcpy(static_cast<void*>(&value), &word, sizeof word);
      return value;
    }
  }
  template <class Change>
  T change_word(Change&& change) noexcept(noexcept(change(std::declval<T&>())));
  [[nodiscard]] Result<void> write(const T& value);
  [[nodiscard]] Result<T> read_locked() const;

  std::shared_ptr<detail::SharedFile> file_;
};

template <class T>
Result<Shared<T>> Shared<T>::create(const T& initial) {
  auto file = detail::SharedFile::create(spec);
  if (!file) return failure(std::move(file));
  Shared shared{std::move(*file)};
  if constexpr (is_lock_free)
    shared.store(initial);
  else if (auto written = shared.write(initial); !written)
    return failure(std::move(written));
  return shared;
}

template <class T>
Result<T> Shared<T>::read(Duration within) const {
  if constexpr (is_lock_free) {
    return load();
  } else {
    Bytes bytes{};
    if (detail::SharedSlots{*file_}.read(bytes)) return decode<T>(bytes);
    Deadline deadline{within};
    detail::Guarded guard{file_->lock(), deadline};
    if (!guard) return tl::unexpected<Error>{std::move(guard.error())};
    return read_locked();
  }
}

template <class T>
template <class Change>
Result<T> Shared<T>::update(Change&& change, Duration within) {
  if constexpr (is_lock_free) {
    return change_word(std::forward<Change>(change));
  } else {
    Deadline deadline{within};
    detail::Guarded guard{file_->lock(), deadline};
    if (!guard) return tl::unexpected<Error>{std::move(guard.error())};
    auto value = read_locked();
    if (!value) return value;
    std::forward<Change>(change)(*value);
    if (auto written = write(*value); !written) return failure(std::move(written));
    return value;
  }
}

template <class T>
template <class Change>
T Shared<T>::change_word(Change&& change) noexcept(noexcept(change(std::declval<T&>()))) {
  for (Word before = word().load(std::memory_order_acquire);;) {
    T value = value_of(before);
    change(value);
    if (word().compare_exchange_weak(before, word_of(value), std::memory_order_acq_rel)) return value;
  }
}

template <class T>
Result<void> Shared<T>::write(const T& value) {
  Bytes bytes{};
  if (auto encoded = encode(value, bytes); !encoded) return failure(std::move(encoded));
  detail::SharedSlots{*file_}.write(bytes);
  return {};
}

template <class T>
Result<T> Shared<T>::read_locked() const {
  Bytes bytes{};
  if (!detail::SharedSlots{*file_}.read(bytes))
    return failure(ErrorKind::malformed, "shared value: it changes although it is locked");
  return decode<T>(bytes);
}

// clang-format off
template <class T>
bool Shared<T>::compare_exchange(T& expected, T desired) noexcept requires detail::fits_word<T> {
  Word before = word_of(expected);
  if (word().compare_exchange_strong(before, word_of(desired), std::memory_order_acq_rel)) return true;
  expected = value_of(before);
  return false;
}

template <class T>
T Shared<T>::fetch_add(T more) noexcept requires detail::fits_word<T> && std::is_arithmetic_v<T> && (!std::same_as<T, bool>) {
  if constexpr (std::is_integral_v<T>) {
    return value_of(word().fetch_add(word_of(more), std::memory_order_acq_rel));
  } else {
    T before{};
    change_word([&](T& value) noexcept { before = value; value += more; });
    return before;
  }
}

template <class T>
T Shared<T>::fetch_subtract(T less) noexcept requires detail::fits_word<T> && std::is_arithmetic_v<T> && (!std::same_as<T, bool>) {
  if constexpr (std::is_integral_v<T>) {
    return value_of(word().fetch_sub(word_of(less), std::memory_order_acq_rel));
  } else {
    return fetch_add(-less);
  }
}
// clang-format on

}  // namespace troupe
