// SPDX-License-Identifier: MIT
// Checks every installed file against its package's MD5 list, with processes that may die at any time.
#include <iostream>
#include <troupe/troupe.hpp>
#include <variant>

#include "job.hpp"
#include "options.hpp"
#include "report.hpp"

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  const auto parsed = verify::parse(argc, argv, std::cout, std::cerr);
  if (const auto* const exit = std::get_if<verify::ExitNow>(&parsed)) return exit->code;
  const auto& options = std::get<verify::Options>(parsed);
  const verify::Outcome outcome = verify::run_job(options);
  if (outcome.failure) std::cerr << "verify: " << *outcome.failure << '\n';
  std::cout << (options.json ? verify::json(outcome) : verify::card(outcome)) << std::flush;
  return verify::exit_code(outcome);
}
