// SPDX-License-Identifier: MIT
#include <troupe/actors/node.hpp>

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/runtime/keeper_link.hpp>
#include <troupe/runtime/start_child.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe {

using detail::KeeperLink;

struct Node::State {
  supervision::SupervisorId id = 0;
  std::uint64_t generation = 0;  ///< of the link that it was made through

  /// That link; `closed` where another one has taken its place, to whose keeper our number means another
  /// node.
  [[nodiscard]] Result<KeeperLink*> link() const {
    auto present = KeeperLink::of_process();
    if (present && KeeperLink::current_generation() != generation)
      return failure(ErrorKind::closed, "node: its keeper was ended, and it with it");
    return present;
  }
  template <class Record, class Request>
  [[nodiscard]] Result<KeeperLink::Answered<Record>> ask(const Request& request) const {
    auto present = link();
    if (!present) return failure(std::move(present));
    return (*present)->template ask<Record>(request);
  }
  template <class Predicate>
  [[nodiscard]] Result<void> wait_until(TimePoint deadline, Predicate done) const {
    auto present = link();
    if (!present) return failure(std::move(present));
    return (*present)->wait_until(deadline, done);
  }
};

namespace {

ChildPolicy policy_of(const ChildOptions& options) {
  return {.restart = options.restart,
          .daemon = options.daemon,
          .restarts_max = options.restarts_max,
          .window = options.window,
          .backoff = options.backoff,
          .ready_within = options.ready_within,
          .stop_within = options.stop_within,
          .hung_after = options.hung_after};
}

ChildInfo info_of(const control::ChildRecord& record) {
  return {.name = std::string{record.name.view()},
          .pid = record.pid,
          .incarnation = record.incarnation,
          .state = record.state,
          .daemon = record.daemon,
          .last_end = record.reason.value(),
          .acknowledged = record.acknowledged,
          .duplicates_dropped = record.duplicates,
          .note = std::string{record.note.view()}};
}

Transition transition_of(const control::TransitionRecord& record) {
  return {.time = TimePoint{Duration{record.time}},
          .name = std::string{record.name.view()},
          .pid = record.pid,
          .incarnation = record.incarnation,
          .from = record.from,
          .to = record.to,
          .reason = record.reason.value()};
}

/// What was announced, but never more than there is.
std::vector<std::byte> content_of(const OwnedFd& file, std::size_t bytes) {
  struct stat status {};
  if (::fstat(file.get(), &status) == -1) return {};
  std::vector<std::byte> content(std::min(bytes, static_cast<std::size_t>(status.st_size)));
  const auto got = ::pread(file.get(), content.data(), content.size(), 0);
  content.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return content;
}

/// SIGTERM and SIGINT as a descriptor, for one thread and one scope.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    fd_ = detail::beyond_standard(OwnedFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)});
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
  [[nodiscard]] bool arrived() const noexcept {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof info) > 0;
  }

 private:
  sigset_t before_{};
  OwnedFd fd_;
};

}  // namespace

