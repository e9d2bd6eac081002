// SPDX-License-Identifier: MIT
#include <troupe/zmq/broker.hpp>

#include <algorithm>
#include <string_view>
#include <troupe/transport/codec.hpp>
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
/// As for channels: what a dead end has sent is taken until its connection is gone, or this long.
constexpr milliseconds rest_within{200};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), std::min(text.size(), wire::text_bytes_max)});
}

Result<void> check(const QueueOptions& options) {
  if (options.items_max == 0 || options.bytes_max == 0 || options.senders_max == 0 || options.ends_max < 2 ||
      options.attempts_max == 0)
    return failure(ErrorKind::invalid, "queue " + options.name + ": its bounds are at least 1");
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
  booking_.post().run([&] {
    const std::lock_guard lock{lock_};
    for (const auto& [id, end] : ends_) say(end.peer, {.kind = QueueKind::gone, .session = id});
  });
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
  return tl::unexpected<Error>{not_drained(options_.name, ledger_.size(), ledger_.holders())};
}

std::vector<Holder> Broker::holders() const {
  const std::lock_guard lock{lock_};
  return ledger_.holders();
}

QueueCounts Broker::counts() const {
  const std::lock_guard lock{lock_};
  return ledger_.counts();
}

std::vector<Quarantined> Broker::quarantine() const {
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
  drop(known->second, ~std::uint64_t{0});
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
  const wire::QueueWelcome welcome{
      own.machine, own.process.started, own.process.pid,   static_cast<std::uint8_t>(options_.overflow),
      {},          options_.items_max,  options_.bytes_max};
  const auto freed = ledger_.freed(header.session);
  ends_.at(header.session).told = freed;
  say(from, {.kind = QueueKind::welcome, .session = header.session, .a = freed.items, .b = freed.bytes},
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

bool Broker::on_request(EndId id, End& end, const QueueHeader& header, std::span<const std::byte> body) {
  if (header.number == 0) return false;
  if (header.kind == QueueKind::leave) {
    const End left = end;
    drop(id, header.a);
    answer(id, left, header.number, QueueStatus::ok);
    return true;
  }
  if (header.kind == QueueKind::unwant) {
    if (end.waits == 0 || end.waits != header.a) return true;  // answered meanwhile
    end.waits = 0;
    std::erase(waiting_, id);
    answer(id, end, header.a, QueueStatus::nothing);
    return true;
  }
  if (header.kind != QueueKind::put && !body.empty()) return false;
  switch (end.role) {
    case QueueRole::access: return on_access(id, end, header);
    case QueueRole::sender: return on_sender(id, end, header, body);
    case QueueRole::receiver: return on_receiver(id, end, header);
  }
  return false;
}

bool Broker::on_sender(EndId id, End& end, const QueueHeader& header, std::span<const std::byte> body) {
  if (header.kind == QueueKind::put) {
    if (!ledger_.put(id, header.number, header.a, body)) return false;
  } else if (header.kind == QueueKind::room) {
    ledger_.make_room(id, header.a, header.b == 1);
  } else if (header.kind == QueueKind::dropped) {
    ledger_.note_dropped(id, header.a, header.b);
  } else {
    return false;
  }
  end.told = ledger_.freed(id);
  answer(id, end, header.number, QueueStatus::ok, end.told.items, end.told.bytes);
  return true;
}

bool Broker::on_receiver(EndId id, End& end, const QueueHeader& header) {
  if (header.kind == QueueKind::want) {
    if (end.waits == 0) waiting_.push_back(id);
    end.waits = header.number;
    return true;
  }
  if (header.kind != QueueKind::settle || header.b > 3) return false;
  ledger_.settle(id, header.a, static_cast<troupe::detail::Settlement>(header.b));
  answer(id, end, header.number, QueueStatus::ok);
  return true;
}

bool Broker::on_access(EndId id, End& end, const QueueHeader& header) {
  if (header.kind == QueueKind::empty) {
    if (end.waits == 0) waiting_.push_back(id);
    end.waits = header.number;
    return true;
  }
  if (header.kind == QueueKind::query) {
    on_query(end, id, header);
    return true;
  }
  if (header.kind != QueueKind::expect) return false;
  const std::uint64_t token = random_number();
  const auto expected = ledger_.expect_sender(id, token);
  if (expected) {
    answer(id, end, header.number, QueueStatus::ok, token);
  } else {
    answer(id, end, header.number, QueueStatus::refused, static_cast<std::uint64_t>(expected.error().kind), 0,
           bytes_of(expected.error().text));
  }
  return true;
}

void Broker::on_query(End& end, EndId id, const QueueHeader& header) {
  std::vector<std::byte> body;
  switch (static_cast<wire::Query>(header.a)) {
    case wire::Query::size: break;
    case wire::Query::counts: body = encoded(ledger_.counts()); break;
    case wire::Query::holders: body = encoded(ledger_.holders()); break;
    case wire::Query::quarantine: body = encoded(plain(ledger_.quarantine())); break;
  }
  answer(id, end, header.number, QueueStatus::ok, ledger_.size(), 0, body);
}

void Broker::drop(EndId id, std::uint64_t seen) {
  const auto end = ends_.find(id);
  if (end == ends_.end()) return;
  ledger_.remove(id, seen);
  if (end->second.watch != -1) seat_->unwatch(end->second.watch);
  by_peer_.erase(end->second.peer);
  std::erase(waiting_, id);
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
  for (const EndId id : left) drop(id, ~std::uint64_t{0});
  serve();
  for (auto& [id, end] : ends_)
    if (end.role == QueueRole::sender) tell_freed(id, end);
  changed_.notify_all();
}

/// Whether nothing more can come of an end whose process has ended. That its connection is gone is known a
/// round before it counts: by then all that had come over it has been taken.
bool Broker::has_left(End& end) {
  if (end.unreachable || Clock::now() >= end.drained_by) return true;
  end.unreachable = say(end.peer, {.kind = QueueKind::freed}) == Seat::Sent::unreachable;
  if (end.unreachable)
    seat_->wake();
  else
    seat_->set_due(end.drained_by);
  return false;
}

void Broker::serve() {
  for (auto id = waiting_.begin(); id != waiting_.end();) {
    End& end = ends_.at(*id);
    const bool served = serve(*id, end);
    if (served) end.waits = 0;
    id = served ? waiting_.erase(id) : std::next(id);
  }
}

bool Broker::serve(EndId id, End& end) {
  if (end.dead) return false;
  if (end.role == QueueRole::access) {
    if (ledger_.size() == 0) answer(id, end, end.waits, QueueStatus::ok);
    return ledger_.size() == 0;
  }
  if (const auto offer = ledger_.take(id, end.waits)) {
    const std::vector<std::byte> body = with_type(offer->type, offer->bytes);
    answer(id, end, end.waits, QueueStatus::ok, offer->ticket, offer->attempt, body);
    return true;
  }
  if (ledger_.ended_for(id)) answer(id, end, end.waits, QueueStatus::ended);
  return ledger_.ended_for(id);
}

void Broker::tell_freed(EndId id, End& end) {
  const auto freed = ledger_.freed(id);
  if (freed == end.told) return;
  if (say(end.peer, {.kind = QueueKind::freed, .session = id, .a = freed.items, .b = freed.bytes}) ==
      Seat::Sent::done)
    end.told = freed;
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
