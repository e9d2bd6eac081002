// SPDX-License-Identifier: MIT
#include "limits.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <troupe/transport/syscall.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/shared_value.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration patience = 30s;

struct Sweep {
  int resource;
  std::int64_t from;  ///< the first limit
  std::int64_t down_to;
  std::int64_t step;
  bool on_top;  ///< of what is in use already
};

std::int64_t page_bytes() { return ::sysconf(_SC_PAGESIZE); }

Sweep sweep_of(Limit limit) {
  switch (limit) {
    case Limit::descriptors: return {RLIMIT_NOFILE, 80, 3, 1, false};
    case Limit::file_size: return {RLIMIT_FSIZE, 20 * page_bytes(), 0, page_bytes() / 2, false};
    case Limit::address_space: return {RLIMIT_AS, 64 * page_bytes(), -2 * page_bytes(), page_bytes(), true};
  }
  std::abort();
}

/// Of memory, which is the only thing that limits are put on top of.
std::int64_t in_use() {
  std::int64_t pages = 0;
  std::ifstream{"/proc/self/statm"} >> pages;
  return pages * page_bytes();
}

void set_soft_limit(int resource, rlim_t value) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) == -1)
    throw Failure{detail::system_error("getrlimit", errno)};
  limit.rlim_cur = std::min(value, limit.rlim_max);
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) == -1)
    throw Failure{detail::system_error("setrlimit", errno)};
}

struct Outcomes {
  Outcome first{};
  Outcome limited{};
  Outcome again{};
  char left[200] = {};  ///< the first thing that was left
};

void look_for_left_over(const Holdings& before, const char* when, Outcomes& outcomes) {
  const auto lines = left_over(before, Holdings::now());
  if (!lines.empty() && outcomes.left[0] == '\0')
    std::snprintf(outcomes.left, sizeof outcomes.left, "%sleft %s", when, lines.front().c_str());
}

int run_child(FaultCase& one, const Sweep& sweep, std::int64_t value, Outcomes& outcomes) {
  outcomes.first = outcome_of(one);
  const auto before = Holdings::now();
  const auto limit = std::max<std::int64_t>(0, sweep.on_top ? in_use() + value : value);
  set_soft_limit(sweep.resource, static_cast<rlim_t>(limit));
  outcomes.limited = outcome_of(one);
  set_soft_limit(sweep.resource, RLIM_INFINITY);
  look_for_left_over(before, "", outcomes);
  outcomes.again = outcome_of(one);
  look_for_left_over(before, "the next run ", outcomes);
  return 0;
}

/// What is wrong with it, or nothing.
std::string fault_in(const Outcomes& outcomes, std::optional<int> status) {
  if (!status) return "it hung";
  if (WIFSIGNALED(*status)) return std::string{"killed by "} + ::strsignal(WTERMSIG(*status));
  if (WEXITSTATUS(*status) != 0) return "it threw";
  if (outcomes.first.kind != Outcome::Kind::ok) return "without a limit: " + outcomes.first.to_string();
  const auto& limited = outcomes.limited;
  const bool says_so = limited.kind == Outcome::Kind::error && limited.error == ErrorKind::exhausted &&
                       limited.text[0] != '\0';
  if (limited.kind != Outcome::Kind::ok && limited.kind != Outcome::Kind::no_heap && !says_so)
    return limited.to_string();
  if (outcomes.again.kind != Outcome::Kind::ok) return "the next run: " + outcomes.again.to_string();
  return outcomes.left;
}

}  // namespace

const char* to_string(Limit limit) noexcept {
  switch (limit) {
    case Limit::descriptors: return "descriptors";
    case Limit::file_size: return "file size";
    case Limit::address_space: return "address space";
  }
  std::abort();
}

void LimitTally::print(const char* what, const char* limit) const {
  std::printf("%-14s of %-22s %3zu steps: %3zu fine, %3zu reported (%zu by the heap), %zu wrong\n", limit,
              what, steps, fine, reported, without_heap, wrong.size());
  std::fflush(stdout);
}

LimitTally sweep(const NamedCase& one, Limit limit) {
  const auto how = sweep_of(limit);
  LimitTally tally;
  for (auto value = how.from; value >= how.down_to; value -= how.step) {
    const auto made = one.make();
    const SharedValue<Outcomes> outcomes;
    Forked child{[&] { return run_child(*made, how, value, *outcomes); }};
    const auto status = child.wait(deadline_in(patience));
    ++tally.steps;
    const auto kind = outcomes->limited.kind;
    ++(kind == Outcome::Kind::ok ? tally.fine : tally.reported);
    tally.without_heap += kind == Outcome::Kind::no_heap ? 1 : 0;
    if (const auto fault = fault_in(*outcomes, status); !fault.empty())
      tally.wrong.push_back(std::string{to_string(limit)} + " " + std::to_string(value) + ": " + fault);
  }
  return tally;
}

void expect_sound(const NamedCase& one, Limit limit) {
  const auto tally = sweep(one, limit);
  tally.print(one.name, to_string(limit));
  EXPECT_GT(tally.fine, 0U) << "the sweep begins too low to show anything";
  for (const auto& line : tally.wrong) ADD_FAILURE() << line;
}

}  // namespace troupe::test
