// SPDX-License-Identifier: MIT
#include <troupe/actors/endpoint.hpp>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <troupe/actors/outbox.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/transport/doorbell.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;
using control::LaneClass;

constexpr std::uint64_t busy_capacity_max =
    128 * 1024;                  ///< a lane that is often full grows up to here; only large frames need more
constexpr auto spin_for = 20us;  ///< what waking a sleeper on another core takes (docs/benchmarks.md)
constexpr auto no_spin_after_switch = 100ms;
constexpr auto retry_after = 20ms;  ///< where a limit stands in the way, whose end nobody announces

/// The process's one endpoint. Guarded by `making`.
struct Endpoints {
  std::mutex making;
  std::unique_ptr<Endpoint> endpoint;
  std::atomic<Endpoint*> present{nullptr};  ///< the same, for a look without the lock
};
Endpoints& endpoints() {
  static Endpoints instance;
  return instance;
}

Error role_has_ended(const ExitReason& reason) {
  return {ErrorKind::closed, 0, "send: the receiver has ended (" + to_string(reason) + ")"};
}

Result<void> check_size(std::size_t bytes) {
  constexpr std::size_t bytes_max = lane::frame_bytes_max - sizeof(lane::FrameHeader);
  if (bytes <= bytes_max) return {};
  return failure(ErrorKind::invalid, "send: a message of " + std::to_string(bytes) + " bytes; at most " +
                                         std::to_string(bytes_max) + " may travel at once");
}

/// Shows an activity to whoever judges this process from outside, and the one before it again at the end.
class ShownActivity {
 public:
  ShownActivity(lane::Progress& progress, lane::Activity activity) noexcept
      : progress_{progress},
        before_{progress.activity.exchange(static_cast<std::uint32_t>(activity), std::memory_order_relaxed)} {
  }
  ShownActivity(const ShownActivity&) = delete;
  ShownActivity& operator=(const ShownActivity&) = delete;
  ~ShownActivity() { progress_.activity.store(before_, std::memory_order_relaxed); }

 private:
  lane::Progress& progress_;
  std::uint32_t before_;
};

/// Whether another process may run while this one spins.
bool has_cores_to_spare() {
  static const bool spare = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
  }();
  return spare;
}

long involuntary_switches() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

}  // namespace

Payload Payload::raw(const std::span<const std::byte>& bytes) {
  using Bytes = std::span<const std::byte>;
  return {&bytes,
          [](const void* v, std::span<std::byte> room) -> Result<std::size_t> {
            const Bytes& from = *static_cast<const Bytes*>(v);
            if (from.size() > room.size()) return failure(ErrorKind::full, "send: larger than the room");
            std::ranges::copy(from, room.begin());
            return from.size();
          },
          [](const void* v) { return static_cast<const Bytes*>(v)->size(); }};
}

// ---- birth ------------------------------------------------------------------------------------------

Result<Endpoint*> Endpoint::of_process() {
  Endpoints& all = endpoints();
  Endpoint* const present = all.present.load(std::memory_order_acquire);
  if (present != nullptr && present->generation_ == KeeperLink::current_generation()) return present;
  auto link = KeeperLink::of_process();
  if (!link) return failure(std::move(link));
  const std::lock_guard lock{all.making};
  const std::uint64_t generation = KeeperLink::current_generation();
  if (!all.endpoint || all.endpoint->generation_ != generation) {
    auto file = ReaderFile::create((*link)->take_reader_file().get(), (*link)->attached().slots);
    if (!file) return failure(std::move(file));
    all.endpoint.reset(new Endpoint{**link, std::move(*file), generation});
    all.endpoint->catch_up();  // the first question also tells the keeper that the file is sealed
    all.present.store(all.endpoint.get(), std::memory_order_release);
  }
  return all.endpoint.get();
}

void Endpoint::set_resume_points(std::map<std::uint64_t, std::uint64_t> offset_by_lane) {
  resume_ = std::move(offset_by_lane);
  for (auto& [key, chain] : in_)
    for (const auto& lane : chain)
      if (const auto at = resume_.find(lane->reader->spec().id); at != resume_.end())
        lane->reader->resume_at(at->second);
}

// ---- news from the keeper ---------------------------------------------------------------------------

