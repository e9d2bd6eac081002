// SPDX-License-Identifier: MIT
// What a program finds when it starts, and what is left when it does not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <sstream>
#include <string>
#include <thread>
#include <troupe/runtime/subprocess.hpp>
#include <troupe/transport/syscall.hpp>

#include "folder.hpp"
#include "processes.hpp"
#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/stepper.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::Folder;
using test::patience;

std::vector<std::string> shell(std::string script) { return {"/bin/sh", "-c", std::move(script)}; }

std::string said(std::vector<std::string> words, SubprocessOptions options = {}) {
  options.within = patience;
  return output_of(std::move(words), std::move(options)).value();
}

Error refusal(std::vector<std::string> words, SubprocessOptions options = {}) {
  return Subprocess::start(std::move(words), std::move(options)).error();
}

OwnedFd file_with(const std::string& text) {
  OwnedFd file{::memfd_create("text", MFD_CLOEXEC)};
  if (::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) std::abort();
  return file;
}

using SubprocessStart = test::NothingLeft;

// --- what it finds

TEST_F(SubprocessStart, FindsTheEnvironmentThatWasChosen) {
  const std::string script = "echo $A/$B/${HOME+home}";
  ::setenv("A", "ours", 1);
  ::setenv("B", "ours", 1);
  EXPECT_EQ(said(shell(script), {.environment = {.set = {{"A", "1"}}, .unset = {"B", "HOME"}}}), "1//\n");
  EXPECT_EQ(said({"/usr/bin/env"}, {.environment = {.inherit = false, .set = {{"ONLY", "this"}}}}),
            "ONLY=this\n");
  EXPECT_EQ(said(shell("echo $A")), "ours\n");
  ::unsetenv("A");
  ::unsetenv("B");
  EXPECT_EQ(refusal({"true"}, {.environment = {.set = {{"A=B", ""}}}}).kind, ErrorKind::invalid);
}

TEST_F(SubprocessStart, LooksForTheProgramInItsOwnPath) {
  const Folder folder;
  const auto script = folder.file("only_here", "#!/bin/sh\necho found\n");
  const Environment there{.set = {{"PATH", "/nowhere:" + folder.path()}}};
  EXPECT_EQ(said({"only_here"}, {.environment = there}), "found\n");
  EXPECT_EQ(said({script}), "found\n");
  EXPECT_EQ(said({"./only_here"}, {.folder = folder.path()}), "found\n") << "looked for from its folder";
  EXPECT_EQ(said({"only_here"}, {.environment = {.set = {{"PATH", ""}}}, .folder = folder.path()}), "found\n")
      << "an empty part of PATH is the folder";
  EXPECT_EQ(said({"echo", "x"}, {.environment = {.inherit = false}}), "x\n") << "without PATH: /bin:/usr/bin";
}

TEST_F(SubprocessStart, FindsItsFolderUmaskAndNiceness) {
  EXPECT_EQ(said({"pwd"}, {.folder = "/usr"}), "/usr\n");
  EXPECT_EQ(said(shell("umask"), {.umask = 027}), "0027\n");
  EXPECT_EQ(said({"nice"}, {.niceness = 7}), "7\n");
}

TEST_F(SubprocessStart, FindsTheLimitsThatWereChosen) {
  const ProgramLimits limits{.memory_bytes_max = std::uint64_t{1} << 30U,
                             .descriptors_max = 50,
                             .processor_seconds_max = 11,
                             .core_bytes_max = 0,
                             .file_bytes_max = 1 << 20};
  EXPECT_EQ(said({"/bin/sh", "-c", "ulimit -v; ulimit -n; ulimit -S -t; ulimit -H -t; ulimit -c; ulimit -f"},
                 {.limits = limits}),
            "1048576\n50\n11\n12\n0\n2048\n");
}

