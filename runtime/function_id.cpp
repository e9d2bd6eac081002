// SPDX-License-Identifier: MIT
#include <troupe/runtime/function_id.hpp>

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <span>

namespace troupe {
namespace {

using Module = dl_phdr_info;

/// Calls `visit` for each loaded module, the program itself first, until it returns true.
bool any_module(const std::function<bool(const Module&)>& visit) {
  const auto step = [](Module* module, std::size_t, void* context) -> int {
    return (*static_cast<const std::function<bool(const Module&)>*>(context))(*module) ? 1 : 0;
  };
  return ::dl_iterate_phdr(step, const_cast<void*>(static_cast<const void*>(&visit))) != 0;
}

std::span<const ElfW(Phdr)> segments(const Module& module) { return {module.dlpi_phdr, module.dlpi_phnum}; }

bool is_executable(const Module& module, std::uint64_t offset) {
  return std::ranges::any_of(segments(module), [&](const ElfW(Phdr) & segment) {
    return segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0 && offset >= segment.p_vaddr &&
           offset < segment.p_vaddr + segment.p_memsz;
  });
}

constexpr std::size_t note_aligned(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

/// Walks the notes of one PT_NOTE segment for the GNU build id.
bool find_build_id(const std::byte* at, std::size_t bytes, BuildId& found) {
  while (bytes >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, at, sizeof header);
    const std::size_t whole = sizeof header + note_aligned(header.n_namesz) + note_aligned(header.n_descsz);
    if (whole > bytes) return false;
    const std::byte* const name = at + sizeof header;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
      std::memcpy(found.data(), name + 4, std::min<std::size_t>(header.n_descsz, found.size()));
      return true;
    }
    at += whole;
    bytes -= whole;
  }
  return false;
}

bool build_id_of(const Module& module, BuildId& found) {
  return std::ranges::any_of(segments(module), [&](const ElfW(Phdr) & segment) {
    return segment.p_type == PT_NOTE &&
           find_build_id(reinterpret_cast<const std::byte*>(module.dlpi_addr + segment.p_vaddr),
                         segment.p_memsz, found);
  });
}

constexpr const char* no_build_id =
    "function: its program or library was linked without a build id, so another process cannot find it; "
    "try linking with -Wl,--build-id";

}  // namespace

Result<BuildId> program_build_id() {
  BuildId id{};
  bool found = false;
  any_module([&](const Module& module) {
    found = build_id_of(module, id);
    return true;
  });
  if (!found) return failure(ErrorKind::refused, no_build_id);
  return id;
}

Result<FunctionId> function_id(const void* function) {
  FunctionId id{};
  bool has_id = false;
  const bool found = any_module([&](const Module& module) {
    const std::uint64_t offset = reinterpret_cast<std::uintptr_t>(function) - module.dlpi_addr;
    if (!is_executable(module, offset)) return false;
    id.offset = offset;
    has_id = build_id_of(module, id.module);
    return true;
  });
  if (!found) return failure(ErrorKind::invalid, "function: lies in no loaded program or library");
  if (!has_id) return failure(ErrorKind::refused, no_build_id);
  return id;
}

Result<const void*> resolve(const FunctionId& id) {
  const void* address = nullptr;
  bool known = false;
  any_module([&](const Module& module) {
    BuildId here{};
    if (!build_id_of(module, here) || here != id.module) return false;
    known = true;
    if (is_executable(module, id.offset))
      address = reinterpret_cast<const void*>(module.dlpi_addr + id.offset);
    return true;
  });
  if (!known) return failure(ErrorKind::refused, "function: no loaded program or library has its build id");
  if (address == nullptr) return failure(ErrorKind::refused, "function: its offset is not executable code");
  return address;
}

}  // namespace troupe
