// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <troupe/runtime/shared_file.hpp>
#include <troupe/transport/clock.hpp>
#include <utility>

namespace troupe {

struct BarrierOptions {
  std::uint32_t parties = 1;  ///< at least 1
};

/// A place where a number of parties, processes or threads, wait for each other, round after round.
///
/// A process that was handed a barrier, or has waited at one, is a member until the last copy there is gone.
/// A member that dies breaks the barrier, wherever it was, within 100 ms for those who wait: nobody waits for
/// a dead party. (One that had come and then died may still count for that round.) A broken barrier stays
/// broken until reset(). At most 240 processes are members. Copies are the same barrier, in other processes
/// too: as an argument of a Process, in a message to an actor, and in the child of a plain fork. Threads:
/// any. docs/shared.md.
class Barrier {
 public:
  explicit Barrier(BarrierOptions options = {});  ///< throws Failure where create() is an Error
  /// `invalid` for 0 parties, `exhausted` without memory or descriptors.
  [[nodiscard]] static Result<Barrier> create(BarrierOptions options = {});

  using Action = std::function<void()>;
  /// Until all parties have come. The result tells them apart: 0 for the first that came, parties - 1 for the
  /// last. The last one runs its `action`, once a round, before anybody goes on; what it throws breaks the
  /// barrier, and comes out here. `timed_out` breaks it for the others, too. `down` if a member died;
  /// `closed` if it was broken otherwise, or reset meanwhile; `exhausted` with 240 other members.
  [[nodiscard]] Result<std::size_t> wait(Duration within = Duration::max(), const Action& action = {}) const;

  void abort() const noexcept;  ///< breaks it
  void reset() const noexcept;  ///< whole again and empty; who waits is told that it is `closed`
  [[nodiscard]] bool broken() const noexcept;
  [[nodiscard]] std::uint32_t parties() const noexcept;
  [[nodiscard]] std::uint32_t waiting() const noexcept;

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_shared(archive, member_ ? member_->file : nullptr);
    // A start that ends before its process has looked at its arguments is the death of a party, too.
    if (member_ && archive.carries())
      archive.once_known([file = member_->file](std::int32_t pid) { enlist(*file, pid); });
  }
  template <class Archive>
  void load(Archive& archive) {
    member_ = joined(detail::load_shared(archive, spec)).value();
  }

 private:
  static constexpr detail::SharedSpec spec{.kind = detail::SharedKind::barrier};

  /// Ends the membership of its process, if there is one.
  struct Member {
    explicit Member(std::shared_ptr<detail::SharedFile> it) noexcept : file{std::move(it)} {}
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    ~Member();
    std::shared_ptr<detail::SharedFile> file;
  };
  struct Ticket {
    std::uint32_t round = 0;
    std::uint32_t index = 0;
  };

  explicit Barrier(std::shared_ptr<detail::SharedFile> file)
      : member_{std::make_shared<const Member>(std::move(file))} {}
  [[nodiscard]] static Result<std::shared_ptr<const Member>> joined(
      const std::shared_ptr<detail::SharedFile>& file);
  static void enlist(const detail::SharedFile& file, std::int32_t pid);
  [[nodiscard]] Result<Ticket> try_arrive() const;
  [[nodiscard]] Result<std::size_t> lead(Ticket ticket, const Action& action) const;
  [[nodiscard]] Result<std::size_t> follow(Ticket ticket, Deadline& deadline) const;

  std::shared_ptr<const Member> member_;
};

}  // namespace troupe
