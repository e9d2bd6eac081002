// SPDX-License-Identifier: MIT
#include <troupe/zmq/caller.hpp>

#include <algorithm>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/place.hpp>
#include <troupe/zmq/whereabouts.hpp>

namespace troupe::zmq::detail {
namespace {

using wire::QueueHeader;
using wire::QueueKind;

constexpr std::size_t message_bytes_slack = 1024;

}  // namespace

// ---- the program's side -----------------------------------------------------------------------------------

Result<std::unique_ptr<Caller>> Caller::connect(const Reach& reach, wire::QueueRole role, std::uint64_t token,
                                                TimePoint deadline) {
  if (auto usable = check_reachable(reach.endpoint, reach.security); !usable)
    return failure(std::move(usable));
  auto post = Post::of_this_process();
  if (!post) return failure(std::move(post));
  std::unique_ptr<Caller> caller{new Caller{role, token}};
  auto sign = ReadySign::create(*post);
  if (!sign) return failure(std::move(sign));
  caller->sign_ = std::move(*sign);
  auto seat = (*post)->admit(*caller, {.kind = SocketSpec::Kind::connect,
                                       .endpoint = reach.endpoint,
                                       .security = reach.security,
                                       .message_bytes_max = wire::item_bytes_max + message_bytes_slack});
  if (!seat) return failure(std::move(seat));
  caller->booking_ = std::move(*seat);
  std::unique_lock lock{caller->lock_};
  const bool answered = caller->changed_.wait_until(
      lock, deadline, [&] { return caller->welcomed_ || caller->over_now().has_value(); });
  if (!answered) return failure(ErrorKind::timed_out, reach.endpoint + ": no queue has answered");
  if (auto over = caller->over_now()) return tl::unexpected<Error>{*std::move(over)};
  lock.unlock();
  return caller;
}

Caller::~Caller() {
  const std::string endpoint = booking_ ? booking_->endpoint() : std::string{};
  booking_ = Booking{};
  if (dead_) sweep_place(endpoint);
}

std::optional<Error> Caller::over_now() const {
  if (broken_) return broken_;
  if (gone_) return Error{ErrorKind::closed, 0, "ZeroMQ queue: its owner has let go of it"};
  if (dead_)
    return Error{ErrorKind::down, 0, "ZeroMQ queue: its owner has ended, and what was in it is lost"};
  return std::nullopt;
}

std::optional<Error> Caller::over() const {
  const std::lock_guard lock{lock_};
  return over_now();
}

std::uint64_t Caller::put(QueueKind kind, std::uint64_t a, std::uint64_t b, std::span<const std::byte> body,
                          bool wants_answer) {
  const std::lock_guard lock{lock_};
  const std::uint64_t number = ++numbers_;
  requests_[number] = Request{.header = {.kind = kind, .session = session_, .number = number, .a = a, .b = b},
                              .body = {body.begin(), body.end()},
                              .wants_answer = wants_answer};
  booking_->wake();
  return number;
}

std::uint64_t Caller::ask(QueueKind kind, std::uint64_t a, std::uint64_t b, std::span<const std::byte> body) {
  return put(kind, a, b, body, true);
}

void Caller::tell(QueueKind kind, std::uint64_t a, std::uint64_t b) { put(kind, a, b, {}, false); }

Result<Caller::Answer> Caller::fetch(std::uint64_t number, TimePoint deadline) {
  std::unique_lock lock{lock_};
  changed_.wait_until(lock, deadline, [&] { return answers_.contains(number) || over_now().has_value(); });
  if (const auto found = answers_.find(number); found != answers_.end()) {
    Answer answer = std::move(found->second);
    answers_.erase(found);
    if (!over_now()) sign_.lower();
    return answer;
  }
  if (auto over = over_now()) return tl::unexpected<Error>{*std::move(over)};
  return failure(ErrorKind::timed_out, "ZeroMQ queue: its owner has not answered in time");
}

bool Caller::has_answer(std::uint64_t number) const {
  const std::lock_guard lock{lock_};
  return answers_.contains(number);
}

void Caller::unwant(std::uint64_t number) {
  const std::lock_guard lock{lock_};
  unwanted_.push_back(number);
  booking_->wake();
}

void Caller::leave(std::uint64_t seen, TimePoint deadline) noexcept {
  if (over()) return;
  [[maybe_unused]] const auto left = fetch(ask(QueueKind::leave, seen), deadline);
}

Ledger::Freed Caller::freed() const {
  const std::lock_guard lock{lock_};
  return freed_;
}

bool Caller::wait_freed(const Ledger::Freed& since, TimePoint deadline) {
  std::unique_lock lock{lock_};
  return changed_.wait_until(lock, deadline, [&] { return freed_ != since || over_now().has_value(); });
}

// ---- the post's thread ------------------------------------------------------------------------------------

void Caller::on_message(PeerId /*from*/, std::span<const std::byte> message) {
  const std::lock_guard lock{lock_};
  const auto header = wire::read<QueueHeader>(message);
  if (!header || header->magic != wire::queue_magic || header->version != wire::version)
    return break_off({ErrorKind::malformed, 0, "ZeroMQ queue: what came is not of this format"});
  const auto body = message.subspan(sizeof *header);
  if (header->kind == QueueKind::who) return say_hello();
  if (header->kind == QueueKind::refused) return on_refused(*header, body);
  if (header->session != session_ || session_ == 0) return;  // of a connection that was
  if (header->kind == QueueKind::welcome) return on_welcome(*header, body);
  if (header->kind == QueueKind::answer) return on_answer(*header, body);
  if (header->kind == QueueKind::freed)
    freed_ = {std::max(freed_.items, header->a), std::max(freed_.bytes, header->b)};
  if (header->kind == QueueKind::gone) gone_ = true;
}

void Caller::say_hello() {
  if (session_ == 0) session_ = random_number();
  linked_ = false;
  const Whereabouts own = own_whereabouts();
  const wire::QueueHello hello{own.machine,
                               own.process.started,
                               own.process.pid,
                               role_,
                               static_cast<std::uint8_t>(welcomed_ ? 1 : 0),
                               0,
                               token_};
  const QueueHeader header{.kind = QueueKind::hello, .session = session_};
  seat_->send(0, wire::bytes_of(header), wire::bytes_of(hello));
}

void Caller::on_welcome(const QueueHeader& header, std::span<const std::byte> body) {
  const auto welcome = wire::read<wire::QueueWelcome>(body);
  if (!welcome || body.size() != sizeof *welcome || welcome->bytes_max > wire::item_bytes_max ||
      welcome->overflow > static_cast<std::uint8_t>(Overflow::latest))
    return break_off({ErrorKind::malformed, 0, "ZeroMQ queue: a welcome that is none"});
  if (!welcomed_) {
    welcome_ = *welcome;
    if (welcome->machine == this_machine()) {
      const auto watched = seat_->watch({welcome->pid, welcome->started});
      if (!watched && watched.error().kind != ErrorKind::down) return break_off(watched.error());
      dead_ = !watched;
    }
  }
  freed_ = {std::max(freed_.items, header.a), std::max(freed_.bytes, header.b)};
  welcomed_ = true;
  linked_ = true;
  for (auto& [number, request] : requests_) request.sent = false;
}

void Caller::on_answer(const QueueHeader& header, std::span<const std::byte> body) {
  const auto request = requests_.find(header.number);
  if (request == requests_.end()) return;  // asked twice, answered twice
  const QueueKind kind = request->second.header.kind;
  if (kind == QueueKind::put || kind == QueueKind::room || kind == QueueKind::dropped)
    freed_ = {std::max(freed_.items, header.a), std::max(freed_.bytes, header.b)};
  if (request->second.wants_answer) {
    answers_[header.number] = {header.status, header.a, header.b, {body.begin(), body.end()}};
    if (kind == QueueKind::want) sign_.raise();
  }
  requests_.erase(request);
}

void Caller::on_refused(const QueueHeader& header, std::span<const std::byte> body) {
  std::string text{reinterpret_cast<const char*>(body.data()), std::min(body.size(), wire::text_bytes_max)};
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7E; }, '?');
  const auto kind = static_cast<ErrorKind>(
      std::min<std::uint64_t>(header.a, static_cast<std::uint64_t>(ErrorKind::system)));
  break_off({kind == ErrorKind::closed || kind == ErrorKind::exhausted || kind == ErrorKind::down
                 ? kind
                 : ErrorKind::refused,
             0, std::move(text)});
}

void Caller::on_process_ended(int /*watch*/) {
  const std::lock_guard lock{lock_};
  dead_ = true;
}

void Caller::on_not_admitted() {
  const std::lock_guard lock{lock_};
  break_off({ErrorKind::refused, 0,
             "ZeroMQ queue: its owner does not allow this key; try adding it to Security::allowed there"});
}

void Caller::on_round() {
  const std::lock_guard lock{lock_};
  if (linked_) send_requests();
  if (over_now()) sign_.raise();
  changed_.notify_all();
}

void Caller::send_requests() {
  for (auto& [number, request] : requests_) {
    if (request.sent) continue;
    request.header.session = session_;
    if (seat_->send(0, wire::bytes_of(request.header), request.body) != Seat::Sent::done) return;
    request.sent = true;
  }
  for (const auto number : std::exchange(unwanted_, {})) {
    const QueueHeader header{.kind = QueueKind::unwant, .session = session_, .number = number, .a = number};
    seat_->send(0, wire::bytes_of(header), {});
  }
}

void Caller::break_off(Error error) {
  if (!broken_) broken_ = std::move(error);
  linked_ = false;
}

}  // namespace troupe::zmq::detail
