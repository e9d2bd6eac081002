// SPDX-License-Identifier: MIT
#include <troupe/actors/endpoint.hpp>

#include <unistd.h>

#include <algorithm>
#include <troupe/actors/outbox.hpp>
#include <troupe/actors/shown_activity.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/transport/doorbell.hpp>

namespace troupe::detail {
namespace {

using namespace std::chrono_literals;
using control::LaneClass;

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

constexpr std::size_t frame_payload_max = lane::frame_bytes_max - sizeof(lane::FrameHeader);

Result<void> check_size(std::size_t bytes, std::size_t bytes_max) {
  if (bytes <= bytes_max) return {};
  return failure(ErrorKind::invalid, "send: a message of " + std::to_string(bytes) + " bytes; at most " +
                                         std::to_string(bytes_max) +
                                         " may travel at once; put what is large into a Blob");
}

}  // namespace

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
    in_.forget_empty_chains();
  }
}

Result<void> Endpoint::learn(control::Change change, std::vector<OwnedFd> descriptors) {
  using control::ChangeKind;
  switch (change.kind) {
    case ChangeKind::none: return {};
    case ChangeKind::stop: stop_ = true; return {};
    case ChangeKind::lane_added: return in_.add(change, std::move(descriptors));
    case ChangeKind::lane_final: in_.set_final(change.lane.id); return {};
    case ChangeKind::reader_changed: return out_.set_reader(change, std::move(descriptors));
    case ChangeKind::role_ended: out_.set_ended(change); return {};
  }
  std::abort();
}

void Endpoint::discard_late_replies() {
  const std::lock_guard lock{using_};
  in_.take_replies(open_);
}

void Endpoint::set_aside(control::Quarantine what, std::span<const std::byte> payload) {
  what.bytes = payload.size();
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

void Endpoint::sleep_for_room(TimePoint deadline) {
  if (!has_news()) [[maybe_unused]]
    const auto woken = wait_bell(deadline);
}

void Endpoint::sleep(TimePoint deadline) {
  const auto something = [&] { return has_news() || in_.has_mail(); };
  if (spin_.until(something)) return;
  enter_sleep();
  if (!something()) [[maybe_unused]]
    const auto woken = wait_bell(deadline);
  leave_sleep();
}

// ---- sending ----------------------------------------------------------------------------------------------

/// Sleeps until there may be room, or the keeper has news, or the deadline has passed (`full`).
Result<void> Endpoint::wait_for_room(LanesOut::Lane& lane, std::size_t bytes, TimePoint deadline) {
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
    auto lane = out_.open(to, bytes);
    if (!lane && lane.error().kind != ErrorKind::full) return failure(std::move(lane));
    if (lane) {
      auto room = out_.reserve(to, **lane, bytes);
      if (!room || !room->empty()) return room;
    }
    if (auto waited = wait_for_room(out_.last(), bytes, deadline); !waited) return failure(std::move(waited));
  }
}

/// Before the frame that names them is published. Killed in between, or refused: the keeper finds that the
/// frame never came.
Result<void> Endpoint::deposit(const LaneWriter& lane, const DescriptorList& descriptors,
                               std::size_t apart_bytes) {
  auto kept = link_->ask<control::Id>(
      control::Deposit{.lane = lane.spec().id, .offset = lane.tail(), .apart_bytes = apart_bytes}, {},
      descriptors.borrowed());
  if (!kept) return failure(std::move(kept));
  return {};
}

/// Readers are behind with the descriptors of this process, or of all: room for a frame once they may have
/// got on.
Result<std::span<std::byte>> Endpoint::room_after_readers(const Address& to, std::size_t bytes,
                                                          TimePoint deadline) {
  const ShownActivity waiting{file_.page().progress, lane::Activity::parked};
  out_.last().writer->announce_wait();
  const auto woken = wait_bell(std::min(deadline, deadline_in(retry_after)));
  out_.last().writer->end_wait();
  if (woken == KeeperLink::Woken::keeper_gone) return tl::unexpected<Error>{keeper_is_gone()};
  return room_for(to, std::max<std::size_t>(bytes, 1), deadline);
}

