// SPDX-License-Identifier: MIT
#include <troupe/runtime/control.hpp>

namespace troupe::control {

Reason::Reason(const ExitReason& reason) : cause{reason.cause}, detail{reason.detail} {
  if (const auto* const by_signal = std::get_if<Signaled>(&reason.status)) {
    signaled = true;
    core_dumped = by_signal->core_dumped;
    number = by_signal->number;
  } else {
    number = std::get<Exited>(reason.status).code;
  }
}

ExitReason Reason::value() const {
  const ExitStatus status = signaled ? ExitStatus{Signaled{number, core_dumped}} : ExitStatus{Exited{number}};
  return {cause, status, std::string{detail.view()}};
}

}  // namespace troupe::control
