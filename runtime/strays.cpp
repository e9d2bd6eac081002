// SPDX-License-Identifier: MIT
#include <troupe/runtime/strays.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <filesystem>
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

/// Where the first thread has ended before the others, it looks like a zombie, and only they show it.
std::string environment_of(int pid) {
  std::string variables = of_process(pid, "environ");
  std::error_code gone;
  std::filesystem::directory_iterator thread{"/proc/" + std::to_string(pid) + "/task", gone};
  for (; variables.empty() && !gone && thread != end(thread); thread.increment(gone))
    variables = read_whole(thread->path().string() + "/environ");
  return variables;
}

struct Stat {
  char state = '?';
  bool is_exiting = false;
};

/// The third and ninth field of /proc/<pid>/stat (proc(5)).
Stat stat_of(int pid) {
  constexpr unsigned long exiting = 0x4;  // PF_EXITING in the kernel's include/linux/sched.h
  const std::string line = of_process(pid, "stat");
  const auto name_end = line.rfind(')');  // the name may hold anything, a ')' too
  if (name_end == std::string::npos) return {};
  std::istringstream fields{line.substr(name_end + 1)};
  Stat stat;
  std::array<long, 5> between{};  // parent, group, session, terminal, its group
  unsigned long flags = 0;
  fields >> stat.state;
  for (long& field : between) fields >> field;
  fields >> flags;
  stat.is_exiting = (flags & exiting) != 0;
  return stat;
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

Belonging belonging(int pid, const std::string& assignment) {
  const std::string variables = environment_of(pid);
  if (variables.find(assignment) != std::string::npos) return Belonging::yes;
  if (!variables.empty()) return Belonging::no;
  const Stat stat = stat_of(pid);  // its memory, and the environment in it, goes long before it is a zombie
  return stat.state == 'Z' || stat.is_exiting ? Belonging::dying : Belonging::unclear;
}

char process_state(int pid) { return stat_of(pid).state; }

bool is_traced(int pid) {
  const std::string status = of_process(pid, "status");
  constexpr std::string_view field = "TracerPid:\t";
  const auto at = status.find(field);
  return at != std::string::npos && status.compare(at + field.size(), 1, "0") != 0;
}

}  // namespace troupe::detail
