// SPDX-License-Identifier: MIT
#include <troupe/runtime/control.hpp>

namespace troupe::control {

Reason Reason::of(const ExitReason& reason) {
  Reason record{.cause = reason.cause, .detail = Line{reason.detail}};
  if (const auto* const by_signal = std::get_if<Signaled>(&reason.status)) {
    record.signaled = true;
    record.core_dumped = by_signal->core_dumped;
    record.number = by_signal->number;
  } else {
    record.number = std::get<Exited>(reason.status).code;
  }
  return record;
}

ExitReason Reason::value() const {
  const ExitStatus status = signaled ? ExitStatus{Signaled{number, core_dumped}} : ExitStatus{Exited{number}};
  return {cause, status, std::string{detail.view()}};
}

}  // namespace troupe::control
