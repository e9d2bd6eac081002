// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <utility>

namespace troupe {

/// Makes an anonymous shared memory file of exactly `bytes` zero bytes.
///
/// The pages are allocated at once, so that a full machine is an error here
/// (`exhausted`) and never a SIGBUS later; so is RLIMIT_FSIZE, whose SIGXFSZ is not risked. It has no name
/// anywhere, can be sealed, and is freed with its last descriptor and mapping, however their owners die.
[[nodiscard]] Result<OwnedFd> create_memory(const char* label, std::size_t bytes);

/// Allocates the pages of `bytes` bytes from `offset` on, within the file's size or beyond: `exhausted`
/// without memory, or where the limit of file sizes (ulimit -f) forbids it, of which the kernel would make a
/// signal that kills.
[[nodiscard]] Result<void> allocate_memory(int fd, std::size_t offset, std::size_t bytes);

/// Fixes the file's size and forbids every new writable mapping and every write,
/// for everybody and for good. A writable mapping that exists already goes on working.
[[nodiscard]] Result<void> seal_against_writers(int fd);

/// Fixes the file's size only, for a file that its writer has yet to map.
[[nodiscard]] Result<void> seal_size(int fd);

/// `refused` unless the size is fixed and exactly `bytes`: only then is it safe to map, whoever made it.
[[nodiscard]] Result<void> check_size(int fd, std::size_t bytes);

/// Whether it was sealed against writers.
[[nodiscard]] bool is_sealed(int fd) noexcept;

/// `refused` unless the file has all of those seals and exactly `bytes` bytes: only
/// then is it safe to read, since nobody can truncate it or punch holes under us.
[[nodiscard]] Result<void> check_sealed(int fd, std::size_t bytes);

/// Fixes content and size for good. `system` (EBUSY) while anybody has a writable mapping.
[[nodiscard]] Result<void> seal_for_good(int fd);

/// `refused` unless nobody can ever change the file again, it has exactly `bytes` bytes, and all of them are
/// allocated: reading a hole would take memory from its reader, and be a SIGBUS where there is none.
[[nodiscard]] Result<void> check_sealed_for_good(int fd, std::size_t bytes);

enum class Access {
  read,
  read_write,
  read_sealed,  ///< of what is sealed for good
};

/// Sole owner of a mapping. Not inherited by a fork, not part of a core dump.
class MemoryMap {
 public:
  MemoryMap() noexcept = default;
  MemoryMap(MemoryMap&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
  MemoryMap& operator=(MemoryMap&& other) noexcept;
  ~MemoryMap();

  /// Maps `bytes` of the file from `offset`, a multiple of a page.
  [[nodiscard]] static Result<MemoryMap> create(int fd, std::size_t bytes, Access access,
                                                std::size_t offset = 0);

  /// Maps `header + ring` bytes of the file, and the ring once more behind itself, so
  /// that a record that runs over the ring's end is contiguous. Both are multiples of a page.
  [[nodiscard]] static Result<MemoryMap> create_ring(int fd, std::size_t header, std::size_t ring,
                                                     Access access);

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] explicit operator bool() const noexcept { return bytes_.data() != nullptr; }

 private:
  explicit MemoryMap(std::span<std::byte> bytes) noexcept : bytes_{bytes} {}
  std::span<std::byte> bytes_{};
};

}  // namespace troupe
