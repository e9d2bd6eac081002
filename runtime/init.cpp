// SPDX-License-Identifier: MIT
#include <troupe/runtime/init.hpp>

#include <string>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/keeper.hpp>

namespace troupe {
namespace {

// The process's own identity: the one thing that is global by nature.
struct Identity {
  bool initialised = false;
  std::string program{};
};
Identity& identity() {
  static Identity instance;
  return instance;
}

}  // namespace

void init(int argc, char** argv) {
  identity().initialised = true;
  identity().program = argc > 0 ? argv[0] : "program";
  if (argc < 2) return;
  const std::string_view mark = argv[1];
  if (mark == detail::keeper_mark) detail::run_keeper();
  if (mark == detail::child_mark) detail::run_spawned_child();
}

namespace detail {

bool initialised() noexcept { return identity().initialised; }
std::string_view program_name() noexcept { return identity().program; }

}  // namespace detail
}  // namespace troupe