TEST_F(SubprocessStart, RunsOnTheProcessorsThatWereChosen) {
  cpu_set_t ours;
  ASSERT_EQ(::sched_getaffinity(0, sizeof ours, &ours), 0);
  unsigned last = 0;
  for (unsigned i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &ours)) last = i;
  EXPECT_EQ(said(shell("grep Cpus_allowed_list /proc/self/status"), {.processors = {last}}),
            "Cpus_allowed_list:\t" + std::to_string(last) + "\n");
  EXPECT_EQ(refusal({"true"}, {.processors = {99'999}}).kind, ErrorKind::invalid);
}

TEST_F(SubprocessStart, IsInTheGroupAndSessionThatWereChosen) {
  const auto stat = [](ProcessGroup group) {  // pid, group, session
    return said(shell("read -r p c s pp g i r < /proc/$$/stat; echo $p $g $i"), {.process_group = group});
  };
  const auto same = [](const std::string& text) {
    std::istringstream words{text};
    int pid = 0;
    int group = 0;
    int session = 0;
    words >> pid >> group >> session;
    return std::array{group == pid, session == pid, group == ::getpgrp(), session == ::getsid(0)};
  };
  EXPECT_EQ(same(stat(ProcessGroup::own)), (std::array{true, false, false, true}));
  EXPECT_EQ(same(stat(ProcessGroup::session)), (std::array{true, true, false, false}));
  EXPECT_EQ(same(stat(ProcessGroup::inherit)), (std::array{false, false, true, true}));
}

TEST_F(SubprocessStart, HasDefaultSignalsAndNoneBlocked) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  struct sigaction old {};
  struct sigaction ignored {};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignored, &old);
  const auto text = said({"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"});
  ::sigaction(SIGPIPE, &old, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(SubprocessStart, MayGiveUpPrivileges) {
  EXPECT_EQ(said(shell("grep NoNewPrivs /proc/self/status"), {.no_new_privileges = true}),
            "NoNewPrivs:\t1\n");
}

TEST_F(SubprocessStart, DiesWithItsParentIfThatWasChosen) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const OwnedFd reading{ends[0]};
  const OwnedFd writing{ends[1]};
  test::Forked parent{[&] {
    const auto tied = Subprocess::start({"sleep", "1000"}, {.kill_with_parent = true}).value();
    const int pid = tied.pid();
    if (::write(writing.get(), &pid, sizeof pid) != sizeof pid) return 1;
    return ::pause();
  }};
  int pid = 0;
  ASSERT_TRUE(detail::wait_readable(reading.get(), deadline_in(patience)));
  ASSERT_EQ(::read(reading.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  const test::Watched tied{pid};
  EXPECT_FALSE(tied.gone(0ns));
  parent.kill();
  EXPECT_TRUE(tied.gone());
}

TEST_F(SubprocessStart, RunsAsTheUserThatWasChosen) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(said({"/usr/bin/id", "-u"}, {.user = 54321}), "54321\n");
  EXPECT_EQ(said({"/usr/bin/id", "-G"}, {.user = 54321, .group = 54322}), "54322\n") << "none of ours";
  EXPECT_EQ(said({"/usr/bin/id", "-G"}, {.user = 54321, .group = 54322, .groups = {{54323}}}),
            "54322 54323\n");
}

// --- descriptors

TEST_F(SubprocessStart, HasNoDescriptorButItsOwn) {
  const OwnedFd leaky{::open("/dev/null", O_RDONLY)};  // NOLINT: not close-on-exec, as many libraries do it
  const OwnedFd high{::fcntl(leaky.get(), F_DUPFD, 700)};
  ASSERT_TRUE(leaky && high);
  EXPECT_EQ(said({"/bin/sh", "-c", "exec ls /proc/self/fd"}), "0\n1\n2\n3\n") << "3 is the listing";
}

TEST_F(SubprocessStart, IsPassedDescriptorsUnderAnyNumbers) {
  const OwnedFd one = file_with("one");
  const OwnedFd two = file_with("two");
  const auto read = [&](int first, int second) {
    return said(
        shell("cat /proc/self/fd/" + std::to_string(first) + " /proc/self/fd/" + std::to_string(second)),
        {.passed = {{one.get(), first}, {two.get(), second}}});
  };
  EXPECT_EQ(read(one.get(), two.get()), "onetwo") << "the same numbers";
  EXPECT_EQ(read(two.get(), one.get()), "onetwo") << "swapped";
  EXPECT_EQ(read(9, one.get()), "onetwo") << "one where the other comes from";
  EXPECT_EQ(read(3, 900), "onetwo");
  EXPECT_EQ(said(shell("cat /proc/self/fd/7 /proc/self/fd/8"), {.passed = {{one.get(), 7}, {one.get(), 8}}}),
            "oneone");
  EXPECT_EQ(refusal({"true"}, {.passed = {{one.get(), 2}}}).kind, ErrorKind::invalid);
  EXPECT_EQ(refusal({"true"}, {.passed = {{one.get(), 5}, {two.get(), 5}}}).kind, ErrorKind::invalid);
  EXPECT_EQ(refusal({"true"}, {.passed = {{9999, 5}}}).errnum, EBADF);
}

TEST_F(SubprocessStart, LeadsItsOutputWhereItWasTold) {
  const OwnedFd file = file_with("");
  EXPECT_EQ(
      said(shell("echo a >&2"), {.standard_output = Stdio::to(file.get()), .standard_error = Stdio::output}),
      "");
  EXPECT_EQ(said(shell("echo b; echo c >&2"), {.standard_error = Stdio::output}), "b\nc\n");
  std::array<char, 8> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 2);
  EXPECT_EQ(std::string{text.data()}, "a\n");
  EXPECT_EQ(refusal({"true"}, {.standard_input = Stdio::output}).kind, ErrorKind::invalid);
  EXPECT_EQ(refusal({"true"}, {.standard_input = Stdio::inherit, .input = "x"}).kind, ErrorKind::invalid);
}

TEST_F(SubprocessStart, StartsWhicheverOfOurStandardDescriptorsAreClosed) {
  for (int closed = 0; closed < 8; ++closed) {
    test::Forked parent{[closed] {
      for (int i = 0; i < 3; ++i)
        if ((closed & 1 << i) != 0) ::close(i);
      const auto piped = run({"cat"}, {.input = "x", .within = patience}).value();
      if (piped.standard_output != "x" || !piped.ok()) return 1;
      const auto inherited = run(shell("for i in 0 1 2; do [ -e /proc/self/fd/$i ] || exit 9; done"),
                                 {.standard_input = Stdio::inherit,
                                  .standard_output = Stdio::inherit,
                                  .standard_error = Stdio::inherit,
                                  .within = patience})
                                 .value();
      if (!inherited.ok()) return 2;
      for (int i = 0; i < 3; ++i)
        if (((closed & 1 << i) != 0) == (::fcntl(i, F_GETFD) != -1)) return 3;  // ours are as they were
      return 0;
    }};
    EXPECT_EQ(parent.exit_code(deadline_in(patience)), 0) << "closed: " << closed;
  }
}

TEST_F(SubprocessStart, RedirectsItsStandardDescriptorsOverEachOther) {
  std::array<int, 3> order{0, 1, 2};
  do {
    test::Forked parent{[order] {
      const std::array<OwnedFd, 3> files{file_with("0"), file_with("1"), file_with("2")};
      for (int i = 0; i < 3; ++i) ::dup2(files[static_cast<std::size_t>(i)].get(), i);
      const OwnedFd answer = file_with("");
      const auto finished = run(shell("for i in 0 1 2; do cat /proc/$$/fd/$i | cat >&5; done"),
                                {.standard_input = Stdio::to(order[0]),
                                 .standard_output = Stdio::to(order[1]),
                                 .standard_error = Stdio::to(order[2]),
                                 .passed = {{answer.get(), 5}},
                                 .within = patience})
                                .value();
      std::string text(3, ' ');
      if (::pread(answer.get(), text.data(), 3, 0) != 3 || !finished.ok()) return 1;
      for (std::size_t i = 0; i < 3; ++i)
        if (text[i] != '0' + order[i]) return 2;
      return 0;
    }};
    EXPECT_EQ(parent.exit_code(deadline_in(patience)), 0) << order[0] << order[1] << order[2];
  } while (std::next_permutation(order.begin(), order.end()));
}

// --- when it cannot be started

TEST_F(SubprocessStart, SaysWhyItFailedAndLeavesNothing) {
  const Folder folder;
  using std::filesystem::perms;
  const auto interpreter = folder.file("interpreter", "#!/no/such/thing\n");
  const auto no_script = folder.file("no_script", "echo\n");
  const auto no_program = folder.file("no_program", "#!/bin/sh\n", perms::owner_read);
  const auto busy = folder.file("busy", "#!/bin/sh\n");
  const OwnedFd writer{::open(busy.c_str(), O_WRONLY | O_CLOEXEC)};

  const auto missing = refusal({"/no/such/program"});
  EXPECT_EQ(missing.kind, ErrorKind::system);
  EXPECT_EQ(missing.errnum, ENOENT);
  EXPECT_EQ(missing.text, "start of program: execute /no/such/program: No such file or directory");
  EXPECT_EQ(refusal({"no_such_program_anywhere"}).text,
            "start of no_such_program_anywhere: execute: No such file or directory; no folder of PATH has "
            "it, try a "
            "path with a slash");
  EXPECT_EQ(refusal({interpreter}).errnum, ENOENT);
  EXPECT_NE(refusal({interpreter}).text.find("interpreter is not"), std::string::npos);
  EXPECT_EQ(refusal({no_script}).errnum, ENOEXEC);
  EXPECT_EQ(refusal({no_program}).errnum, EACCES);
  EXPECT_EQ(refusal({folder.path()}).errnum, EACCES) << "a folder";
  EXPECT_EQ(refusal({"no_program"}, {.environment = {.set = {{"PATH", folder.path() + ":/bin"}}}}).errnum,
            EACCES);
  EXPECT_EQ(refusal({busy}).errnum, ETXTBSY);
  const auto no_folder = refusal({"true"}, {.folder = "/no/such/folder"});
  EXPECT_EQ(no_folder.text, "start of true: enter its folder /no/such/folder: No such file or directory");
  EXPECT_EQ(refusal({"true"}, {.limits = {.descriptors_max = ~std::uint64_t{0} - 1}}).errnum, EPERM);
  EXPECT_EQ(refusal({}).kind, ErrorKind::invalid);
  EXPECT_EQ(refusal({""}).kind, ErrorKind::invalid);
  EXPECT_EQ(refusal({"echo", std::string{"a\0b", 3}}).kind, ErrorKind::invalid);
}

TEST_F(SubprocessStart, DoesNotGrowDescriptorsOverManyStarts) {
  const auto before = test::Holdings::now();
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(run({"true"}, {.within = patience})->ok());
    ASSERT_FALSE(run({"/no/such/program"}));
  }
  EXPECT_TRUE(test::left_over(before, test::Holdings::now()).empty());
}

/// 0: it ran; 1: it said that a limit was met; 2: something else.
int outcome(const Result<Finished>& finished, const std::string& words) {
  if (finished) return finished->standard_output == "x" ? 0 : 2;
  return finished.error().kind == ErrorKind::exhausted &&
                 finished.error().text.find(words) != std::string::npos
             ? 1
             : 2;
}

TEST_F(SubprocessStart, SaysThatDescriptorsRanOutAndLeavesNothing) {
  if (!test::can_step()) GTEST_SKIP() << "a sanitizer needs descriptors of its own";
  test::Forked parent{[] {
    int ran = 0;
    int refused = 0;
    for (rlim_t limit = 40; limit-- > 0;) {
      const auto before = test::Holdings::now();
      rlimit sunk{limit, 64};
      ::setrlimit(RLIMIT_NOFILE, &sunk);
      const auto finished = run({"cat"}, {.input = "x", .within = patience});
      sunk.rlim_cur = 64;
      ::setrlimit(RLIMIT_NOFILE, &sunk);
      const int result = outcome(finished, "ulimit -n");
      // With so few that not even 0–2 fit, the program itself has nothing to work with.
      if (result == 2 && limit > 8) return 10 + static_cast<int>(limit);
      (result == 0 ? ran : refused) += 1;
      if (!test::left_over(before, test::Holdings::now()).empty()) return 1;
    }
    return ran > 0 && refused > 3 ? 0 : 2;
  }};
  EXPECT_EQ(parent.exit_code(deadline_in(patience)), 0);
}

TEST_F(SubprocessStart, SaysThatProcessesRanOutAndLeavesNothing) {
  test::Forked parent{[] {
    if (::geteuid() == 0 && (::setresgid(54321, 54321, 54321) != 0 || ::setresuid(54321, 54321, 54321) != 0))
      return 3;
    const auto before = test::Holdings::now();
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_NPROC, &none);
    const auto finished = run({"cat"}, {.input = "x", .within = patience});
    if (outcome(finished, "limit of processes") != 1) return 1;
    return test::left_over(before, test::Holdings::now()).empty() ? 0 : 2;
  }};
  EXPECT_EQ(parent.exit_code(deadline_in(patience)), 0);
}

