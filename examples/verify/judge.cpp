// SPDX-License-Identifier: MIT
#include "judge.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <troupe/transport/clock.hpp>
#include <troupe/transport/owned_fd.hpp>
#include <utility>

namespace verify {
namespace {

using troupe::Clock;
using troupe::Error;
using troupe::ErrorKind;
using troupe::failure;
using troupe::OwnedFd;
using troupe::Result;

constexpr std::size_t asked_max = 4096;        // entries md5sum has not answered yet
constexpr std::size_t feed_bytes = 16 * 1024;  // written at once
constexpr std::size_t answer_bytes_max = 4 * line_bytes_max;

// A running md5sum. Killed and reaped at the latest by the destructor.
class Child {
 public:
  explicit Child(pid_t pid) noexcept : pid_{pid} {}
  Child(Child&& other) noexcept : pid_{std::exchange(other.pid_, none)} {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ == none) return;
    ::kill(pid_, SIGKILL);
    (void)wait();
  }

  // Waits for the end; the status of waitpid.
  int wait() noexcept {
    int status = 0;
    while (::waitpid(pid_, &status, 0) == -1 && errno == EINTR) continue;
    pid_ = none;
    return status;
  }

 private:
  static constexpr pid_t none = -1;
  pid_t pid_;
};

struct Md5sum {
  Child child;
  OwnedFd questions;  // a socket: writing to a dead md5sum is then an error, not a signal
  OwnedFd answers;
};

// posix_spawn's two descriptions, destroyed with it.
struct SpawnPlan {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
};

// Ours, but for the language: the verdicts are to be read.
std::vector<char*> environment_in_english() {
  static std::string locale = "LC_ALL=C";
  std::vector<char*> variables{locale.data()};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text{*variable};
    if (!text.starts_with("LC_ALL=") && !text.starts_with("LANGUAGE=")) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  return variables;
}

Error cannot_run(const std::string& program, int errnum) {
  return system_error("cannot run " + program + " -c", errnum, "apt-get install coreutils");
}

// Signals as a new program expects them, whatever this process ignores or blocks.
int plan_signals(SpawnPlan& plan) {
  sigset_t defaults;
  sigset_t blocked;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  ::sigemptyset(&blocked);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &defaults);
  ::posix_spawnattr_setsigmask(&plan.attributes, &blocked);
  return ::posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

Result<Md5sum> start_md5sum(const JudgeOptions& options) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()) != 0) {
    return tl::unexpected{cannot_run(options.program, errno)};
  }
  OwnedFd questions{in[0]};
  const OwnedFd stdin_end{in[1]};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) return tl::unexpected{cannot_run(options.program, errno)};
  OwnedFd answers{out[0]};
  const OwnedFd stdout_end{out[1]};

  SpawnPlan plan;
  int failed = plan_signals(plan);
  const auto add = [&failed](int result) { failed = failed != 0 ? failed : result; };
  add(::posix_spawn_file_actions_addchdir_np(&plan.actions, options.root.c_str()));
  add(::posix_spawn_file_actions_adddup2(&plan.actions, stdin_end.get(), STDIN_FILENO));
  add(::posix_spawn_file_actions_adddup2(&plan.actions, stdout_end.get(), STDOUT_FILENO));
  add(::posix_spawn_file_actions_addopen(&plan.actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0));

  auto program = options.program;
  std::string check = "-c";
  std::array<char*, 3> arguments{program.data(), check.data(), nullptr};
  pid_t pid = -1;
  if (failed == 0) {
    failed = ::posix_spawnp(&pid, program.c_str(), &plan.actions, &plan.attributes, arguments.data(),
                            environment_in_english().data());
  }
  if (failed != 0) return tl::unexpected{cannot_run(options.program, failed)};
  return Md5sum{Child{pid}, std::move(questions), std::move(answers)};
}

// Whether opening or reading what stands at a name can wait for somebody.
bool can_block(int root, const std::string& path) noexcept {
  struct stat status {};
  if (::fstatat(root, path.c_str(), &status, 0) != 0) return false;
  return S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
}

