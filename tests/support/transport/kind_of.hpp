// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <troupe/transport/result.hpp>

namespace troupe::test {

/// What became of a call, as one word.
template <class T>
[[nodiscard]] std::string kind_of(const Result<T>& result) {
  return result ? "done" : std::string{to_string(result.error().kind)};
}

}  // namespace troupe::test
