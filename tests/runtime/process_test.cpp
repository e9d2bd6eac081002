// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <thread>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/transport/syscall.hpp>

#include "leaves_nothing.hpp"
#include "printing.hpp"
#include "wire.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Gate;
using test::Inbox;
using test::patience;
using test::Redirected;
using test::say;
using test::Watched;

/// Both ways to start a process keep the same promises.
class ProcessTest : public test::LeavesNothing, public ::testing::WithParamInterface<StartMethod> {
 protected:
  [[nodiscard]] static ProcessOptions options() { return {.method = GetParam()}; }
  [[nodiscard]] static ProcessOptions daemon() { return {.daemon = true, .method = GetParam()}; }

  /// Starts it, waits for it, and returns how it ended.
  static ExitReport run(Process process) {
    process.start().value();
    return process.join(patience).value();
  }

  Inbox inbox{};
  Gate gate{};
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessTest, ::testing::Values(StartMethod::forkserver, StartMethod::spawn),
                         [](const auto& one) { return ::testing::PrintToString(one.param); });

// ---- what runs ------------------------------------------------------------------------------------

using Names = std::map<std::string, std::vector<int>>;

void tell(const std::string& inbox, int a, double b, bool c, const Names& names,
          std::optional<std::string> maybe) {
  say(inbox, std::to_string(a) + " " + std::to_string(b) + " " + (c ? "yes" : "no") + " " +
                 std::to_string(names.at("primes").at(2)) + " " + maybe.value_or("none"));
}

TEST_P(ProcessTest, RunsAFunctionWithArgumentsOfSeveralTypes) {
  const Names names{{"primes", {2, 3, 5}}};
  const auto report =
      run(Process{options(), tell, inbox.path(), -7, 2.5, true, names, std::optional<std::string>{"text"}});
  EXPECT_EQ(inbox.next(), "-7 2.500000 yes 5 text");
  EXPECT_EQ(report.status(), ExitStatus{Exited{0}});
  EXPECT_EQ(report.reason.cause, ExitCause::normal);
}

TEST_P(ProcessTest, RunsALambdaWithoutCaptures) {
  run(Process{options(), [](const std::string& path, int n) { say(path, std::to_string(n * n)); },
              inbox.path(), 12});
  EXPECT_EQ(inbox.next(), "144");
}

void tell_converted(const std::string& inbox, const std::string& text, unsigned long number, double real) {
  say(inbox, text + " " + std::to_string(number) + " " + std::to_string(real));
}

TEST_P(ProcessTest, ConvertsArgumentsToTheTypesOfItsParameters) {
  run(Process{options(), tell_converted, inbox.path(), "literal", std::uint8_t{7}, 3});
  EXPECT_EQ(inbox.next(), "literal 7 3.000000");
}

TEST_P(ProcessTest, ItsArgumentsAreCopiedWhenItIsMade) {
  std::string text = "before";
  Process process{options(), tell_converted, inbox.path(), text, 1U, 1.0};
  text = "after";
  process.start().value();
  EXPECT_EQ(inbox.next(), "before 1 1.000000");
}

int global = [] { return 41; }();

TEST_P(ProcessTest, SeesGlobalsAsStaticInitialisationLeftThem) {
  global = 0;
  run(Process{options(), [](const std::string& path) { say(path, std::to_string(++global)); }, inbox.path()});
  EXPECT_EQ(inbox.next(), "42");
  EXPECT_EQ(global, 0);
}

TEST_P(ProcessTest, HasItsNameAndItsOwnPid) {
  Process process{{.name = "the-greeter", .method = GetParam()},
                  [](const std::string& path) {
                    say(path, std::to_string(::getpid()));
                    test::wait_for_ever();
                  },
                  inbox.path()};
  process.start().value();
  EXPECT_EQ(inbox.next_number(), process.pid());
  EXPECT_NE(process.pid(), ::getpid());
  EXPECT_EQ(process.name(), "the-greeter");
  EXPECT_EQ(test::name_of(process.pid()), "the-greeter");
  EXPECT_EQ(process.stop().value().name, "the-greeter");
}

