// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace troupe {

/// A place in the tree that processes fill one after another. 0 is nobody.
using RoleId = std::uint64_t;

/// One process of a role: counts from 1.
using Incarnation = std::uint32_t;

}  // namespace troupe
