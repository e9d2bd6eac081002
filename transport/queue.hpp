// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_passing.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {

/// Bytes that are a message by themselves.
using Bytes = std::vector<std::byte>;

namespace detail {

[[nodiscard]] Result<std::unique_ptr<QueueAccess>> make_shared_queue(const QueueOptions& options);
[[nodiscard]] Result<std::unique_ptr<QueueAccess>> attach_shared_queue(std::vector<OwnedFd> descriptors);
[[nodiscard]] Error wrong_item(std::uint64_t type, std::string_view expected);

inline constexpr std::size_t size_tag_bytes = sizeof(std::uint64_t);  ///< in front of encoded Bytes

}  // namespace detail

/// The sending end of a Queue<T>. Copies are the same end; the stream stays open until the last of them is
/// gone. Any thread may use it; in a plain fork's child it is `refused`.
template <class T>
class Sender {
 public:
  Sender() = default;  ///< of no queue: `invalid`
  explicit Sender(std::unique_ptr<detail::QueueSender> end, detail::WeakAccess access = {})
      : end_{std::make_shared<detail::SharedEnd<detail::QueueSender>>(std::move(end))},
        access_{std::move(access)} {}

  /// As an argument of a Process, or in a message: the other process gets a sender of its own.
  template <class Archive>
  void save(Archive& archive) const {
    detail::save_end(archive, access_, detail::QueueAccess::End::sender);
  }
  template <class Archive>
  void load(Archive& archive) {
    detail::TravellingEnd travelling;
    archive(travelling);
    *this = Sender{detail::arrived_sender(std::move(travelling.pass)).value()};
  }

  /// Puts a value. When it returns `queued`, the value outlives this process. `timed_out` or `full` when
  /// there was no room (QueueOptions::overflow), `invalid` for what never fits.
  Result<Placed> put(const T& value, Duration within = std::chrono::seconds{5}) {
    if (!end_) return unbound();
    const std::size_t bytes = encoded_size(value);
    Deadline deadline{within};
    const std::lock_guard lock{end_->lock};
    auto room = end_->end->reserve(bytes, deadline);
    if (!room) return failure(std::move(room));
    if (room->data() == nullptr) return Placed::dropped;
    DescriptorStore* store = nullptr;
    if constexpr (!detail::is_block<T>) store = end_->end->descriptors();
    auto encoded = encode(value, *room, store);
    if (!encoded) return failure(std::move(encoded));
    if (auto put = end_->end->commit(type_id<T>, *encoded, deadline); !put) return failure(std::move(put));
    return Placed::queued;
  }
  Result<Placed> put_nowait(const T& value) { return put(value, Duration::zero()); }
  /// Waits until all that this end has put outlives this process, where a put that returned does not yet
  /// (QueueOptions::unconfirmed_puts_max). `timed_out`; `down`, `closed` when it never will.
  Result<void> flush(Duration within = std::chrono::seconds{5}) {
    if (!end_) return unbound();
    Deadline deadline{within};
    const std::lock_guard lock{end_->lock};
    return end_->end->flush(deadline);
  }

  /// Room in the queue itself, to be written in place. No other put of this end gets on before it is gone.
  class Room {
   public:
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool dropped() const noexcept { return bytes_.data() == nullptr; }
    /// Puts the first `used` bytes. Once.
    Result<Placed> commit(std::size_t used) && {
      if (dropped()) return Placed::dropped;
      TROUPE_ASSERT(used <= bytes_.size());
      const std::uint64_t tag = used;
      std::memcpy(bytes_.data() - detail::size_tag_bytes, &tag, sizeof tag);
      if (auto put = end_->end->commit(type_id<T>, detail::size_tag_bytes + used, deadline_); !put)
        return failure(std::move(put));
      return Placed::queued;
    }

   private:
    friend Sender;
    std::shared_ptr<detail::SharedEnd<detail::QueueSender>> end_{};
    std::unique_lock<std::mutex> lock_{};
    std::span<std::byte> bytes_{};
    Deadline deadline_{Duration::zero()};
  };
  /// `bytes` bytes of room for one item, not yet put; a Room that is not committed has put nothing.
  [[nodiscard]] Result<Room> reserve(std::size_t bytes, Duration within = std::chrono::seconds{5}) {
    static_assert(std::is_same_v<T, Bytes>,
                  "troupe: only bytes can be written in place; use Queue<troupe::Bytes>");
    if (!end_) return unbound();
    Room room;
    room.end_ = end_;
    room.lock_ = std::unique_lock{end_->lock};
    room.deadline_ = Deadline{within};
    auto reserved = end_->end->reserve(bytes + detail::size_tag_bytes, room.deadline_);
    if (!reserved) return failure(std::move(reserved));
    if (reserved->data() != nullptr) room.bytes_ = reserved->subspan(detail::size_tag_bytes, bytes);
    return room;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return end_ != nullptr; }