TEST(ProcessWithoutStartTest, RefusesArgumentsThatAreTooLarge) {
  try {
    const Process process{[](const std::string&) {}, std::string(100'000, 'x')};
    FAIL() << "they were taken";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error.kind, ErrorKind::invalid);
    EXPECT_NE(failure.error.text.find("at most 65536"), std::string::npos) << failure.error.text;
  }
}

TEST_P(ProcessTest, TakesArgumentsUpToTheLimit) {
  const std::string large(60'000, 'x');
  const auto report = run(
      Process{options(), [](const std::string& text) { std::exit(text.size() == 60'000 ? 7 : 1); }, large});
  EXPECT_EQ(report.status(), ExitStatus{Exited{7}});
}

// ---- how it ends ----------------------------------------------------------------------------------

TEST_P(ProcessTest, ExitsWithOneAndItsTextWhenItThrows) {
  const auto report = run(Process{options(), [] { throw std::runtime_error{"the disk is gone"}; }});
  EXPECT_EQ(report.status(), ExitStatus{Exited{1}});
  EXPECT_EQ(report.reason.cause, ExitCause::failed);
  EXPECT_EQ(report.reason.detail, "the disk is gone");
}

TEST_P(ProcessTest, ExitsWithOneWhenItThrowsWhatIsNoException) {
  const auto report = run(Process{options(), [] { throw 7; }});
  EXPECT_EQ(report.status(), ExitStatus{Exited{1}});
  EXPECT_NE(report.reason.detail, "");
}

TEST_P(ProcessTest, ReportsTheCodeOfExit) {
  for (const int code : {0, 3, 255}) {
    const auto report = run(Process{options(), [](int c) { std::exit(c); }, code});
    EXPECT_EQ(report.status(), ExitStatus{Exited{code}});
    EXPECT_EQ(report.reason.cause, code == 0 ? ExitCause::normal : ExitCause::failed);
  }
}

TEST_P(ProcessTest, ExitNineIsNotSigkill) {
  Process killed{options(), test::wait_for_ever};
  killed.start().value();
  killed.kill().value();
  EXPECT_EQ(killed.join(patience).value().status(), (ExitStatus{Signaled{SIGKILL, false}}));
  EXPECT_EQ(killed.exit_report()->reason.cause, ExitCause::signaled);
  EXPECT_EQ(run(Process{options(), [] { std::exit(9); }}).status(), ExitStatus{Exited{9}});
}

TEST_P(ProcessTest, ReportsTheSignalThatItDiedOf) {
  const auto report = run(Process{options(), [] {
                                    const rlimit no_core{};
                                    ::setrlimit(RLIMIT_CORE, &no_core);
                                    std::abort();
                                  }});
  EXPECT_EQ(report.status(), (ExitStatus{Signaled{SIGABRT, false}}));
}

TEST_P(ProcessTest, TerminateIsSigterm) {
  Process process{options(), test::wait_for_ever};
  process.start().value();
  process.terminate().value();
  EXPECT_EQ(process.join(patience).value().status(), (ExitStatus{Signaled{SIGTERM, false}}));
}

TEST_P(ProcessTest, StopEndsOneThatIgnoresSigterm) {
  constexpr auto within = 200ms;
  Process process{{.method = GetParam(), .stop_within = within},
                  [](const std::string& path) {
                    ::signal(SIGTERM, SIG_IGN);
                    say(path, "deaf");
                    test::wait_for_ever();
                  },
                  inbox.path()};
  process.start().value();
  ASSERT_EQ(inbox.next(), "deaf");
  const TimePoint begin = Clock::now();
  const auto report = process.stop().value();
  EXPECT_GE(Clock::now() - begin, within);
  EXPECT_EQ(report.status(), (ExitStatus{Signaled{SIGKILL, false}}));
  EXPECT_EQ(report.reason.cause, ExitCause::shutdown);
}

TEST_P(ProcessTest, StopEndsOneThatIsStoppedBySigstop) {
  Process process{options(), test::wait_for_ever};
  process.start().value();
  process.signal(SIGSTOP).value();
  EXPECT_EQ(process.stop().value().status(), (ExitStatus{Signaled{SIGTERM, false}}));
}

TEST_P(ProcessTest, StopMayBeRepeatedAndFollowTheEnd) {
  Process process{options(), [] {}};
  process.start().value();
  const auto report = process.join(patience).value();
  EXPECT_EQ(process.stop().value().reason, report.reason);
  EXPECT_EQ(process.stop().value().reason, report.reason);
}

// ---- join and its friends ---------------------------------------------------------------------------

TEST_P(ProcessTest, JoinWithoutPatienceReturnsAtOnce) {
  Process process{options(), test::wait_for_ever};
  process.start().value();
  EXPECT_EQ(process.join(0ns).error().kind, ErrorKind::timed_out);
  EXPECT_EQ(process.join(-1s).error().kind, ErrorKind::timed_out);
  EXPECT_TRUE(process.alive());
  process.kill().value();
}

TEST_P(ProcessTest, TheShortestOfAllTimesIsNotTheLongest) {
  Process process{options(), test::wait_for_ever};
  process.start().value();
  EXPECT_EQ(process.join(Duration::min()).error().kind, ErrorKind::timed_out);
  process.kill().value();
}

TEST_P(ProcessTest, JoinLastsAtLeastItsDeadline) {
  Process process{options(), test::wait_for_ever};
  process.start().value();
  const TimePoint begin = Clock::now();
  EXPECT_EQ(process.join(50ms).error().kind, ErrorKind::timed_out);
  EXPECT_GE(Clock::now() - begin, 50ms);
  process.kill().value();
}

TEST_P(ProcessTest, JoinMayBeRepeated) {
  Process process{options(), [] { std::exit(5); }};
  process.start().value();
  EXPECT_EQ(process.join(patience).value().status(), ExitStatus{Exited{5}});
  EXPECT_EQ(process.join(0ns).value().status(), ExitStatus{Exited{5}});
  EXPECT_EQ(process.exit_report()->status(), ExitStatus{Exited{5}});
}

TEST_P(ProcessTest, OneThatWasNeverStartedCannotBeJoined) {
  Process process{options(), [] {}};
  EXPECT_EQ(process.join(0ns).error().kind, ErrorKind::invalid);
  EXPECT_EQ(process.stop().error().kind, ErrorKind::invalid);
  EXPECT_EQ(process.kill().error().kind, ErrorKind::invalid);
  EXPECT_FALSE(process.alive());
  EXPECT_EQ(process.pid(), 0);
  EXPECT_EQ(process.sentinel(), -1);
  EXPECT_EQ(process.exit_report(), std::nullopt);
}

TEST_P(ProcessTest, CannotBeStartedTwice) {
  Process process{options(), [] {}};
  process.start().value();
  EXPECT_EQ(process.start().error().kind, ErrorKind::refused);
  process.join(patience).value();
  EXPECT_EQ(process.start().error().kind, ErrorKind::refused);
}

TEST_P(ProcessTest, ItsSentinelIsReadableOnceItHasEnded) {
  Process process{options(), test::pass, gate.path()};
  process.start().value();
  EXPECT_TRUE(process.alive());
  EXPECT_FALSE(detail::wait_readable(process.sentinel(), Clock::now()));
  gate.open();
  EXPECT_TRUE(detail::wait_readable(process.sentinel(), deadline_in(patience)));
  process.join(patience).value();
  EXPECT_FALSE(process.alive());
  EXPECT_TRUE(detail::wait_readable(process.sentinel(), Clock::now()));
}

TEST_P(ProcessTest, ItsSentinelIsReadableAlsoIfItEndedBeforeItsStartWasAnswered) {
  for (int i = 0; i < 50; ++i) {
    Process process{options(), [] {}};
    process.start().value();
    ASSERT_TRUE(detail::wait_readable(process.sentinel(), deadline_in(patience)));
    EXPECT_TRUE(process.join(patience));
  }
}

TEST_P(ProcessTest, OneThatHasEndedCannotBeSignalled) {
  Process process{options(), [] {}};
  process.start().value();
  process.join(patience).value();
  EXPECT_EQ(process.kill().error().kind, ErrorKind::down);
  EXPECT_EQ(process.terminate().error().kind, ErrorKind::down);
}

TEST_P(ProcessTest, JoinWaitsInAnotherThreadWhileThisOneGoesOn) {
  Process process{options(), test::pass, gate.path()};
  process.start().value();
  std::thread waiter{[&] { EXPECT_EQ(process.join(patience).value().status(), ExitStatus{Exited{0}}); }};
  Process other{options(), [] { std::exit(4); }};
  other.start().value();
  EXPECT_EQ(other.join(patience).value().status(), ExitStatus{Exited{4}});
  gate.open();
  waiter.join();
}

TEST_P(ProcessTest, MovesWithItsProcess) {
  std::vector<Process> all;
  for (int code = 0; code < 4; ++code) {
    all.emplace_back(
        options(), [](int c) { std::exit(c); }, code);
    all.back().start().value();
  }
  for (int code = 0; code < 4; ++code)
    EXPECT_EQ(all[static_cast<std::size_t>(code)].join(patience).value().status(), ExitStatus{Exited{code}});
}

// ---- the end of the object ----------------------------------------------------------------------------

TEST_P(ProcessTest, ADaemonIsStoppedByItsDestructor) {
  std::optional<Watched> watched;
  {
    Process process{daemon(), test::wait_for_ever};
    process.start().value();
    watched.emplace(process.pid());
  }
  EXPECT_TRUE(watched->gone(0ns));
}

TEST_P(ProcessTest, OneThatIsNoDaemonIsJoinedByItsDestructor) {
  {
    Process process{options(),
                    [](const std::string& g, const std::string& path) {
                      test::pass(g);
                      say(path, "done");
                    },
                    gate.path(), inbox.path()};
    process.start().value();
    gate.open();
  }
  EXPECT_EQ(inbox.next(0ns), "done");
}

// ---- what it has around it ------------------------------------------------------------------------------

TEST_P(ProcessTest, RunsInTheFolderOfTheMomentOfItsStart) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path("/usr");
  Process process{options(),
                  [](const std::string& path) { say(path, std::filesystem::current_path().string()); },
                  inbox.path()};
  process.start().value();
  std::filesystem::current_path(before);
  EXPECT_EQ(inbox.next(), "/usr");
}

void say_variable(const std::string& inbox, const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  say(inbox, value == nullptr ? "(unset)" : value);
}

TEST_P(ProcessTest, SeesTheEnvironmentOfTheMomentOfItsStart) {
  ::setenv("TROUPE_TEST_VARIABLE", "one", 1);
  run(Process{options(), say_variable, inbox.path(), "TROUPE_TEST_VARIABLE"});
  EXPECT_EQ(inbox.next(), "one");
  ::setenv("TROUPE_TEST_VARIABLE", "two", 1);
  run(Process{options(), say_variable, inbox.path(), "TROUPE_TEST_VARIABLE"});
  EXPECT_EQ(inbox.next(), "two");
  ::unsetenv("TROUPE_TEST_VARIABLE");
  run(Process{options(), say_variable, inbox.path(), "TROUPE_TEST_VARIABLE"});
  EXPECT_EQ(inbox.next(), "(unset)");
}

TEST_P(ProcessTest, HasTheUmaskOfTheMomentOfItsStart) {
  const mode_t before = ::umask(0137);
  Process process{options(), [](const std::string& path) { say(path, std::to_string(::umask(0))); },
                  inbox.path()};
  process.start().value();
  ::umask(before);
  EXPECT_EQ(inbox.next(), std::to_string(0137));
}

TEST_P(ProcessTest, HasTheDescriptorLimitOfTheMomentOfItsStartAndNotTheKeepers) {
  const auto say_limit = [](const std::string& path) {
    rlimit here{};
    ::getrlimit(RLIMIT_NOFILE, &here);
    say(path, std::to_string(here.rlim_cur));
  };
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  for (int i = 0; i < 2; ++i) {  // that of the moment, though nothing else has changed
    run(Process{options(), say_limit, inbox.path()});
    EXPECT_EQ(inbox.next(), std::to_string(limit.rlim_cur));
    --limit.rlim_cur;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
}

std::string read_to_the_end(int fd) {
  std::string text;
  for (;;) {
    if (!detail::wait_readable(fd, deadline_in(patience))) return text + " (and no end)";
    std::array<char, 4096> block{};
    const auto bytes = ::read(fd, block.data(), block.size());
    if (bytes <= 0) return text;
    text.append(block.data(), static_cast<std::size_t>(bytes));
  }
}

TEST_P(ProcessTest, WritesToTheOutputOfTheMomentOfItsStart) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd read_end{ends[0]};
  OwnedFd write_end{ends[1]};
  {
    Process process{options(), [] { std::cout << "to the pipe" << std::flush; }};
    {
      const Redirected output{STDOUT_FILENO, write_end.get()};
      process.start().value();
    }
    process.join(patience).value();
  }
  std::string text(11, ' ');
  ASSERT_TRUE(detail::wait_readable(read_end.get(), deadline_in(patience)));
  EXPECT_EQ(::read(read_end.get(), text.data(), text.size()), 11);
  EXPECT_EQ(text, "to the pipe");
}

TEST_P(ProcessTest, WhoReadsItsOutputSeesTheEndOfIt) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd read_end{ends[0]};
  OwnedFd write_end{ends[1]};
  {
    Process process{options(), [] { std::cout << "all of it"; }};  // flushed when it ends
    {
      const Redirected output{STDOUT_FILENO, write_end.get()};
      process.start().value();
    }
    process.join(patience).value();
  }
  write_end.reset();
  EXPECT_EQ(read_to_the_end(read_end.get()), "all of it");
}

TEST_P(ProcessTest, RunsWithoutAnOutputToo) {
  const Redirected output{STDOUT_FILENO, -1};
  // Ends while the output is still closed: its descriptors may have been given the free number.
  EXPECT_EQ(run(Process{options(), [] { std::cout << "to nobody" << std::endl; }}).status(),
            ExitStatus{Exited{0}});
}

void say_descriptors(const std::string& inbox) {
  std::string text;
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) != -1) text += std::to_string(fd) + " ";
  say(inbox, text);
}

TEST_P(ProcessTest, HoldsTheThreeStandardDescriptorsAndItsChannelAndNothingElse) {
  const OwnedFd leaky{::open("/dev/null", O_RDONLY)};  // on purpose without O_CLOEXEC
  std::vector<Process> siblings;
  for (int i = 0; i < 3; ++i) {
    siblings.emplace_back(daemon(), test::wait_for_ever);
    siblings.back().start().value();
  }
  run(Process{options(), say_descriptors, inbox.path()});
  EXPECT_EQ(inbox.next(), "0 1 2 3 ");
}

TEST_P(ProcessTest, BeginsWithCleanSignals) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto handler_before = ::signal(SIGUSR1, SIG_IGN);
  renew();  // so that the keeper, too, comes from a process that blocks everything
  Process process{options(), test::wait_for_ever};
  process.start().value();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGUSR1, handler_before);
  constexpr std::uint64_t of_the_c_library = 3ULL << 31U;  // 32 and 33: posix_spawn ignores them
  EXPECT_EQ(std::stoull(test::status_line(process.pid(), "SigBlk"), nullptr, 16), 0U);
  EXPECT_EQ(std::stoull(test::status_line(process.pid(), "SigIgn"), nullptr, 16) & ~of_the_c_library, 0U);
  process.kill().value();
}