/// A change that cannot be learnt now (no descriptors, no memory) is offered again: nothing the keeper says
/// is lost.
void Endpoint::catch_up() {
  while (has_news()) {
    seen_notices_ = link_->notices();
    retry_at_ = never;
    for (bool took = false;; took = true) {
      auto pulled = link_->ask<control::Change>(control::Pull{.took = took});
      if (pulled && pulled->record.kind == control::ChangeKind::none) break;
      auto learnt = pulled ? learn(pulled->record, std::move(pulled->descriptors))
                           : Result<void>{failure(std::move(pulled))};
      if (learnt) continue;
      if (learnt.error().kind == ErrorKind::down || learnt.error().kind == ErrorKind::refused) return;
      log(LogLevel::warning, "news from the keeper cannot be taken yet: " + learnt.error().text);
      retry_at_ = deadline_in(retry_after);
      return;
    }
    std::erase_if(in_, [](const auto& one) { return one.second.empty(); });
  }
}

Result<void> Endpoint::learn(control::Change change, std::vector<OwnedFd> descriptors) {
  using control::ChangeKind;
  switch (change.kind) {
    case ChangeKind::none: return {};
    case ChangeKind::stop: stop_ = true; return {};
    case ChangeKind::lane_added: return learn_lane(change, std::move(descriptors));
    case ChangeKind::lane_final:
      for (auto& [key, chain] : in_)
        for (const auto& lane : chain)
          if (lane->reader && lane->reader->spec().id == change.lane.id) lane->final = true;
      return {};
    case ChangeKind::reader_changed: {
      const auto at = out_.find({change.peer, change.lane_class});
      const bool mine =
          at != out_.end() && at->second.writer && at->second.writer->spec().id == change.lane.id;
      if (!mine) return {};
      if (descriptors.size() != 1) return failure(ErrorKind::exhausted, "a reader's file has not arrived");
      auto view = ReaderView::create(descriptors.front().get(), change.slots);
      if (!view) return failure(std::move(view));
      at->second.writer->attach_reader(std::make_shared<const ReaderView>(std::move(*view)),
                                       at->second.bell.get());
      return {};
    }
    case ChangeKind::role_ended: {
      OutLane& lane = out_[{change.peer, change.lane_class}];
      lane.ended = true;
      lane.reason = change.reason.value();
      if (lane.writer) {
        lane.last_head = lane.writer->head();
        lane.last_attempt = lane.writer->attempt();
      }
      lane.writer.reset();
      lane.bell.reset();
      return {};
    }
  }
  std::abort();
}

Result<void> Endpoint::learn_lane(const control::Change& change, std::vector<OwnedFd> descriptors) {
  if (descriptors.size() != 2 || change.lane.slot >= link_->attached().slots)
    return failure(ErrorKind::exhausted, "a lane's file has not arrived");
  auto lane = std::make_unique<InLane>();
  lane->from = change.peer;
  lane->lane_class = change.lane_class;
  lane->epoch = change.epoch;
  lane->final = change.final;
  lane->sender_bell = std::move(descriptors[1]);
  auto reader = LaneReader::create(descriptors[0].get(), change.lane, file_.slot(change.lane.slot),
                                   lane->sender_bell.get());
  if (!reader && (reader.error().kind == ErrorKind::malformed || reader.error().kind == ErrorKind::refused)) {
    log(LogLevel::error, "a sender's lane is given up: " + reader.error().text);
    return link_->tell(control::Broken{.lane = change.lane.id});
  }
  if (!reader) return failure(std::move(reader));
  if (const auto at = resume_.find(change.lane.id); at != resume_.end()) reader->resume_at(at->second);
  lane->reader = std::move(*reader);
  const Key key{lane->from, lane->lane_class};
  auto chain = std::ranges::find(in_, key, [](const auto& one) { return one.first; });
  if (chain == in_.end()) chain = in_.emplace(in_.end(), key, std::vector<std::unique_ptr<InLane>>{});
  const auto behind =
      std::ranges::find_if(chain->second, [&](const auto& other) { return other->epoch > lane->epoch; });
  chain->second.insert(behind, std::move(lane));
  return {};
}

