// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <troupe/transport/result.hpp>
#include <variant>

namespace troupe {

/// The process returned or called exit with `code`.
struct Exited {
  int code = 0;
  friend bool operator==(const Exited&, const Exited&) = default;
};

/// A signal ended the process. Exit code 9 is not SIGKILL: that is why this is a variant.
struct Signaled {
  int number = 0;
  bool core_dumped = false;
  friend bool operator==(const Signaled&, const Signaled&) = default;
};

/// It has ended, and somebody else was told how: the program ignores SIGCHLD, or reaps what it did not start.
struct Lost {
  friend bool operator==(const Lost&, const Lost&) = default;
};

/// How the kernel says a process ended. What a keeper reports is never lost.
using ExitStatus = std::variant<Exited, Signaled, Lost>;

/// "exit 3", "SIGKILL", "SIGSEGV (core dumped)", "lost".
[[nodiscard]] std::string to_string(const ExitStatus& status);

/// Why a child ended, as its supervisor sees it: the status plus what the supervisor knows.
enum class ExitCause {
  normal,         ///< exit 0, nobody had asked
  shutdown,       ///< ended after it was asked to stop
  failed,         ///< exit code other than 0
  signaled,       ///< a signal that its supervisor did not send
  hung,           ///< mail waiting and no progress for `hung_after`: killed by its supervisor
  init_failed,    ///< could not be started, or ended or stayed silent before it was ready
  restart_limit,  ///< ended too often within its window, and was given up
};
constexpr bool is_valid(ExitCause cause) noexcept {
  return cause >= ExitCause::normal && cause <= ExitCause::restart_limit;
}

/// The bound of `ExitReason::detail`.
inline constexpr std::size_t detail_bytes_max = 200;

/// `text` cut to `detail_bytes_max`, never within a UTF-8 character.
[[nodiscard]] std::string clipped(std::string text);

struct ExitReason {
  ExitCause cause = ExitCause::normal;
  ExitStatus status = Exited{0};
  std::string detail{};  ///< the exception's text, the errno of a failed start; may be empty
  friend bool operator==(const ExitReason&, const ExitReason&) = default;
};

/// Normal and shutdown are not failures: a transient child that ends so stays down.
[[nodiscard]] constexpr bool is_normal(ExitCause cause) noexcept {
  return cause == ExitCause::normal || cause == ExitCause::shutdown;
}

/// For people: "SIGKILL", "hung (no progress, then SIGKILL)", "exit 1: disk gone".
[[nodiscard]] std::string to_string(const ExitReason& reason);

std::ostream& operator<<(std::ostream& out, const ExitStatus& status);
std::ostream& operator<<(std::ostream& out, const ExitReason& reason);

}  // namespace troupe
