// SPDX-License-Identifier: MIT
// The whole of verify while its actors die: the answer is md5sum's, run after run, and nothing is left.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "transport/nothing_left.hpp"
#include "verify_run.hpp"
#include "verify_tree.hpp"

namespace troupe::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t mebi = std::uint64_t{1} << 20U;
constexpr std::uint64_t private_max = 32 * mebi;  ///< of one process
constexpr std::uint64_t shared_max = 64 * mebi;   ///< of a whole run
constexpr auto ends_within = 10s;
constexpr auto one_look = 5ms;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::string kind_of(const std::string& role) { return role.substr(0, role.find('/')); }

// ---- what a run holds, and what it leaves ---------------------------------------------------------

/// Looks again and again at all processes of a run: their memory, and who and what is to be gone after it.
class Watch {
 public:
  void look(const VerifyRun& run) {
    std::map<ino_t, std::uint64_t> shared;
    for (const pid_t pid : run.processes()) {
      if (ProcessId process{pid, started(pid)}; !process.started.empty())
        processes_.emplace(std::move(process), process_name(pid));
      private_max_ = std::max(private_max_, private_bytes(pid));
      add_memory_files(pid, shared);
    }
    std::uint64_t sum = 0;
    for (const auto& [file, bytes] : shared) {
      memory_files_.insert(file);
      sum += bytes;
    }
    shared_max_ = std::max(shared_max_, sum);
  }

  [[nodiscard]] std::uint64_t private_bytes_max() const { return private_max_; }
  [[nodiscard]] std::uint64_t shared_bytes_max() const { return shared_max_; }

  /// Fails for each process and each memory file that was seen in the run and still is there.
  /// The keeper is nobody's child: it sees that the program has ended, and follows.
  void expect_nothing_left(const VerifyRun& run) const {
    EXPECT_TRUE(run.all_gone(ends_within)) << "left:\n" << run.describe();
    for (const auto& [process, name] : processes_)
      EXPECT_TRUE(is_gone(process)) << "left: process " << process.pid << " " << name;
    std::map<ino_t, std::uint64_t> held;
    for (const pid_t pid : all_pids()) add_memory_files(pid, held);
    for (const auto& [file, bytes] : held)
      if (memory_files_.contains(file))
        ADD_FAILURE() << "left: memory file " << file << " of " << bytes << " bytes";
  }

 private:
  static bool is_gone(const ProcessId& process) {
    const auto one = pidfd_of(process.pid);
    if (!one || started(process.pid) != process.started) return true;
    if (!readable(one.get(), deadline_in(ends_within))) return false;
    // It has ended. Where PID 1 does not reap, a process without another parent stays: the keeper, and nobody
    // else.
    const auto fields = stat_fields(process.pid);
    return fields.size() < 2 || (fields[1] == "1" && process_name(process.pid) == "troupe:keeper");
  }

  static std::uint64_t private_bytes(pid_t pid) {
    std::ifstream rollup{"/proc/" + std::to_string(pid) + "/smaps_rollup"};
    std::uint64_t kibi = 0;
    for (std::string line; std::getline(rollup, line);)
      if (line.starts_with("Private_")) kibi += std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
    return kibi * 1024;
  }

  /// Each memory file that a process holds open or maps, with its size.
  static void add_memory_files(pid_t pid, std::map<ino_t, std::uint64_t>& files) {
    const auto folder = "/proc/" + std::to_string(pid) + "/";
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator{folder + "fd", gone}) {
      const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
      struct stat status {};
      if (target.starts_with("/memfd:") && ::stat(entry.path().c_str(), &status) == 0)
        files[status.st_ino] = static_cast<std::uint64_t>(status.st_size);
    }
    std::ifstream maps{folder + "maps"};
    for (std::string line; std::getline(maps, line);) {
      if (line.find(" /memfd:") == std::string::npos) continue;
      unsigned long long begin = 0;
      unsigned long long end = 0;
      unsigned long long offset = 0;
      unsigned long long file = 0;
      if (std::sscanf(line.c_str(), "%llx-%llx %*s %llx %*s %llu", &begin, &end, &offset, &file) != 4)
        continue;
      auto& bytes = files[file];
      bytes = std::max<std::uint64_t>(bytes, offset + end - begin);
    }
  }

  std::map<ProcessId, std::string> processes_{};
  std::set<ino_t> memory_files_{};
  std::uint64_t private_max_ = 0;
  std::uint64_t shared_max_ = 0;
};

