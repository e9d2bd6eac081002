// SPDX-License-Identifier: MIT
#include <troupe/transport/memory_map.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr int all_seals = size_seals | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int seals_for_good = size_seals | F_SEAL_WRITE | F_SEAL_SEAL;

constexpr int protection(Access access) noexcept {
  return access == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
}

/// Children of a plain fork must not write into their parent's lanes; and a crash dump needs no queues, but
/// may have them.
Result<void> keep_private(std::span<std::byte> bytes) {
  if (::madvise(bytes.data(), bytes.size(), MADV_DONTFORK) == -1)
    return detail::system_failure("keep shared memory from forks");
  ::madvise(bytes.data(), bytes.size(), MADV_DONTDUMP);
  return {};
}

/// Beyond this limit the kernel would not only refuse but send SIGXFSZ, which kills.
Result<void> check_file_size_limit(std::size_t bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == -1) return detail::system_failure("getrlimit");
  if (TROUPE_MUTANT(size_limit_unchecked) || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur)
    return {};
  return tl::unexpected<Error>{Error{ErrorKind::exhausted, EFBIG,
                                     "shared memory of " + std::to_string(bytes) +
                                         " bytes: more than the limit of " + std::to_string(limit.rlim_cur) +
                                         " for a file; try ulimit -f"}};
}

Result<void> check(int fd, std::size_t bytes, int wanted_seals, const char* unsealed) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals == -1 && errno == EINVAL) return failure(ErrorKind::refused, "shared memory: not a memory file");
  if (seals == -1) return detail::system_failure("read the seals of shared memory");
  if ((seals & wanted_seals) != wanted_seals && !TROUPE_MUTANT(seals_unchecked))
    return failure(ErrorKind::refused, std::string{"shared memory: "} + unsealed);
  struct stat status {};
  if (::fstat(fd, &status) == -1) return detail::system_failure("fstat of shared memory");
  if (status.st_size != static_cast<off_t>(bytes))
    return failure(ErrorKind::refused, "shared memory: " + std::to_string(status.st_size) + " bytes where " +
                                           std::to_string(bytes) + " were announced");
  return {};
}

}  // namespace

Result<void> allocate_memory(int fd, std::size_t offset, std::size_t bytes) {
  // A signal undoes the call that it interrupts, so a large file is allocated in parts: then a storm of
  // signals delays it, and cannot keep it from ever being done.
  constexpr std::size_t part_bytes = std::size_t{1} << 20U;
  if (auto allowed = check_file_size_limit(offset + bytes); !allowed) return allowed;
  std::size_t done = 0;
  do {
    const std::size_t part = std::min(part_bytes, bytes - done);
    const int error = ::posix_fallocate(fd, static_cast<off_t>(offset + done), static_cast<off_t>(part));
    if (error != 0 && error != EINTR)
      return detail::system_failure("shared memory of " + std::to_string(bytes) + " bytes", error);
    if (error == 0) done += part;
  } while (done < bytes);
  return {};
}

Result<OwnedFd> create_memory(const char* label, std::size_t bytes) {
  auto file = detail::owned(::memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
  if (!file) return file;
  if (auto room = allocate_memory(file->get(), 0, bytes); !room) return failure(std::move(room));
  return file;
}

Result<void> seal_against_writers(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, all_seals) == -1) return detail::system_failure("seal shared memory");
  return {};
}

Result<void> seal_size(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, size_seals) == -1)
    return detail::system_failure("seal the size of shared memory");
  return {};
}

bool is_sealed(int fd) noexcept {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals != -1 && (seals & all_seals) == all_seals;
}

Result<void> check_size(int fd, std::size_t bytes) {
  return check(fd, bytes, size_seals, "its size is not fixed");
}

Result<void> check_sealed(int fd, std::size_t bytes) {
  return check(fd, bytes, all_seals, "not sealed, so its writer could cut it short under its reader");
}

Result<void> seal_for_good(int fd) {
  const int seals = TROUPE_MUTANT(write_seal_missing) ? size_seals | F_SEAL_SEAL : seals_for_good;
  if (::fcntl(fd, F_ADD_SEALS, seals) == -1) return detail::system_failure("seal shared memory for good");
  return {};
}

Result<void> check_sealed_for_good(int fd, std::size_t bytes) {
  constexpr std::size_t block_bytes = 512;  // of st_blocks, whatever the file system's own are
  if (auto sound =
          check(fd, bytes, seals_for_good, "not sealed, so its content could change under its reader");
      !sound)
    return sound;
  struct stat status {};
  if (::fstat(fd, &status) == -1) return detail::system_failure("fstat of shared memory");
  if (static_cast<std::size_t>(status.st_blocks) < bytes / block_bytes)
    return failure(ErrorKind::refused, "shared memory: it has holes, for which its reader would have to pay");
  return {};
}

MemoryMap& MemoryMap::operator=(MemoryMap&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryMap::~MemoryMap() {
  if (bytes_.data() != nullptr) ::munmap(bytes_.data(), bytes_.size());
}

Result<MemoryMap> MemoryMap::create(int fd, std::size_t bytes, Access access, std::size_t offset) {
  const auto map_as = [&](int sharing) {
    return ::mmap(nullptr, bytes, protection(access), sharing, fd, static_cast<off_t>(offset));
  };
  void* at = map_as(MAP_SHARED);
  // Kernels before 6.7 take that for a way to write; a private mapping shows the same pages.
  if (at == MAP_FAILED && errno == EPERM && access == Access::read_sealed) at = map_as(MAP_PRIVATE);
  if (at == MAP_FAILED) return detail::system_failure("map shared memory");
  MemoryMap map{std::span{static_cast<std::byte*>(at), bytes}};
  if (auto is_private = keep_private(map.bytes_); !is_private) return failure(std::move(is_private));
  return map;
}

Result<MemoryMap> MemoryMap::create_ring(int fd, std::size_t header, std::size_t ring, Access access) {
  const std::size_t bytes = header + 2 * ring;
  void* const at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return detail::system_failure("reserve addresses for shared memory");
  MemoryMap map{std::span{static_cast<std::byte*>(at), bytes}};
  const auto place = [&](std::size_t where, std::size_t length, std::size_t offset) {
    return ::mmap(map.data() + where, length, protection(access), MAP_SHARED | MAP_FIXED, fd,
                  static_cast<off_t>(offset)) != MAP_FAILED;
  };
  if (!place(0, header + ring, 0) || !place(header + ring, ring, header))
    return detail::system_failure("map shared memory");
  if (auto is_private = keep_private(map.bytes_); !is_private) return failure(std::move(is_private));
  return map;
}

}  // namespace troupe
