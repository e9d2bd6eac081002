// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/result.hpp>

namespace troupe {

/// Bytes that change all at once or not at all, whenever their writer is killed: two
/// slots in a shared memory file and one version word that says which one counts.
///
/// The file is shared with nobody but the keeper, which holds it for the next
/// incarnation; so it is not sealed against writers. Owner: one thread of the one
/// process that maps it. Layout: docs/lane.md.
class KeptFile {
 public:
  [[nodiscard]] static std::size_t file_bytes(std::size_t slot_bytes) noexcept;

  /// Maps the file. `malformed` when the committed slot does not pass its check: a stray write has hit it.
  [[nodiscard]] static Result<KeptFile> create(int file, std::size_t slot_bytes);

  /// Number of commits ever made; 0: nothing was kept yet.
  [[nodiscard]] std::uint64_t version() const noexcept;
  /// What the last commit kept. Valid until next() is filled after the following commit.
  [[nodiscard]] std::span<const std::byte> committed() const noexcept;
  /// Room for the next commit; its bytes mean nothing until then.
  [[nodiscard]] std::span<std::byte> next() const noexcept;
  /// One store makes the first `bytes` bytes of next() the committed ones.
  void commit(std::size_t bytes) noexcept;

 private:
  struct Header;
  struct Slot;
  [[nodiscard]] Slot& slot(std::uint64_t version) const noexcept;
  [[nodiscard]] std::byte* content(std::uint64_t version) const noexcept;

  MemoryMap map_;
  Header* header_ = nullptr;
  std::size_t slot_bytes_ = 0;
};

}  // namespace troupe
