// SPDX-License-Identifier: MIT
#include <troupe/zmq/broker.hpp>

#include <algorithm>
#include <string_view>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/whereabouts.hpp>

namespace troupe::zmq::detail {
namespace {

using std::chrono::milliseconds;
using wire::QueueHeader;
using wire::QueueKind;
using wire::QueueRole;
using wire::QueueStatus;

constexpr std::size_t message_bytes_slack = 1024;
/// How long ends may take to say that they have heard of the queue's end. They are processes, and may be
/// stopped.
constexpr milliseconds farewell_within{5000};
/// As for channels: what a dead end has sent is taken until its connection is gone, or this long.
constexpr milliseconds rest_within{200};
constexpr milliseconds look_again_after{1};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), std::min(text.size(), wire::text_bytes_max)});
}

Result<void> check(const QueueOptions& options) {
  if (options.items_max == 0 || options.bytes_max == 0 || options.senders_max == 0 || options.ends_max < 2 ||
      options.attempts_max == 0)
    return failure(ErrorKind::invalid, "queue " + options.name + ": its bounds are at least 1");
  if (options.ahead_items_max > wire::ahead_items_max)
    return failure(ErrorKind::invalid, "queue " + options.name + ": ahead_items_max is at most 512");
  if (options.bytes_max > wire::item_bytes_max)
    return failure(ErrorKind::invalid,
                   "queue " + options.name + ": over ZeroMQ bytes_max is at most 256 MiB");
  return {};
}

}  // namespace

Result<std::unique_ptr<Broker>> Broker::create(const std::string& endpoint, const QueueOptions& options,
                                               const Security& security) {
  if (auto sound = check(options); !sound) return failure(std::move(sound));
  auto place = Place::create(endpoint, security);
  if (!place) return failure(std::move(place));
  auto post = Post::of_this_process();
  if (!post) return failure(std::move(post));
  std::unique_ptr<Broker> broker{new Broker{options}};
  auto seat = (*post)->admit(*broker, {.kind = SocketSpec::Kind::listen,
                                       .endpoint = place->endpoint(),
                                       .security = security,
                                       .message_bytes_max = options.bytes_max + message_bytes_slack});
  if (!seat) return failure(std::move(seat));
  broker->place_.emplace(std::move(*place));
  broker->booking_ = std::move(*seat);
  return broker;
}

Broker::~Broker() {
  if (!booking_) return;
  // Each end is told and says that it has heard: a socket that is closed may take its last words with it.
  std::unique_lock lock{lock_};
  ending_ = true;
  booking_->wake();
  changed_.wait_until(lock, deadline_in(farewell_within), [&] { return ends_.empty(); });
}

// ---- the owner's thread -----------------------------------------------------------------------------------

Result<void> Broker::expect_sender(std::uint64_t token) {
  const std::lock_guard lock{lock_};
  return ledger_.expect_sender(0, token);
}

void Broker::close() {
  const std::lock_guard lock{lock_};
  ledger_.close();
  booking_->wake();
}

std::size_t Broker::size() const {
  const std::lock_guard lock{lock_};
  return ledger_.size();
}

Result<void> Broker::drain(TimePoint deadline) {
  std::unique_lock lock{lock_};
  if (changed_.wait_until(lock, deadline, [&] { return ledger_.size() == 0; })) return {};
  return tl::unexpected<Error>{troupe::detail::not_drained(options_.name, ledger_.size(), ledger_.holders())};
}

std::vector<Holder> Broker::holders() const {
  const std::lock_guard lock{lock_};
  return ledger_.holders();
}

QueueCounts Broker::counts() const {
  const std::lock_guard lock{lock_};
  return ledger_.counts();
}

std::vector<QuarantinedItem> Broker::quarantine() const {
  const std::lock_guard lock{lock_};
  return {ledger_.quarantine().begin(), ledger_.quarantine().end()};
}

std::uint64_t Broker::malformed() const {
  const std::lock_guard lock{lock_};
  return malformed_;
}

// ---- the post's thread ------------------------------------------------------------------------------------

void Broker::on_nonsense() {
  const std::lock_guard lock{lock_};
  ++malformed_;
}