TEST_P(ProcessTest, WorksInAProgramThatIgnoresTheEndsOfItsChildren) {
  const auto before = ::signal(SIGCHLD, SIG_IGN);
  renew();
  EXPECT_EQ(run(Process{options(), [] { std::exit(6); }}).status(), ExitStatus{Exited{6}});
  ::signal(SIGCHLD, before);
}

// ---- families ---------------------------------------------------------------------------------------

void start_nested(StartMethod method, const std::string& inbox) {
  Process nested{{.method = method}, test::wait_for_ever};
  nested.start().value();
  say(inbox, std::to_string(nested.pid()));
  test::wait_for_ever();
}

TEST_P(ProcessTest, TakesWithItWhatItHadStarted) {
  Process middle{options(), start_nested, GetParam(), inbox.path()};
  middle.start().value();
  const Watched nested{inbox.next_number()};
  middle.kill().value();
  EXPECT_EQ(middle.join(patience).value().status(), (ExitStatus{Signaled{SIGKILL, false}}));
  EXPECT_TRUE(nested.gone(0ns)) << "a join waits for the whole family";
}

void count_down(StartMethod method, int depth, const std::string& inbox) {
  std::vector<Process> children;
  for (int i = 0; depth > 0 && i < 2; ++i) {
    children.emplace_back(ProcessOptions{.method = method}, count_down, method, depth - 1, inbox);
    children.back().start().value();
  }
  for (Process& child : children)
    if (child.join(patience).value().status() != ExitStatus{Exited{depth - 1}}) std::abort();
  say(inbox, std::to_string(depth));
  std::exit(depth);
}

