// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <tuple>
#include <utility>
#include <vector>

// `verify` as somebody runs it who looks on from outside: nothing here knows the library's inner workings.
namespace troupe::test {

/// Guards against a hang; no run is expected to come near it.
inline constexpr std::chrono::seconds run_guard{120};

/// What can be read of a file: of a process that is just ending, perhaps nothing.
inline std::string content(const std::filesystem::path& path) {
  const OwnedFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::string text;
  std::array<char, 65536> block{};
  for (ssize_t bytes = 1; file && bytes > 0;) {
    bytes = ::read(file.get(), block.data(), block.size());
    if (bytes > 0) text.append(block.data(), static_cast<std::size_t>(bytes));
  }
  return text;
}

inline double seconds_since(TimePoint begin) {
  return std::chrono::duration<double>{Clock::now() - begin}.count();
}

/// A process, told from a later one of the same number by when it started.
struct ProcessId {
  pid_t pid = 0;
  std::string started{};  ///< in the kernel's ticks
  friend bool operator<(const ProcessId& a, const ProcessId& b) {
    return std::tie(a.pid, a.started) < std::tie(b.pid, b.started);
  }
};

/// The fields of /proc/<pid>/stat behind the name: the state is the first of them.
inline std::vector<std::string> stat_fields(pid_t pid) {
  const auto line = content("/proc/" + std::to_string(pid) + "/stat");
  std::vector<std::string> fields;
  const auto close = line.rfind(')');
  if (close == std::string::npos) return fields;
  std::istringstream rest{line.substr(close + 1)};
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}
inline std::string started(pid_t pid) {
  const auto fields = stat_fields(pid);
  return fields.size() > 19 ? fields[19] : std::string{};
}
inline std::string process_name(pid_t pid) {
  auto name = content("/proc/" + std::to_string(pid) + "/comm");
  if (!name.empty()) name.pop_back();
  return name;
}

inline std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

inline OwnedFd pidfd_of(pid_t pid) { return OwnedFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))}; }