void Broker::on_message(PeerId from, std::span<const std::byte> message) {
  const std::lock_guard lock{lock_};
  if (message.empty()) return static_cast<void>(say(from, {.kind = QueueKind::who}));
  const auto header = wire::read<QueueHeader>(message);
  const auto known = by_peer_.find(from);
  const bool sound = header && header->magic == wire::queue_magic && header->version == wire::version &&
                     header->status == QueueStatus::ok && header->session != 0;
  if (sound && header->kind == QueueKind::hello)
    return on_hello(from, *header, message.subspan(sizeof *header));
  if (sound && known == by_peer_.end()) return;  // of an end that was let go
  if (sound && known->second == header->session &&
      on_request(known->second, ends_.at(known->second), *header, message.subspan(sizeof *header)))
    return;
  ++malformed_;
  if (known == by_peer_.end()) return;
  say(from, {.kind = QueueKind::refused}, bytes_of("what came is not of this format"));
  drop(known->second, std::nullopt);
}

void Broker::on_hello(PeerId from, const QueueHeader& header, std::span<const std::byte> body) {
  const auto hello = wire::read<wire::QueueHello>(body);
  const auto role = hello ? static_cast<unsigned>(hello->role) : 0U;
  if (!hello || body.size() != sizeof *hello || role < 1 || role > 3) {
    ++malformed_;
    return;
  }
  if (auto admitted = admit(from, header.session, *hello); !admitted)
    return static_cast<void>(
        say(from, {.kind = QueueKind::refused, .a = static_cast<std::uint64_t>(admitted.error().kind)},
            bytes_of(admitted.error().text)));
  const Whereabouts own = own_whereabouts();
  const wire::QueueWelcome welcome{.machine = own.machine,
                                   .started = own.process.started,
                                   .pid = own.process.pid,
                                   .overflow = static_cast<std::uint8_t>(options_.overflow),
                                   .zero = {},
                                   .items_max = options_.items_max,
                                   .bytes_max = options_.bytes_max,
                                   .ahead_items_max = options_.ahead_items_max,
                                   .unconfirmed_puts_max = options_.unconfirmed_puts_max};
  End& end = ends_.at(header.session);
  end.told = ledger_.freed(header.session);
  end.told_done = end.done;
  end.told_ended = 0;
  end.sent = header.a;
  say(from,
      {.kind = QueueKind::welcome,
       .session = header.session,
       .number = end.done,
       .a = end.told.items,
       .b = end.told.bytes},
      wire::bytes_of(welcome));
}

Result<void> Broker::admit(PeerId from, EndId id, const wire::QueueHello& hello) {
  const auto known = ends_.find(id);
  if (known == ends_.end() && hello.known != 0)
    return failure(ErrorKind::down, "queue " + options_.name + ": this end was let go of");
  if (known != ends_.end()) {
    // The same end over a new connection.
    by_peer_.erase(known->second.peer);
    known->second.peer = from;
    known->second.unreachable = false;
  } else {
    if (by_peer_.contains(from)) return failure(ErrorKind::refused, "queue: one end for each connection");
    const ProcessMark process{hello.pid, hello.started};
    if (auto admitted = ledger_.admit(id, hello.role, process, hello.token); !admitted) return admitted;
    auto watched = watch(hello);
    if (!watched) {
      ledger_.remove(id, 0);
      return failure(std::move(watched));
    }
    ends_[id] = End{.peer = from, .role = hello.role, .watch = *watched};
  }
  by_peer_[from] = id;
  return {};
}

Result<int> Broker::watch(const wire::QueueHello& hello) {
  if (hello.machine != this_machine()) return -1;
  return seat_->watch({hello.pid, hello.started});
}

/// Without word of what it had begun last, it is as if its process had ended.
void Broker::drop(EndId id, std::optional<std::uint64_t> begun) {
  const auto end = ends_.find(id);
  if (end == ends_.end()) return;
  if (begun)
    ledger_.remove(id, *begun);
  else
    ledger_.remove_dead(id);
  if (end->second.watch != -1) seat_->unwatch(end->second.watch);
  by_peer_.erase(end->second.peer);
  ends_.erase(end);
}

void Broker::on_process_ended(int watch) {
  const std::lock_guard lock{lock_};
  for (auto& [id, end] : ends_) {
    if (end.watch != watch) continue;
    end.watch = -1;
    end.dead = true;
    end.drained_by = deadline_in(rest_within);
  }
}

