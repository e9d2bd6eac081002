// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <troupe/transport/result.hpp>
#include <vector>

namespace troupe::test {

/// Something to be done while the world fails: its system calls one by one (failing_calls.hpp), or its limits
/// (limits.hpp). Made in the test, run in a forked child.
class FaultCase {
 public:
  FaultCase() = default;
  FaultCase(const FaultCase&) = delete;
  virtual ~FaultCase() = default;

  /// From making everything to destroying it, so that it can be done again and again; every wait is one for
  /// something that is there. An Error is the world's fault. An exception is ours: what came out is wrong.
  [[nodiscard]] virtual Result<void> run() = 0;
  /// In the test, after the child was killed in run(): what a peer that lives on found wrong, empty for
  /// nothing.
  [[nodiscard]] virtual std::string after_death() { return {}; }
};

struct NamedCase {
  const char* name;  ///< of letters only: also a test's name
  std::function<std::unique_ptr<FaultCase>()> make;
};

std::ostream& operator<<(std::ostream& out, const NamedCase& one);

/// A case that consists of run() alone.
[[nodiscard]] NamedCase simple_case(const char* name, std::function<Result<void>()> run);

/// For run(): what must be so unless something was reported.
void require(bool condition, const char* what);

/// How a run ended, for another process to read.
struct Outcome {
  enum class Kind { none, ok, error, no_heap, wrong };
  Kind kind = Kind::none;
  ErrorKind error{};
  int errnum = 0;
  char text[200] = {};

  [[nodiscard]] std::string to_string() const;
};
[[nodiscard]] Outcome outcome_of(FaultCase& one) noexcept;

/// A case that is a class of its own.
template <class Case, class... Arguments>
[[nodiscard]] NamedCase case_of(const char* name, Arguments... arguments) {
  return {name, [=] { return std::make_unique<Case>(arguments...); }};
}

[[nodiscard]] std::vector<NamedCase> channel_fault_cases();
[[nodiscard]] std::vector<NamedCase> queue_fault_cases();
[[nodiscard]] std::vector<NamedCase> blob_fault_cases();

/// All cases of the transport. Whoever adds a channel, a queue or anything else that makes system calls adds
/// one.
[[nodiscard]] std::vector<NamedCase> transport_cases();

}  // namespace troupe::test
