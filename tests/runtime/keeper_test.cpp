// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/syscall.hpp>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "program.hpp"
#include "transport/forked.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using detail::KeeperLink;
using test::Forked;
using test::Gate;
using test::Inbox;
using test::patience;
using test::Program;
using test::Watched;

std::string child_program(const std::string& name) { return TROUPE_TEST_CHILDREN_DIR "/child_" + name; }

class KeeperTest : public test::LeavesNothing {
 protected:
  static ExitReport run(Process process) {
    process.start().value();
    return process.join(patience).value();
  }

  Inbox inbox{};
  Gate gate{};
};

// ---- the keeper itself ------------------------------------------------------------------------------

TEST_F(KeeperTest, IsNobodysChildInAProcessGroupOfItsOwn) {
  const pid_t keeper = test::keeper_pid();
  EXPECT_EQ(test::name_of(keeper), "troupe:keeper");
  EXPECT_NE(test::status_line(keeper, "PPid"), std::to_string(::getpid()));
  EXPECT_EQ(::getpgid(keeper), keeper);
#if !defined(__SANITIZE_THREAD__)  // which has a thread of its own in every process
  EXPECT_EQ(test::status_line(keeper, "Threads"), "1");
#endif
  EXPECT_EQ(test::children_of(::getpid()), std::vector<pid_t>{});
}

TEST_F(KeeperTest, HoldsNoneOfTheProgramsStreams) {
  for (const int fd : {0, 1, 2})
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(test::keeper_pid()) + "/fd/" +
                                            std::to_string(fd)),
              "/dev/null");
}

TEST_F(KeeperTest, EndsWithItsLinkAndTheNextStartMakesAnother) {
  const Watched first{test::keeper_pid()};
  KeeperLink::end(patience);
  EXPECT_TRUE(first.gone(0ns));
  EXPECT_EQ(run(Process{[] { std::exit(3); }}).status(), ExitStatus{Exited{3}});
  EXPECT_NE(test::keeper_pid(), first.pid());
}

TEST_F(KeeperTest, TheStandardNumbersThatTheProgramHasClosedStayFree) {
  KeeperLink::end(patience);
  std::string taken;
  {
    const test::Redirected input{STDIN_FILENO, -1};
    const test::Redirected output{STDOUT_FILENO, -1};
    const test::Redirected error{STDERR_FILENO, -1};
    run(Process{[] {}});
    for (const int fd : {0, 1, 2})
      if (::fcntl(fd, F_GETFD) != -1) taken += std::to_string(fd) + " ";
  }
  EXPECT_EQ(taken, "");
}

TEST_F(KeeperTest, StopsWhatStillRunsWhenItsLinkEnds) {
  Process process{{.daemon = true}, test::wait_for_ever};
  process.start().value();
  const Watched watched{process.pid()};
  KeeperLink::end(patience);
  EXPECT_TRUE(watched.gone(0ns));
}

TEST_F(KeeperTest, AProcessOfAKeeperThatHasEndedIsAnErrorAndNoHang) {
  Process process{test::wait_for_ever};
  process.start().value();
  KeeperLink::end(patience);
  EXPECT_FALSE(process.join(patience));
  EXPECT_FALSE(process.stop());
}

TEST_F(KeeperTest, AProcessOfAKeeperThatHasEndedTouchesNobodyOfTheNext) {
  Process old{{.daemon = true}, test::wait_for_ever};
  old.start().value();
  KeeperLink::end(patience);
  Process other{{.daemon = true}, test::wait_for_ever};
  other.start().value();
  EXPECT_FALSE(old.kill());
  EXPECT_FALSE(old.stop());
  EXPECT_TRUE(other.alive());
}

TEST_F(KeeperTest, ItsDeathEndsEveryProcessAndEveryWait) {
  Process forked{test::wait_for_ever};
  Process spawned{{.method = StartMethod::spawn}, test::wait_for_ever};
  forked.start().value();
  spawned.start().value();
  const Watched keeper{test::keeper_pid()};
  const Watched zygote{test::zygote_pid()};
  const Watched first{forked.pid()};
  const Watched second{spawned.pid()};
  keeper.signal(SIGKILL);
  EXPECT_EQ(forked.join(patience).error().kind, ErrorKind::down);
  EXPECT_EQ(spawned.join(patience).error().kind, ErrorKind::down);
  EXPECT_TRUE(first.gone());
  EXPECT_TRUE(second.gone());
  EXPECT_TRUE(zygote.gone());
  Process late{[] {}};
  EXPECT_EQ(late.start().error().kind, ErrorKind::down);
}

TEST_F(KeeperTest, ItsDeathWakesAJoinThatWaits) {
  Process process{[](const std::string& path) {
                    test::say(path, std::to_string(::getppid()));
                    test::wait_for_ever();
                  },
                  inbox.path()};
  process.start().value();
  const Watched keeper{inbox.next_number()};
  Forked killer{[&] {
    keeper.signal(SIGKILL);
    return 0;
  }};
  EXPECT_EQ(process.join(patience).error().kind, ErrorKind::down);
  EXPECT_EQ(killer.exit_code(deadline_in(patience)), 0);
}

// ---- the zygote ---------------------------------------------------------------------------------------