// How a name looks in md5sum's answer if it writes it escaped (which names, differs between versions).
std::string escaped(std::string_view name) {
  std::string text = "\\";
  for (const char c : name) {
    switch (c) {
      case '\n': text += "\\n"; break;
      case '\r': text += "\\r"; break;
      case '\\': text += "\\\\"; break;
      default: text += c;
    }
  }
  return text;
}

std::optional<JudgeVerdict> verdict_after(std::string_view answer, std::string_view name) noexcept {
  if (!answer.starts_with(name)) return std::nullopt;
  answer.remove_prefix(name.size());
  if (answer == ": OK") return JudgeVerdict::ok;
  if (answer == ": FAILED") return JudgeVerdict::failed;
  if (answer == ": FAILED open or read") return JudgeVerdict::failed_open_or_read;
  return std::nullopt;
}

// The list as questions on one side, the answers in the same order on the other.
class Dialogue {
 public:
  Dialogue(ManifestReader list, int root, const std::function<std::optional<Verdict>(std::uint64_t)>& ours)
      : list_{std::move(list)}, root_{root}, ours_{ours} {}

  // Fills up the text that is to be written.
  Result<void> prepare() {
    while (!all_prepared_ && unwritten_.size() < feed_bytes && asked_.size() < asked_max) {
      const auto before = list_.place().separator;
      auto item = list_.next();
      if (!item) return tl::unexpected{item.error()};
      if (!*item) {
        all_prepared_ = true;
      } else if (auto* entry = std::get_if<Entry>(&**item)) {
        ask(std::move(entry->path), before);
      } else if (!list_.text().empty()) {
        ask_line(list_.text());  // so that md5sum, too, finds it malformed
      }
    }
    return {};
  }

  // Takes in what md5sum wrote.
  Result<void> hear(std::string_view bytes) {
    heard_ += bytes;
    std::size_t start = 0;
    for (auto end = heard_.find('\n'); end != std::string::npos; end = heard_.find('\n', start)) {
      const auto line = std::string_view{heard_}.substr(start, end - start);
      if (auto compared = hear_line(line); !compared) return compared;
      start = end + 1;
    }
    heard_.erase(0, start);
    if (heard_.size() > answer_bytes_max)
      return failure(ErrorKind::malformed, "md5sum -c: an endless answer");
    return {};
  }

  [[nodiscard]] std::string_view unwritten() const noexcept { return unwritten_; }
  void written(std::size_t count) { unwritten_.erase(0, count); }
  [[nodiscard]] bool all_written() const noexcept { return all_prepared_ && unwritten_.empty(); }
  [[nodiscard]] bool all_answered() const noexcept { return all_written() && asked_.empty(); }
  [[nodiscard]] std::string waits_for() const { return asked_.empty() ? "its end" : asked_.front().path; }
  [[nodiscard]] Judgement judgement() && { return std::move(judgement_); }

 private:
  struct Question {
    std::uint64_t index = 0;
    std::string path{};
    bool counts = true;
  };

  void ask_line(std::string_view line) { unwritten_.append(line).append("\n"); }

  void ask(std::string path, Separator before) {
    const auto index = next_index_++;
    if (!can_block(root_, path)) {
      ask_line(list_.text());
      asked_.push_back({index, std::move(path)});
      return;
    }
    ++judgement_.not_judged;
    if (before == list_.place().separator) return;
    // The line settled how all others are read, for md5sum as well: ask it in the same form about a folder.
    ask_line(std::string(32, '0') + (list_.place().separator == Separator::one_character ? " /" : "  /"));
    asked_.push_back({index, "/", false});
  }

  Result<void> hear_line(std::string_view line) {
    if (asked_.empty())
      return failure(ErrorKind::malformed, "md5sum -c: an answer nobody asked for: " + std::string{line});
    const auto question = std::move(asked_.front());
    asked_.pop_front();
    auto theirs = verdict_after(line, question.path);
    if (!theirs) theirs = verdict_after(line, escaped(question.path));
    if (!theirs) {
      return failure(ErrorKind::malformed, "md5sum -c: was asked about '" + question.path +
                                               "' and answered '" + std::string{line} + "'");
    }
    if (question.counts) compare(question, *theirs);
    return {};
  }

