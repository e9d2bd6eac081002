// SPDX-License-Identifier: MIT
// What a function returned or threw comes back from the process that ran it.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <troupe/runtime/task.hpp>
#include <troupe/transport/blob.hpp>
#include <vector>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::patience;

class TaskTest : public test::LeavesNothing, public ::testing::WithParamInterface<StartMethod> {
 protected:
  [[nodiscard]] static ProcessOptions options() { return {.name = "sum", .method = GetParam()}; }
  template <class R>
  static Result<R> outcome(Task<R> task) {
    task.start().value();
    return task.result(patience);
  }
};

INSTANTIATE_TEST_SUITE_P(Methods, TaskTest, ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& one) { return ::testing::PrintToString(one.param); });

int add(int a, int b) { return a + b; }

TEST_P(TaskTest, BringsBackWhatTheFunctionReturned) {
  EXPECT_EQ(outcome(Task{options(), add, 2, 3}).value(), 5);
  EXPECT_EQ(outcome(Task{options(), [](const std::string& text) { return text + "!"; }, "yes"}).value(),
            "yes!");
}

using Table = std::map<std::string, std::vector<std::optional<double>>>;

TEST_P(TaskTest, BringsBackValuesOfAnyShape) {
  const auto table = outcome(Task{options(),
                                  [] {
                                    return Table{{"a", {1.5, std::nullopt}}, {"", {}}};
                                  }})
                         .value();
  EXPECT_EQ(table, (Table{{"a", {1.5, std::nullopt}}, {"", {}}}));
}

TEST_P(TaskTest, BringsBackMoreThanAnyPipeHolds) {
  constexpr std::size_t numbers = 4'000'000;
  const auto all = outcome(Task{options(),
                                [](std::size_t count) {
                                  std::vector<std::uint64_t> result(count);
                                  std::iota(result.begin(), result.end(), 0U);
                                  return result;
                                },
                                numbers})
                       .value();
  ASSERT_EQ(all.size(), numbers);
  EXPECT_EQ(all.back(), numbers - 1);
}

TEST_P(TaskTest, OfAFunctionThatReturnsNothingSaysThatItIsDone) {
  EXPECT_TRUE(outcome(Task{options(), [] {}}));
}

int throw_a_failure() { throw Failure{{ErrorKind::refused, 7, "no such door"}}; }
std::vector<int> throw_an_exception() { throw std::out_of_range{std::string(1000, 'x')}; }

TEST_P(TaskTest, BringsBackAFailureAsItWas) {
  const auto error = outcome(Task{options(), throw_a_failure}).error();
  EXPECT_EQ(error.kind, ErrorKind::refused);
  EXPECT_EQ(error.errnum, 7);
  EXPECT_EQ(error.text, "no such door");
}

TEST_P(TaskTest, BringsBackTheTypeAndTheWholeTextOfAnyOtherException) {
  const auto error = outcome(Task{options(), throw_an_exception}).error();
  EXPECT_EQ(error.kind, ErrorKind::down);
  EXPECT_NE(error.text.find("std::out_of_range"), std::string::npos) << error;
  EXPECT_NE(error.text.find(std::string(1000, 'x')), std::string::npos) << "whole, however long";
}

TEST_P(TaskTest, SaysHowItsProcessDiedWhenThereIsNoResult) {
  const auto error = outcome(Task{options(),
                                  []() -> int {
                                    std::raise(SIGKILL);
                                    return 1;
                                  }})
                         .error();
  EXPECT_EQ(error.kind, ErrorKind::down);
  EXPECT_NE(error.text.find("SIGKILL"), std::string::npos) << error;
  EXPECT_NE(error.text.find("sum"), std::string::npos) << error;
  EXPECT_EQ(outcome(Task{options(), []() -> int { std::exit(3); }}).error().kind, ErrorKind::down);
  EXPECT_EQ(outcome(Task{options(), []() -> int { throw 5; }}).error().kind, ErrorKind::down);
}

TEST_P(TaskTest, RefusesAResultThatHoldsADescriptor) {
  const auto error =
      outcome(Task{options(), [] { return Blob::create(std::vector<std::byte>(10)).value(); }}).error();
  EXPECT_EQ(error.kind, ErrorKind::refused);
}

TEST_P(TaskTest, SaysThatThereIsNoRoomForItsResult) {
  const auto error = outcome(Task{options(),
                                  [] {
                                    const rlimit small{4096, 4096};
                                    ::setrlimit(RLIMIT_FSIZE, &small);
                                    return std::string(100'000, 'x');
                                  }})
                         .error();
  EXPECT_EQ(error.kind, ErrorKind::exhausted) << error;
}

TEST_P(TaskTest, CanBeAskedAgainAndByNobodyBeforeItWasStarted) {
  Task task{options(), add, 1, 1};
  EXPECT_EQ(task.result(0s).error().kind, ErrorKind::invalid);
  task.start().value();
  EXPECT_EQ(task.result(patience).value(), 2);
  EXPECT_EQ(task.result(0s).value(), 2);
}

TEST_P(TaskTest, IsNotReadyBeforeItsEnd) {
  test::Gate gate;
  Task task{options(), [](const std::string& path) { return test::pass(path), 4; }, gate.path()};
  task.start().value();
  EXPECT_EQ(task.result(10ms).error().kind, ErrorKind::timed_out);
  gate.open();
  EXPECT_EQ(task.result(patience).value(), 4);
}

TEST_P(TaskTest, HundredAtATimeHaveEachItsOwn) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 100; ++i) tasks.emplace_back(options(), add, i, i);
  for (auto& task : tasks) task.start().value();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(tasks[static_cast<std::size_t>(i)].result(patience).value(), 2 * i);
}

}  // namespace
}  // namespace troupe
