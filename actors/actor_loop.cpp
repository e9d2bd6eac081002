// SPDX-License-Identifier: MIT
#include <troupe/actors/actor_loop.hpp>

#include <unistd.h>

#include <algorithm>
#include <troupe/runtime/child_main.hpp>
#include <troupe/runtime/log.hpp>

namespace troupe {
namespace detail {
namespace {

using namespace std::chrono_literals;
using control::LaneClass;

constexpr auto patience_in_handler = 1s;
constexpr std::size_t length_bytes = sizeof(std::uint64_t);  ///< of the state, in front of it
/// What a failed encoding into a slot means to whoever chose its size.
Result<void> too_small(const Error& error, std::size_t slot_bytes) {
  if (error.kind != ErrorKind::full) return tl::unexpected<Error>{error};
  return failure(error.kind, "kept state: state and unsent messages take more than the " +
                                 std::to_string(slot_bytes) +
                                 " bytes of a slot; try a larger state_bytes_max");
}

/// The process's own identity, like its keeper link.
ActorLoop*& current_loop() {
  static ActorLoop* loop = nullptr;
  return loop;
}

}  // namespace

ActorLoop::ActorLoop(Endpoint& endpoint, Behavior& behavior)
    : endpoint_{endpoint}, behavior_{behavior}, attempts_max_{endpoint.link().attached().attempts_max} {
  endpoint_.set_default_patience(patience_in_handler);
  endpoint_.claim();
  current_loop() = this;
}

ActorLoop::~ActorLoop() { current_loop() = nullptr; }

ActorLoop* ActorLoop::current() noexcept { return current_loop(); }

int ActorLoop::run() {
  restore().value();
  behavior_.start(self_);
  if (kept_) write_down().value();
  [[maybe_unused]] const auto ready = endpoint_.link().tell(control::Ready{});
  endpoint_.catch_up();
  while (!ending_ && !endpoint_.stop_requested()) {
    const bool delivered = outbox_.deliver();
    show(delivered ? lane::Activity::idle : lane::Activity::parked, 0);
    if (!delivered && outbox_.is_heavy(endpoint_.link().attached().kept_bytes))
      outbox_.wait_for_room();
    else if (LanesIn::Lane* const lane = endpoint_.lanes_in().next_mail())
      handle(*lane);
    else
      rest();
    endpoint_.catch_up();
  }
  if (!failure_.empty()) throw std::runtime_error{failure_};
  behavior_.stop(self_);
  if (kept_) {
    write_down().value();
    // What was sent is delivered, and be it the last thing; the stop's deadline bounds it.
    while (!outbox_.deliver()) {
      show(lane::Activity::parked, 0);
      endpoint_.sleep_for_room();
      endpoint_.catch_up();
    }
  }
  return 0;
}

void ActorLoop::rest() {
  endpoint_.discard_late_replies();
  endpoint_.sleep(never);
}

// ---- kept state -------------------------------------------------------------------------------------

/// Goes on from the committed slot: the state, the place on every lane, and letters that may not have left.
Result<void> ActorLoop::restore() {
  if (!behavior_.keeps_state()) return {};
  auto kept =
      KeptFile::create(endpoint_.link().take_state_file().get(), endpoint_.link().attached().kept_bytes);
  if (!kept) return failure(std::move(kept));
  kept_ = std::move(*kept);
  endpoint_.use(outbox_);
  const std::span<const std::byte> bytes = kept_->committed();
  if (bytes.empty()) {
    outbox_.forget_uncommitted();
    return {};
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), std::min(length_bytes, bytes.size()));
  if (bytes.size() < length_bytes || length > bytes.size() - length_bytes)
    return failure(ErrorKind::malformed, "kept state: cut short");
  if (auto loaded = behavior_.load(bytes.subspan(length_bytes, length)); !loaded) return loaded;
  auto books = decode<Books>(bytes.subspan(length_bytes + length));
  if (!books) return failure(std::move(books));
  books_ = std::move(*books);
  outbox_.committed();
  outbox_.forget_uncommitted();
  std::map<std::uint64_t, std::uint64_t> resume;
  for (const Books::Mark& mark : books_.consumed) resume[mark.lane] = mark.offset;
  endpoint_.lanes_in().set_resume_points(std::move(resume));
  return {};
}

/// State and books become the committed ones by one store.
Result<void> ActorLoop::write_down() {
  const std::span<std::byte> room = kept_->next();
  auto state = behavior_.save(room.subspan(length_bytes));
  if (!state) return too_small(state.error(), room.size());
  const std::uint64_t length = *state;
  std::memcpy(room.data(), &length, length_bytes);
  auto books = encode(books_, room.subspan(length_bytes + length));
  if (!books) return too_small(books.error(), room.size());
  kept_->commit(length_bytes + length + *books);
  outbox_.committed();
  return {};
}

/// Marks of senders that number nothing mean something only while they have a lane here.
void ActorLoop::prune_marks() {
  constexpr std::size_t kept_anyway = 64;
  if (books_.consumed.size() < kept_anyway) return;
  std::erase_if(books_.consumed, [&](const Books::Mark& mark) {
    return mark.number == 0 && !endpoint_.lanes_in().hears(mark.from);
  });
}

Books::Mark& ActorLoop::mark_of(RoleId from) {
  const auto at = std::ranges::find(books_.consumed, from, &Books::Mark::from);
  if (at != books_.consumed.end()) return *at;
  prune_marks();
  return books_.consumed.emplace_back(Books::Mark{.from = from});
}

// ---- one message ------------------------------------------------------------------------------------

void ActorLoop::show(lane::Activity activity, std::uint64_t type) noexcept {
  lane::Progress& progress = endpoint_.reader_file().page().progress;
  progress.activity.store(static_cast<std::uint32_t>(activity), std::memory_order_relaxed);
  progress.type_in_hand.store(type, std::memory_order_relaxed);
}

void ActorLoop::step() noexcept {
  lane::Word& steps = endpoint_.reader_file().page().progress.steps;
  steps.store(steps.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void ActorLoop::handle(LanesIn::Lane& lane) {
  constexpr int burst = 32;  // of one sender, before the next has its turn
  for (int i = 0; i < burst && !ending_ && lane.reader->pending(); ++i) {
    auto frame = lane.reader->peek(buffer_);
    if (!frame) {
      log(LogLevel::error, "a sender's lane is given up: " + frame.error().text);
      endpoint_.lanes_in().give_up(lane);
      return;
    }
    show(lane::Activity::working, frame->info.type);
    if (!is_duplicate(lane, *frame)) dispatch(lane, *frame);
    finish(lane, *frame);
    if (!outbox_.deliver() || endpoint_.has_news()) break;
  }
  lane.reader->settle();
}

/// A numbered message that was consumed already: its sender's last incarnation sent it, and so did the
/// present one.
bool ActorLoop::is_duplicate(LanesIn::Lane& lane, const Frame& frame) {
  const std::uint64_t number = envelope::number_of(frame.info.sequence);
  if (number == 0 || number > mark_of(lane.from).number) return false;
  lane::Word& duplicates = endpoint_.reader_file().page().progress.duplicates;
  duplicates.store(duplicates.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return true;
}

void ActorLoop::dispatch(LanesIn::Lane& lane, const Frame& frame) {
  attempt_ = lane.reader->begin_attempt();
  lane_in_hand_ = &lane;
  asker_ = {};
  message_in_hand_ = frame.payload;
  if (envelope::kind_of(frame.info.sequence) == envelope::Kind::question) {
    const auto question = control::read<envelope::Question>(message_in_hand_);
    if (!question)
      return set_aside(lane, frame, ErrorKind::malformed, attempt_, "a question without its header");
    if (question->deadline < Clock::now().time_since_epoch().count()) return;  // nobody waits for it any more
    asker_ = {lane.from, question->token};
    message_in_hand_ = message_in_hand_.subspan(sizeof *question);
  }
  if (attempts_max_ != unlimited && attempt_ > attempts_max_)
    return set_aside(lane, frame, ErrorKind::poison, attempt_ - 1,
                     "its handler did not survive " + std::to_string(attempt_ - 1) + " attempts");
  auto arrived = endpoint_.lanes_in().open(lane, frame, message_in_hand_);
  if (!arrived) return set_aside(lane, frame, arrived.error().kind, attempt_, arrived.error().text);
  DescriptorList descriptors{std::move(arrived->descriptors)};
  const Handled handled = behavior_.handle(frame.info.type, arrived->value, descriptors, self_);
  switch (handled.kind) {
    case Handled::Kind::done: return;
    case Handled::Kind::unknown_type:
      return set_aside(lane, frame, ErrorKind::refused, attempt_,
                       "this actor does not accept a message of that type");
    case Handled::Kind::malformed: return set_aside(lane, frame, handled.cause, attempt_, handled.text);
  }
}

/// Commit, then acknowledge: a kill between the two is seen by the next incarnation, which resumes behind the
/// frame.
void ActorLoop::finish(LanesIn::Lane& lane, const Frame& frame) {
  Books::Mark& mark = mark_of(lane.from);
  mark.lane = lane.reader->spec().id;
  mark.offset = frame.offset + lane::frame_bytes(frame.payload.size());
  mark.number = std::max(mark.number, envelope::number_of(frame.info.sequence));
  if (kept_) write_down().value();
  endpoint_.lanes_in().acknowledge(lane, frame);
  lane_in_hand_ = nullptr;
  asker_ = {};
  lane::Word& acknowledged = endpoint_.reader_file().page().progress.acknowledged;
  acknowledged.store(acknowledged.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  step();
}

/// The message goes to the keeper's quarantine with its cause; whoever asked is told.
void ActorLoop::set_aside(LanesIn::Lane& lane, const Frame& frame, ErrorKind cause, std::uint32_t attempts,
                          std::string_view text) {
  log(LogLevel::warning, "set aside: " + std::string{to_string(cause)} + ", " + std::string{text});
  const control::Quarantine what{.from = lane.from,
                                 .type = frame.info.type,
                                 .sequence = frame.info.sequence,
                                 .attempts = attempts,
                                 .cause = cause,
                                 .text = text};
  const bool apart = (frame.info.sequence & envelope::apart) != 0;
  const auto large = apart ? endpoint_.lanes_in().open(lane, frame, message_in_hand_) : Arrived{};
  endpoint_.set_aside(what, apart && large ? large->value : frame.payload);
  reply_error(take_question(), cause, text);
}

// ---- replies ------------------------------------------------------------------------------------------

void ActorLoop::post_reply(const Asker& to, std::uint32_t outcome, const Payload& value) {
  if (to.role == 0) return;
  const envelope::Reply header{.token = to.token, .outcome = outcome};
  // A reply never waits: its asker has made room by taking every earlier one. If there is none even so,
  // nobody is listening.
  const auto posted =
      endpoint_.post({to.role, LaneClass::reply}, {0, envelope::sequence(envelope::Kind::reply, 0)},
                     control::bytes_of(header), value, Duration::zero());
  // One that cannot travel at all is the asker's to know: nothing better will come.
  if (posted || outcome != 0) return;
  const ErrorKind kind = posted.error().kind;
  if (kind == ErrorKind::invalid || kind == ErrorKind::refused || kind == ErrorKind::exhausted)
    reply_error(to, kind, posted.error().text);
}

void ActorLoop::reply(const Asker& to, const Payload& value) { post_reply(to, 0, value); }

void ActorLoop::reply_error(const Asker& to, ErrorKind kind, std::string_view text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span{text.substr(0, control::text_bytes_max)});
  post_reply(to, envelope::outcome_of(kind), Payload::raw(bytes));
}

void send_reply(const Asker& asker, const Payload& value) {
  if (ActorLoop* const loop = ActorLoop::current()) loop->reply(asker, value);
}

void send_reply_error(const Asker& asker, ErrorKind kind, std::string_view text) {
  if (ActorLoop* const loop = ActorLoop::current()) loop->reply_error(asker, kind, text);
}

}  // namespace detail

// ---- Self ---------------------------------------------------------------------------------------------

RoleId Self::role_of(std::string_view path) const {
  return detail::role_of_path(loop_->endpoint_.link().attached().supervisor, path);
}
std::uint32_t Self::attempt() const noexcept { return loop_->attempt_; }
std::uint32_t Self::incarnation() const noexcept { return loop_->endpoint_.link().attached().incarnation; }
std::string_view Self::name() const noexcept { return loop_->endpoint_.link().attached().name.view(); }
std::uint64_t Self::duplicates_dropped() const noexcept {
  return loop_->endpoint_.reader_file().page().progress.duplicates.load(std::memory_order_relaxed);
}
bool Self::stop_requested() const noexcept {
  loop_->endpoint_.catch_up();
  return loop_->endpoint_.stop_requested();
}
void Self::stop() noexcept { loop_->ending_ = true; }

void Self::fail(std::string_view why) {
  loop_->ending_ = true;
  loop_->failure_ = why.empty() ? "failed" : why;
}

void Self::commit() {
  if (loop_->kept_) {
    loop_->write_down().value();
    if (loop_->lane_in_hand_ != nullptr) loop_->lane_in_hand_->reader->forgive_attempts();
    [[maybe_unused]] const bool delivered = loop_->outbox_.deliver();  // the rest when there is room
  }
  progress();
}

void Self::progress() noexcept { loop_->step(); }
void Self::note(std::string_view text) noexcept { loop_->endpoint_.reader_file().note(text); }

}  // namespace troupe
