// SPDX-License-Identifier: MIT
#pragma once

#include <ostream>
#include <troupe/runtime/child_spec.hpp>
#include <troupe/transport/result.hpp>

// How GoogleTest shows values of ours in a failure and in a test's name.
namespace troupe {

inline void PrintTo(StartMethod method, std::ostream* out) {
  *out << (method == StartMethod::forkserver ? "forkserver" : "spawn");
}
inline void PrintTo(ErrorKind kind, std::ostream* out) { *out << to_string(kind); }

}  // namespace troupe
