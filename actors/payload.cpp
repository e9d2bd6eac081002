// SPDX-License-Identifier: MIT
#include <troupe/actors/payload.hpp>

#include <algorithm>
#include <troupe/runtime/control.hpp>

namespace troupe::detail {

Payload Payload::raw(const std::span<const std::byte>& bytes) {
  using Bytes = std::span<const std::byte>;
  return {&bytes,
          [](const void* v, std::span<std::byte> room, DescriptorStore* /*store*/) -> Result<std::size_t> {
            const Bytes& from = *static_cast<const Bytes*>(v);
            if (from.size() > room.size()) return failure(ErrorKind::full, "send: larger than the room");
            std::ranges::copy(from, room.begin());
            return from.size();
          },
          [](const void* v) { return static_cast<const Bytes*>(v)->size(); }};
}

Payload Payload::of(const Apart& value) {
  return {&value,
          [](const void* v, std::span<std::byte> room, DescriptorStore* store) {
            return static_cast<const Apart*>(v)->encode(room, *store);
          },
          [](const void* v) { return encoded_size(static_cast<const Apart*>(v)->body_); },
          value.body_.size()};
}

Result<Apart> Apart::create(const Payload& payload, std::size_t bytes) {
  DescriptorList descriptors{control::frame_descriptors_max - 1};
  Result<std::size_t> encoded{0};
  auto body = Blob::create(
      bytes, [&](std::span<std::byte> room) { encoded = payload.encode(payload.value, room, &descriptors); });
  if (!body) return failure(std::move(body));
  if (!encoded) return failure(std::move(encoded));
  if (*encoded != bytes)
    return failure(ErrorKind::invalid, "send: its serialize function writes now more, now less");
  return Apart{std::move(*body), std::move(descriptors).take()};
}

/// The value names its descriptors by their places, so they come first and in the same order.
Result<std::size_t> Apart::encode(std::span<std::byte> room, DescriptorStore& store) const {
  for (const OwnedFd& fd : descriptors_)
    if (auto name = store.put(fd.get()); !name) return failure(std::move(name));
  return troupe::encode(body_, room, &store);
}

}  // namespace troupe::detail
