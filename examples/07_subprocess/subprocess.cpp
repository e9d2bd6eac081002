// SPDX-License-Identifier: MIT
// Other programs: one that is fed and read, one that answers each line, several in a row, and what goes
// wrong.
#include <iostream>
#include <troupe/runtime/pipeline.hpp>
#include <troupe/runtime/subprocess.hpp>

namespace {

using namespace std::chrono_literals;
using troupe::Stdio;
using troupe::Subprocess;

/// sort says nothing before its input has ended.
void sort_numbers() {
  auto sort = Subprocess::start({"sort", "-n"}, {.standard_input = Stdio::pipe}).value();
  for (const auto* const number : {"10\n", "9\n", "1\n"}) sort.write(number, 5s).value();
  sort.close_input();
  std::cout << "sorted:";
  for (auto line = sort.read_line(5s); line; line = sort.read_line(5s)) std::cout << ' ' << *line;
  std::cout << "; sort ended: " << sort.join(5s).value().reason << '\n';
}

/// A program that answers each line as it comes.
void ask_a_calculator() {
  const std::string script = "while read -r a b; do echo $((a * b)); done";
  auto calculator = Subprocess::start({"sh", "-c", script}, {.standard_input = Stdio::pipe}).value();
  for (const auto* const question : {"6 7\n", "12 12\n"}) {
    calculator.write(question, 5s).value();
    std::cout << "asked for 2 numbers, heard " << calculator.read_line(5s).value() << '\n';
  }
  calculator.close_input();
  const auto rest = calculator.communicate({}, 5s).value();
  std::cout << "it had no more to say: " << std::boolalpha << rest.ok() << '\n';
}

/// tr | sort | uniq | sort | head: one report for all.
void count_words() {
  const auto counted =
      troupe::pipeline({{"tr", " ", "\n"}, {"sort"}, {"uniq", "-c"}, {"sort", "-rn"}, {"head", "-n", "1"}})
          .run({.input = "to be or not to be to\n", .within = 5s})
          .value();
  counted.check().value();
  std::cout << "most often:" << counted.standard_output;
}

void show_what_goes_wrong() {
  std::cout << troupe::run({"/no/such/program"}).error() << '\n';
  std::cout << troupe::output_of({"sh", "-c", "echo the disk is gone >&2; exit 3"}).error() << '\n';
  auto slow = Subprocess::start({"sh", "-c", "echo so far; exec sleep 1000"}).value();
  std::cout << "it said: " << slow.read_line(5s).value() << '\n';
  std::cout << slow.communicate({}, 100ms).error() << '\n';
  std::cout << slow.stop().value().reason << '\n';
}

}  // namespace

int main() {
  sort_numbers();
  ask_a_calculator();
  count_words();
  show_what_goes_wrong();
  return 0;
}
