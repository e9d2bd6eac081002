// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>
#include <vector>

#include "manifest.hpp"

namespace verify {

/// An MD5 sum under way, as a plain value that any process can go on with. Every value is sound:
/// how full `block` is follows from `bytes`.
struct Md5State {
  std::array<std::uint32_t, 4> words{0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U};
  std::uint64_t bytes = 0;
  std::array<std::uint8_t, 64> block{};

  void update(std::span<const std::byte> data) noexcept;
  [[nodiscard]] Digest digest() const noexcept;

  friend bool operator==(const Md5State&, const Md5State&) = default;
};

/// md5sum says `OK`, `FAILED`, and for the last two `FAILED open or read`.
enum class Verdict : std::uint8_t { ok, differing, missing, unreadable };

[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

/// Whether a file is still the one it was.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// How far a check has come: kept state, from which another process goes on.
struct Checkpoint {
  FileIdentity identity{};
  std::uint64_t offset = 0;
  Md5State md5{};
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

/// Checks files below one root, one after the other, in steps that never wait for a writer.
///
/// Names are followed like md5sum follows them in the root folder: through symbolic links, absolute
/// names as they are. Only regular files are opened; a folder, fifo, socket or device is unreadable,
/// and opening it could do something. `missing` is what has no file at its name (ENOENT, ENOTDIR).
class FileCheck {
 public:
  static constexpr std::size_t step_bytes_max = 256 * 1024;

  [[nodiscard]] static troupe::Result<FileCheck> create(const std::string& root);

  /// Starts on an entry: at `from` if that speaks of this file and the file has not changed since,
  /// else at its beginning.
  void begin(const Entry& entry, const Checkpoint& from = {});
  /// Reads on; the verdict once there is one, and then that again until the next `begin`.
  [[nodiscard]] std::optional<Verdict> step();

  /// Where `begin` can go on; sound between any two steps.
  [[nodiscard]] const Checkpoint& checkpoint() const noexcept { return checkpoint_; }
  /// What was read since `begin`.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  explicit FileCheck(troupe::OwnedFd root) : root_{std::move(root)}, buffer_(step_bytes_max) {}
  [[nodiscard]] std::optional<Verdict> open(const char* path, const Checkpoint& from);
  [[nodiscard]] std::optional<Verdict> read_step();

  troupe::OwnedFd root_;
  std::vector<std::byte> buffer_;
  troupe::OwnedFd file_{};
  Digest expected_{};
  Checkpoint checkpoint_{};
  std::uint64_t bytes_read_ = 0;
  std::optional<Verdict> verdict_ = Verdict::missing;
};

}  // namespace verify
