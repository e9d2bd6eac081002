// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/shared_slots.hpp>
#include <troupe/transport/type_id.hpp>
#include <utility>

namespace troupe {

struct SharedArrayOptions {
  std::size_t elements = 0;  ///< at least 1; all zero at first
};

/// Elements that any number of processes read and write in place: integers, floats, std::byte, and structs
/// and std::arrays of them without padding, of which every bit pattern is a value.
///
/// Nothing orders plain reads and writes of two processes: give each its own slice(), use atomic(), or hold
/// lock(). A writer that dies leaves what it has written so far; the next holder of lock() is told by
/// owner_died(). Copies are the same array, in other processes too: as an argument of a Process, in a message
/// to an actor, and in the child of a plain fork. Threads: any. docs/shared.md.
template <class T>
class SharedArray {
  static_assert(detail::check_element<T>());

 public:
  /// Throws Failure where create() is an Error.
  explicit SharedArray(SharedArrayOptions options = {.elements = 1}) : SharedArray{create(options).value()} {}
  /// With a copy of these elements.
  explicit SharedArray(std::span<const T> elements) : SharedArray{SharedArrayOptions{elements.size()}} {
    std::copy(elements.begin(), elements.end(), span().begin());
  }
  /// `invalid` for 0 elements or more than 2^40 bytes; `exhausted` without memory, descriptors or addresses:
  /// never a fault later.
  [[nodiscard]] static Result<SharedArray> create(SharedArrayOptions options);

  [[nodiscard]] std::size_t size() const noexcept { return file_->data().size() / sizeof(T); }
  /// Valid while a copy of this array lives in this process; likewise below.
  [[nodiscard]] std::span<T> span() const noexcept {
    return {reinterpret_cast<T*>(file_->data().data()), size()};
  }
  [[nodiscard]] T& operator[](std::size_t index) const noexcept { return span()[index]; }
  /// Throws Failure (`invalid`) beyond the end.
  [[nodiscard]] T& at(std::size_t index) const {
    if (index >= size())
      throw Failure{{ErrorKind::invalid, 0,
                     "shared array: element " + std::to_string(index) + " of " + std::to_string(size())}};
    return span()[index];
  }
  /// The element as an atomic, for all that std::atomic can do. Throws like at().
  [[nodiscard]] std::atomic_ref<T> atomic(std::size_t index) const requires detail::fits_word<T> {
    return std::atomic_ref<T>{at(index)};
  }
  /// The part-th of `parts` slices that differ by one element at most and together are the array. Empty for
  /// a part that does not exist.
  [[nodiscard]] std::span<T> slice(std::size_t part, std::size_t parts) const noexcept {
    if (part >= parts) return {};
    const std::size_t each = size() / parts;
    const std::size_t longer = size() % parts;
    return span().subspan(part * each + std::min(part, longer), each + (part < longer ? 1 : 0));
  }

  /// A mutex that belongs to the array, with all that Mutex::lock promises.
  [[nodiscard]] Result<Lock> lock(Duration within = Duration::max()) const {
    return Lock::take(file_, Deadline{within});
  }

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, file_);
  }
  template <class Archive>
  void load(Archive& archive) {
    auto file = detail::load_shared(archive, spec_of(0));
    if (file->data().empty() || file->data().size() % sizeof(T) != 0)
      throw Failure{{ErrorKind::malformed, 0, "shared array: its file does not hold whole elements"}};
    file_ = std::move(file);
  }

 private:
  static constexpr detail::SharedSpec spec_of(std::size_t bytes) noexcept {
    return {.kind = detail::SharedKind::shared_array, .type = type_id<T>, .data_bytes = bytes};
  }
  explicit SharedArray(std::shared_ptr<detail::SharedFile> file) noexcept : file_{std::move(file)} {}
  std::shared_ptr<detail::SharedFile> file_;
};

template <class T>
Result<SharedArray<T>> SharedArray<T>::create(SharedArrayOptions options) {
  if (options.elements == 0 || options.elements > SIZE_MAX / sizeof(T))
    return failure(ErrorKind::invalid,
                   "shared array: " + std::to_string(options.elements) + " elements make no array");
  auto file = detail::SharedFile::create(spec_of(options.elements * sizeof(T)));
  if (!file) return failure(std::move(file));
  return SharedArray{std::move(*file)};
}

}  // namespace troupe
