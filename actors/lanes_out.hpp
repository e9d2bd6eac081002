// SPDX-License-Identifier: MIT
#pragma once
// Internal. The lanes that begin in this process.

#include <optional>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/transport/lane.hpp>
#include <unordered_map>

namespace troupe::detail {

/// Where a message goes.
struct Address {
  RoleId to = 0;
  control::LaneClass lane_class = control::LaneClass::mail;

  friend bool operator==(const Address&, const Address&) = default;
};

/// This process's ways to others, one per receiver and class.
///
/// Invariant: at most one lane of an address gets new frames; a larger one takes its place only once it is
/// whole. Nothing waits here. Not safe against itself: the endpoint's users take turns.
class LanesOut {
 public:
  struct Lane {
    std::optional<LaneWriter> writer{};
    OwnedFd bell{};
    std::uint64_t message_bytes_max = 0;  ///< that the receiver takes; known with the writer
    bool ended = false;                   ///< its receiver has
    std::uint64_t ends = 0;  ///< how often: an end is not forgotten when the role is asked for again
    ExitReason reason{};
    std::uint64_t last_head = 0;  ///< of the receiver's last incarnation, once it has ended
    std::uint64_t last_attempt = 0;
  };

  explicit LanesOut(KeeperLink& link) noexcept : link_{link} {}

  /// A lane that takes a frame of that size, made at first contact. `full`: the receiver has no room for a
  /// lane now, and the keeper will say when; `closed`: it has ended or never was; `exhausted`, `invalid`: as
  /// Endpoint::post.
  [[nodiscard]] Result<Lane*> open(const Address& to, std::size_t bytes);
  /// The same as open() left it, be it without a lane.
  [[nodiscard]] Lane& last() noexcept { return *last_; }
  [[nodiscard]] const Lane& at(const Address& to) const { return lanes_.at(to); }
  /// Room for a frame in a lane that is open; empty if there is none now. A small lane grows first.
  [[nodiscard]] Result<std::span<std::byte>> reserve(const Address& to, Lane& lane, std::size_t bytes);

  /// What the keeper tells of receivers: a new incarnation's file; the end.
  [[nodiscard]] Result<void> set_reader(const control::Change& change, std::vector<OwnedFd> descriptors);
  void set_ended(const control::Change& change);

 private:
  struct Hash {
    std::size_t operator()(const Address& to) const noexcept {
      return to.to * 2 + static_cast<std::size_t>(to.lane_class);
    }
  };
  Result<void> connect(const Address& to, Lane& lane, std::size_t bytes);

  KeeperLink& link_;
  std::unordered_map<Address, Lane, Hash> lanes_{};
  Address last_to_{};  ///< most sends go where the last one went
  Lane* last_ = nullptr;
};

}  // namespace troupe::detail
