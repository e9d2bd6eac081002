// SPDX-License-Identifier: MIT
#include <troupe/runtime/launcher.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/keeper.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

constexpr auto keeper_within = 30s;

/// Sole owner of what posix_spawn is told about descriptors and signals.
class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }

  void descriptors(int channel) {
    for (int fd = 0; fd < 3; ++fd) ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    ::posix_spawn_file_actions_adddup2(&actions, channel, control::channel_descriptor);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, control::channel_descriptor + 1);
  }
  void clean_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::posix_spawnattr_setsigmask(&attributes, &set);
    ::sigfillset(&set);
    ::posix_spawnattr_setsigdefault(&attributes, &set);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

/// A descriptor above 3, so that making it descriptor 3 never meets itself.
Result<OwnedFd> above_channel(int fd) {
  return owned(::fcntl(fd, F_DUPFD_CLOEXEC, control::channel_descriptor + 1), "duplicate a descriptor");
}

/// Waits for the first of the keeper's two forks, whose only work is to end.
void reap(int pid) {
  int status = 0;
  [[maybe_unused]] const auto reaped = retried([&] { return ::waitpid(pid, &status, 0); });
}

}  // namespace

std::vector<std::string> environment(const char* without) {
  std::vector<std::string> result;
  for (char** at = ::environ; at != nullptr && *at != nullptr; ++at)
    if (!std::string_view{*at}.starts_with(without)) result.emplace_back(*at);
  return result;
}

Result<int> execute_self(const char* mark, const std::string& name, int channel,
                         const std::vector<std::string>& environment) {
  const auto high = above_channel(channel);
  if (!high) return tl::unexpected<Error>{high.error()};
  SpawnSettings settings;
  settings.descriptors(high->get());
  settings.clean_signals();
  std::vector<char*> variables;
  variables.reserve(environment.size() + 1);
  for (const std::string& one : environment) variables.push_back(const_cast<char*>(one.c_str()));
  variables.push_back(nullptr);
  std::array<char*, 3> arguments{const_cast<char*>(name.c_str()), const_cast<char*>(mark), nullptr};
  pid_t pid = -1;
  if (const int error = ::posix_spawn(&pid, "/proc/self/exe", &settings.actions, &settings.attributes,
                                      arguments.data(), variables.data());
      error != 0)
    return system_failure("execute this program again (/proc/self/exe)", error);
  return pid;
}

Result<LaunchedKeeper> launch_keeper() {
  if (!initialised())
    return failure(ErrorKind::refused,
                   "start: main did not call troupe::init, so a re-executed child would run main again; "
                   "try troupe::init(argc, argv) as main's first line");
  auto here = program_build_id();
  if (!here) return failure(std::move(here));
  auto ends = SocketChannel::create_pair();
  if (!ends) return failure(std::move(ends));
  auto variables = environment(role_variable);
  variables.push_back(role_assignment(0, 0, 0));
  auto first = execute_self(keeper_mark, std::string{program_name()}, ends->second.descriptor(), variables);
  if (!first) return failure(std::move(first));
  ends->second = SocketChannel{};
  reap(*first);

  LaunchedKeeper keeper{.channel = std::move(ends->first)};
  auto self = open_pidfd(::getpid());
  if (!self) return failure(std::move(self));
  const int own = self->get();
  if (auto sent =
          keeper.channel.send(control::bytes_of(*here), std::span{&own, 1}, deadline_in(keeper_within));
      !sent)
    return failure(std::move(sent));
  std::array<std::byte, sizeof(KeeperHello)> buffer{};
  auto packet = keeper.channel.receive(buffer, deadline_in(keeper_within));
  if (!packet)
    return failure(ErrorKind::refused,
                   "start: the keeper, this program executed again, ended before it answered (" +
                       packet.error().text +
                       "); try without a wrapper such as valgrind or an explicit loader, and check that main "
                       "calls troupe::init first");
  const auto hello = control::read<KeeperHello>(buffer);
  if (!hello || packet->descriptors.size() != 1)
    return failure(ErrorKind::malformed, "start: not the keeper's answer");
  if (!hello->same_build)
    return failure(
        ErrorKind::refused,
        "start: /proc/self/exe is not the program that runs here; try starting it without a wrapper");
  keeper.pid = hello->pid;
  keeper.threads = hello->threads.view();
  keeper.pidfd = std::move(packet->descriptors.front());
  return keeper;
}

}  // namespace troupe::detail
