// SPDX-License-Identifier: MIT
#pragma once
// Internal. A receiver's half of what the owner of a queue sends ahead. Pure: no socket, no clock, no thread.

#include <cstdint>
#include <deque>
#include <optional>
#include <troupe/transport/clock.hpp>
#include <troupe/zmq/stream.hpp>
#include <troupe/zmq/wire.hpp>
#include <utility>

namespace troupe::zmq::detail {

/// An item *lies* here from its arrival until the program begins it. How many may is the window: none until
/// the program asks, then one more than before, twice as many, up to the queue's bound, as long as it comes
/// back soon; none again once it does not. So a receiver keeps from others what it handles in no time.
class Intake {
 public:
  struct Item {
    std::uint64_t number = 0;
    std::uint64_t ticket = 0;
    std::uint32_t attempt = 0;
    Bytes bytes{};  ///< ItemHeader, and the item
  };

  /// How long an item may lie while the program does something else; then it goes to others.
  static constexpr Duration lie_within = std::chrono::milliseconds{100};

  void limit_to(std::uint64_t ahead_items_max) noexcept { window_max_ = ahead_items_max; }

  /// The program asks for the next item.
  void ask(TimePoint now) noexcept;
  /// What is to be told now, as a `want`: the last item begun, and the window.
  struct Want {
    std::uint64_t begun;
    std::uint64_t window;
  };
  [[nodiscard]] std::optional<Want> to_want() const noexcept;
  void wanted(std::uint64_t request) noexcept;  ///< that was told, with this number
  void unwanted() noexcept { open_ = false; }
  [[nodiscard]] bool is_wanted() const noexcept { return open_; }
  /// This item was, by this request: which tells that it was begun, and each before it.
  void settled(std::uint64_t request, std::uint64_t number);
  /// An item was given back, and may come again: what was told of the end is so no longer, nor what is told
  /// for an earlier want.
  void gave_back() noexcept {
    ended_ = false;
    want_ = 0;
    open_ = false;
  }

  /// Whether the program may begin an item.
  [[nodiscard]] bool may_begin() const noexcept {
    return !ahead_.empty() && begun_ - confirmed_ < wire::doubtful_max(window_max_);
  }
  [[nodiscard]] Item begin(TimePoint now);
  /// Nothing will come any more. It stays so, and nothing is asked for.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] std::uint64_t begun() const noexcept { return begun_; }
  [[nodiscard]] std::uint64_t received() const noexcept { return received_; }

  /// While the program waits nothing is overdue.
  void set_waits(bool waits) noexcept { waits_ = waits; }
  /// When what lies here is to go back; `never` if nothing does.
  [[nodiscard]] TimePoint overdue_at() const noexcept;
  /// It goes back, by the request of this number; what was given for an earlier one goes the same way.
  void give_back(std::uint64_t request) noexcept;

  /// Given for this want. False for more than was asked for.
  [[nodiscard]] bool on_item(Item item, std::uint64_t want, TimePoint now);
  void on_ended(std::uint64_t want) noexcept { ended_ = ended_ || (want != 0 && want == want_); }
  void on_done(std::uint64_t request) noexcept;

 private:
  void told(std::uint64_t request, std::uint64_t begun);

  std::deque<Item> ahead_{};
  std::deque<std::pair<std::uint64_t, std::uint64_t>> told_{};  ///< request, and what was begun by then
  std::uint64_t window_max_ = 0;
  std::uint64_t window_ = 0;
  std::uint64_t told_window_ = 0;
  std::uint64_t want_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t told_begun_ = 0;
  std::uint64_t confirmed_ = 0;      ///< the owner knows that these were begun
  std::uint64_t given_back_by_ = 0;  ///< the request
  TimePoint begun_at_ = TimePoint::min();
  TimePoint came_at_ = TimePoint::min();  ///< the first that lies here, when nothing did
  bool asks_ = false;
  bool waits_ = false;
  bool open_ = false;  ///< wanted and not unwanted
  bool ended_ = false;
};

}  // namespace troupe::zmq::detail
