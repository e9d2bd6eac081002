// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <troupe/transport/queue_end.hpp>
#include <troupe/zmq/keys.hpp>

namespace troupe::zmq {

/// A queue over ZeroMQ: `Queue<T>::over(QueueServer::create("ipc://*", options).value())`.
///
/// The process that makes it owns it and holds its items. A put that returned is in that process: it outlives
/// its sender, and dies with the owner (but see QueueOptions::unconfirmed_puts_max). An item is taken by one
/// receiver at a time; whoever dies with it in hand leaves it to another, with attempt + 1, and after
/// `attempts_max` it goes to the quarantine. A few items are sent ahead of a receiver that asks. An end on
/// another machine is not seen to die: what it has in hand comes back when it leaves. When the owner has
/// died, puts and takes say `down`: what was in the queue is lost. Any thread. docs/zmq.md has it whole.
class QueueServer {
 public:
  /// Endpoints and security as for a channel. With keys, those that pass() hands out are allowed by
  /// themselves.
  [[nodiscard]] static Result<std::unique_ptr<troupe::detail::QueueAccess>> create(
      const std::string& endpoint, const QueueOptions& options = {}, const Security& security = {});
};

/// What another process connects to, of a queue that QueueServer made or connect_queue found; empty for
/// others.
[[nodiscard]] std::string endpoint_of(const troupe::detail::QueueAccess& queue);

/// The queue that another process owns. `refused`, `timed_out`.
[[nodiscard]] Result<std::unique_ptr<troupe::detail::QueueAccess>> connect_queue(
    const std::string& endpoint, const Security& security = {}, Duration within = std::chrono::seconds{5});

/// Whether these bytes are an end of a queue over ZeroMQ; then the end, in the process that has been given
/// it.
[[nodiscard]] bool is_passed_end(const troupe::detail::QueuePass& pass) noexcept;
[[nodiscard]] Result<std::unique_ptr<troupe::detail::QueueSender>> arrive_sender(
    const troupe::detail::QueuePass& pass);
[[nodiscard]] Result<std::unique_ptr<troupe::detail::QueueReceiver>> arrive_receiver(
    const troupe::detail::QueuePass& pass);

}  // namespace troupe::zmq
