// SPDX-License-Identifier: MIT
#pragma once
// Internal. The lanes that end in this process.

#include <map>
#include <memory>
#include <optional>
#include <troupe/runtime/keeper_link.hpp>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/lane.hpp>
#include <vector>

namespace troupe::detail {

struct ReplyBytes {
  std::uint32_t outcome = 0;       ///< envelope::Reply::outcome
  std::vector<std::byte> bytes{};  ///< the value, unless it came apart
  std::vector<OwnedFd> descriptors{};
  Blob body{};  ///< mapped

  [[nodiscard]] std::span<const std::byte> value() const {
    return body.size() == 0 ? std::span{bytes} : body.bytes().value();
  }
};

/// What a frame has brought, ready to be decoded.
struct Arrived {
  std::span<const std::byte> value{};  ///< in the frame, or in `body`
  Blob body{};                         ///< of a value that is too large for a frame
  std::vector<OwnedFd> descriptors{};
};

/// The questions of this process that have no end yet, each with its reply once that is there. Few at a time.
class OpenReplies {
 public:
  void open(std::uint64_t token) { all_.push_back({token, std::nullopt}); }
  void close(std::uint64_t token) noexcept;
  /// None if that question is not open.
  [[nodiscard]] std::optional<ReplyBytes>* find(std::uint64_t token) noexcept;
  [[nodiscard]] bool any_replied() const noexcept;

 private:
  struct One {
    std::uint64_t token = 0;
    std::optional<ReplyBytes> reply{};
  };
  std::vector<One> all_{};
};

/// What others send to this process.
///
/// Invariant: frames are taken in order per sender and class, oldest epoch first, and a lane is given back
/// only when it is empty and can get no more. Not safe against itself: the endpoint's users take turns.
class LanesIn {
 public:
  struct Lane {
    RoleId from = 0;
    control::LaneClass lane_class = control::LaneClass::mail;
    std::uint64_t epoch = 0;
    bool final = false;   ///< gets no more frames
    bool broken = false;  ///< given up: its frames break the format
    OwnedFd sender_bell{};
    std::optional<LaneReader> reader{};

    [[nodiscard]] bool pending() const noexcept { return !broken && reader->pending(); }
  };

  /// Both outlive this object.
  LanesIn(KeeperLink& link, const ReaderFile& file) noexcept : link_{link}, file_{file} {}

  /// Maps a lane that the keeper has announced. One that is no lane is given up at once; any other error is
  /// worth another try.
  [[nodiscard]] Result<void> add(const control::Change& change, std::vector<OwnedFd> descriptors);
  void set_final(std::uint64_t lane);
  /// Where the last incarnation had got to, lane by lane; before anything is taken.
  void set_resume_points(std::map<std::uint64_t, std::uint64_t> offset_by_lane);
  /// Tells the keeper that this lane's frames break the format: it is no mail any more.
  void give_up(Lane& lane);
  void forget_empty_chains();
  /// The value in a frame at the front of its lane, `bytes` of the frame, with what belongs to it: from the
  /// keeper, each time anew. `malformed` for a large value that breaks a rule of blobs or this mailbox's own.
  [[nodiscard]] Result<Arrived> open(const Lane& lane, const Frame& frame, std::span<const std::byte> bytes);
  /// Acknowledges the frame at the front; its descriptors are wanted no longer.
  void acknowledge(Lane& lane, const Frame& frame);

  /// The next lane with mail, in turn; none if all are empty. Valid until the next call.
  [[nodiscard]] Lane* next_mail();
  /// Takes every reply there is. Those to open questions are kept there; late ones meet nobody.
  void take_replies(OpenReplies& open);

  /// Whether next_mail() has something to do. Called in spins: no system call.
  [[nodiscard]] bool has_mail() const noexcept;
  [[nodiscard]] bool has_reply() const noexcept;
  [[nodiscard]] bool hears(RoleId role) const noexcept;

 private:
  using Key = std::pair<RoleId, control::LaneClass>;
  using Chain = std::vector<std::unique_ptr<Lane>>;  ///< by epoch, oldest first
  void drop_drained(Chain& chain);
  void resume(LaneReader& reader, std::uint64_t offset);
  [[nodiscard]] Result<std::vector<OwnedFd>> descriptors_of(const Lane& lane, const Frame& frame);
  [[nodiscard]] ReplyBytes reply_in(const Lane& lane, const Frame& frame, std::uint32_t outcome);

  KeeperLink& link_;
  const ReaderFile& file_;
  std::vector<std::pair<Key, Chain>> chains_{};
  std::size_t turn_ = 0;
  std::map<std::uint64_t, std::uint64_t> resume_{};
  std::vector<std::byte> reply_buffer_{};
};

}  // namespace troupe::detail
