// SPDX-License-Identifier: MIT
#include "fault_case.hpp"

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <ostream>
#include <sstream>
#include <stdexcept>

namespace troupe::test {
namespace {

class SimpleCase : public FaultCase {
 public:
  explicit SimpleCase(std::function<Result<void>()> run) : run_{std::move(run)} {}
  [[nodiscard]] Result<void> run() override { return run_(); }

 private:
  std::function<Result<void>()> run_;
};

void set_text(Outcome& outcome, std::string_view text) noexcept {
  const auto length = std::min(text.size(), std::size(outcome.text) - 1);
  std::copy_n(text.begin(), length, std::begin(outcome.text));
}

}  // namespace

NamedCase simple_case(const char* name, std::function<Result<void>()> run) {
  return {name, [run = std::move(run)] { return std::make_unique<SimpleCase>(run); }};
}

std::ostream& operator<<(std::ostream& out, const NamedCase& one) { return out << one.name; }

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error{what};
}

Outcome outcome_of(FaultCase& one) noexcept {
  Outcome outcome;
  const auto failed = [&outcome](const Error& error) {
    outcome.kind = Outcome::Kind::error;
    outcome.error = error.kind;
    outcome.errnum = error.errnum;
    set_text(outcome, error.text);
  };
  try {
    if (const auto result = one.run(); !result)
      failed(result.error());
    else
      outcome.kind = Outcome::Kind::ok;
  } catch (const Failure& failure) {
    failed(failure.error);
  } catch (const std::bad_alloc&) {
    outcome.kind = Outcome::Kind::no_heap;
  } catch (const std::exception& error) {
    outcome.kind = Outcome::Kind::wrong;
    set_text(outcome, error.what());
  }
  return outcome;
}

std::string Outcome::to_string() const {
  std::ostringstream out;
  switch (kind) {
    case Kind::none: out << "did not come to its end"; break;
    case Kind::ok: out << "ok"; break;
    case Kind::no_heap: out << "std::bad_alloc"; break;
    case Kind::wrong: out << "wrong: " << text; break;
    case Kind::error: out << troupe::to_string(error) << " (" << errnum << ", \"" << text << "\")"; break;
  }
  return out.str();
}

}  // namespace troupe::test
