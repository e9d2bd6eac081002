// SPDX-License-Identifier: MIT
#include <troupe/zmq/whereabouts.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe::zmq::detail {
namespace {

/// Of the process itself, so global by nature. Written where no other thread has a post yet, or with what it
/// holds already, which is left as it is.
Whereabouts& kept() noexcept {
  static Whereabouts own;
  return own;
}

Result<std::string> boot_id() {
  constexpr auto path = "/proc/sys/kernel/random/boot_id";
  const auto file = troupe::detail::owned(::open(path, O_RDONLY | O_CLOEXEC), path);
  if (!file) return tl::unexpected<Error>{file.error()};
  std::array<char, 64> text{};
  const auto length = troupe::detail::retried([&] { return ::read(file->get(), text.data(), text.size()); });
  if (length == -1) return troupe::detail::system_failure(path);
  return std::string{text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

Result<Whereabouts> find_whereabouts() {
  auto name = boot_id();
  if (!name) return failure(std::move(name));
  struct stat space {};
  if (::stat("/proc/self/ns/pid", &space) == 0) *name += ' ' + std::to_string(space.st_ino);
  auto mark = own_mark();
  if (!mark) return failure(std::move(mark));
  return Whereabouts{XXH64(name->data(), name->size(), 0), *mark};
}

void keep_whereabouts(const Whereabouts& own) {
  if (kept() != own) kept() = own;
}

const Whereabouts& own_whereabouts() noexcept { return kept(); }

}  // namespace troupe::zmq::detail
