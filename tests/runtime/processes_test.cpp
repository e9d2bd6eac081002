// SPDX-License-Identifier: MIT
// Processes that are started, waited for and stopped together.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <string>
#include <troupe/runtime/processes.hpp>
#include <vector>

#include "leaves_nothing.hpp"
#include "transport/forked.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Gate;
using test::patience;

void leave_with(int code) { std::exit(code); }
void wait_for(const std::string& gate) { test::pass(gate); }
void ignore_and_wait(const std::string& gate) {
  std::signal(SIGTERM, SIG_IGN);
  test::pass(gate);
}

class ProcessesTest : public test::LeavesNothing {};

TEST_F(ProcessesTest, AreStartedByOneCallUnderNumberedNames) {
  auto group = start_many(5, {.name = "worker"}, leave_with, 3).value();
  ASSERT_EQ(group.size(), 5U);
  const auto reports = group.join(patience).value();
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(reports.at(i).name, "worker/" + std::to_string(i));
    EXPECT_EQ(reports.at(i).status(), ExitStatus{Exited{3}});
  }
  EXPECT_EQ(group.alive(), 0U);
}

TEST_F(ProcessesTest, TellEachEndOnceInTheOrderInWhichTheyHappen) {
  std::vector<Gate> gates(4);
  Processes group;
  for (std::size_t i = 0; i < gates.size(); ++i) {
    Process process{{.name = std::to_string(i)}, wait_for, gates[i].path()};
    process.start().value();
    group.add(std::move(process));
  }
  EXPECT_EQ(group.next_exit(10ms).error().kind, ErrorKind::timed_out);
  for (const std::size_t i : {2U, 0U, 3U, 1U}) {
    gates[i].open();
    EXPECT_EQ(group.next_exit(patience).value().name, std::to_string(i));
  }
  EXPECT_EQ(group.next_exit(patience).error().kind, ErrorKind::closed);
}

TEST_F(ProcessesTest, LeaveTheProgramsOtherChildrenToThemselves) {
  test::Forked other{[] { return 7; }};
  auto group = start_many(3, leave_with, 0).value();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(group.next_exit(patience));
  EXPECT_EQ(other.exit_code(deadline_in(patience)), 7) << "nobody else has reaped it";
}

TEST_F(ProcessesTest, SayHowManyLiveOnAtTheDeadline) {
  Gate gate;
  auto group = start_many(3, wait_for, gate.path()).value();
  const auto error = group.join(10ms).error();
  EXPECT_EQ(error.kind, ErrorKind::timed_out);
  EXPECT_NE(error.text.find("3 of 3"), std::string::npos) << error;
  EXPECT_EQ(group.alive(), 3U);
  EXPECT_TRUE(group.stop());
}

TEST_F(ProcessesTest, AreStoppedTogetherAlsoThoseThatIgnoreIt) {
  Gate gate;
  auto group = start_many(3, wait_for, gate.path()).value();
  Process stubborn{{.name = "stubborn", .stop_within = 100ms}, ignore_and_wait, gate.path()};
  stubborn.start().value();
  group.add(std::move(stubborn));
  const auto reports = group.stop().value();
  ASSERT_EQ(reports.size(), 4U);
  for (const auto& report : reports) EXPECT_TRUE(std::holds_alternative<Signaled>(report.status())) << report;
  EXPECT_EQ(group.alive(), 0U);
}

TEST_F(ProcessesTest, OneThatWasKilledIsTheNextExit) {
  Gate gate;
  auto group = start_many(3, wait_for, gate.path()).value();
  group[1].kill().value();
  const auto report = group.next_exit(patience).value();
  EXPECT_EQ(report.name, "process/1");
  EXPECT_EQ(report.status(), ExitStatus{Signaled{SIGKILL}});
  EXPECT_TRUE(group.stop());
}

}  // namespace
}  // namespace troupe