 private:
  static tl::unexpected<Error> unbound() {
    return failure(ErrorKind::invalid, "queue: this sender belongs to none; take one from a Queue");
  }
  std::shared_ptr<detail::SharedEnd<detail::QueueSender>> end_;
  detail::WeakAccess access_{};  ///< by which ends are made for other processes; none in one that arrived
};

/// An item taken out of a queue, in the hand of its receiver until it says what became of it.
///
/// One that is destroyed without a word is given back. Owner: one thread.
template <class T>
class Item {
 public:
  Item(Item&& other) noexcept = default;
  Item& operator=(Item&& other) noexcept {
    std::swap(value_, other.value_);
    std::swap(end_, other.end_);
    std::swap(ticket_, other.ticket_);
    std::swap(attempt_, other.attempt_);
    return *this;
  }
  ~Item() { give_back(); }

  [[nodiscard]] T& operator*() noexcept { return value_; }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  /// How often it has been taken, this time included: more than 1 after a death, or when it was given back.
  [[nodiscard]] std::uint32_t attempt() const noexcept { return attempt_; }

  void acknowledge() { settle(detail::Settlement::acknowledge); }  ///< it is done
  void give_back() { settle(detail::Settlement::give_back); }      ///< somebody else may have it
  void give_up() { settle(detail::Settlement::give_up); }          ///< nobody can do it: to the quarantine

 private:
  template <class U>
  friend class Receiver;
  using End = std::shared_ptr<detail::SharedEnd<detail::QueueReceiver>>;
  Item(T value, End end, const detail::Taken& taken)
      : value_{std::move(value)}, end_{std::move(end)}, ticket_{taken.ticket}, attempt_{taken.attempt} {}

  void settle(detail::Settlement settlement) {
    const End end = std::exchange(end_, nullptr);
    if (!end) return;
    const std::lock_guard lock{end->lock};
    // Refused in a plain fork's child only: there it is not ours to say.
    [[maybe_unused]] const auto settled = end->end->settle(ticket_, settlement);
  }

  T value_;
  End end_;
  std::uint64_t ticket_ = 0;
  std::uint32_t attempt_ = 1;
};

/// The receiving end of a Queue<T>. Copies are the same end. Any thread may use it; a wait of one holds up
/// the others.
template <class T>
class Receiver {
  using End = detail::SharedEnd<detail::QueueReceiver>;

 public:
  Receiver() = default;  ///< of no queue: `invalid`
  explicit Receiver(std::unique_ptr<detail::QueueReceiver> end, detail::WeakAccess access = {})
      : end_{std::make_shared<End>(std::move(end))}, access_{std::move(access)} {}

  /// As an argument of a Process, or in a message: the other process gets a receiver of its own.
  template <class Archive>
  void save(Archive& archive) const {
    detail::save_end(archive, access_, detail::QueueAccess::End::receiver);
  }
  template <class Archive>
  void load(Archive& archive) {
    detail::TravellingEnd travelling;
    archive(travelling);
    *this = Receiver{detail::arrived_receiver(std::move(travelling.pass)).value()};
  }

  /// The next item. `timed_out`; `closed` when the stream has ended: closed by its owner (or the owner died),
  /// no sender left, and nothing in it that somebody else could still give back. What does not decode goes to
  /// the quarantine; what this process has no memory or descriptors for (`exhausted`), or whose descriptors
  /// it cannot have (`refused`), stays in the queue.
  [[nodiscard]] Result<Item<T>> get(Duration within) {
    return take_as<Item<T>>(within, [this](const detail::Taken& taken) -> Result<Item<T>> {
      auto value = decoded(taken);
      if (!value) return failure(std::move(value));
      return Item<T>{std::move(*value), end_, taken};
    });
  }
  [[nodiscard]] Result<Item<T>> get_nowait() { return get(Duration::zero()); }