void Endpoint::give_up(InLane& lane) {
  lane.broken = true;
  [[maybe_unused]] const auto told = link_->tell(control::Broken{.lane = lane.reader->spec().id});
}

void Endpoint::discard_late_replies() {
  std::optional<ReplyBytes> nobody_waits;
  take_replies(0, nobody_waits);
}

void Endpoint::set_aside(control::Quarantine what, std::span<const std::byte> payload) {
  what.bytes = static_cast<std::uint32_t>(payload.size());
  auto file = create_memory("troupe-quarantine", std::max<std::size_t>(payload.size(), 1));
  const bool whole = file && ::pwrite(file->get(), payload.data(), payload.size(), 0) ==
                                 static_cast<ssize_t>(payload.size());
  const int fd = whole ? file->get() : -1;
  [[maybe_unused]] const auto told =
      link_->tell(what, whole ? std::span<const int>{&fd, 1} : std::span<const int>{});
}

KeeperLink::Woken Endpoint::wait_bell(TimePoint deadline) {
  const auto woken = link_->wait_bell(std::min(deadline, retry_at_));
  return woken == KeeperLink::Woken::deadline && Clock::now() < deadline ? KeeperLink::Woken::rung : woken;
}

Result<void> Endpoint::check_thread() const {
  if (owner_ == std::thread::id{} || owner_ == std::this_thread::get_id()) return {};
  return failure(
      ErrorKind::refused,
      "send: in an actor only the thread that runs its handlers sends and asks; let it do so for the others");
}

// ---- taking ---------------------------------------------------------------------------------------------

/// Gives back the lanes at the front that are empty and stay so: then the next epoch's frames are next in
/// order.
void Endpoint::drop_drained(std::vector<std::unique_ptr<InLane>>& chain) {
  while (!chain.empty() && chain.front()->final &&
         (chain.front()->broken || !chain.front()->reader->pending())) {
    const std::uint64_t id = chain.front()->reader->spec().id;
    chain.front()->reader->settle();
    chain.erase(chain.begin());
    [[maybe_unused]] const auto told = link_->tell(control::Drained{.lane = id});
  }
}

Endpoint::InLane* Endpoint::next_mail() {
  catch_up();
  for (std::size_t i = 0; i < in_.size(); ++i) {
    auto& [key, chain] = in_[(turn_ + i) % in_.size()];
    if (key.second != LaneClass::mail || chain.empty()) continue;
    if (chain.front()->final) drop_drained(chain);
    if (chain.empty() || chain.front()->broken || !chain.front()->reader->pending()) continue;
    turn_ = (turn_ + i + 1) % in_.size();
    return chain.front().get();
  }
  return nullptr;
}

bool Endpoint::hears(RoleId role) const noexcept {
  return std::ranges::any_of(in_,
                             [&](const auto& one) { return one.first.first == role && !one.second.empty(); });
}

void Endpoint::sleep_for_room(TimePoint deadline) {
  if (!has_news()) [[maybe_unused]]
    const auto woken = wait_bell(deadline);
}

/// Looks again and again for as long as waking a sleeper takes, and a while without even a look at the clock.
/// Not where that has cost somebody else the core lately.
template <class Predicate>
bool Endpoint::spin_until(Predicate something) {
  constexpr int looks_without_clock = 200;
  if (!has_cores_to_spare()) return false;
  for (int i = 0; i < looks_without_clock; ++i)
    if (something()) return true;
  if (Clock::now() < spin_allowed_at_) return false;
  const long switches = involuntary_switches();
  const TimePoint until = deadline_in(spin_for);
  while (Clock::now() < until)
    if (something()) return true;
  if (involuntary_switches() != switches) spin_allowed_at_ = deadline_in(no_spin_after_switch);
  return false;
}

void Endpoint::sleep(TimePoint deadline) {
  const auto something = [&] {
    if (has_news()) return true;
    return std::ranges::any_of(in_, [](const auto& one) {
      return one.first.second == LaneClass::mail && !one.second.empty() && !one.second.front()->broken &&
             (one.second.front()->reader->pending() || one.second.front()->final);
    });
  };
  if (spin_until(something)) return;
  file_.announce_sleep();
  if (!something()) [[maybe_unused]]
    const auto woken = wait_bell(deadline);
  file_.end_sleep();
}

