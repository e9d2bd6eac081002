// SPDX-License-Identifier: MIT
#include <troupe/runtime/shared_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::size_t page_bytes = RobustLock::page_bytes;
constexpr std::uint64_t magic = 0x4552'4148'5350'5254;  // "TRPSHARE" as bytes
constexpr std::uint32_t layout_version = 1;
constexpr std::uint64_t data_bytes_max = std::uint64_t{1} << 40U;
// Everybody writes into it, so only its size is fixed, and that nobody adds a seal.
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

/// At the start of the page; written once. docs/shared.md.
struct Header {
  std::uint64_t magic_number;
  std::uint32_t version;
  std::uint32_t kind;
  std::uint64_t type;
  std::uint64_t data_bytes;
  std::uint64_t pid_namespace;
};
static_assert(sizeof(Header) <= SharedFile::words_offset);

constexpr std::size_t file_bytes(std::uint64_t data_bytes) noexcept {
  return page_bytes + (data_bytes + page_bytes - 1) / page_bytes * page_bytes;
}

/// In another one threads have other numbers, and a lock word would name somebody else. 0 without /proc.
Result<std::uint64_t> own_pid_namespace() {
  struct stat status {};
  if (::stat("/proc/self/ns/pid", &status) == 0) return status.st_ino;
  if (errno == ENOENT) return 0;
  return system_failure("look at the pid namespace");
}

tl::unexpected<Error> is_no(SharedKind kind, ErrorKind error, const std::string& why) {
  return failure(error, std::string{to_string(kind)} + ": " + why);
}

/// A copy: what is checked must be what is used.
Result<Header> header_in(int file, SharedKind kind) {
  Header header{};
  const auto got = retried([&] { return ::pread(file, &header, sizeof header, 0); });
  if (got == -1) return system_failure(std::string{to_string(kind)} + ": read its file");
  if (static_cast<std::size_t>(got) != sizeof header)
    return is_no(kind, ErrorKind::malformed, "its file is too short");
  return header;
}

Result<void> check_header(const Header& header, const SharedSpec& spec) {
  const SharedKind kind = spec.kind;
  if (header.magic_number != magic || header.version != layout_version)
    return is_no(kind, ErrorKind::malformed, "its file is no such thing, or of another version");
  if (header.kind != static_cast<std::uint32_t>(kind))
    return is_no(kind, ErrorKind::malformed, "its file is something else");
  if (header.type != spec.type)
    return is_no(kind, ErrorKind::malformed, "its file holds values of another type");
  if (header.data_bytes > data_bytes_max || (spec.data_bytes != 0 && header.data_bytes != spec.data_bytes))
    return is_no(kind, ErrorKind::malformed, "its file holds an impossible number of bytes");
  const auto own = own_pid_namespace();
  if (!own) return tl::unexpected<Error>{own.error()};
  if (header.pid_namespace != *own)
    return is_no(kind, ErrorKind::refused, "it was made in another pid namespace");
  return {};
}

/// A hole would be filled at the first look, and be a SIGBUS where there is no memory for it.
Result<void> check_memory(int file, std::size_t bytes, SharedKind kind) {
  constexpr std::size_t block_bytes = 512;  // of st_blocks, whatever the file system's own are
  if (auto sound = check_size(file, bytes); !sound) return sound;
  struct stat status {};
  if (::fstat(file, &status) == -1) return system_failure("fstat of shared memory");
  if (static_cast<std::size_t>(status.st_blocks) < bytes / block_bytes)
    return is_no(kind, ErrorKind::refused, "its file has holes");
  return {};
}

}  // namespace

const char* to_string(SharedKind kind) noexcept {
  switch (kind) {
    case SharedKind::mutex: return "mutex";
    case SharedKind::recursive_mutex: return "recursive mutex";
    case SharedKind::condition: return "condition";
    case SharedKind::semaphore: return "semaphore";
    case SharedKind::event: return "event";
    case SharedKind::barrier: return "barrier";
    case SharedKind::shared: return "shared value";
    case SharedKind::shared_array: return "shared array";
  }
  return "shared file";
}

SharedFile::SharedFile(OwnedFd file, std::byte* page, MemoryMap data, std::size_t data_bytes) noexcept
    : file_{std::move(file)}, page_{page}, data_{std::move(data)}, data_bytes_{data_bytes}, lock_{page} {}

SharedFile::~SharedFile() { ::munmap(page_, 2 * page_bytes); }

Result<std::shared_ptr<SharedFile>> SharedFile::map(OwnedFd file, std::size_t data_bytes) {
  if (auto known = check_robust_lists(); !known) return failure(std::move(known));
  MemoryMap data;
  if (data_bytes != 0) {
    const std::size_t bytes = file_bytes(data_bytes) - page_bytes;
    auto mapped = MemoryMap::create(file.get(), bytes, Access::read_write, page_bytes);
    if (!mapped) return failure(std::move(mapped));
    ::madvise(mapped->data(), mapped->size(), MADV_DOFORK);
    data = std::move(*mapped);
  }
  // The shared page, and the private one behind it for the lock's link.
  constexpr int access = PROT_READ | PROT_WRITE;
  void* const at = ::mmap(nullptr, 2 * page_bytes, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return system_failure("map shared memory");
  if (::mmap(at, page_bytes, access, MAP_SHARED | MAP_FIXED, file.get(), 0) == MAP_FAILED) {
    const int error = errno;
    ::munmap(at, 2 * page_bytes);
    return system_failure("map shared memory", error);
  }
  ::madvise(at, page_bytes, MADV_DONTDUMP);
  return std::shared_ptr<SharedFile>{
      new SharedFile{std::move(file), static_cast<std::byte*>(at), std::move(data), data_bytes}};
}

Result<std::shared_ptr<SharedFile>> SharedFile::create(const SharedSpec& spec) {
  if (spec.data_bytes > data_bytes_max)
    return is_no(spec.kind, ErrorKind::invalid, "it would be larger than 2^40 bytes");
  const auto pid_namespace = own_pid_namespace();
  if (!pid_namespace) return tl::unexpected<Error>{pid_namespace.error()};
  auto memory = create_memory("troupe-shared", file_bytes(spec.data_bytes));
  if (!memory) return failure(std::move(memory));
  if (::fcntl(memory->get(), F_ADD_SEALS, seals) == -1)
    return system_failure("seal the size of shared memory");
  auto file = map(std::move(*memory), spec.data_bytes);
  if (!file) return file;
  *reinterpret_cast<Header*>((*file)->page_) = {.magic_number = magic,
                                                .version = layout_version,
                                                .kind = static_cast<std::uint32_t>(spec.kind),
                                                .type = spec.type,
                                                .data_bytes = spec.data_bytes,
                                                .pid_namespace = *pid_namespace};
  return file;
}

Result<std::shared_ptr<SharedFile>> SharedFile::open(OwnedFd file, const SharedSpec& spec) {
  const auto header = header_in(file.get(), spec.kind);
  if (!header) return tl::unexpected<Error>{header.error()};
  if (auto sound = check_header(*header, spec); !sound) return failure(std::move(sound));
  if (auto there = check_memory(file.get(), file_bytes(header->data_bytes), spec.kind); !there)
    return failure(std::move(there));
  return map(std::move(file), header->data_bytes);
}

}  // namespace troupe::detail
