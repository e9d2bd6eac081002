// SPDX-License-Identifier: MIT
#pragma once
// Internal. The memory of a lock or of a shared value.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <troupe/runtime/robust_lock.hpp>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::detail {

enum class SharedKind : std::uint32_t {
  mutex = 1,
  recursive_mutex,
  condition,
  semaphore,
  event,
  barrier,
  shared,
  shared_array,
};
[[nodiscard]] const char* to_string(SharedKind kind) noexcept;  ///< "mutex": for errors

/// What a file is for. Two processes that mean different things by one file are told so.
struct SharedSpec {
  SharedKind kind{};
  std::uint64_t type = 0;        ///< type_id of what lies in it
  std::uint64_t data_bytes = 0;  ///< behind the page of words
};

/// What the thread that holds a lock knows of it. Not shared: nobody else may decide when it is unlocked.
struct Holding {
  FutexWord depth{0};  ///< how often it has locked it through this mapping
  FutexWord unrepaired{0};
};

/// One object in a memory file of its own, as this process has it mapped: a page with its words and its lock,
/// and the data behind it.
///
/// Invariant: its size is fixed and its memory is there, whoever made it, so no look into it faults. What
/// stands in it is written by all processes that have it. A plain fork's child has it as well, since nothing
/// in it belongs to one process; what a thread of the parent holds, the child does not. Threads: any.
class SharedFile {
 public:
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  ~SharedFile();

  /// Of zeros. `exhausted` without memory, descriptors or addresses.
  [[nodiscard]] static Result<std::shared_ptr<SharedFile>> create(const SharedSpec& spec);
  /// From another process. `refused` for a file that could be cut short, that has holes, or that was made in
  /// another pid namespace, where threads have other numbers; `malformed` for one that is something else.
  /// `data_bytes` is the file's own where `spec` says 0.
  [[nodiscard]] static Result<std::shared_ptr<SharedFile>> open(OwnedFd file, const SharedSpec& spec);

  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }  ///< borrowed
  [[nodiscard]] std::span<std::byte> data() const noexcept { return {data_.data(), data_bytes_}; }
  [[nodiscard]] const RobustLock& lock() const noexcept { return lock_; }
  [[nodiscard]] Holding& holding() const noexcept { return holding_; }
  /// Between header and lock: atomics only, for which zeros are right.
  template <class Words>
  [[nodiscard]] Words& words() const noexcept {
    static_assert(sizeof(Words) <= words_bytes_max && std::is_trivially_destructible_v<Words>);
    return *std::launder(reinterpret_cast<Words*>(page_ + words_offset));
  }
  static constexpr std::size_t words_offset = 64;
  static constexpr std::size_t words_bytes_max = RobustLock::words_offset - words_offset;

 private:
  SharedFile(OwnedFd file, std::byte* page, MemoryMap data, std::size_t data_bytes) noexcept;
  [[nodiscard]] static Result<std::shared_ptr<SharedFile>> map(OwnedFd file, std::size_t data_bytes);

  OwnedFd file_;
  std::byte* page_;
  MemoryMap data_;
  std::size_t data_bytes_;
  RobustLock lock_;
  mutable Holding holding_{};
};

/// For the codec: what an object that was moved from or never made is not.
template <class Archive>
void save_shared(Archive& archive, const std::shared_ptr<SharedFile>& file) {
  if (!file) return archive.refuse({ErrorKind::invalid, 0, "a lock or shared value that was moved from"});
  archive.deposit(file->descriptor());
}
/// Throws Failure unless it is such a file.
template <class Archive>
std::shared_ptr<SharedFile> load_shared(Archive& archive, const SharedSpec& spec) {
  return SharedFile::open(archive.withdraw(), spec).value();
}

}  // namespace troupe::detail