/// Waits until the descriptor is readable or the deadline has passed.
inline bool readable(int fd, TimePoint deadline) {
  pollfd one{fd, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return ::poll(&one, 1, static_cast<int>(std::max<std::int64_t>(left, 0))) > 0;
}

struct Command {
  std::vector<std::string> arguments{};
  std::vector<std::string> environment{};  ///< in addition, and in place of what is there: NAME=value
  int input = -1;                          ///< borrowed until the run has started; -1: an empty one
  bool closed_output = false;              ///< started without a standard output
};

/// How a run has ended.
struct Ended {
  std::optional<int> code{};  ///< none: by a signal, or it hung and was killed
  std::string out{};
  std::string error{};
  double seconds = 0;
  bool hung = false;
  std::string state{};  ///< of all its processes when it hung
};

/// A running `verify`. All its processes carry a variable of their own in their environment, and are so found
/// in /proc, whoever their parent is by then. Killed and reaped with this object.
class VerifyRun {
 public:
  explicit VerifyRun(const Command& command) : begin_{Clock::now()} {
    mark_ = "VERIFY_TEST_RUN=" + std::to_string(::getpid()) + "-" + std::to_string(++count());
    std::string program = std::string{TROUPE_EXAMPLES_DIR} + "/verify";
    if (const char* const other = std::getenv("VERIFY_PROGRAM")) program = other;
    text_ = program;
    for (const auto& argument : command.arguments) text_ += " " + argument;
    start(program, command);
  }
  VerifyRun(const VerifyRun&) = delete;
  VerifyRun& operator=(const VerifyRun&) = delete;
  ~VerifyRun() {
    kill_all();
    reap();
  }

  /// What was typed.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] double seconds() const { return seconds_since(begin_); }

  /// All its processes that live.
  [[nodiscard]] std::vector<pid_t> processes() const {
    std::vector<pid_t> found;
    for (const pid_t pid : all_pids()) {
      const auto environment = content("/proc/" + std::to_string(pid) + "/environ");
      const auto at = environment.find(mark_ + '\0');
      if (at != std::string::npos && (at == 0 || environment[at - 1] == '\0')) found.push_back(pid);
    }
    return found;
  }
  [[nodiscard]] std::vector<pid_t> processes(const std::string& name) const {
    auto found = processes();
    std::erase_if(found, [&](pid_t pid) { return process_name(pid) != name; });
    return found;
  }

  /// Takes what it has written; true once it has ended, false at the deadline.
  bool look(TimePoint deadline) {
    for (;;) {
      std::array<pollfd, 3> fds{
          {{pidfd_.get(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {error_.get(), POLLIN, 0}}};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      ::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(left, 0)));
      const bool ended = fds[0].revents != 0;
      drain(out_, ended_.out);
      drain(error_, ended_.error);
      if (ended || Clock::now() >= deadline) return ended;
    }
  }

  /// Waits for its end, and calls `each` from time to time until then. One that does not end is described and
  /// killed.
  [[nodiscard]] Ended wait(const std::function<void()>& each = {}, Duration within = run_guard) {
    const auto deadline = deadline_in(within);
    while (!look(std::min(deadline, deadline_in(tick)))) {
      if (each) each();
      if (Clock::now() < deadline) continue;
      ended_.hung = true;
      ended_.state = describe();
      kill_all();
    }
    ended_.seconds = seconds();
    reap();
    return std::move(ended_);
  }

  /// Waits until no process of it lives; how long that took, or none at the deadline.
  [[nodiscard]] std::optional<Duration> all_gone(Duration within) const {
    const auto begin = Clock::now();
    const auto deadline = begin + within;
    for (auto left = processes(); !left.empty(); left = processes()) {
      const auto one = pidfd_of(left.front());
      if (one && !readable(one.get(), deadline)) return std::nullopt;
    }
    return Clock::now() - begin;
  }

  /// A line for each living process, and what the kernel says of it.
  [[nodiscard]] std::string describe() const {
    std::string text;
    for (const pid_t pid : processes()) {
      const auto folder = "/proc/" + std::to_string(pid) + "/";
      text += "--- " + std::to_string(pid) + " " + process_name(pid) + ", waits in " +
              content(folder + "wchan") + "\n" + content(folder + "status") + content(folder + "syscall") +
              content(folder + "stack");
    }
    return text + "--- standard error\n" + ended_.error + "--- standard output\n" + ended_.out;
  }

  void kill_all() const {
    for (auto left = processes(); !left.empty(); left = processes()) {
      for (const pid_t pid : left) {
        const auto one = pidfd_of(pid);
        if (one) ::syscall(SYS_pidfd_send_signal, one.get(), SIGKILL, nullptr, 0);
        if (one && !readable(one.get(), deadline_in(std::chrono::seconds{10}))) return;
      }
    }
  }

 private:
  static constexpr std::chrono::milliseconds tick{100};

  static int& count() {
    static int runs = 0;
    return runs;
  }

  void start(std::string program, const Command& command) {
    auto [out, out_end] = pipe();
    auto [error, error_end] = pipe();
    out_ = std::move(out);
    error_ = std::move(error);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    if (command.input >= 0)
      ::posix_spawn_file_actions_adddup2(&actions, command.input, 0);
    else
      ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (command.closed_output)
      ::posix_spawn_file_actions_addclose(&actions, 1);
    else
      ::posix_spawn_file_actions_adddup2(&actions, out_end.get(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, error_end.get(), 2);
    auto words = pointers(program, command.arguments);
    const auto variables = environment(command.environment);
    std::vector<char*> variable_pointers;
    variable_pointers.reserve(variables.size() + 1);
    for (const auto& one : variables) variable_pointers.push_back(const_cast<char*>(one.c_str()));
    variable_pointers.push_back(nullptr);
    const int failed =
        ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, words.data(), variable_pointers.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::system_error{failed, std::generic_category(), program};
    pidfd_ = pidfd_of(pid_);
  }

  static std::pair<OwnedFd, OwnedFd> pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      throw std::system_error{errno, std::generic_category(), "pipe2"};
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return {OwnedFd{ends[0]}, OwnedFd{ends[1]}};
  }
  static std::vector<char*> pointers(std::string& first, const std::vector<std::string>& rest) {
    std::vector<char*> words{first.data()};
    for (const auto& word : rest) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    return words;
  }
  [[nodiscard]] std::vector<std::string> environment(const std::vector<std::string>& more) const {
    std::vector<std::string> variables{mark_};
    variables.insert(variables.end(), more.begin(), more.end());
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string_view old{*variable};
      const auto name = old.substr(0, old.find('=') + 1);
      if (std::ranges::none_of(variables, [&](const auto& one) { return one.starts_with(name); }))
        variables.emplace_back(old);
    }
    return variables;
  }

  static void drain(OwnedFd& from, std::string& to) {
    std::array<char, 16384> block{};
    while (from) {
      const auto bytes = ::read(from.get(), block.data(), block.size());
      if (bytes < 0) return;
      if (bytes == 0) from.reset();  // nobody writes any more
      to.append(block.data(), static_cast<std::size_t>(bytes));
    }
  }

  void reap() {
    if (pid_ == 0) return;
    int status = 0;
    while (::waitpid(pid_, &status, 0) == -1 && errno == EINTR) continue;
    pid_ = 0;
    drain(out_, ended_.out);
    drain(error_, ended_.error);
    if (WIFEXITED(status)) ended_.code = WEXITSTATUS(status);
  }

  std::string mark_;
  std::string text_;
  TimePoint begin_;
  pid_t pid_ = 0;
  OwnedFd pidfd_{};
  OwnedFd out_{};
  OwnedFd error_{};
  Ended ended_{};
};

/// A folder of its own under the folder for temporary files, gone with this object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "verify-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error{errno, std::generic_category(), name};
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace troupe::test
