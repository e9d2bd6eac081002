// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

namespace troupe {

/// What a caller can do about an error. The list is closed: every layer uses it.
enum class ErrorKind {
  timed_out,  ///< the deadline passed; trying again is sound
  full,       ///< no room now; slow down or try later
  closed,     ///< the other end was closed in an orderly way and will not come back
  down,       ///< the other end died and will not come back
  refused,    ///< understood and declined; the text says why
  malformed,  ///< bytes that do not decode, or a frame that breaks the format
  poison,     ///< the message ended its reader too often and is in the quarantine
  no_reply,   ///< the handler ended without answering
  invalid,    ///< the caller's arguments make no sense
  exhausted,  ///< a limit (descriptors, memory, slots) was reached; the text names it
  system,     ///< a system call failed; `errnum` says how
};
constexpr bool is_valid(ErrorKind kind) noexcept {
  return kind >= ErrorKind::timed_out && kind <= ErrorKind::system;
}

[[nodiscard]] std::string_view to_string(ErrorKind kind) noexcept;

/// Why something did not happen. `text` reads "what: why" and, where there is
/// something to try, "; try …".
struct Error {
  ErrorKind kind = ErrorKind::invalid;
  int errnum = 0;
  std::string text{};

  friend bool operator==(const Error&, const Error&) = default;
};

std::ostream& operator<<(std::ostream& out, const Error& error);

/// An Error as an exception: thrown by constructors and by `Result::value`.
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error e) : std::runtime_error{e.text}, error{std::move(e)} {}
  Error error;
};

/// A value, or the reason why there is none. `.value()` throws `Failure`.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;

  decltype(auto) value() & {
    if (!*this) throw Failure{this->error()};
    if constexpr (!std::is_void_v<T>) return **this;
  }
  decltype(auto) value() const& {
    if (!*this) throw Failure{this->error()};
    if constexpr (!std::is_void_v<T>) return **this;
  }
  T value() && {
    if (!*this) throw Failure{std::move(this->error())};
    if constexpr (!std::is_void_v<T>) return std::move(**this);
  }
};

/// An Error on its way into a Result: `return failure(ErrorKind::full, "…");`
[[nodiscard]] inline tl::unexpected<Error> failure(ErrorKind kind, std::string text) {
  return tl::unexpected<Error>{Error{kind, 0, std::move(text)}};
}

/// Hands an error on from one Result to another.
template <class T>
[[nodiscard]] tl::unexpected<Error> failure(Result<T>&& result) {
  return tl::unexpected<Error>{std::move(result.error())};
}

namespace detail {
[[noreturn]] void broken_invariant(const char* invariant, const char* file, int line) noexcept;
}

}  // namespace troupe

/// Stops the process when one of our own invariants is broken: that is what a supervisor is for.
#define TROUPE_ASSERT(invariant)                       \
  (static_cast<bool>(invariant) ? static_cast<void>(0) \
                                : ::troupe::detail::broken_invariant(#invariant, __FILE__, __LINE__))
