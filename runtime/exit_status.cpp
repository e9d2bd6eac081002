// SPDX-License-Identifier: MIT
#include <troupe/runtime/exit_status.hpp>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <string_view>

namespace troupe {
namespace {

std::string signal_name(int number) {
  if (const char* name = ::sigabbrev_np(number)) return std::string{"SIG"} + name;
  if (number >= SIGRTMIN && number <= SIGRTMAX) return "SIGRTMIN+" + std::to_string(number - SIGRTMIN);
  return "signal " + std::to_string(number);
}

struct Describe {
  std::string operator()(const Exited& exited) const { return "exit " + std::to_string(exited.code); }
  std::string operator()(const Signaled& signaled) const {
    return signal_name(signaled.number) + (signaled.core_dumped ? " (core dumped)" : "");
  }
  std::string operator()(const Lost& /*lost*/) const { return "lost"; }
};

/// " (SIGKILL)"; nothing for exit 0, which is also what the status of a process that never was says.
std::string in_brackets(const ExitStatus& status) {
  return status == ExitStatus{Exited{0}} ? "" : " (" + to_string(status) + ")";
}

std::string headline(const ExitReason& reason) {
  switch (reason.cause) {
    case ExitCause::normal:
    case ExitCause::failed:
    case ExitCause::signaled: return to_string(reason.status);
    case ExitCause::shutdown: return "shutdown" + in_brackets(reason.status);
    case ExitCause::hung: return "hung (no progress, then " + to_string(reason.status) + ")";
    case ExitCause::init_failed: return "init failed" + in_brackets(reason.status);
    case ExitCause::restart_limit: return "given up";
  }
  std::abort();
}

}  // namespace

std::string to_string(const ExitStatus& status) { return std::visit(Describe{}, status); }

std::string to_string(const ExitReason& reason) {
  return reason.detail.empty() ? headline(reason) : headline(reason) + ": " + reason.detail;
}

std::string clipped(std::string text) {
  if (text.size() <= detail_bytes_max) return text;
  std::size_t size = detail_bytes_max;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  text.resize(size);
  return text;
}

std::ostream& operator<<(std::ostream& out, const ExitStatus& status) { return out << to_string(status); }
std::ostream& operator<<(std::ostream& out, const ExitReason& reason) { return out << to_string(reason); }

}  // namespace troupe
