// SPDX-License-Identifier: MIT
// Checks every installed file against its package's MD5 list, with processes that may die at any time.
#include <fcntl.h>

#include <iostream>
#include <troupe/troupe.hpp>
#include <variant>

#include "job.hpp"
#include "options.hpp"
#include "report.hpp"

namespace {

/// The number of a closed standard descriptor would be given to the next file that is opened, and the answer
/// would go there. In its place stands one that cannot be used, so that using it is an error.
void occupy_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) == -1) ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  troupe::init(argc, argv);
  const auto parsed = verify::parse(argc, argv, std::cout, std::cerr);
  if (const auto* const exit = std::get_if<verify::ExitNow>(&parsed)) return exit->code;
  const auto& options = std::get<verify::Options>(parsed);
  const verify::Outcome outcome = verify::run_job(options);
  if (outcome.failure) std::cerr << "verify: " << *outcome.failure << '\n';
  if (options.json && !outcome.malformed.empty()) std::cerr << "verify: " << verify::malformed_lines(outcome);
  std::cout << (options.json ? verify::json(outcome) : verify::card(outcome)) << std::flush;
  if (!std::cout) {
    std::cerr << "verify: standard output: cannot be written; try a place with room\n";
    return 1;
  }
  return verify::exit_code(outcome);
}