  void compare(const Question& question, JudgeVerdict theirs) {
    ++judgement_.compared;
    const auto ours = ours_(question.index);
    if (ours && as_judge(*ours) == theirs) return;
    ++judgement_.disagreeing;
    if (judgement_.disagreements.size() == Judgement::disagreements_max) return;
    judgement_.disagreements.push_back({question.index, question.path, ours, theirs});
  }

  ManifestReader list_;
  int root_;
  const std::function<std::optional<Verdict>(std::uint64_t)>& ours_;
  std::string unwritten_{};
  std::string heard_{};
  std::deque<Question> asked_{};
  std::uint64_t next_index_ = 0;
  bool all_prepared_ = false;
  Judgement judgement_{};
};

// Writes what fits. A md5sum that has ended is found out by its missing answers.
void write_some(OwnedFd& to, Dialogue& dialogue) {
  if (!dialogue.unwritten().empty()) {
    const auto sent = ::send(to.get(), dialogue.unwritten().data(), dialogue.unwritten().size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) dialogue.written(static_cast<std::size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EINTR) to.reset();
  }
  if (dialogue.all_written()) to.reset();
}

Result<void> converse(Md5sum& md5sum, Dialogue& dialogue, std::chrono::nanoseconds silent_within) {
  std::array<char, 64 * 1024> heard;
  auto deadline = troupe::deadline_in(silent_within);
  for (;;) {
    if (auto prepared = dialogue.prepare(); !prepared) return prepared;
    if (dialogue.all_written()) md5sum.questions.reset();
    const bool writes = md5sum.questions && !dialogue.unwritten().empty();
    std::array<pollfd, 2> fds{
        {{md5sum.answers.get(), POLLIN, 0}, {writes ? md5sum.questions.get() : -1, POLLOUT, 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      return failure(ErrorKind::timed_out,
                     "md5sum -c: no word for too long, waiting for " + dialogue.waits_for());
    }
    if (::poll(fds.data(), fds.size(), static_cast<int>(std::min<long long>(left, 60'000))) < 0) {
      if (errno == EINTR) continue;
      return tl::unexpected{system_error("poll", errno)};
    }
    if (fds[1].revents != 0) write_some(md5sum.questions, dialogue);
    if (fds[0].revents == 0) continue;
    const auto got = ::read(md5sum.answers.get(), heard.data(), heard.size());
    if (got == 0) return {};
    if (got < 0 && errno != EINTR) return tl::unexpected{system_error("reading from md5sum -c", errno)};
    if (got < 0) continue;
    if (auto compared = dialogue.hear({heard.data(), static_cast<std::size_t>(got)}); !compared)
      return compared;
    deadline = troupe::deadline_in(silent_within);
  }
}

}  // namespace

std::string_view to_string(JudgeVerdict verdict) noexcept {
  switch (verdict) {
    case JudgeVerdict::ok: return "OK";
    case JudgeVerdict::failed: return "FAILED";
    case JudgeVerdict::failed_open_or_read: return "FAILED open or read";
  }
  std::abort();
}

JudgeVerdict as_judge(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::ok: return JudgeVerdict::ok;
    case Verdict::differing: return JudgeVerdict::failed;
    case Verdict::missing:
    case Verdict::unreadable: return JudgeVerdict::failed_open_or_read;
  }
  std::abort();
}

Result<Judgement> judge(ManifestReader list, const JudgeOptions& options,
                        const std::function<std::optional<Verdict>(std::uint64_t)>& ours) {
  const OwnedFd root{::open(options.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return tl::unexpected{system_error(options.root, errno, "a folder as --root")};
  const auto start = Clock::now();
  auto md5sum = start_md5sum(options);
  if (!md5sum) return failure(std::move(md5sum));
  Dialogue dialogue{std::move(list), root.get(), ours};
  if (auto talked = converse(*md5sum, dialogue, options.silent_within); !talked)
    return failure(std::move(talked));
  const int status = md5sum->child.wait();
  // 1 is its answer to any file that failed.
  if (!dialogue.all_answered() || !WIFEXITED(status) || WEXITSTATUS(status) > 1) {
    return failure(ErrorKind::down, "md5sum -c: ended before its last answer, about " + dialogue.waits_for());
  }
  auto judgement = std::move(dialogue).judgement();
  judgement.took = Clock::now() - start;
  return judgement;
}

}  // namespace verify