// ---- sending ----------------------------------------------------------------------------------------------

Result<void> Endpoint::connect(const Address& to, OutLane& lane, std::size_t bytes) {
  const control::Connect request{.lane_class = to.lane_class,
                                 .to = to.to,
                                 .payload_bytes = bytes,
                                 .replaces = lane.writer ? lane.writer->spec().id : 0};
  auto answer = link_->ask<control::Connection>(request);
  if (!answer) return failure(std::move(answer));
  const control::Connection& made = answer->record;
  switch (made.outcome) {
    case control::ConnectOutcome::made: break;
    case control::ConnectOutcome::later:
      return failure(ErrorKind::full, std::string{made.reason.detail.view()});
    case control::ConnectOutcome::exhausted:
      return failure(ErrorKind::exhausted, std::string{made.reason.detail.view()});
    case control::ConnectOutcome::closed: return tl::unexpected<Error>{role_has_ended(made.reason.value())};
  }
  if (answer->descriptors.size() < 2)
    return failure(ErrorKind::malformed, "connect: an answer without its descriptors");
  auto writer = LaneWriter::create(answer->descriptors[0].get(), made.lane);
  if (!writer) return failure(std::move(writer));
  OwnedFd bell = std::move(answer->descriptors[1]);
  if (answer->descriptors.size() == 3) {
    auto view = ReaderView::create(answer->descriptors[2].get(), made.slots);
    if (!view) return failure(std::move(view));
    writer->attach_reader(std::make_shared<const ReaderView>(std::move(*view)), bell.get());
  }
  if (auto told = link_->tell(control::Connected{.lane = made.lane.id}); !told) return told;
  lane.bell = std::move(bell);
  lane.writer = std::move(*writer);  // until now the old one was in use; from now on it gets no more frames
  return {};
}

/// The lane to a role, made at first contact; nothing is waited for.
Result<Endpoint::OutLane*> Endpoint::out_lane(const Address& to, std::size_t bytes) {
  const Key key{to.to, to.lane_class};
  if (last_lane_ == nullptr || last_key_ != key) {
    last_lane_ = &out_[key];
    last_key_ = key;
  }
  OutLane& lane = *last_lane_;
  lane.ended = false;  // ask the keeper again: the role may have been added anew
  if (!lane.writer || lane.writer->payload_bytes_max() < bytes)
    if (auto connected = connect(to, lane, bytes); !connected) return failure(std::move(connected));
  return &lane;
}

/// Sleeps until there may be room, or the keeper has news, or the deadline has passed (`full`).
Result<void> Endpoint::wait_for_room(OutLane& lane, std::size_t bytes, TimePoint deadline) {
  if (lane.writer) {
    lane.writer->announce_wait();
    auto room = lane.writer->reserve(bytes);
    if (!room || !room->empty()) {
      lane.writer->end_wait();
      return {};
    }
  }
  const auto woken = has_news() ? KeeperLink::Woken::rung : wait_bell(deadline);
  if (lane.writer) lane.writer->end_wait();
  if (woken == KeeperLink::Woken::keeper_gone) return tl::unexpected<Error>{keeper_is_gone()};
  if (woken == KeeperLink::Woken::deadline)
    return failure(ErrorKind::full, "send: the receiver's mailbox stayed full");
  return {};
}

Result<std::span<std::byte>> Endpoint::room_for(const Address& to, std::size_t bytes, TimePoint deadline) {
  const ShownActivity waiting{file_.page().progress, lane::Activity::parked};
  for (;;) {
    catch_up();
    auto lane = out_lane(to, bytes);
    if (!lane && lane.error().kind != ErrorKind::full) return failure(std::move(lane));
    OutLane& current = *last_lane_;
    if (lane) {
      auto room = current.writer->reserve(bytes);
      if (!room || !room->empty()) return room;
      const bool may_grow = current.writer->spec().capacity < busy_capacity_max;
      if (may_grow && connect(to, current, current.writer->payload_bytes_max() + 1)) continue;
    }
    if (auto waited = wait_for_room(current, bytes, deadline); !waited) return failure(std::move(waited));
  }
}