/// Each test's runs leave no process, descriptor, memory file or file. All share one tree.
class VerifyUnderChaos : public NothingLeft {
 protected:
  static void SetUpTestSuite() { shared_tree = std::make_unique<Tree>(20'000, 2); }
  static void TearDownTestSuite() { shared_tree.reset(); }

  static const Tree& tree() { return *shared_tree; }
  static Command command(std::vector<std::string> more) {
    Command all{.arguments = {"--manifest", tree().list(), "--root", tree().root(), "--json"},
                .environment = {"TMPDIR=" + tree().spare()}};
    all.arguments.insert(all.arguments.end(), more.begin(), more.end());
    return all;
  }

  /// Fails unless it ended as it should, with the right answer, which it returns.
  static Answer judged(const Ended& ended) {
    EXPECT_FALSE(ended.hung) << ended.state;
    EXPECT_EQ(ended.code, 3) << ended.error;
    EXPECT_EQ(ended.error, "");
    Answer answer;
    try {
      answer = Answer::read(ended.out);
      expect_truth(answer, tree().truth());
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    return answer;
  }

  /// The one living process of that name, waited for.
  static pid_t wait_for(VerifyRun& run, const std::string& name) {
    for (const auto deadline = deadline_in(ends_within); Clock::now() < deadline;
         run.look(deadline_in(one_look)))
      if (const auto found = run.processes(name); found.size() == 1) return found.front();
    ADD_FAILURE() << "no " << name << " in\n" << run.describe();
    return 0;
  }
  /// Waits until the job is in the midst of it: the first hasher has read a mebibyte.
  static void wait_for_work(VerifyRun& run) {
    const pid_t hasher = wait_for(run, "hasher/0");
    const auto deadline = deadline_in(ends_within);
    while (bytes_read(hasher) < mebi && Clock::now() < deadline) run.look(deadline_in(one_look));
    EXPECT_GE(bytes_read(hasher), mebi) << run.describe();
  }

 private:
  static std::uint64_t bytes_read(pid_t pid) {
    const auto io = content("/proc/" + std::to_string(pid) + "/io");
    return io.starts_with("rchar: ") ? std::strtoull(io.c_str() + 7, nullptr, 10) : 0;
  }

  static inline std::unique_ptr<Tree> shared_tree{};
};

Paths shared_memory_names() {
  Paths names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator{"/dev/shm", none})
    names.push_back(entry.path());
  std::ranges::sort(names);
  return names;
}

// ---- random deaths ---------------------------------------------------------------------------------

/// What all runs together have come to.
struct Totals {
  std::uint64_t runs = 0;
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t crashes = 0;
  std::uint64_t redone = 0;
  std::uint64_t dropped_duplicates = 0;
  std::map<std::string, std::uint64_t> by_role{};
  std::uint64_t private_bytes = 0;
  std::uint64_t shared_bytes = 0;

  void add(const Answer& answer, const Watch& watch) {
    ++runs;
    kills += answer.deaths_by("SIGKILL");
    stops += answer.deaths_by("hung");
    crashes += answer.deaths_by("SIGSEGV");
    redone += answer.redone;
    dropped_duplicates += answer.dropped_duplicates;
    for (const auto& death : answer.deaths) ++by_role[kind_of(death.role)];
    private_bytes = std::max(private_bytes, watch.private_bytes_max());
    shared_bytes = std::max(shared_bytes, watch.shared_bytes_max());
  }
};

/// One pass and many, few workers and many more than there are processors. A stopped actor is often killed
/// before it is judged hung, and less often where the deaths are dealt to many.
const std::array<std::vector<std::string>, 5> mixes{{
    {"--workers", "16", "--chaos", "60", "--seconds-min", "5"},
    {"--workers", "2", "--chaos", "30"},
    {"--workers", "20", "--deaths", "200", "--seconds-min", "4"},
    {"--workers", "12", "--chaos", "40", "--seconds-min", "5"},
    {"--workers", "1", "--deaths", "20"},
}};

TEST_F(VerifyUnderChaos, AnswersAsMd5sumDoesHoweverManyActorsDie) {
  const auto kills = setting("TROUPE_CHAOS_KILLS", 1000);
  const auto stops = setting("TROUPE_CHAOS_STOPS", 200);
  auto seed = setting("TROUPE_CHAOS_SEED", 1);
  const auto files = tree().everything();
  const auto names = shared_memory_names();
  const auto begin = Clock::now();
  Totals totals;
  for (; (totals.kills < kills || totals.stops < stops) && !HasFailure(); ++seed) {
    auto arguments = mixes.at(totals.runs % mixes.size());
    arguments.insert(arguments.end(), {"--seed", std::to_string(seed)});
    const auto held = Holdings::now();
    Watch watch;
    Answer answer;
    double seconds = 0;
    {
      VerifyRun run{command(arguments)};
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + run.text());
      const auto ended = run.wait([&] { watch.look(run); });
      seconds = ended.seconds;
      answer = judged(ended);
      watch.expect_nothing_left(run);
      EXPECT_EQ(tree().everything(), files);
      EXPECT_EQ(shared_memory_names(), names);
      EXPECT_LT(watch.private_bytes_max(), private_max);
      EXPECT_LT(watch.shared_bytes_max(), shared_max);
    }
    EXPECT_EQ(left_over(held, Holdings::now()), Paths{}) << "seed " << seed;
    totals.add(answer, watch);
    std::printf("seed %3llu: %3zu deaths (%3llu killed, %2llu hung), %4.1f s\n",
                static_cast<unsigned long long>(seed), answer.deaths.size(),
                static_cast<unsigned long long>(answer.deaths_by("SIGKILL")),
                static_cast<unsigned long long>(answer.deaths_by("hung")), seconds);
    std::fflush(stdout);
  }
  std::printf(
      "%llu runs in %.0f s: %llu killed, %llu hung, %llu crashed; redone %llu, duplicates dropped %llu\n",
      static_cast<unsigned long long>(totals.runs), seconds_since(begin),
      static_cast<unsigned long long>(totals.kills), static_cast<unsigned long long>(totals.stops),
      static_cast<unsigned long long>(totals.crashes), static_cast<unsigned long long>(totals.redone),
      static_cast<unsigned long long>(totals.dropped_duplicates));
  std::printf("deaths: lister %llu, hashers %llu, collector %llu\n",
              static_cast<unsigned long long>(totals.by_role["lister"]),
              static_cast<unsigned long long>(totals.by_role["hasher"]),
              static_cast<unsigned long long>(totals.by_role["collector"]));
  std::printf("at most %.1f MiB private in one process, %.1f MiB shared in one run\n",
              static_cast<double>(totals.private_bytes) / mebi,
              static_cast<double>(totals.shared_bytes) / mebi);
  EXPECT_GE(totals.redone, 1);
  EXPECT_GE(totals.dropped_duplicates, 1);
  for (const char* const role : {"lister", "hasher", "collector"}) EXPECT_GE(totals.by_role[role], 1) << role;
}

// ---- a person with kill -9 -------------------------------------------------------------------------

TEST_F(VerifyUnderChaos, EveryActorMayBeKilledByHand) {
  VerifyRun run{command({"--workers", "2", "--seconds-min", "8"})};
  SCOPED_TRACE(run.text());
  wait_for_work(run);
  std::map<pid_t, std::string> killed;
  for (int round = 0; round < 8 && !HasFailure(); ++round) {
    for (const std::string role : {"hasher/0", "lister", "collector", "hasher/1"}) {
      const pid_t pid = wait_for(run, role);
      if (pid == 0) continue;
      const auto one = pidfd_of(pid);
      if (process_name(pid) != role) continue;  // another has its number by now
      ::syscall(SYS_pidfd_send_signal, one.get(), SIGKILL, nullptr, 0);
      EXPECT_TRUE(readable(one.get(), deadline_in(ends_within)));
      killed[pid] = role;
    }
  }
  const auto answer = judged(run.wait());
  EXPECT_GE(killed.size(), 30);
  std::map<pid_t, std::string> told;
  for (const auto& death : answer.deaths) {
    EXPECT_NE(death.reason.find("SIGKILL"), std::string::npos) << death.reason;
    told[death.pid] = death.role;
  }
  EXPECT_EQ(told, killed);
  EXPECT_TRUE(run.all_gone(ends_within)) << run.describe();
}

TEST_F(VerifyUnderChaos, EndsWithAnErrorWhenTheKeeperIsKilled) {
  VerifyRun run{command({"--workers", "3", "--seconds-min", "60"})};
  SCOPED_TRACE(run.text());
  wait_for_work(run);
  ::kill(wait_for(run, "troupe:keeper"), SIGKILL);
  const auto gone = run.all_gone(ends_within);
  ASSERT_TRUE(gone) << run.describe();
  std::printf("keeper killed: the last process was gone after %.1f ms\n",
              std::chrono::duration<double, std::milli>{*gone}.count());
  const auto ended = run.wait({}, ends_within);
  EXPECT_EQ(ended.code, 1) << ended.out;
  EXPECT_TRUE(ended.error.starts_with("verify: ")) << ended.error;
  EXPECT_NE(ended.error.find("; try "), std::string::npos) << ended.error;
}

TEST_F(VerifyUnderChaos, TakesEverythingAlongWhenTheProgramIsKilled) {
  VerifyRun run{command({"--workers", "3", "--seconds-min", "60"})};
  SCOPED_TRACE(run.text());
  wait_for_work(run);
  EXPECT_GE(run.processes().size(), 8);  // program, keeper, zygote, lister, collector, hashers
  ::kill(run.pid(), SIGKILL);            // not reaped yet, so the number is its own
  const auto gone = run.all_gone(ends_within);
  ASSERT_TRUE(gone) << run.describe();
  std::printf("program killed: the last process was gone after %.1f ms\n",
              std::chrono::duration<double, std::milli>{*gone}.count());
  EXPECT_EQ(run.wait({}, ends_within).code, std::nullopt);
}

}  // namespace
}  // namespace troupe::test
