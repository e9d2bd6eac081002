// SPDX-License-Identifier: MIT
#include "transport/stepper.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::mark;
using test::SteppedChild;

class Stepper : public test::NothingLeft {
 protected:
  void SetUp() override {
    if (!test::can_step()) GTEST_SKIP() << "a sanitizer's own instructions would be stepped too";
  }
};

TEST_F(Stepper, CountsEveryInstructionBetweenTwoMarks) {
  std::uint64_t word = 0;
  const auto count_to = [&](int bound) {
    return [&word, bound] {
      mark();
      for (int i = 0; i < bound; ++i) std::atomic_ref{word}.fetch_add(1);
      mark();
    };
  };
  const auto ten = test::record(count_to(10), deadline_in(10s)).value().size();
  const auto twenty = test::record(count_to(20), deadline_in(10s)).value().size();
  const auto thirty = test::record(count_to(30), deadline_in(10s)).value().size();
  EXPECT_GT(twenty, ten);
  EXPECT_EQ(thirty - twenty, twenty - ten);
  EXPECT_EQ(word, 0U) << "it all happened in children";
}

TEST_F(Stepper, EndsEveryWaitAtItsDeadline) {
  const auto endless = [] {
    mark();
    for (;;) ::pause();
  };
  auto child = SteppedChild::create(endless, deadline_in(300ms)).value();
  const auto result = child.run();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timed_out);
}

TEST_F(Stepper, SaysThatABodyHasNoMarks) {
  const auto child = SteppedChild::create([] {}, deadline_in(10s));
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().kind, ErrorKind::malformed);
}

TEST_F(Stepper, SaysThatABodyThrewOrCrashed) {
  EXPECT_FALSE(SteppedChild::create([] { throw std::runtime_error{"no"}; }, deadline_in(10s)));
  EXPECT_FALSE(SteppedChild::create([] { std::abort(); }, deadline_in(10s)));
}
TEST_F(Stepper, GoesToTheSameBoundaryWithAndWithoutABreakpoint) {
  std::array<std::atomic<int>, 3> words{};
  const auto body = [&words] {
    mark();
    for (int round = 0; round < 50; ++round)
      for (auto& word : words) word.fetch_add(round);
    mark();
  };
  const auto trace = test::record(body, deadline_in(20s)).value();
  auto without = trace;
  without.forget_breakpoints();
  for (const auto at : {std::size_t{1}, trace.size() / 3, trace.size() - 1}) {
    for (const test::Trace& way : {trace, without}) {
      auto child = SteppedChild::create(body, deadline_in(20s)).value();
      ASSERT_TRUE(child.advance(way, at));
      EXPECT_EQ(child.program_counter(), trace.counter(at));
    }
  }
}

}  // namespace
}  // namespace troupe