Result<std::uint64_t> Endpoint::post_locked(const Address& to, const FrameInfo& info,
                                            std::span<const std::byte> prefix, const Payload& payload,
                                            Duration within) {
  if (to.to == 0) return failure(ErrorKind::closed, "send: an empty Ref names nobody");
  catch_up();
  auto lane = out_lane(to, prefix.size());
  if (!lane && lane.error().kind != ErrorKind::full) return failure(std::move(lane));
  Result<std::span<std::byte>> room{};
  if (lane) room = (*lane)->writer->reserve(prefix.size() + 1);
  if (!room) return failure(std::move(room));
  for (bool knows_size = false;; knows_size = true) {
    if (!room->empty()) {
      auto encoded = payload.encode(payload.value, room->subspan(prefix.size()));
      if (encoded) {
        std::ranges::copy(prefix, room->begin());
        const std::uint64_t offset = last_lane_->writer->publish(info, prefix.size() + *encoded);
        // The mirror image of a reader's sleep: publish, then look. A new incarnation that scanned before
        // this frame was published has moved our notice word before it scanned; learning of it rings its
        // bell.
        catch_up();
        return offset;
      }
      if (encoded.error().kind != ErrorKind::full || knows_size) return failure(std::move(encoded));
    }
    const std::size_t bytes = prefix.size() + std::max<std::size_t>(payload.size(payload.value), 1);
    if (auto fits = check_size(bytes); !fits) return failure(std::move(fits));
    room = room_for(to, bytes,
                    deadline_in(within));  // the clock is looked at only where there is something to wait for
    if (!room) return failure(std::move(room));
  }
}

Result<std::uint64_t> Endpoint::write_letter(const Address& to, const FrameInfo& info,
                                             std::span<const std::byte> prefix, const Payload& payload) {
  const std::size_t size = prefix.size() + payload.size(payload.value);
  if (auto fits = check_size(size); !fits) return failure(std::move(fits));  // later, nobody could be told
  Letter letter{to.to, static_cast<std::uint32_t>(to.lane_class), info.type, info.sequence,
                std::vector<std::uint8_t>(size)};
  const auto bytes = std::as_writable_bytes(std::span{letter.bytes});
  std::ranges::copy(prefix, bytes.begin());
  if (auto encoded = payload.encode(payload.value, bytes.subspan(prefix.size())); !encoded)
    return failure(std::move(encoded));
  outbox_->keep(std::move(letter));
  return 0;
}

Result<std::uint64_t> Endpoint::post(const Address& to, const FrameInfo& info,
                                     std::span<const std::byte> prefix, const Payload& payload,
                                     Duration within) {
  if (auto allowed = check_thread(); !allowed) return failure(std::move(allowed));
  const std::lock_guard lock{using_};
  if (outbox_ != nullptr && to.to != 0) return write_letter(to, info, prefix, payload);
  return post_locked(to, info, prefix, payload, within);
}

Endpoint::Delivery Endpoint::try_deliver(const Address& to, const FrameInfo& info,
                                         std::span<const std::byte> bytes) {
  const std::lock_guard lock{using_};
  const std::size_t wanted = std::max<std::size_t>(bytes.size(), 1);
  const bool waits = to.lane_class == LaneClass::mail;  // a reply never does
  catch_up();
  auto lane = out_lane(to, wanted);
  if (!lane) {
    const ErrorKind kind = lane.error().kind;
    if (kind == ErrorKind::closed || kind == ErrorKind::down) return Delivery::delivered;
    if (kind == ErrorKind::invalid || kind == ErrorKind::malformed || !waits) return Delivery::impossible;
    if (kind != ErrorKind::full)
      retry_at_ = std::min(retry_at_, deadline_in(retry_after));  // a limit: nobody rings when it is gone
    return Delivery::no_room;
  }
  LaneWriter* writer = &*(*lane)->writer;
  writer->end_wait();
  auto room = writer->reserve(wanted);
  const bool may_grow = writer->spec().capacity < busy_capacity_max;
  if (room && room->empty() && may_grow && connect(to, **lane, writer->payload_bytes_max() + 1)) {
    writer = &*(*lane)->writer;
    room = writer->reserve(wanted);
  }
  if (room && room->empty()) {
    writer->announce_wait();
    room = writer->reserve(wanted);
    if (room && room->empty()) return waits ? Delivery::no_room : Delivery::impossible;
    writer->end_wait();
  }
  if (!room) return Delivery::impossible;
  std::ranges::copy(bytes, room->begin());
  writer->publish(info, bytes.size());
  catch_up();
  return Delivery::delivered;
}

