// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/queue_end.hpp>
#include <troupe/transport/queue_passing.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace troupe {

namespace detail {

[[nodiscard]] Error wrong_item(std::uint64_t type, std::string_view expected);

}  // namespace detail

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

}  // namespace troupe
