// SPDX-License-Identifier: MIT
#include <troupe/zmq/caller.hpp>

#include <algorithm>
#include <troupe/transport/mutant.hpp>
#include <troupe/zmq/passing.hpp>
#include <troupe/zmq/place.hpp>
#include <troupe/zmq/whereabouts.hpp>

namespace troupe::zmq::detail {
namespace {

using wire::QueueHeader;
using wire::QueueKind;

constexpr std::size_t message_bytes_slack = 1024;
/// How long an owner may take to say that a question has come. It is a process like others, and may be
/// stopped.
constexpr std::chrono::seconds answer_within{5};

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

std::uint64_t Caller::put(Wants wants, QueueKind kind, std::uint64_t a, std::uint64_t b,
                          std::span<const std::byte> body) {
  const std::uint64_t number = ++numbers_;
  requests_.emplace_hint(
      requests_.end(), number,
      Request{{.kind = kind, .number = number, .a = a, .b = b}, {body.begin(), body.end()}, wants});
  seat_->wake();  // not by the booking: an owner may answer before that is here
  return number;
}

std::uint64_t Caller::ask(QueueKind kind, std::uint64_t a, std::uint64_t b) {
  const std::lock_guard lock{lock_};
  return put(Wants::answer, kind, a, b);
}

std::uint64_t Caller::tell(QueueKind kind, std::uint64_t a, std::uint64_t b,
                           std::span<const std::byte> body) {
  const std::lock_guard lock{lock_};
  return put(Wants::nothing, kind, a, b, body);
}

Result<Caller::Answer> Caller::fetch(std::uint64_t number, TimePoint deadline) {
  std::unique_lock lock{lock_};
  changed_.wait_until(lock, deadline, [&] { return answers_.contains(number) || over_now().has_value(); });
  if (auto answer = answers_.extract(number)) return std::move(answer.mapped());
  if (auto over = over_now()) return tl::unexpected<Error>{*std::move(over)};
  return failure(ErrorKind::timed_out, "ZeroMQ queue: its owner has not answered in time");
}

std::uint64_t Caller::done() const {
  const std::lock_guard lock{lock_};
  return done_;
}

Result<void> Caller::wait_done(std::uint64_t number, TimePoint deadline) {
  std::unique_lock lock{lock_};
  changed_.wait_until(lock, deadline, [&] { return done_ >= number || over_now().has_value(); });
  if (done_ >= number) return {};
  if (auto over = over_now()) return tl::unexpected<Error>{*std::move(over)};
  return failure(ErrorKind::timed_out, "ZeroMQ queue: its owner has not answered in time");
}

void Caller::leave(TimePoint deadline) noexcept {
  std::unique_lock lock{lock_};
  if (over_now()) return;
  const std::uint64_t number = put(Wants::answer, QueueKind::leave, intake_.begun(), 0);
  if (TROUPE_MUTANT(zmq_leave_unanswered)) return;
  lock.unlock();
  [[maybe_unused]] const auto left = fetch(number, deadline);
}

bool Caller::would_not_wait() const {
  return intake_.may_begin() || intake_.ended() || over_now().has_value();
}

void Caller::want() {
  intake_.ask(Clock::now());
  tell_want();
}

void Caller::tell_want() {
  if (const auto told = intake_.to_want())
    intake_.wanted(put(Wants::nothing, QueueKind::want, told->begun, told->window));
}

void Caller::wait_for_item(std::unique_lock<std::mutex>& lock, Deadline& deadline) {
  intake_.set_waits(true);
  if (!changed_.wait_until(lock, deadline.at(), [&] { return would_not_wait(); })) {
    // Not now: but an item may be on its way, and is not to lie here unseen.
    const std::uint64_t number = put(Wants::nothing, QueueKind::unwant, intake_.begun(), 0);
    intake_.unwanted();
    changed_.wait_until(lock, deadline_in(answer_within),
                        [&] { return would_not_wait() || done_ >= number; });
  }
  intake_.set_waits(false);
}

Result<Intake::Item> Caller::take(Deadline& deadline) {
  std::unique_lock lock{lock_};
  want();
  const bool waits = !would_not_wait();
  if (waits) wait_for_item(lock, deadline);
  if (auto over = over_now()) return tl::unexpected<Error>{*std::move(over)};
  if (intake_.may_begin()) {
    auto item = intake_.begin(Clock::now());
    // What came with it while nothing was overdue may be so from now on: the post is to look in time.
    if (waits && intake_.overdue_at() != never) booking_->wake();
    if (!would_not_wait()) sign_.lower();
    return item;
  }
  if (!intake_.ended()) return failure(ErrorKind::timed_out, "ZeroMQ queue: nothing came in time");
  if (intake_.is_wanted()) {
    put(Wants::nothing, QueueKind::unwant, intake_.begun(), 0);
    intake_.unwanted();
  }
  return failure(ErrorKind::closed, "ZeroMQ queue: it was closed and is empty");
}

void Caller::settle(std::uint64_t number, std::uint64_t ticket, troupe::detail::Settlement settlement) {
  const std::lock_guard lock{lock_};
  intake_.settled(put(Wants::nothing, QueueKind::settle, ticket, static_cast<std::uint64_t>(settlement)),
                  number);
  if (settlement != troupe::detail::Settlement::give_back) return;
  // Who waits for readable() meanwhile waits for an answer to what is told behind that.
  const bool wanted = intake_.is_wanted();
  intake_.gave_back();
  if (wanted) tell_want();
}

bool Caller::arm() {
  const std::lock_guard lock{lock_};
  want();
  if (would_not_wait()) return true;
  sign_.lower();
  return false;
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
  if (header->kind == QueueKind::item) return on_item(*header, body);
  if (header->kind == QueueKind::ended) intake_.on_ended(header->number);
  if (header->kind == QueueKind::done) {
    on_freed(*header);
    on_done(header->number);
  }
  if (header->kind == QueueKind::gone) on_gone();
}

/// The owner waits for this word. It is the last one.
void Caller::on_gone() {
  gone_ = true;
  linked_ = false;
  const QueueHeader header{.kind = QueueKind::leave, .session = session_, .number = ++numbers_};
  seat_->send(0, wire::bytes_of(header), {});
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
  const QueueHeader header{.kind = QueueKind::hello, .session = session_, .a = intake_.received()};
  seat_->send(0, wire::bytes_of(header), wire::bytes_of(hello));
}

void Caller::on_welcome(const QueueHeader& header, std::span<const std::byte> body) {
  const auto welcome = wire::read<wire::QueueWelcome>(body);
  if (!welcome || body.size() != sizeof *welcome || welcome->bytes_max > wire::item_bytes_max ||
      welcome->overflow > static_cast<std::uint8_t>(Overflow::latest) ||
      welcome->ahead_items_max > wire::ahead_items_max)
    return break_off({ErrorKind::malformed, 0, "ZeroMQ queue: a welcome that is none"});
  if (!welcomed_) {
    welcome_ = *welcome;
    intake_.limit_to(welcome->ahead_items_max);
    if (welcome->machine == this_machine()) {
      const auto watched = seat_->watch({welcome->pid, welcome->started});
      if (!watched && watched.error().kind != ErrorKind::down) return break_off(watched.error());
      dead_ = !watched;
    }
  }
  on_freed(header);
  on_done(header.number);
  welcomed_ = true;
  linked_ = true;
  sent_ = 0;
}

void Caller::on_freed(const QueueHeader& header) {
  freed_ = {std::max(freed_.items, header.a), std::max(freed_.bytes, header.b)};
}

void Caller::on_done(std::uint64_t number) {
  if (number > numbers_) return break_off({ErrorKind::malformed, 0, "ZeroMQ queue: a number never sent"});
  done_ = std::max(done_, number);
  for (auto request = requests_.begin(); request != requests_.end() && request->first <= number;)
    request = request->second.wants == Wants::nothing ? requests_.erase(request) : std::next(request);
  intake_.on_done(number);
}

void Caller::on_item(const QueueHeader& header, std::span<const std::byte> body) {
  const auto item = wire::read<wire::ItemHeader>(body);
  const bool sound = item && intake_.on_item({header.number, header.a, static_cast<std::uint32_t>(header.b),
                                              Bytes{body.begin(), body.end()}},
                                             item->want, Clock::now());
  if (!sound) break_off({ErrorKind::malformed, 0, "ZeroMQ queue: an item that is none, or one too many"});
}

void Caller::on_answer(const QueueHeader& header, std::span<const std::byte> body) {
  const auto request = requests_.find(header.number);
  if (request == requests_.end()) return;  // asked twice, answered twice
  const QueueKind kind = request->second.header.kind;
  if (kind == QueueKind::room) on_freed(header);
  if (request->second.wants == Wants::answer)
    answers_[header.number] = {header.status, header.a, header.b, {body.begin(), body.end()}};
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
  seat_->give_up_rest();
}

void Caller::on_not_admitted() {
  const std::lock_guard lock{lock_};
  break_off({ErrorKind::refused, 0,
             "ZeroMQ queue: its owner does not allow this key; try adding it to Security::allowed there"});
}

void Caller::on_round() {
  const std::lock_guard lock{lock_};
  give_back_overdue();
  if (linked_) send_requests();
  if (would_not_wait()) sign_.raise();
  changed_.notify_all();
}

void Caller::give_back_overdue() {
  const TimePoint overdue_at = intake_.overdue_at();
  if (overdue_at == never) return;
  if (overdue_at > Clock::now()) return seat_->set_due(overdue_at);
  intake_.give_back(put(Wants::nothing, QueueKind::unwant, intake_.begun(), 1));
}

void Caller::send_requests() {
  for (auto next = requests_.upper_bound(sent_); next != requests_.end(); ++next) {
    auto& [number, request] = *next;
    request.header.session = session_;
    if (seat_->send(0, wire::bytes_of(request.header), request.body) != Seat::Sent::done) return;
    sent_ = number;
  }
}

void Caller::break_off(Error error) {
  if (!broken_) broken_ = std::move(error);
  linked_ = false;
}

}  // namespace troupe::zmq::detail