void Broker::on_round() {
  const std::lock_guard lock{lock_};
  std::vector<EndId> left;
  for (auto& [id, end] : ends_)
    if (end.dead && has_left(end)) left.push_back(id);
  for (const EndId id : left) drop(id, std::nullopt);
  serve();
  if (ending_) say_farewell();
  for (auto& [id, end] : ends_) tell(id, end);
  changed_.notify_all();
}

/// Whether nothing more can come of an end whose process has ended. That its connection is gone is known a
/// round before it counts: by then all that had come over it has been taken.
bool Broker::has_left(End& end) {
  if (end.unreachable || Clock::now() >= end.drained_by) return true;
  end.unreachable = say(end.peer, {.kind = QueueKind::done}) == Seat::Sent::unreachable;
  if (end.unreachable)
    seat_->wake();
  else
    seat_->set_due(std::min(end.drained_by, deadline_in(look_again_after)));
  return false;
}

void Broker::say_farewell() {
  std::vector<EndId> unreachable;
  for (auto& [id, end] : ends_) {
    if (end.told_gone) continue;
    const auto sent = say(end.peer, {.kind = QueueKind::gone, .session = id});
    end.told_gone = sent == Seat::Sent::done;
    if (sent == Seat::Sent::unreachable) unreachable.push_back(id);
  }
  for (const EndId id : unreachable) drop(id, 0);
}

void Broker::serve() {
  while (ledger_.has_ready()) {
    const auto next = next_served();
    if (next == ends_.end()) return;
    auto& [id, end] = *next;
    ledger_.give(id, end.want);
    end.served = ++servings_;
    if (end.window == 0) end.want = 0;  // it was for one
  }
}

/// Of those that want the next item the one that has least ahead of it; of several, whose turn is longest
/// ago.
Broker::Ends::iterator Broker::next_served() {
  auto best = ends_.end();
  auto best_rank = std::pair<std::size_t, std::uint64_t>{};
  for (auto one = ends_.begin(); one != ends_.end(); ++one) {
    const End& end = one->second;
    if (end.want == 0 || end.dead || !ledger_.may_give(one->first, end.window)) continue;
    const std::pair rank{ledger_.ahead(one->first), end.served};
    if (best != ends_.end() && best_rank <= rank) continue;
    best = one;
    best_rank = rank;
  }
  return best;
}

/// False if some have to wait until the end reads again.
bool Broker::send_items(EndId id, End& end) {
  while (const auto next = ledger_.next_in_hand(id, end.sent)) {
    const wire::QueueItem item{.header = {.kind = QueueKind::item,
                                          .session = id,
                                          .number = next->number,
                                          .a = next->ticket,
                                          .b = next->attempt},
                               .item = next->header};
    if (seat_->send(end.peer, wire::bytes_of(item), next->bytes) != Seat::Sent::done) return false;
    end.sent = next->number;
  }
  return true;
}

/// That something is done is told behind the items that it brought.
void Broker::tell(EndId id, End& end) {
  if (end.dead) return;
  if (end.empty != 0 && ledger_.size() == 0) answer(id, end, std::exchange(end.empty, 0), QueueStatus::ok);
  if (!send_items(id, end)) return;
  tell_ended(id, end);
  tell_done(id, end);
}

void Broker::tell_ended(EndId id, End& end) {
  if (end.want == 0 || end.want == end.told_ended || ledger_.ahead(id) != 0 || !ledger_.ended_for(id)) return;
  if (say(end.peer, {.kind = QueueKind::ended, .session = id, .number = end.want}) == Seat::Sent::done)
    end.told_ended = end.want;
}

void Broker::tell_done(EndId id, End& end) {
  const auto freed = ledger_.freed(id);
  if (freed == end.told && end.done == end.told_done) return;
  const QueueHeader header{
      .kind = QueueKind::done, .session = id, .number = end.done, .a = freed.items, .b = freed.bytes};
  if (say(end.peer, header) != Seat::Sent::done) return;
  end.told = freed;
  end.told_done = end.done;
}

void Broker::answer(EndId id, const End& end, std::uint64_t number, QueueStatus status, std::uint64_t a,
                    std::uint64_t b, std::span<const std::byte> body) {
  say(end.peer,
      {.kind = QueueKind::answer, .status = status, .session = id, .number = number, .a = a, .b = b}, body);
}

Seat::Sent Broker::say(PeerId to, const QueueHeader& header, std::span<const std::byte> body) {
  return seat_->send(to, wire::bytes_of(header), body);
}

}  // namespace troupe::zmq::detail
