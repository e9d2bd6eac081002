// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <memory>
#include <troupe/transport/channel.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/descriptor_store.hpp>
#include <troupe/transport/pipe_end.hpp>
#include <troupe/transport/type_id.hpp>
#include <type_traits>
#include <utility>

namespace troupe {

/// One end of a two-way pipe: sends messages of one type and receives those of another. `void` for a
/// direction that is not used.
///
///     auto [near, far] = Pipe<Request, Response>::create().value();   // far is a Pipe<Response, Request>
///
/// Order, death, closing and deadlines are the channel's (transport/channel.hpp): a dead end is `down` at
/// once, and one that was closed or destroyed is `closed`. An end may be used by any thread of the process
/// that owns it, and moves to another process before its first use: as an argument of a Process or in a
/// message, std::move(far). Over a socket (Carrier::stream, Carrier::packet) messages may hold descriptors,
/// such as a Blob; elsewhere those are `refused`.
template <class Send, class Receive>
class [[nodiscard]] Pipe {
  static_assert(!std::is_void_v<Send> || !std::is_void_v<Receive>, "troupe: a pipe without a direction");
  struct Nothing {};
  using Sent = std::conditional_t<std::is_void_v<Send>, Nothing, Send>;

 public:
  /// Of a send from a program that names no time itself.
  static constexpr Duration send_within = std::chrono::seconds{5};
  static constexpr Duration forever = Duration::max();

  Pipe() = default;  ///< no end: `refused`, whatever is asked of it

  /// Both ends. The options choose what it is made of.
  [[nodiscard]] static Result<std::pair<Pipe, Pipe<Receive, Send>>> create(
      const ChannelOptions& options = {}) {
    auto ends = create_channel(options);
    if (!ends) return failure(std::move(ends));
    return std::pair{Pipe{std::move(ends->first)}, Pipe<Receive, Send>{std::move(ends->second)}};
  }
  /// An end over any channel, ZeroMQ's for one. The peer has a pipe with the types the other way round.
  explicit Pipe(std::unique_ptr<Channel> channel)
      : end_{std::make_unique<detail::PipeEnd>(std::move(channel))} {}

  /// The end goes to whoever gets the value, and is `refused` here; an end that has been used is `refused`
  /// before. What was written stays with this object as long as it lives, so that a message that was not sent
  /// can be sent again: let go of it, or the peer does not see the other process's death.
  template <class Archive>
  void save(Archive& archive) const {
    detail::save_pipe_end(archive, end_.get());
  }
  template <class Archive>
  void load(Archive& archive) {
    *this = from(detail::load_parts(archive)).value();
  }

  /// An end as parts, on its way to another process: `refused` once it has been used.
  [[nodiscard]] Result<ChannelParts> take_parts() {
    if (!end_) return tl::unexpected{detail::PipeEnd::moved_away()};
    return end_->take_parts();
  }
  [[nodiscard]] static Result<Pipe> from(ChannelParts parts) {
    auto channel = channel_from(std::move(parts));
    if (!channel) return failure(std::move(channel));
    return Pipe{std::move(*channel)};
  }

  /// Waits for room, at most `within`; 0 does not wait. `timed_out`: nothing was sent. `down`, `closed`:
  /// nobody will receive. `invalid`: too large for this pipe, or decode would not take it. `refused`: it
  /// holds descriptors, and this carrier takes none.
  [[nodiscard]] Result<void> send(const Sent& message, Duration within = send_within) {
    static_assert(!std::is_void_v<Send>, "troupe: this end of the pipe only receives: it is a Pipe<void, T>");
    const TimePoint deadline = deadline_in(within);
    if (!end_) return tl::unexpected{detail::PipeEnd::moved_away()};
    const auto turn = end_->sending(deadline);
    if (!turn) return tl::unexpected{turn.error()};
    DescriptorList descriptors{end_->descriptors_max()};
    auto bytes = encode(message, end_->room(), end_->descriptors_max() > 0 ? &descriptors : nullptr);
    if (!bytes && bytes.error().kind == ErrorKind::full)
      return tl::unexpected{end_->too_large(type_name<Sent>)};
    if (!bytes) return failure(std::move(bytes));
    return end_->send(type_id<Sent>, *bytes, descriptors.borrowed(), deadline);
  }

  /// The next message, waiting for at most `within`; 0 does not wait. `closed`, `down`: all that was sent has
  /// been received. `refused`: a message of another type; `malformed`: bytes that are none; either is gone.
  [[nodiscard]] Result<Receive> receive(Duration within = forever) {
    static_assert(!std::is_void_v<Receive>, "troupe: this end of the pipe only sends: it is a Pipe<T, void>");
    const TimePoint deadline = deadline_in(within);
    if (!end_) return tl::unexpected{detail::PipeEnd::moved_away()};
    const auto turn = end_->receiving(deadline);
    if (!turn) return tl::unexpected{turn.error()};
    auto message = end_->receive(deadline);
    if (!message) return tl::unexpected{message.error()};
    if (message->type != type_id<Receive>)
      return tl::unexpected{detail::PipeEnd::other_type(type_name<Receive>, message->type)};
    DescriptorList descriptors{std::move(message->descriptors)};
    return decode<Receive>(message->bytes, end_->descriptors_max() > 0 ? &descriptors : nullptr);
  }

  /// Ready when receive() would not wait. Valid while this end, or where it was moved to, lives.
  [[nodiscard]] Waitable readable() {
    TROUPE_ASSERT(end_ != nullptr);
    return end_->readable();
  }

  /// Nothing more will be sent; receiving goes on. Waits for a send that another thread is in.
  void close() {
    if (!end_) return;
    if (const auto turn = end_->sending(never)) end_->close();
  }

 private:
  std::unique_ptr<detail::PipeEnd> end_;
};

}  // namespace troupe
