// SPDX-License-Identifier: MIT
// Compiled without sanitizers (CMakeLists.txt): their shadow of a stack that execve leaves would stay.
#include <troupe/runtime/child_setup.hpp>

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <troupe/transport/syscall.hpp>
#include <type_traits>

namespace troupe::detail {
namespace {

constexpr int exit_not_executed = 127;
constexpr std::size_t stack_bytes = std::size_t{16} * 1024;  // the deepest call below takes a few hundred
constexpr int signals_max = 64;
constexpr std::size_t signal_set_bytes = signals_max / 8;

template <class T>
auto as_word(T value) noexcept {
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
    return static_cast<long>(value);  // whole: the kernel looks at all its bits
  else
    return value;
}

template <class... A>
long call(long number, A... arguments) noexcept {
  return ::syscall(number, as_word(arguments)...);
}

[[noreturn]] void give_up(ChildSetup& setup, SetupStage stage, int errnum) noexcept {
  setup.errnum = errnum;
  setup.stage = stage;
  for (;;) call(SYS_exit_group, exit_not_executed);
}

void require(ChildSetup& setup, SetupStage stage, long result) noexcept {
  if (result == -1) give_up(setup, stage, errno);
}

/// All of them, also glibc's own two, which its sigaction() would not touch. Then none is blocked.
void reset_signals(ChildSetup& setup) noexcept {
  constexpr std::array<unsigned long, 8> by_default{};  // larger than any kernel's struct: SIG_DFL, no flags
  for (int number = 1; number <= signals_max; ++number)
    if (number != SIGKILL && number != SIGSTOP)
      require(setup, SetupStage::signals,
              call(SYS_rt_sigaction, number, by_default.data(), nullptr, signal_set_bytes));
}

void unblock_signals(ChildSetup& setup) noexcept {
  constexpr std::uint64_t none = 0;
  require(setup, SetupStage::signals,
          call(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, signal_set_bytes));
}

bool leads_elsewhere(const ChildSetup& setup, int from) noexcept {
  for (const DescriptorMove& move : setup.moves)
    if (move.to == from && move.from != from) return true;
  return false;
}

/// Whatever a move would overwrite before its turn goes out of the way first; so any order and any swap is
/// good.
void place_descriptors(ChildSetup& setup) noexcept {
  constexpr auto stage = SetupStage::descriptors;
  require(setup, stage, call(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
  for (DescriptorMove& move : setup.moves)
    if (leads_elsewhere(setup, move.from)) {
      const long copy = call(SYS_fcntl, move.from, F_DUPFD_CLOEXEC, setup.above);
      if (copy == -1 && errno == EINVAL) give_up(setup, stage, EMFILE);  // `above` lies beyond the limit
      require(setup, stage, copy);
      move.from = static_cast<int>(copy);
    }
  for (const DescriptorMove& move : setup.moves)
    require(
        setup, stage,
        move.from == move.to ? call(SYS_fcntl, move.to, F_SETFD, 0) : call(SYS_dup3, move.from, move.to, 0));
}

void place_among_processes(ChildSetup& setup) noexcept {
  if (setup.umask) call(SYS_umask, *setup.umask);
  if (setup.new_session) require(setup, SetupStage::process_group, call(SYS_setsid));
  if (setup.new_group) require(setup, SetupStage::process_group, call(SYS_setpgid, 0, 0));
  if (setup.niceness)
    require(setup, SetupStage::niceness, call(SYS_setpriority, PRIO_PROCESS, 0, *setup.niceness));
  if (setup.processors != nullptr)
    require(setup, SetupStage::processors,
            call(SYS_sched_setaffinity, 0, sizeof(cpu_set_t), setup.processors));
}

/// The groups go while the user may still change them; the folder is entered as the new user.
void become_user(ChildSetup& setup) noexcept {
  if (setup.groups)
    require(setup, SetupStage::groups, call(SYS_setgroups, setup.groups->size(), setup.groups->data()));
  if (setup.group)
    require(setup, SetupStage::group, call(SYS_setresgid, *setup.group, *setup.group, *setup.group));
  if (setup.user)
    require(setup, SetupStage::user, call(SYS_setresuid, *setup.user, *setup.user, *setup.user));
  if (setup.folder != nullptr) require(setup, SetupStage::folder, call(SYS_chdir, setup.folder));
}

/// The last before exec: a limit may forbid what came before it, a change of user undoes the death signal.
void accept_limits(ChildSetup& setup) noexcept {
  for (const LimitSetting& limit : setup.limits)
    require(setup, SetupStage::limits, call(SYS_prlimit64, 0, limit.resource, &limit.value, nullptr));
  if (setup.no_new_privileges)
    require(setup, SetupStage::privileges, call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  if (!setup.kill_with_parent) return;
  require(setup, SetupStage::parent, call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  if (call(SYS_getppid) != setup.parent) give_up(setup, SetupStage::parent, ESRCH);
}

/// Of one of several places to look at: nothing is there, look at the next.
bool is_elsewhere(int errnum) noexcept {
  return errnum == ENOENT || errnum == ENOTDIR || errnum == ESTALE || errnum == ENODEV || errnum == ETIMEDOUT;
}

[[noreturn]] void execute(ChildSetup& setup) noexcept {
  bool denied = false;
  for (const char* const path : setup.candidates) {
    call(SYS_execve, path, setup.words, setup.environment);
    if (errno != EACCES && !is_elsewhere(errno)) give_up(setup, SetupStage::exec, errno);
    denied = denied || errno == EACCES;
  }
  give_up(setup, SetupStage::exec, denied ? EACCES : setup.candidates.size() == 1 ? errno : ENOENT);
}

int child(void* argument) noexcept {
  ChildSetup& setup = *static_cast<ChildSetup*>(argument);
  reset_signals(setup);
  place_descriptors(setup);
  place_among_processes(setup);
  become_user(setup);
  accept_limits(setup);
  unblock_signals(setup);
  execute(setup);
}

class AllSignalsBlocked {
 public:
  AllSignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

ClonedChild clone_and_execute(ChildSetup& setup) noexcept {
  alignas(16) std::array<std::byte, stack_bytes> stack;  // NOLINT: nobody reads it before it is written
  ClonedChild result;
  setup.parent = ::getpid();
  {
    const AllSignalsBlocked blocked;
    result.pid = ::clone(child, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                         &setup, &result.pidfd);
    if (result.pid == -1) {
      setup.stage = SetupStage::clone;
      setup.errnum = errno;
    }
  }
  if (result.pid == -1 || setup.stage == SetupStage::none) return result;
  siginfo_t info{};
  retried([&] { return ::waitid(P_PIDFD, static_cast<id_t>(result.pidfd), &info, WEXITED); });
  ::close(result.pidfd);
  return {};
}

}  // namespace troupe::detail