  /// The next item's bytes where they lie, instead of a copy. Whoever may write to the queue could change
  /// them meanwhile: look once, believe nothing twice.
  class View {
   public:
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] Item<std::monostate>& item() noexcept { return item_; }

   private:
    friend Receiver;
    View(Item<std::monostate> item, std::span<const std::byte> bytes)
        : item_{std::move(item)}, bytes_{bytes} {}
    Item<std::monostate> item_;
    std::span<const std::byte> bytes_;
  };
  [[nodiscard]] Result<View> view(Duration within) {
    static_assert(std::is_same_v<T, Bytes>,
                  "troupe: only bytes can be read in place; use Queue<troupe::Bytes>");
    return take_as<View>(within, [this](const detail::Taken& taken) -> Result<View> {
      std::uint64_t tag = 0;
      const bool whole = taken.type == type_id<T> && taken.bytes.size() >= sizeof tag;
      if (whole) std::memcpy(&tag, taken.bytes.data(), sizeof tag);
      if (!whole || tag != taken.bytes.size() - sizeof tag)
        return failure(ErrorKind::malformed, "queue: an item that is no bytes");
      return View{Item<std::monostate>{{}, end_, taken}, taken.bytes.subspan(sizeof tag)};
    });
  }

  /// Items until the stream has ended. Throws Failure when it cannot go on (no descriptor left, say).
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = Item<T>;
    explicit Iterator(Receiver& receiver) : receiver_{&receiver} { ++*this; }
    [[nodiscard]] Item<T>& operator*() const noexcept { return *item_; }
    Iterator& operator++() {
      item_.reset();  // first: what was not acknowledged is given back before the next one is taken
      auto next = receiver_->get(Duration::max());
      if (next)
        item_.emplace(std::move(*next));
      else if (next.error().kind != ErrorKind::closed)
        throw Failure{std::move(next.error())};
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) noexcept {
      return !it.item_.has_value();
    }

   private:
    Receiver* receiver_;
    mutable std::optional<Item<T>> item_{};
  };
  [[nodiscard]] Iterator begin() { return Iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// For select and foreign event loops: ready when get would not wait. Valid while this end lives.
  [[nodiscard]] Waitable readable() {
    if (!end_) return {};
    auto inner = end_->end->readable();
    return {inner.descriptor, [end = end_, arm = std::move(inner.arm)] {
              const std::lock_guard lock{end->lock};
              return arm();
            }};
  }

  [[nodiscard]] explicit operator bool() const noexcept { return end_ != nullptr; }

 private:
  /// The next item as `read` has it. One that it finds `malformed` goes to the quarantine; one that it has
  /// not for a reason that is not the item's own goes back: perhaps somebody else can.
  template <class As, class Read>
  [[nodiscard]] Result<As> take_as(Duration within, const Read& read) {
    if (!end_)
      return failure(ErrorKind::invalid, "queue: this receiver belongs to none; take one from a Queue");
    Deadline deadline{within};
    const std::lock_guard lock{end_->lock};
    for (;;) {
      auto taken = end_->end->take(deadline);
      if (!taken) return failure(std::move(taken));
      auto item = read(*taken);
      if (item) return item;
      const bool its_fault = item.error().kind == ErrorKind::malformed;
      const auto becomes = its_fault ? detail::Settlement::malformed : detail::Settlement::give_back;
      if (auto settled = end_->end->settle(taken->ticket, becomes); !settled)
        return failure(std::move(settled));
      if (!its_fault) return item;
    }
  }

  /// From a private copy: what is checked must be what is used.
  [[nodiscard]] Result<T> decoded(const detail::Taken& taken) {
    if (taken.type != type_id<T>) return tl::unexpected{detail::wrong_item(taken.type, type_name<T>)};
    if constexpr (detail::is_block<T>) return decode<T>(taken.bytes);  // which reads each byte once
    std::vector<OwnedFd> arrived;
    if (taken.with_descriptors) {
      auto withdrawn = end_->end->descriptors(taken.ticket);
      if (!withdrawn) return failure(std::move(withdrawn));
      arrived = std::move(*withdrawn);
    }
    DescriptorList descriptors{std::move(arrived)};
    try {
      end_->copy.assign(taken.bytes.begin(), taken.bytes.end());
    } catch (const std::bad_alloc&) {
      return tl::unexpected{detail::no_memory("receive", type_name<T>)};
    }
    return decode<T>(end_->copy, &descriptors);
  }
  std::shared_ptr<End> end_;
  detail::WeakAccess access_{};
};

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