// --- beside threads

TEST_F(SubprocessStart, IsSoundWhileThreadsAreNoisy) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "setenv beside whoever reads the environment is the noise, and a race by itself";
#endif
  std::atomic<bool> over{false};
  ::setenv("NOISE", "0", 1);  // before: adding one would move what others read
  {
    std::vector<std::jthread> noise;
    for (int i = 0; i < 8; ++i)
      noise.emplace_back([&] {
        while (!over) {
          const std::string text(100 + static_cast<std::size_t>(std::rand() % 10'000), 'x');
          ::setenv("NOISE", text.substr(0, 3).c_str(), 1);
          const OwnedFd file{::open("/dev/null", O_RDONLY)};  // NOLINT: not close-on-exec
          std::time_t now = std::time(nullptr);
          std::tm parts{};
          ::localtime_r(&now, &parts);
        }
      });
    for (int i = 0; i < 100; ++i) {
      const auto finished = run({"cat"}, {.input = "x", .within = patience});
      EXPECT_TRUE(finished && finished->standard_output == "x");
    }
    over = true;
  }
  ::unsetenv("NOISE");
}

TEST_F(SubprocessStart, MayBeDoneByManyThreadsAtOnce) {
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&right, i] {
        for (int round = 0; round < 20; ++round) {
          const std::string input(static_cast<std::size_t>(i + 1), 'x');
          const auto finished = run({"cat"}, {.input = input, .within = 3 * patience});
          right += finished && finished->standard_output == input ? 1 : 0;
        }
      });
  }
  EXPECT_EQ(right, 160) << "none held another's pipe open, none got another's bytes";
}

}  // namespace
}  // namespace troupe