Result<Endpoint::Posted> Endpoint::post_locked(const Address& to, const FrameInfo& info,
                                               std::span<const std::byte> prefix, const Payload& payload,
                                               Duration within) {
  if (to.to == 0) return failure(ErrorKind::closed, "send: an empty Ref names nobody");
  catch_up();
  auto lane = out_.open(to, prefix.size());
  if (!lane && lane.error().kind != ErrorKind::full) return failure(std::move(lane));
  Result<std::span<std::byte>> room{};
  if (lane) room = (*lane)->writer->reserve(prefix.size() + 1);
  if (!room) return failure(std::move(room));
  std::optional<TimePoint> deadline;
  const auto until = [&] {  // the clock is looked at only where there is something to wait for
    if (!deadline) deadline = deadline_in(within);
    return *deadline;
  };
  for (bool knows_size = false;; knows_size = true) {
    if (!room->empty()) {
      DescriptorList descriptors{control::frame_descriptors_max};
      auto encoded = payload.encode(payload.value, room->subspan(prefix.size()), &descriptors);
      if (encoded) {
        std::ranges::copy(prefix, room->begin());
        LaneWriter& writer = *out_.last().writer;
        FrameInfo published = info;
        if (!descriptors.empty()) {
          auto kept = deposit(writer, descriptors, payload.apart_bytes);
          if (!kept && kept.error().kind == ErrorKind::exhausted && Clock::now() < until()) {
            room = room_after_readers(to, prefix.size() + *encoded, until());
            if (!room) return failure(std::move(room));
            continue;
          }
          if (!kept) return failure(std::move(kept));
          published.sequence |= envelope::with_descriptors;
          if (payload.apart_bytes != 0) published.sequence |= envelope::apart;
        }
        const Posted posted{writer.publish(published, prefix.size() + *encoded), out_.last().ends};
        // The mirror image of a reader's sleep: publish, then look. A new incarnation that scanned before
        // this frame was published has moved our notice word before it scanned; learning of it rings its
        // bell.
        catch_up();
        return posted;
      }
      if (encoded.error().kind != ErrorKind::full || knows_size) return failure(std::move(encoded));
    }
    const std::size_t bytes = prefix.size() + std::max<std::size_t>(payload.size(payload.value), 1);
    if (bytes > frame_payload_max) return post_apart(to, info, prefix, payload, until());
    room = room_for(to, bytes, until());
    if (!room) return failure(std::move(room));
  }
}

/// First contact comes before the encoding: only then is it known how much the receiver takes.
Result<Endpoint::Posted> Endpoint::post_apart(const Address& to, const FrameInfo& info,
                                              std::span<const std::byte> prefix, const Payload& payload,
                                              TimePoint deadline) {
  const std::size_t bytes = payload.size(payload.value);
  if (auto room = room_for(to, prefix.size() + 1, deadline); !room) return failure(std::move(room));
  if (auto fits = check_size(bytes, out_.last().message_bytes_max); !fits) return failure(std::move(fits));
  auto apart = Apart::create(payload, bytes);
  if (!apart) return failure(std::move(apart));
  return post_locked(to, info, prefix, Payload::of(*apart), deadline - Clock::now());
}

Result<void> Endpoint::encode_letter(Letter& letter, std::span<const std::byte> prefix,
                                     const Payload& payload) {
  letter.bytes.resize(prefix.size() + payload.size(payload.value));
  const auto bytes = std::as_writable_bytes(std::span{letter.bytes});
  std::ranges::copy(prefix, bytes.begin());
  DescriptorList descriptors{control::frame_descriptors_max};
  auto encoded = payload.encode(payload.value, bytes.subspan(prefix.size()), &descriptors);
  if (!encoded) return failure(std::move(encoded));
  letter.apart_bytes = payload.apart_bytes;
  return descriptors.empty() ? Result<void>{} : outbox_->deposit(letter, descriptors);
}

