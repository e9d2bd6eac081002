// SPDX-License-Identifier: MIT
#include <troupe/runtime/strays.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <sstream>
#include <string_view>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

/// A whole file of /proc; empty if it cannot be read (the process is gone, or not ours).
std::string read_whole(const std::string& path) {
  const OwnedFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::string text;
  std::array<char, 4096> block{};
  while (file) {
    const auto bytes = retried([&] { return ::read(file.get(), block.data(), block.size()); });
    if (bytes <= 0) break;
    text.append(block.data(), static_cast<std::size_t>(bytes));
  }
  return text;
}

std::string of_process(int pid, const char* file) {
  return read_whole("/proc/" + std::to_string(pid) + "/" + file);
}

}  // namespace

std::vector<int> unknown_children(const std::set<int>& known) {
  const std::string self = std::to_string(::getpid());
  std::istringstream children{read_whole("/proc/self/task/" + self + "/children")};
  std::vector<int> unknown;
  for (int pid = 0; children >> pid;)
    if (!known.contains(pid)) unknown.push_back(pid);
  return unknown;
}

bool carries_role(int pid, const std::string& assignment) {
  const std::string variables = of_process(pid, "environ");
  return variables.find(assignment) != std::string::npos;
}

char process_state(int pid) {
  const std::string stat = of_process(pid, "stat");
  const auto name_end = stat.rfind(')');  // the name may hold anything, a ')' too
  return name_end == std::string::npos || name_end + 2 >= stat.size() ? '?' : stat[name_end + 2];
}

bool is_traced(int pid) {
  const std::string status = of_process(pid, "status");
  constexpr std::string_view field = "TracerPid:\t";
  const auto at = status.find(field);
  return at != std::string::npos && status.compare(at + field.size(), 1, "0") != 0;
}

}  // namespace troupe::detail