Node::Node(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Node::Node() : Node{create().value()} {}
Node::Node(Node&&) noexcept = default;

Node& Node::operator=(Node&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Result<Node> Node::create() {
  auto link = KeeperLink::of_process();
  if (!link) return failure(std::move(link));
  auto made = (*link)->ask<control::Id>(control::AddSupervisor{});
  if (!made) return failure(std::move(made));
  return Node{std::make_unique<State>(State{made->record.id, KeeperLink::current_generation()})};
}

Node::~Node() {
  if (!state_) return;
  [[maybe_unused]] const auto stopped =
      stop();  // the only error is the keeper's end, which has ended the children too
  [[maybe_unused]] const auto removed = state_->ask<control::Id>(
      control::OfSupervisor{.kind = control::Kind::remove_supervisor, .id = state_->id});
}

supervision::SupervisorId Node::id() const noexcept { return state_->id; }

Result<RoleId> Node::spawn_entry(std::string_view name, const ChildOptions& options,
                                 const detail::PackedCall& call) {
  if (name.empty() || name.size() > control::name_bytes_max)
    return failure(ErrorKind::invalid,
                   "spawn: a name has 1 to " + std::to_string(control::name_bytes_max) + " bytes");
  const control::AddChild request{.method = options.method,
                                  .supervisor = id(),
                                  .policy = policy_of(options),
                                  .role = detail::role_of_path(id(), name),
                                  .attempts_max = options.attempts_max,
                                  .kept_bytes = options.state_bytes_max,
                                  .mailbox_bytes_max = options.mailbox_bytes_max,
                                  .message_bytes_max = options.message_bytes_max,
                                  .ready_at_entry = false,
                                  .name = name};
  auto link = state_->link();
  if (!link) return failure(std::move(link));
  auto started = detail::start_child(**link, request, call);
  if (!started) return failure(std::move(started));
  return request.role;
}

Result<std::vector<ChildInfo>> Node::children() const {
  std::vector<ChildInfo> all;
  for (std::uint32_t index = 0;; ++index) {
    auto answer = state_->ask<control::ChildRecord>(
        control::OfSupervisor{.kind = control::Kind::list_children, .index = index, .id = id()});
    if (!answer) return failure(std::move(answer));
    if (answer->record.id == 0) return all;
    all.push_back(info_of(answer->record));
  }
}

Result<supervision::ChildId> Node::child(std::string_view name) const {
  for (std::uint32_t index = 0;; ++index) {
    auto answer = state_->ask<control::ChildRecord>(
        control::OfSupervisor{.kind = control::Kind::list_children, .index = index, .id = id()});
    if (!answer) return failure(std::move(answer));
    if (answer->record.id == 0)
      return failure(ErrorKind::invalid, "child " + std::string{name} + ": this node has none of that name");
    if (answer->record.name.view() == name) return answer->record.id;
  }
}

Result<void> Node::stop_child(std::string_view name) {
  auto found = child(name);
  if (!found) return failure(std::move(found));
  auto asked = state_->ask<control::Id>(control::OfChild{.kind = control::Kind::stop_child, .id = *found});
  if (!asked) return failure(std::move(asked));
  return state_->wait_until(never, [&] {
    auto answer = state_->ask<control::ChildRecord>(control::OfChild{.id = *found});
    return !answer || answer->record.state == supervision::ChildState::stopped;
  });
}

Result<void> Node::signal(std::string_view name, int number) {
  auto found = child(name);
  if (!found) return failure(std::move(found));
  auto sent = state_->ask<control::Id>(
      control::OfChild{.kind = control::Kind::signal_child, .signal = number, .id = *found});
  if (!sent) return failure(std::move(sent));
  return {};
}

Result<Node::History> Node::history(std::uint64_t since) const {
  History history{.next = since};
  for (;;) {
    auto answer = state_->ask<control::Transitions>(
        control::SinceIndex{.kind = control::Kind::transitions, .supervisor = id(), .index = history.next});
    if (!answer) return failure(std::move(answer));
    const control::Transitions& page = answer->record;
    for (std::uint32_t i = 0; i < std::min<std::size_t>(page.count, page.records.size()); ++i)
      history.transitions.push_back(transition_of(page.records[i]));
    history.forgotten += page.forgotten;
    history.next = page.next;
    if (page.count < control::transitions_per_packet) return history;
  }
}

Result<std::vector<Quarantined>> Node::quarantine() const {
  std::vector<Quarantined> all;
  for (std::uint64_t index = 0;;) {
    auto answer = state_->ask<control::QuarantinedRecord>(
        control::SinceIndex{.kind = control::Kind::quarantined, .supervisor = id(), .index = index});
    if (!answer) return failure(std::move(answer));
    const control::QuarantinedRecord& record = answer->record;
    if (record.next == 0) return all;
    index = record.next;
    all.push_back({.role = std::string{record.role.view()},
                   .cause = record.what.cause,
                   .text = std::string{record.what.text.view()},
                   .attempts = record.what.attempts,
                   .type = record.what.type});
    if (!answer->descriptors.empty())
      all.back().payload = content_of(answer->descriptors.front(), record.what.bytes);
  }
}

bool Node::has_ended() const {
  auto answer = state_->ask<control::SupervisorState>(control::OfSupervisor{.id = id()});
  if (!answer) return answer.error().kind == ErrorKind::down || answer.error().kind == ErrorKind::closed;
  return answer->record.ended;
}

Result<void> Node::stop() {
  auto asked =
      state_->ask<control::Id>(control::OfSupervisor{.kind = control::Kind::stop_supervisor, .id = id()});
  if (!asked) return failure(std::move(asked));
  return state_->wait_until(never, [this] { return has_ended(); });
}

int Node::wait() {
  const StopSignals signals;
  auto link = state_->link();
  if (!link) return 1;
  auto bell = BellWaiter::create((*link)->bell());
  if (!bell || !bell->watch(signals.descriptor())) return 1;
  if ((*link)->keeper_descriptor() != -1 && !bell->watch((*link)->keeper_descriptor())) return 1;
  // From now on it ends with its last non-daemon child; until now it waited for more children.
  if (!state_->ask<control::Id>(control::OfSupervisor{.kind = control::Kind::release_supervisor, .id = id()}))
    return 1;
  while (!has_ended()) {
    const auto woken = bell->wait(never);
    if (woken != BellWaiter::Woken::watched) continue;
    if (!signals.arrived()) return 1;  // it was the keeper's end
    break;
  }
  return stop() ? 0 : 1;
}

}  // namespace troupe
