// SPDX-License-Identifier: MIT
#include <troupe/transport/liveness.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

/// Field 22 of a /proc/<pid>/stat (proc(5)), counted from behind the name, which may hold anything.
std::uint64_t start_in(const std::string& path) {
  constexpr int fields_between = 20;  // from the state, the third field, to the start
  const OwnedFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return 0;
  std::array<char, 1024> bytes{};
  const auto length = detail::retried([&] { return ::read(file.get(), bytes.data(), bytes.size()); });
  if (length <= 0) return 0;
  std::string_view text{bytes.data(), static_cast<std::size_t>(length)};
  const auto name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return 0;
  text.remove_prefix(name_end + 1);
  for (int i = 0; i < fields_between; ++i) {
    const auto space = text.find(' ');
    if (space == std::string_view::npos) return 0;
    text.remove_prefix(space + 1);
  }
  std::uint64_t started = 0;
  std::from_chars(text.data(), text.data() + text.size(), started);
  return started;
}

tl::unexpected<Error> ended(int pid) {
  return failure(ErrorKind::down, "process " + std::to_string(pid) + ": it has ended");
}

}  // namespace

std::uint64_t started_at(std::int32_t pid) {
  return pid <= 0 ? 0 : start_in("/proc/" + std::to_string(pid) + "/stat");
}

ProcessMark own_mark() { return {::getpid(), start_in("/proc/self/stat")}; }

Result<OwnedFd> watch_process(const ProcessMark& mark, std::uint64_t started_mask) {
  if (mark.pid <= 0) return ended(mark.pid);
  auto pidfd = detail::open_pidfd(mark.pid);
  if (!pidfd) {
    if (pidfd.error().errnum == ESRCH) return ended(mark.pid);
    return pidfd;
  }
  // Whose number this is is looked up after opening: had the process ended before, the number may be
  // another's, and from here on the descriptor cannot change its meaning.
  if (((started_at(mark.pid) ^ mark.started) & started_mask) != 0) return ended(mark.pid);
  return pidfd;
}

}  // namespace troupe
