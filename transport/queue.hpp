// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_passing.hpp>
#include <troupe/transport/receiver.hpp>
#include <troupe/transport/sender.hpp>
#include <utility>
#include <vector>

namespace troupe {

namespace detail {

[[nodiscard]] Result<std::unique_ptr<QueueAccess>> make_shared_queue(const QueueOptions& options);
[[nodiscard]] Result<std::unique_ptr<QueueAccess>> attach_shared_queue(std::vector<OwnedFd> descriptors);

}  // namespace detail

/// A way from many processes to many others: bounded, one-way, for values of one type.
///
/// An item is in the queue until a receiver acknowledges it: a receiver that dies or gives it back leaves it
/// to another, with attempt + 1, and after `attempts_max` it goes to the quarantine. The order of one
/// sender's items is kept where nothing is given back. The process that makes the queue owns it and holds the
/// stream open until close() or its end; senders hold it open too. By default it lies in shared memory
/// (docs/queue.md); `over` takes another carrier. Any thread.
template <class T>
class Queue {
 public:
  explicit Queue(const QueueOptions& options = {}) : Queue{create(options).value()} {}
  [[nodiscard]] static Result<Queue> create(const QueueOptions& options = {}) {
    require_serializable<T>();
    auto access = detail::make_shared_queue(options);
    if (!access) return failure(std::move(access));
    return Queue{std::move(*access)};
  }
  /// From the descriptors() of a process that has it: for processes that come by them in their own way.
  [[nodiscard]] static Result<Queue> attach(std::vector<OwnedFd> descriptors) {
    auto access = detail::attach_shared_queue(std::move(descriptors));
    if (!access) return failure(std::move(access));
    return Queue{std::move(*access)};
  }
  /// Over another carrier, such as ZeroMQ's.
  [[nodiscard]] static Queue over(std::unique_ptr<detail::QueueAccess> access) {
    return Queue{std::move(access)};
  }

  [[nodiscard]] Result<Sender<T>> try_sender() { return end_of<Sender<T>>(&detail::QueueAccess::sender); }
  [[nodiscard]] Result<Receiver<T>> try_receiver() {
    return end_of<Receiver<T>>(&detail::QueueAccess::receiver);
  }
  /// Ends for this process; the same as above, but throwing.
  [[nodiscard]] Sender<T> sender() { return try_sender().value(); }
  [[nodiscard]] Receiver<T> receiver() { return try_receiver().value(); }
  /// So that a queue can be given where one of its ends is taken, as to a Process.
  operator Sender<T>() { return sender(); }      // NOLINT(google-explicit-constructor)
  operator Receiver<T>() { return receiver(); }  // NOLINT(google-explicit-constructor)

  /// The owner holds the stream open no longer: no new senders; it ends when those that there are have gone
  /// and all is acknowledged.
  void close() noexcept {
    const std::lock_guard lock{shared_->lock};
    shared_->end->close();
  }
  /// Put and not yet acknowledged. Exact while nobody works on it.
  [[nodiscard]] std::size_t size() {
    return with([](auto& access) { return access.size(); });
  }
  /// Waits until all is acknowledged or in the quarantine; `timed_out` says who holds what.
  [[nodiscard]] Result<void> drain(Duration within) {
    return with([&](auto& access) { return access.drain(deadline_in(within)); });
  }
  [[nodiscard]] std::vector<Holder> holders() {
    return with([](auto& access) { return access.holders(); });
  }
  [[nodiscard]] QueueCounts counts() {
    return with([](auto& access) { return access.counts(); });
  }
  /// The last of what nobody could do.
  [[nodiscard]] std::vector<QuarantinedItem> quarantine() {
    return with([](auto& access) { return access.quarantine(); });
  }
  /// Copies of the descriptors that attach() takes in another process. `refused` where the carrier has none.
  [[nodiscard]] Result<std::vector<OwnedFd>> descriptors() {
    return with([](auto& access) { return access.descriptors(); });
  }

 private:
  explicit Queue(std::unique_ptr<detail::QueueAccess> access)
      : shared_{std::make_shared<detail::SharedEnd<detail::QueueAccess>>(std::move(access))} {}

  template <class Act>
  auto with(Act act) {
    const std::lock_guard lock{shared_->lock};
    return act(*shared_->end);
  }
  template <class Typed, class Make>
  Result<Typed> end_of(Make make) {
    auto end = with([&](auto& access) { return (access.*make)(); });
    if (!end) return failure(std::move(end));
    return Typed{std::move(*end), shared_};
  }

  std::shared_ptr<detail::SharedEnd<detail::QueueAccess>> shared_;  // only here: it ends with the queue
};

}  // namespace troupe
