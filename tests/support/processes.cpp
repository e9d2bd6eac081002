// SPDX-License-Identifier: MIT
#include "processes.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/transport/result.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::test {
namespace {

std::string content(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

template <class Wanted>
std::vector<pid_t> all_processes(const Wanted& wanted) {
  std::vector<pid_t> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc", ignored}) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size() && wanted(pid)) found.push_back(pid);
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace

std::vector<pid_t> children_of(pid_t parent) {
  const std::string wanted = std::to_string(parent);
  return all_processes([&](pid_t pid) { return status_line(pid, "PPid") == wanted; });
}

std::string name_of(pid_t pid) {
  std::string name = content("/proc/" + std::to_string(pid) + "/comm");
  if (!name.empty()) name.pop_back();
  return name;
}

std::string status_line(pid_t pid, const std::string& field) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(field + ":")) continue;
    const auto value = line.find_first_not_of(" \t", field.size() + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::vector<pid_t> started_by(pid_t keeper) {
  const std::string role = "TROUPE_ROLE=" + std::to_string(keeper) + "-";
  return all_processes([&](pid_t pid) {
    return content("/proc/" + std::to_string(pid) + "/environ").find(role) != std::string::npos;
  });
}

pid_t keeper_pid() { return detail::KeeperLink::of_process().value()->keeper_pid(); }

pid_t zygote_pid() {
  for (const pid_t pid : children_of(keeper_pid()))
    if (name_of(pid) == "troupe:zygote") return pid;
  return 0;
}

Watched::Watched(pid_t pid) : pid_{pid}, pidfd_{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))} {
  if (!pidfd_) throw Failure{detail::system_error("pidfd_open " + std::to_string(pid), errno)};
}

bool Watched::gone(Duration within) const { return detail::wait_readable(pidfd_.get(), deadline_in(within)); }

void Watched::signal(int number) const {
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0) == -1)
    throw Failure{detail::system_error("pidfd_send_signal", errno)};
}

Redirected::Redirected(int fd, int to) : fd_{fd}, before_{::fcntl(fd, F_DUPFD_CLOEXEC, 100)} {
  if (to == -1)
    ::close(fd);
  else
    ::dup2(to, fd);
}

Redirected::~Redirected() { ::dup2(before_.get(), fd_); }

}  // namespace troupe::test
