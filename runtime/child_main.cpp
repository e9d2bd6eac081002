// SPDX-License-Identifier: MIT
#include <troupe/runtime/child_main.hpp>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;

std::optional<control::Start>& own_start_storage() {
  static std::optional<control::Start> start;
  return start;
}

constexpr int exit_after_failure = 1;
constexpr int exit_without_keeper = 70;  // EX_SOFTWARE: nobody is left to read it

/// The keeper's death is ours: armed first, then checked, so that no moment is left uncovered.
void tie_to_keeper(std::uint32_t keeper_pid) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != static_cast<pid_t>(keeper_pid)) ::_exit(exit_without_keeper);
}

void reset_signals() {
  for (const int number : {SIGXFSZ, SIGPIPE}) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void restore_descriptor_limit(std::uint64_t soft_max) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(soft_max, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// When memory runs out, a child goes before its keeper.
void raise_oom_score() {
  const OwnedFd file{::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)};
  constexpr std::string_view score = "300";
  if (file) [[maybe_unused]]
    const auto written = ::write(file.get(), score.data(), score.size());
}

/// Replaces the environment by the one in `file`: NUL-terminated strings one after another.
void load_environment(int file, char* role) {
  static std::string text;
  static std::vector<char*> pointers;
  struct stat status {};
  if (::fstat(file, &status) == -1) return;
  text.resize(static_cast<std::size_t>(status.st_size));
  if (::pread(file, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) return;
  for (std::size_t at = 0; at < text.size(); at += std::strlen(text.data() + at) + 1)
    if (!std::string_view{text.data() + at}.starts_with(role_variable)) pointers.push_back(text.data() + at);
  pointers.push_back(role);
  pointers.push_back(nullptr);
  ::environ = pointers.data();
}

/// Writes the role over the keeper's own, in place: what /proc shows of this process and of all it
/// forks is the original block, whatever the environment is set to later.
char* stamp_role(const control::Start& start) {
  const std::string assignment = role_assignment(start.keeper_pid, start.child, start.incarnation);
  for (char** at = ::environ; *at != nullptr; ++at)
    if (std::string_view{*at}.starts_with(role_variable) && std::strlen(*at) == assignment.size()) {
      std::memcpy(*at, assignment.data(), assignment.size());
      return *at;
    }
  return nullptr;
}

/// All but these: they lie above it, as everything did that came with the start.
void close_above_channel(std::span<const OwnedFd> kept) {
  std::vector<unsigned> numbers;
  for (const OwnedFd& fd : kept) numbers.push_back(static_cast<unsigned>(fd.get()));
  std::ranges::sort(numbers);
  unsigned from = control::channel_descriptor + 1;
  for (const unsigned number : numbers) {
    if (number > from) ::close_range(from, number - 1, 0);
    from = number + 1;
  }
  ::close_range(from, ~0U, 0);
}

void place_descriptors(StartDescriptors& descriptors) {
  for (int i = 0; i < 3; ++i)
    if (const auto& fd = descriptors.standard[static_cast<std::size_t>(i)]) ::dup2(fd.get(), i);
  if (descriptors.channel) {
    ::dup2(descriptors.channel.get(), control::channel_descriptor);
    ::fcntl(control::channel_descriptor, F_SETFD, FD_CLOEXEC);
  }
  close_above_channel(descriptors.arguments);
  for (OwnedFd* const fd : {&descriptors.channel, &descriptors.folder, &descriptors.standard[0],
                            &descriptors.standard[1], &descriptors.standard[2], &descriptors.environment})
    [[maybe_unused]] const int closed_above = fd->release();
}

template <class Record>
void tell_keeper(const Record& record) {
  [[maybe_unused]] const auto sent = own_channel().send(
      control::packet_of(control::Heading{}, control::bytes_of(record)), {}, deadline_in(5s));
}

/// Runs the entry; whatever it throws becomes the text of its exit reason.
int guarded(Entry entry, std::span<const std::byte> arguments, DescriptorStore& descriptors) {
  try {
    return entry(arguments, descriptors);
  } catch (const std::exception& error) {
    tell_keeper(control::Failed{.text = std::string_view{error.what()}});
  } catch (...) {
    tell_keeper(control::Failed{.text = std::string_view{"an exception that is no std::exception"}});
  }
  return exit_after_failure;
}

[[noreturn]] void leave(int code) {
  std::cout.flush();
  std::fflush(nullptr);
  ::_exit(code);
}

}  // namespace

std::string role_assignment(std::uint32_t keeper_pid, supervision::ChildId child, Incarnation incarnation) {
  std::string value =
      std::to_string(keeper_pid) + "-" + std::to_string(child) + "-" + std::to_string(incarnation) + "-";
  value.resize(role_value_bytes, '.');
  return std::string{role_variable} + "=" + value;
}

const SocketChannel& own_channel() {
  static const SocketChannel channel{OwnedFd{control::channel_descriptor}};
  return channel;
}

const control::Start* own_start() noexcept { return own_start_storage() ? &*own_start_storage() : nullptr; }

Result<StartDescriptors> split(const control::Start& start, std::vector<OwnedFd> descriptors,
                               bool with_channel) {
  if (descriptors.size() !=
      4U + (with_channel ? 1U : 0U) + (start.own_environment ? 1U : 0U) + start.argument_descriptors)
    return failure(ErrorKind::malformed, "start: wrong number of descriptors");
  StartDescriptors result;
  std::size_t next = 0;
  if (with_channel) result.channel = std::move(descriptors[next++]);
  result.folder = std::move(descriptors[next++]);
  for (OwnedFd& fd : result.standard) fd = std::move(descriptors[next++]);
  if (start.own_environment) result.environment = std::move(descriptors[next++]);
  for (; next < descriptors.size(); ++next) result.arguments.push_back(std::move(descriptors[next]));
  return result;
}

void run_child(const control::Start& start, std::span<const std::byte> arguments,
               StartDescriptors descriptors) {
  tie_to_keeper(start.keeper_pid);
  own_start_storage() = start;
  char* const role = stamp_role(start);
  if (start.own_environment) load_environment(descriptors.environment.get(), role);
  ::umask(static_cast<mode_t>(start.umask));
  const bool in_folder = ::fchdir(descriptors.folder.get()) == 0;
  place_descriptors(descriptors);
  restore_descriptor_limit(start.descriptors_soft_max);
  raise_oom_score();
  const std::string name{start.name.view()};
  ::prctl(PR_SET_NAME, name.size() > 15 ? name.c_str() + (name.size() - 15) : name.c_str());
  reset_signals();
  const auto entry = resolve(start.entry);
  const bool sound = entry && in_folder;
  tell_keeper(control::Hello{
      .incarnation = start.incarnation, .pid = ::getpid(), .ready = sound && start.ready_at_entry});
  if (!sound) {
    tell_keeper(control::Failed{
        .text = std::string_view{entry ? "its folder cannot be entered" : entry.error().text.c_str()}});
    leave(exit_after_failure);
  }
  DescriptorList of_arguments{std::move(descriptors.arguments)};
  leave(guarded(reinterpret_cast<Entry>(reinterpret_cast<std::uintptr_t>(*entry)), arguments, of_arguments));
}

void run_spawned_child() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<std::byte> buffer(SocketChannel::packet_bytes_max);
  auto packet = own_channel().receive(buffer, deadline_in(30s));
  if (!packet) ::_exit(exit_without_keeper);
  const std::span<const std::byte> bytes{buffer.data(), packet->bytes};
  const auto start = control::read<control::Start>(bytes);
  if (!start || bytes.size() != sizeof(control::Start) + start->argument_bytes) ::_exit(exit_without_keeper);
  auto descriptors = split(*start, std::move(packet->descriptors), false);
  if (!descriptors) ::_exit(exit_without_keeper);
  run_child(*start, bytes.subspan(sizeof(control::Start)), std::move(*descriptors));
}

}  // namespace troupe::detail