class ZygoteTest : public KeeperTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Signals, ZygoteTest, ::testing::Values(SIGKILL, SIGINT, SIGTERM, SIGSEGV));

TEST_P(ZygoteTest, AfterItsDeathTheNextStartWorksAndTheRunningKeepTheirTrueStatus) {
  Process before{{.daemon = true},
                 [](const std::string& g) {
                   test::pass(g);
                   std::exit(77);
                 },
                 gate.path()};
  before.start().value();
  const Watched zygote{test::zygote_pid()};
  zygote.signal(GetParam());
  ASSERT_TRUE(zygote.gone());
  EXPECT_EQ(run(Process{[] { std::exit(3); }}).status(), ExitStatus{Exited{3}});
  EXPECT_TRUE(before.alive());
  gate.open();
  EXPECT_EQ(before.join(patience).value().status(), ExitStatus{Exited{77}});
  EXPECT_NE(test::zygote_pid(), zygote.pid());
}

TEST_F(KeeperTest, StartsGoOnWhileTheZygoteIsKilledAgainAndAgain) {
  int started = 0;
  for (int i = 0; i < 60; ++i) {
    if (const pid_t zygote = test::zygote_pid(); zygote != 0 && i % 3 == 0) Watched{zygote}.signal(SIGKILL);
    Process process{[] { std::exit(5); }};
    if (const auto ok = process.start(); !ok) {
      EXPECT_NE(ok.error().text, "");  // told, not lost; the next one has a new zygote
      continue;
    }
    ++started;
    EXPECT_EQ(process.join(patience).value().status(), ExitStatus{Exited{5}});
  }
  EXPECT_GE(started, 40);
}

TEST_F(KeeperTest, AZygoteThatWasStoppedIsReplacedAndTheStartIsNotLost) {
  run(Process{[] {}});
  const Watched zygote{test::zygote_pid()};
  zygote.signal(SIGSTOP);
  EXPECT_EQ(run(Process{[] { std::exit(3); }}).status(), ExitStatus{Exited{3}});
  EXPECT_TRUE(zygote.gone());
}

// ---- the program ----------------------------------------------------------------------------------------

TEST_F(KeeperTest, TheDeathOfTheProgramEndsAllThatItStarted) {
  Program program{child_program("holds_a_node")};
  std::vector<Watched> all;
  for (int i = 0; i < 7; ++i) all.emplace_back(program.number());
  const auto keeper =
      std::ranges::find(all, "troupe:keeper", [](const Watched& one) { return test::name_of(one.pid()); });
  ASSERT_NE(keeper, all.end());
  program.kill();
  for (const Watched& one : all) EXPECT_TRUE(one.gone()) << one.pid();
  EXPECT_EQ(test::started_by(keeper->pid()), std::vector<pid_t>{});
}

TEST_F(KeeperTest, AProgramThatEndsWithoutAWordLeavesNothing) {
  Program program{child_program("leaves_at_once")};
  const int child = program.number();
  const int keeper = program.number();
  EXPECT_EQ(program.rest(), "");  // the end of its output, which the child holds too
  EXPECT_EQ(test::started_by(keeper), std::vector<pid_t>{});
  EXPECT_EQ(::kill(child, 0), -1);
}

TEST_F(KeeperTest, AProgramWithoutInitIsToldSoAndRunsItsMainOnce) {
  Program program{child_program("without_init")};
  const std::string text = program.rest();
  EXPECT_TRUE(text.starts_with("main runs\n")) << text;
  EXPECT_EQ(text.find("main runs", 1), std::string::npos) << text;
  EXPECT_NE(text.find("main did not call troupe::init"), std::string::npos) << text;
}

TEST_F(KeeperTest, AProgramThatWaitsForAllItsChildrenSeesNoneOfOurs) {
  Program program{child_program("waits_for_all")};
  EXPECT_EQ(program.rest(), "children seen: 0\nexit 0\n");
}

#if !defined(__SANITIZE_THREAD__)  // under which no thread counts: it has one of its own in every process
TEST_F(KeeperTest, WhereStaticConstructorsStartThreadsProcessesAreSpawned) {
  Program program{child_program("static_thread")};
  const std::string text = program.rest();
  EXPECT_TRUE(text.starts_with("start: this program's static constructors start threads")) << text;
  EXPECT_NE(text.find("processes are started by spawn"), std::string::npos) << text;
  EXPECT_NE(text.find("hello\n"), std::string::npos) << text;
  EXPECT_NE(text.find("exit 0\n"), std::string::npos) << text;
}
#endif

// ---- forks that are not ours ------------------------------------------------------------------------------

TEST_F(KeeperTest, ThePlainForkOfAProgramIsRefused) {
  Process process{{.daemon = true}, test::wait_for_ever};
  process.start().value();
  Forked child{[&] {
    Process own{[] {}};
    const auto started = own.start();
    if (started || started.error().kind != ErrorKind::refused) return 1;
    const auto joined = process.join(0ns);
    if (joined || joined.error().kind != ErrorKind::refused) return 2;
    const auto killed = process.kill();
    return !killed && killed.error().kind == ErrorKind::refused ? 0 : 3;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(patience)), 0);
  EXPECT_TRUE(process.alive());
}

}  // namespace
}  // namespace troupe
