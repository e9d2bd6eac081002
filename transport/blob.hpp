// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>

namespace troupe {

/// Bytes that travel by reference: one piece of memory that any number of processes read, whatever its size.
///
/// Invariant: nobody can change it, and its memory is there. Both are enforced by the kernel's seals and are
/// checked by whoever receives one, so reading a blob of a stranger can neither fault nor see it change. It
/// has no name anywhere, and is freed with its last holder, however that dies. Copies share it. Any thread.
///
/// In a message, a reply, or an argument it takes 16 bytes. Each process that uses bytes() maps it once.
class Blob {
 public:
  Blob() = default;  ///< no bytes, no memory

  /// A copy of these bytes. `exhausted` without memory for them: never a fault later.
  [[nodiscard]] static Result<Blob> create(std::span<const std::byte> bytes);
  /// `fill` is called once, with the room as a std::span<std::byte> of zeros, to fill it in place.
  template <class Fill>
  [[nodiscard]] static Result<Blob> create(std::size_t bytes, Fill&& fill);

  [[nodiscard]] std::size_t size() const noexcept { return memory_ ? memory_->bytes : 0; }
  /// Valid while a copy of this blob lives in this process. Maps it at the first call: `exhausted` where
  /// addresses or mappings have run out.
  [[nodiscard]] Result<std::span<const std::byte>> bytes() const;

  template <class Archive>
  void save(Archive& archive) const {
    archive(std::uint64_t{size()});
    if (memory_) archive.deposit(memory_->file.get());
  }
  template <class Archive>
  void load(Archive& archive) {
    std::uint64_t bytes = 0;
    archive(bytes);
    *this = bytes == 0 ? Blob{} : received(archive.withdraw(), bytes);
  }

 private:
  friend class BlobWriter;
  struct Memory {
    OwnedFd file{};
    std::size_t bytes = 0;
    mutable std::mutex mapping{};
    mutable MemoryMap map{};
  };
  Blob(OwnedFd file, std::size_t bytes);
  /// Throws Failure unless it is what a Blob promises.
  [[nodiscard]] static Blob received(OwnedFd file, std::size_t bytes);

  std::shared_ptr<const Memory> memory_{};
};

/// A blob that is being written: large data goes straight into its place.
///
/// Owner: whoever fills it. Dropped unsealed, it is freed.
class BlobWriter {
 public:
  /// Room of `bytes` zeros. `exhausted` without memory for them.
  [[nodiscard]] static Result<BlobWriter> create(std::size_t bytes);

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {map_.data(), map_.size()}; }
  /// From now on nobody can change it, this writer included.
  [[nodiscard]] Result<Blob> seal() &&;

 private:
  BlobWriter(OwnedFd file, MemoryMap map) noexcept : file_{std::move(file)}, map_{std::move(map)} {}
  OwnedFd file_;
  MemoryMap map_;
};

template <class Fill>
Result<Blob> Blob::create(std::size_t bytes, Fill&& fill) {
  auto writer = BlobWriter::create(bytes);
  if (!writer) return failure(std::move(writer));
  std::forward<Fill>(fill)(writer->bytes());
  return std::move(*writer).seal();
}

}  // namespace troupe
