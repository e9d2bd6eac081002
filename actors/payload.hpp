// SPDX-License-Identifier: MIT
#pragma once
// Internal. Values on their way into a lane.

#include <cstddef>
#include <span>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>
#include <vector>

namespace troupe::detail {

class Apart;

/// A value that can write itself into a lane. Borrowed for one call.
struct Payload {
  const void* value = nullptr;
  Result<std::size_t> (*encode)(const void* value, std::span<std::byte> room,
                                DescriptorStore* store) = nullptr;
  std::size_t (*size)(const void* value) = nullptr;
  std::size_t apart_bytes = 0;  ///< of the value itself, if this is what stands in its place

  template <class T>
  static Payload of(const T& value) {
    return {&value,
            [](const void* v, std::span<std::byte> room, DescriptorStore* store) {
              return troupe::encode(*static_cast<const T*>(v), room, store);
            },
            [](const void* v) { return encoded_size(*static_cast<const T*>(v)); }};
  }
  /// Bytes that are encoded already.
  static Payload raw(const std::span<const std::byte>& bytes);
  /// What stands in the place of a value that is too large for a frame.
  static Payload of(const Apart& value);
};

/// A value that is too large for a frame: encoded once, straight into the memory that its receiver decodes it
/// from. What travels is a Blob, and behind the descriptors that the value itself holds, that Blob's.
class Apart {
 public:
  /// `bytes`: what encoding it takes. Errors of `encode` and of Blob::create.
  [[nodiscard]] static Result<Apart> create(const Payload& payload, std::size_t bytes);

 private:
  friend struct Payload;
  Apart(Blob body, std::vector<OwnedFd> descriptors) noexcept
      : body_{std::move(body)}, descriptors_{std::move(descriptors)} {}
  [[nodiscard]] Result<std::size_t> encode(std::span<std::byte> room, DescriptorStore& store) const;

  Blob body_;
  std::vector<OwnedFd> descriptors_;
};

}  // namespace troupe::detail
