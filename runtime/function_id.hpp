// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <troupe/transport/result.hpp>

namespace troupe {

/// The build id that the linker wrote into a program or shared library (SHA-1, zero-filled when shorter).
using BuildId = std::array<std::uint8_t, 20>;

/// A function's name between processes that run the same build: nothing is registered.
struct FunctionId {
  BuildId module{};
  std::uint64_t offset = 0;  ///< from the module's load address

  friend bool operator==(const FunctionId&, const FunctionId&) = default;
};

/// The build id of the program itself. `refused` when it was linked without one.
[[nodiscard]] Result<BuildId> program_build_id();

/// `invalid` if `function` lies in no loaded module, `refused` if that module has no build id.
[[nodiscard]] Result<FunctionId> function_id(const void* function);

/// The function's address here. `refused` if no loaded module has that build id, or if the
/// offset is not executable: the bytes may come from another process.
[[nodiscard]] Result<const void*> resolve(const FunctionId& id);

}  // namespace troupe
