// SPDX-License-Identifier: MIT
#include <troupe/transport/lane_channel.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <troupe/transport/syscall.hpp>

namespace troupe {
namespace {

constexpr std::size_t slots = 1;
constexpr Duration look_every = std::chrono::microseconds{20};  // at the peer's life: as long as a spin

/// Of a lane that is alone in its files.
LaneSpec spec_for(std::size_t frame_bytes_max) noexcept {
  const auto wanted = lane::frame_bytes(frame_bytes_max) * lane::frame_share;
  return {.id = 1, .capacity = std::max(lane::capacity_min, std::bit_ceil(wanted))};
}

Result<OwnedFd> create_writer_file(std::size_t capacity) {
  auto file = create_memory("troupe-channel", lane::writer_file_bytes(capacity));
  if (!file) return file;
  if (auto sealed = seal_size(file->get()); !sealed) return failure(std::move(sealed));
  return file;
}

Result<OwnedFd> create_reader_file() {
  const auto bytes = ReaderFile::initial(slots);
  auto file = create_memory("troupe-channel", bytes.size());
  if (!file) return file;
  if (detail::retried([&] { return ::pwrite(file->get(), bytes.data(), bytes.size(), 0); }) !=
      static_cast<ssize_t>(bytes.size()))
    return detail::system_failure("write shared memory");
  if (auto sealed = seal_size(file->get()); !sealed) return failure(std::move(sealed));
  return file;
}

/// What one end writes and hears by: P-file, C-file, bell.
using Side = std::array<OwnedFd, 3>;

Result<Side> create_side(std::size_t capacity) {
  auto writer = create_writer_file(capacity);
  if (!writer) return failure(std::move(writer));
  auto reader = create_reader_file();
  if (!reader) return failure(std::move(reader));
  auto bell = create_bell();
  if (!bell) return failure(std::move(bell));
  return Side{std::move(*writer), std::move(*reader), std::move(*bell)};
}

Result<Side> copy_of(const Side& side) {
  Side copy;
  for (std::size_t i = 0; i < side.size(); ++i) {
    auto fd = detail::copied(side[i].get(), "copy a descriptor");
    if (!fd) return failure(std::move(fd));
    copy[i] = std::move(*fd);
  }
  return copy;
}

ChannelParts parts_of(OwnedFd life, Side own, Side peer, std::size_t frame_bytes_max) {
  ChannelParts parts{Carrier::shared_memory, frame_bytes_max, {}};
  parts.descriptors.push_back(std::move(life));
  for (auto& fd : own) parts.descriptors.push_back(std::move(fd));
  for (auto& fd : peer) parts.descriptors.push_back(std::move(fd));
  return parts;
}

constexpr std::size_t parts_count = 7;

Result<BellWaiter> create_waiter(int bell, int life) {
  auto waiter = BellWaiter::create(bell);
  if (!waiter) return waiter;
  if (auto watched = waiter->watch(life, BellWaiter::Report::once); !watched)
    return failure(std::move(watched));
  return waiter;
}

}  // namespace

namespace detail {

// ---- LaneSending ----------------------------------------------------------------------------------

Result<void> LaneSending::prepare(const ChannelEnd& end, const Bells& bells) {
  if (writer_) return {};
  if (!waiter_) {
    auto waiter = create_waiter(bells.own, end.life());
    if (!waiter) return failure(std::move(waiter));
    waiter_ = std::move(*waiter);
  }
  auto writer = LaneWriter::create(file_.get(), spec_for(end.frame_bytes_max()));
  if (!writer) return failure(std::move(writer));
  writer_ = std::move(*writer);
  file_.reset();
  ring(bells.peer);  // it may wait for the seal
  return {};
}

Result<void> LaneSending::attach(const Bells& bells) {
  if (!reader_file_ || !is_sealed(reader_file_.get())) return {};
  auto view = ReaderView::create(reader_file_.get(), slots);
  if (!view) return failure(std::move(view));
  writer_->attach_reader(std::make_shared<const ReaderView>(std::move(*view)), bells.peer);
  reader_file_.reset();
  return {};
}

/// True as well when the lane is broken, which place() then says.
bool LaneSending::has_room(std::size_t bytes) {
  const auto room = writer_->reserve(bytes);
  return !room || room->data() != nullptr;
}

Result<bool> LaneSending::place(std::span<const std::byte> frame, const Bells& bells) {
  if (auto attached = attach(bells); !attached) return failure(std::move(attached));
  const auto room = writer_->reserve(frame.size());
  if (!room) return tl::unexpected{room.error()};
  if (room->data() == nullptr) return false;
  std::copy(frame.begin(), frame.end(), room->begin());
  writer_->publish({}, frame.size());
  if (reader_file_) ring(bells.peer);  // it may be asleep in a file that is not believed yet
  return true;
}

void LaneSending::wait_for_room(std::size_t bytes, TimePoint deadline) {
  if (spin_.until([&] { return has_room(bytes); })) return;
  writer_->announce_wait();
  if (!has_room(bytes)) static_cast<void>(waiter_->wait(deadline));
  writer_->end_wait();
}

Result<void> LaneSending::send(std::span<const std::byte> frame, TimePoint deadline, ChannelEnd& end,
                               const Bells& bells) {
  if (auto prepared = prepare(end, bells); !prepared) return prepared;
  for (;;) {
    if (const auto now = Clock::now(); now >= look_at_) {
      if (auto over = end.sending_over()) return tl::unexpected{std::move(*over)};
      look_at_ = now + look_every;
    }
    const auto placed = place(frame, bells);
    if (!placed) return tl::unexpected{placed.error()};
    if (*placed) return {};
    if (Clock::now() >= deadline)
      return failure(ErrorKind::timed_out, "channel: the other end does not read");
    wait_for_room(frame.size(), deadline);
    look_at_ = {};
  }
}

void LaneSending::give_parts(std::vector<OwnedFd>& parts) {
  parts[1] = std::move(file_);
  parts[5] = std::move(reader_file_);
}

// ---- LaneReceiving --------------------------------------------------------------------------------

Result<void> LaneReceiving::prepare(const ChannelEnd& end, const Bells& bells) {
  if (words_) return {};
  if (!waiter_) {
    auto waiter = create_waiter(bells.own, end.life());
    if (!waiter) return failure(std::move(waiter));
    waiter_ = std::move(*waiter);
  }
  auto words = ReaderFile::create(file_.get(), slots);
  if (!words) return failure(std::move(words));
  words_ = std::move(*words);
  file_.reset();
  ring(bells.peer);  // its sends may wait for room
  return {};
}

/// Whether a frame has come, or what makes the lane useless.
bool LaneReceiving::pending(const Bells& bells) {
  if (broken_) return true;
  if (reader_) return reader_->pending();
  if (!is_sealed(writer_file_.get())) return false;
  auto reader =
      LaneReader::create(writer_file_.get(), spec_for(frame_bytes_max_), words_->slot(0), bells.peer);
  if (!reader) {
    broken_ = std::move(reader.error());
    return true;
  }
  reader_ = std::move(*reader);
  writer_file_.reset();
  return reader_->pending();
}

Result<Channel::Frame> LaneReceiving::take(std::vector<std::byte>& buffer) {
  if (broken_) return tl::unexpected{*broken_};
  auto frame = reader_->peek(buffer, frame_bytes_max_);
  if (!frame) {
    broken_ = frame.error();
    return tl::unexpected{*broken_};
  }
  reader_->acknowledge(*frame);
  reader_->settle();
  return Channel::Frame{frame->payload, {}};
}

void LaneReceiving::announce() {
  end_announcement();
  words_->announce_sleep();
  announced_ = true;
}

void LaneReceiving::end_announcement() {
  if (std::exchange(announced_, false)) words_->end_sleep();
}

Result<Channel::Frame> LaneReceiving::receive(std::vector<std::byte>& buffer, TimePoint deadline,
                                              ChannelEnd& end, const Bells& bells) {
  if (auto prepared = prepare(end, bells); !prepared) return failure(std::move(prepared));
  end_announcement();
  const auto came = [&] { return pending(bells); };
  for (bool look = end.has_spoken(), spun = false;; spun = true) {
    const auto over = look ? end.receiving_over() : std::nullopt;
    if (came()) return take(buffer);
    if (over) return tl::unexpected{*over};
    if (Clock::now() >= deadline) {
      if (look) return failure(ErrorKind::timed_out, "channel: no frame came in time");
      look = true;
      continue;
    }
    if (!spun && spin_.until(came)) continue;
    announce();
    look = !came() && waiter_->wait(deadline) != BellWaiter::Woken::bell;
    end_announcement();
  }
}

Result<int> LaneReceiving::descriptor(const ChannelEnd& end, const Bells& bells) {
  if (auto prepared = prepare(end, bells); !prepared) return failure(std::move(prepared));
  return waiter_->descriptor();
}

bool LaneReceiving::arm(ChannelEnd& end, const Bells& bells) {
  // Takes the last ring off the descriptor: what it told of is looked at now.
  static_cast<void>(waiter_->wait(TimePoint{}));
  announce();
  return pending(bells) || end.receiving_over() || pending(bells);
}

void LaneReceiving::give_parts(std::vector<OwnedFd>& parts) {
  parts[2] = std::move(file_);
  parts[4] = std::move(writer_file_);
}

}  // namespace detail

// ---- LaneChannel ----------------------------------------------------------------------------------

LaneChannel::LaneChannel(ChannelParts parts)
    : own_bell_{std::move(parts.descriptors[3])},
      peer_bell_{std::move(parts.descriptors[6])},
      sending_{std::move(parts.descriptors[1]), std::move(parts.descriptors[5])},
      receiving_{std::move(parts.descriptors[2]), std::move(parts.descriptors[4]), parts.frame_bytes_max},
      end_{std::move(parts.descriptors[0]), parts.frame_bytes_max, 0} {}

Result<ChannelPair> LaneChannel::create_pair(const ChannelOptions& options) {
  const auto capacity = spec_for(options.frame_bytes_max).capacity;
  auto life = detail::ChannelEnd::create_life();
  if (!life) return failure(std::move(life));
  auto near = create_side(capacity);
  if (!near) return failure(std::move(near));
  auto far = create_side(capacity);
  if (!far) return failure(std::move(far));
  auto near_copy = copy_of(*near);
  if (!near_copy) return failure(std::move(near_copy));
  auto far_copy = copy_of(*far);
  if (!far_copy) return failure(std::move(far_copy));
  auto one =
      from(parts_of(std::move(life->first), std::move(*near), std::move(*far_copy), options.frame_bytes_max));
  if (!one) return failure(std::move(one));
  auto other = from(
      parts_of(std::move(life->second), std::move(*far), std::move(*near_copy), options.frame_bytes_max));
  if (!other) return failure(std::move(other));
  return ChannelPair{std::move(*one), std::move(*other)};
}

Result<std::unique_ptr<Channel>> LaneChannel::from(ChannelParts parts) {
  if (parts.descriptors.size() != parts_count)
    return failure(ErrorKind::invalid, "channel: not the parts of an end in shared memory");
  // Its own files: the peer's are looked at once they are sealed.
  const auto capacity = spec_for(parts.frame_bytes_max).capacity;
  if (auto sound = check_size(parts.descriptors[1].get(), lane::writer_file_bytes(capacity)); !sound)
    return failure(std::move(sound));
  if (auto sound = check_size(parts.descriptors[2].get(), lane::reader_file_bytes(slots)); !sound)
    return failure(std::move(sound));
  return std::unique_ptr<Channel>{new LaneChannel{std::move(parts)}};
}

Result<void> LaneChannel::send(std::span<const std::byte> frame, std::span<const int> descriptors,
                               TimePoint deadline) {
  if (auto sound = end_.check_send(frame.size(), descriptors.size()); !sound) return sound;
  return sending_.send(frame, deadline, end_, bells());
}

Result<Channel::Frame> LaneChannel::receive(std::vector<std::byte>& buffer, TimePoint deadline) {
  if (auto sound = end_.check_receive(); !sound) return failure(std::move(sound));
  return receiving_.receive(buffer, deadline, end_, bells());
}

Waitable LaneChannel::readable() {
  // What cannot be waited for is ready: receive() says why.
  auto fd = end_.check_receive() ? receiving_.descriptor(end_, bells()) : Result<int>{end_.life()};
  if (!fd) return {end_.life(), [] { return true; }};
  return {*fd, [this] { return !end_.check_receive() || receiving_.arm(end_, bells()); }};
}

Result<ChannelParts> LaneChannel::take_parts() {
  auto life = end_.take_life();
  if (!life) return failure(std::move(life));
  ChannelParts parts{Carrier::shared_memory, end_.frame_bytes_max(), std::vector<OwnedFd>(parts_count)};
  parts.descriptors[0] = std::move(*life);
  sending_.give_parts(parts.descriptors);
  receiving_.give_parts(parts.descriptors);
  parts.descriptors[3] = std::move(own_bell_);
  parts.descriptors[6] = std::move(peer_bell_);
  return parts;
}

}  // namespace troupe