TEST_P(ProcessTest, StartsOthersWhichStartOthers) {
  const auto report = run(Process{options(), count_down, GetParam(), 2, inbox.path()});
  EXPECT_EQ(report.status(), ExitStatus{Exited{2}});
  std::vector<int> depths;
  for (int i = 0; i < 7; ++i) depths.push_back(inbox.next_number());
  std::ranges::sort(depths);
  EXPECT_EQ(depths, (std::vector{0, 0, 0, 0, 1, 1, 2}));
}

void detach_a_stranger(const std::string& inbox) {
  if (::fork() == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    ::signal(SIGTERM, SIG_IGN);
    say(inbox, std::to_string(::getpid()));
    test::wait_for_ever();
  }
  test::wait_for_ever();
}

TEST_P(ProcessTest, StopEndsEvenADetachedGrandchild) {
  Process process{options(), detach_a_stranger, inbox.path()};
  process.start().value();
  const Watched stranger{inbox.next_number()};
  process.stop().value();
  EXPECT_TRUE(stranger.gone(0ns));
}

TEST_P(ProcessTest, ItsDeathEndsEvenADetachedGrandchild) {
  Process process{options(), detach_a_stranger, inbox.path()};
  process.start().value();
  const Watched stranger{inbox.next_number()};
  process.kill().value();
  process.join(patience).value();
  EXPECT_TRUE(stranger.gone(0ns));
}