// ---- asking -----------------------------------------------------------------------------------------------

bool Endpoint::reply_pending() const {
  return std::ranges::any_of(in_, [](const auto& one) {
    return one.first.second == LaneClass::reply && !one.second.empty() && !one.second.front()->broken &&
           one.second.front()->reader->pending();
  });
}

/// Takes every reply there is: the one to `token`, and late ones, which meet nobody.
void Endpoint::take_replies(std::uint64_t token, std::optional<ReplyBytes>& found) {
  for (auto& [key, chain] : in_) {
    if (key.second != LaneClass::reply) continue;
    for (drop_drained(chain); !chain.empty() && !chain.front()->broken && chain.front()->reader->pending();
         drop_drained(chain)) {
      LaneReader& reader = *chain.front()->reader;
      auto frame = reader.peek(reply_buffer_);
      if (!frame) {
        log(LogLevel::error, frame.error().text);
        give_up(*chain.front());
        break;
      }
      const auto reply = control::read<envelope::Reply>(frame->payload);
      if (reply && reply->token == token && envelope::kind_of(frame->info.sequence) == envelope::Kind::reply)
        found = ReplyBytes{reply->outcome, {frame->payload.begin() + sizeof *reply, frame->payload.end()}};
      reader.acknowledge(*frame);
    }
    if (!chain.empty() && !chain.front()->broken) chain.front()->reader->settle();
  }
}

Error Endpoint::down(const OutLane& lane, std::uint64_t offset) {
  const bool in_hand =
      lane.last_attempt >> lane::attempts_bits == offset && (lane.last_attempt & lane::attempts_mask) != 0;
  const bool begun = lane.last_head > offset || in_hand;
  return {ErrorKind::down, 0,
          "ask: the receiver has ended (" + to_string(lane.reason) + "); its handler had " +
              (begun ? "begun" : "not begun")};
}

Result<Endpoint::ReplyBytes> Endpoint::ask(RoleId to, std::uint64_t type, const Payload& payload,
                                           TimePoint deadline) {
  if (auto allowed = check_thread(); !allowed) return failure(std::move(allowed));
  const ShownActivity waiting{file_.page().progress, lane::Activity::parked};
  if (outbox_ != nullptr)
    if (auto delivered = outbox_->deliver_to(to, deadline); !delivered) return failure(std::move(delivered));
  const std::lock_guard lock{using_};
  std::optional<ReplyBytes> found;
  const std::uint64_t token = next_token_++ | std::uint64_t{link_->attached().incarnation} << 40U;
  take_replies(token, found);  // late ones make room for this one's
  const envelope::Question question{deadline.time_since_epoch().count(), token};
  auto offset = post_locked({to, LaneClass::mail}, {type, envelope::sequence(envelope::Kind::question, 0)},
                            control::bytes_of(question), payload, deadline - Clock::now());
  if (!offset) {
    if (offset.error().kind == ErrorKind::closed) offset.error().kind = ErrorKind::down;
    return failure(std::move(offset));
  }
  const OutLane& lane = out_.at({to, LaneClass::mail});
  for (;;) {
    catch_up();
    take_replies(token, found);
    if (found) return std::move(*found);
    if (lane.ended) return tl::unexpected<Error>{down(lane, *offset)};
    if (Clock::now() >= deadline) return failure(ErrorKind::timed_out, "ask: no reply within its deadline");
    if (spin_until([&] { return reply_pending() || has_news(); })) continue;
    file_.announce_sleep();
    auto woken = KeeperLink::Woken::rung;
    if (!reply_pending() && !has_news()) woken = wait_bell(deadline);
    file_.end_sleep();
    if (woken == KeeperLink::Woken::keeper_gone) return tl::unexpected<Error>{keeper_is_gone()};
  }
}

}  // namespace troupe::detail
