// SPDX-License-Identifier: MIT
#include <troupe/transport/liveness.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

tl::unexpected<Error> ended(int pid) {
  return failure(ErrorKind::down, "process " + std::to_string(pid) + ": it has ended");
}

/// Field 22 of a stat file (proc(5)), counted from behind the name, which may hold anything; 0: not there.
std::uint64_t start_in(std::string_view stat) {
  constexpr int fields_between = 20;  // from the state, the third field, to the start
  const auto name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return 0;
  stat.remove_prefix(name_end + 1);
  for (int i = 0; i < fields_between; ++i) {
    const auto space = stat.find(' ');
    if (space == std::string_view::npos) return 0;
    stat.remove_prefix(space + 1);
  }
  std::uint64_t started = 0;
  std::from_chars(stat.data(), stat.data() + stat.size(), started);
  return started;
}

/// `process` is a number or "self".
Result<std::uint64_t> start_of(const std::string& process) {
  const std::string path = "/proc/" + process + "/stat";
  const auto file = detail::owned(detail::retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }),
                                  "open " + path);
  if (!file) return tl::unexpected<Error>{file.error()};
  std::array<char, 1024> bytes{};
  const auto length = detail::retried([&] { return ::read(file->get(), bytes.data(), bytes.size()); });
  if (length == -1) return detail::system_failure("read " + path);
  const auto started = start_in({bytes.data(), static_cast<std::size_t>(length)});
  if (started == 0) return failure(ErrorKind::system, path + ": it does not say when the process started");
  return started;
}

/// A number can have become a thread's, which is nobody's process: kernels say one or the other.
bool is_nobody(int error) noexcept { return error == ESRCH || error == ENOENT || error == EINVAL; }

bool has_ended(const OwnedFd& pidfd) { return detail::wait_readable(pidfd.get(), TimePoint{}); }

}  // namespace

Result<ProcessMark> own_mark() {
  const auto started = start_of("self");
  if (!started) return tl::unexpected<Error>{started.error()};
  return ProcessMark{::getpid(), *started};
}

Result<ProcessMark> mark_of(std::int32_t pid) {
  const auto started = start_of(std::to_string(pid));
  if (!started) return tl::unexpected<Error>{started.error()};
  return ProcessMark{pid, *started};
}

Result<OwnedFd> watch_process(const ProcessMark& mark, std::uint64_t started_mask) {
  if (mark.pid <= 0) return ended(mark.pid);
  auto pidfd = detail::open_pidfd(mark.pid);
  if (!pidfd) {
    if (is_nobody(pidfd.error().errnum)) return ended(mark.pid);
    return pidfd;
  }
  // Whose number this is is looked up after opening: had the process ended before, the number may be
  // another's, and from here on the descriptor cannot change its meaning.
  const auto started = start_of(std::to_string(mark.pid));
  // What cannot be looked at is not dead for that.
  if (!started && !has_ended(*pidfd)) return tl::unexpected<Error>{started.error()};
  const bool another = started && ((*started ^ mark.started) & started_mask) != 0;
  if (!started || (another && !TROUPE_MUTANT(start_unchecked))) return ended(mark.pid);
  return pidfd;
}

}  // namespace troupe