/// The middle one of three takes its time to end, and for so long it neither says whose it is nor gives its
/// own child away.
void detach_behind_one_that_ends_slowly(const std::string& inbox, const std::string& gate) {
  if (::fork() == 0) {
    if (::fork() == 0) {
      say(inbox, std::to_string(::getpid()));
      test::wait_for_ever();
    }
    constexpr std::size_t ballast = 256 << 20U;
    ::mmap(nullptr, ballast, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    say(inbox, "heavy");
    test::pass(gate);
    ::_exit(0);
  }
  test::wait_for_ever();
}

TEST_P(ProcessTest, ItsDeathEndsEvenAGrandchildWhoseParentIsJustEnding) {
  Process process{options(), detach_behind_one_that_ends_slowly, inbox.path(), gate.path()};
  process.start().value();
  const Watched stranger{inbox.next_number()};
  ASSERT_EQ(inbox.next(), "heavy");
  gate.open();
  process.kill().value();
  process.join(patience).value();
  EXPECT_TRUE(stranger.gone(0ns));
}

void detach_one_whose_first_thread_ends(const std::string& inbox) {
  if (::fork() == 0) {
    std::thread{[inbox] {
      say(inbox, std::to_string(::getpid()));
      test::wait_for_ever();
    }}.detach();
    ::syscall(SYS_exit, 0);  // of this thread
  }
  test::wait_for_ever();
}

TEST_P(ProcessTest, ItsDeathEndsEvenAGrandchildWhoseFirstThreadHasEnded) {
  Process process{options(), detach_one_whose_first_thread_ends, inbox.path()};
  process.start().value();
  const Watched stranger{inbox.next_number()};
  const TimePoint deadline = deadline_in(patience);
  while (!test::status_line(stranger.pid(), "State").starts_with('Z') && Clock::now() < deadline)
    std::this_thread::yield();
  process.kill().value();
  process.join(patience).value();
  EXPECT_TRUE(stranger.gone(0ns));
}

TEST_P(ProcessTest, TwoHundredStartsLeaveNothing) {
  for (int i = 0; i < 200; ++i) ASSERT_EQ(run(Process{options(), [] {}}).status(), ExitStatus{Exited{0}});
  EXPECT_EQ(test::children_of(test::keeper_pid()), std::vector{test::zygote_pid()});
  // The keeper, too, holds no more than one that has served one start.
  const auto held = [] {
    const std::filesystem::directory_iterator all{"/proc/" + std::to_string(test::keeper_pid()) + "/fd"};
    return std::distance(begin(all), end(all));
  };
  const auto after_many = held();
  renew();
  run(Process{options(), [] {}});
  EXPECT_LE(after_many, held());
}

TEST_P(ProcessTest, ManyLiveAtTheSameTime) {
  std::vector<Process> all;
  for (int i = 0; i < 40; ++i) {
    all.emplace_back(
        options(),
        [](const std::string& g, int code) {
          test::pass(g);
          std::exit(code);
        },
        gate.path(), i);
    all.back().start().value();
  }
  gate.open(all.size());
  for (int i = 0; i < 40; ++i)
    EXPECT_EQ(all[static_cast<std::size_t>(i)].join(patience).value().status(), ExitStatus{Exited{i}});
}

TEST_P(ProcessTest, ItsReportSaysWhatItUsed) {
  const auto report =
      run(Process{options(), [] {
                    std::vector<char> memory(std::size_t{64} << 20U, 'x');
                    const auto until = Clock::now() + 5s;
                    timespec used{};
                    do ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
                    while (used.tv_sec == 0 && used.tv_nsec < 50'000'000 && Clock::now() < until);
                    ::write(-1, memory.data(), memory.size());
                  }});
  EXPECT_GE(report.usage.user + report.usage.system, 40ms);
  EXPECT_GE(report.usage.peak_memory_bytes, std::uint64_t{64} << 20U);
}

TEST_P(ProcessTest, IsInterruptedAndSuspendedAndResumed) {
  Process process{options(), test::pass, gate.path()};
  process.start().value();
  process.suspend().value();
  const std::string stat = "/proc/" + std::to_string(process.pid()) + "/stat";
  const auto state = [&] {
    std::string line;
    std::getline(std::ifstream{stat}, line);
    return line.substr(line.rfind(") ") + 2, 1);
  };
  const TimePoint deadline = deadline_in(patience);
  while (state() != "T" && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(state(), "T");
  process.resume().value();
  while (state() == "T" && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_NE(state(), "T");
  process.interrupt().value();
  EXPECT_EQ(process.join(patience).value().status(), ExitStatus{Signaled{SIGINT}});
}

TEST_P(ProcessTest, RunsInAFolderThatIsGoneFromItsPath) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("troupe-vanishing-" + std::to_string(::getpid()));
  const auto before = std::filesystem::current_path();
  std::filesystem::create_directory(folder);
  std::filesystem::current_path(folder);
  std::filesystem::remove(folder);
  Process process{options(), [] { std::exit(8); }};
  const auto started = process.start();
  std::filesystem::current_path(before);
  EXPECT_TRUE(started);
  EXPECT_EQ(process.join(patience).value().status(), ExitStatus{Exited{8}});
}

}  // namespace
}  // namespace troupe
