// SPDX-License-Identifier: MIT
#include <troupe/runtime/task_result.hpp>

#include <cxxabi.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/syscall.hpp>
#include <typeinfo>

namespace troupe::detail {
namespace {

constexpr std::uint64_t magic = 0x746C757365724554;  // "TEresult"

enum class Outcome : std::uint32_t { none, value, error };

/// All of them: a write may take less than it was given.
Result<void> write_all(int file, std::span<const std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const auto written =
        retried([&] { return ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (written <= 0) return system_failure("keep a task's result");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::size_t>(written);
  }
  return {};
}

Result<void> read_all(int file, std::span<std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const auto got =
        retried([&] { return ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (got == -1) return system_failure("read a task's result");
    if (got == 0) return failure(ErrorKind::malformed, "task: its result is shorter than it says");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::size_t>(got);
  }
  return {};
}

std::string readable(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name{
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free};
  return status == 0 && name ? std::string{name.get()} : std::string{mangled};
}

}  // namespace

/// Written last, by one call: what is there without it is not there.
struct ResultFile::Header {
  std::uint64_t magic = 0;
  Outcome outcome{};
  ErrorKind kind{};
  std::int32_t errnum = 0;
  std::uint64_t bytes = 0;
};

Result<ResultFile> ResultFile::create() {
  auto file = owned(::memfd_create("troupe-result", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");
  if (!file) return failure(std::move(file));
  ResultFile made;
  made.file_ = std::make_shared<OwnedFd>(std::move(*file));
  return made;
}

Result<void> ResultFile::keep(const Header& header, std::span<const std::byte> bytes) const {
  if (auto room = allocate_memory(file_->get(), 0, sizeof header + bytes.size()); !room) return room;
  if (auto written = write_all(file_->get(), bytes, sizeof header); !written) return written;
  return write_all(file_->get(), std::as_bytes(std::span{&header, 1}), 0);
}

Result<void> ResultFile::keep_value(std::span<const std::byte> bytes) const {
  return keep({.magic = magic, .outcome = Outcome::value, .bytes = bytes.size()}, bytes);
}

Result<void> ResultFile::keep_error(const Error& error) const {
  return keep({.magic = magic,
               .outcome = Outcome::error,
               .kind = error.kind,
               .errnum = error.errnum,
               .bytes = error.text.size()},
              std::as_bytes(std::span{error.text}));
}

std::optional<Result<std::vector<std::byte>>> ResultFile::read() const {
  struct stat status {};
  if (::fstat(file_->get(), &status) == -1) return system_failure("look at a task's result");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  Header header;
  if (size < sizeof header) return std::nullopt;
  if (auto got = read_all(file_->get(), std::as_writable_bytes(std::span{&header, 1}), 0); !got)
    return failure(std::move(got));
  if (header.outcome == Outcome::none) return std::nullopt;
  const bool sound = header.magic == magic && header.outcome <= Outcome::error &&
                     header.bytes == size - sizeof header && is_valid(header.kind);
  if (!sound) return failure(ErrorKind::malformed, "task: what it left is no result");
  return outcome(header);
}

Result<std::vector<std::byte>> ResultFile::outcome(const Header& header) const {
  std::vector<std::byte> bytes(header.bytes);
  if (auto got = read_all(file_->get(), bytes, sizeof header); !got) return failure(std::move(got));
  if (header.outcome == Outcome::value) return bytes;
  const std::string text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return tl::unexpected<Error>{Error{header.kind, header.errnum, text}};
}

Error error_of(const std::exception& thrown) {
  if (const auto* const failure = dynamic_cast<const Failure*>(&thrown)) return failure->error;
  return {ErrorKind::down, 0,
          "task: its function threw " + readable(typeid(thrown).name()) + ": " + thrown.what()};
}

}  // namespace troupe::detail
