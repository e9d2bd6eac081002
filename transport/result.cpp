// SPDX-License-Identifier: MIT
#include <troupe/transport/result.hpp>

#include <cstdio>
#include <cstdlib>
#include <ostream>

namespace troupe {

std::string_view to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::timed_out: return "timed_out";
    case ErrorKind::full: return "full";
    case ErrorKind::closed: return "closed";
    case ErrorKind::down: return "down";
    case ErrorKind::refused: return "refused";
    case ErrorKind::malformed: return "malformed";
    case ErrorKind::poison: return "poison";
    case ErrorKind::no_reply: return "no_reply";
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::exhausted: return "exhausted";
    case ErrorKind::system: return "system";
  }
  std::abort();
}

std::ostream& operator<<(std::ostream& out, const Error& error) { return out << error.text; }

namespace detail {

void broken_invariant(const char* invariant, const char* file, int line) noexcept {
  std::fprintf(stderr, "troupe: broken invariant: %s (%s:%d)\n", invariant, file, line);
  std::abort();
}

}  // namespace detail
}  // namespace troupe