Result<std::uint64_t> Endpoint::write_letter(const Address& to, const FrameInfo& info,
                                             std::span<const std::byte> prefix, const Payload& payload) {
  Letter letter{to.to, static_cast<std::uint32_t>(to.lane_class), info.type, info.sequence};
  const std::size_t bytes = payload.size(payload.value);
  if (prefix.size() + bytes <= frame_payload_max) {
    if (auto written = encode_letter(letter, prefix, payload); !written) return failure(std::move(written));
  } else {
    // Later, nobody could be told. A receiver without a lane is asked for one: it says how much it takes.
    const auto lane = out_.open(to, prefix.size());
    const std::uint64_t bytes_max = lane ? (*lane)->message_bytes_max : control::message_bytes_default;
    if (auto fits = check_size(bytes, bytes_max); !fits) return failure(std::move(fits));
    auto apart = Apart::create(payload, bytes);
    if (!apart) return failure(std::move(apart));
    if (auto written = encode_letter(letter, prefix, Payload::of(*apart)); !written)
      return failure(std::move(written));
  }
  outbox_->keep(std::move(letter));
  return 0;
}

Result<std::uint64_t> Endpoint::post(const Address& to, const FrameInfo& info,
                                     std::span<const std::byte> prefix, const Payload& payload,
                                     Duration within) {
  if (auto allowed = check_thread(); !allowed) return failure(std::move(allowed));
  const std::lock_guard lock{using_};
  if (outbox_ != nullptr && to.to != 0) return write_letter(to, info, prefix, payload);
  auto posted = post_locked(to, info, prefix, payload, within);
  if (!posted) return failure(std::move(posted));
  return posted->offset;
}

/// What an attempt to deliver comes to that has failed.
Endpoint::Delivery Endpoint::no_delivery(ErrorKind why, bool waits) {
  if (why == ErrorKind::closed || why == ErrorKind::down) return Delivery::delivered;
  if (why == ErrorKind::invalid || why == ErrorKind::malformed || !waits) return Delivery::impossible;
  if (why != ErrorKind::full)
    retry_at_ = std::min(retry_at_, deadline_in(retry_after));  // a limit: nobody rings when it is gone
  return Delivery::no_room;
}

Endpoint::Delivery Endpoint::try_deliver(const Letter& letter) {
  const std::lock_guard lock{using_};
  const Address to = letter.address();
  const std::size_t wanted = std::max<std::size_t>(letter.bytes.size(), 1);
  const bool waits = to.lane_class == LaneClass::mail;  // a reply never does
  catch_up();
  auto lane = out_.open(to, wanted);
  if (!lane) return no_delivery(lane.error().kind, waits);
  std::optional<LaneWriter>& writer = (*lane)->writer;
  writer->end_wait();
  auto room = out_.reserve(to, **lane, wanted);
  if (room && room->empty() && waits) {
    writer->announce_wait();
    room = writer->reserve(wanted);
    if (room && room->empty()) return Delivery::no_room;
    writer->end_wait();
  }
  if (!room || room->empty()) return Delivery::impossible;
  std::ranges::copy(std::as_bytes(std::span{letter.bytes}), room->begin());
  FrameInfo info{letter.type, letter.sequence};
  if (letter.deposit != 0) {
    const control::Deposit request{.lane = writer->spec().id,
                                   .offset = writer->tail(),
                                   .apart_bytes = letter.apart_bytes,
                                   .letter = letter.deposit};
    if (auto kept = link_->ask<control::Id>(request); !kept) return no_delivery(kept.error().kind, waits);
    info.sequence |= envelope::with_descriptors | (letter.apart_bytes != 0 ? envelope::apart : 0);
  }
  writer->publish(info, letter.bytes.size());
  catch_up();
  return Delivery::delivered;
}

}  // namespace troupe::detail
