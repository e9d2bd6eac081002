// SPDX-License-Identifier: MIT
#pragma once
// Internal. A process's way to its keeper.

#include <atomic>
#include <memory>
#include <mutex>
#include <troupe/runtime/control_lanes.hpp>
#include <troupe/transport/doorbell.hpp>
#include <troupe/transport/memory_map.hpp>
#include <troupe/transport/socket_channel.hpp>

namespace troupe::detail {

/// The channel between this process and its keeper, and the notice word by which the keeper says
/// "something has changed, come and look".
///
/// One per process, made at its first use: the program's starts the keeper. Any thread may ask; questions
/// take turns and each is answered at once. A process that was made by a plain fork has none (`refused`).
class KeeperLink {
 public:
  [[nodiscard]] static Result<KeeperLink*> of_process();
  /// Number of the present link; 0 while there is none. Whoever keeps something of a link compares: one load.
  [[nodiscard]] static std::uint64_t current_generation() noexcept {
    return present_generation.load(std::memory_order_acquire);
  }

  /// Closes the program's link: the keeper stops everything in order and ends. Waits for that. For programs
  /// that want nothing left behind before they go on, and for tests. Every Ref, Process and Node of before is
  /// `closed`.
  static void end(Duration within);

  template <class Record>
  struct Answered {
    Record record{};
    std::vector<OwnedFd> descriptors{};
  };

  /// One question, one answer. The error is the keeper's, or `down` when the keeper is gone.
  template <class Record, class Request>
  [[nodiscard]] Result<Answered<Record>> ask(const Request& request, std::span<const std::byte> tail = {},
                                             std::span<const int> descriptors = {});

  /// Said, not answered.
  template <class Request>
  [[nodiscard]] Result<void> tell(const Request& request, std::span<const int> descriptors = {});

  /// What this process is to its keeper, and the mailbox's descriptors: taken once, by the endpoint.
  [[nodiscard]] const control::Attached& attached() const noexcept { return attached_; }
  [[nodiscard]] OwnedFd take_reader_file() noexcept { return std::move(reader_file_); }
  [[nodiscard]] OwnedFd take_state_file() noexcept { return std::move(state_file_); }
  [[nodiscard]] int bell() const noexcept { return bell_.get(); }

  /// Moves whenever something that this process waits for has changed. Read it, look, then wait for it to
  /// move.
  [[nodiscard]] std::uint64_t notices() const noexcept { return notice_->load(std::memory_order_seq_cst); }

  enum class Woken { rung, keeper_gone, deadline };
  /// Sleeps until the bell rings: a notice, mail, or room. Spurious `rung` happens.
  [[nodiscard]] Woken wait_bell(TimePoint deadline);

  /// Calls `done` now and after every notice until it is true. `timed_out` at the deadline, `down` when the
  /// keeper is gone.
  template <class Predicate>
  [[nodiscard]] Result<void> wait_until(TimePoint deadline, Predicate done);

  /// Folder, 0 to 2, umask and environment of this process as they are now, under the keeper's number for
  /// them.
  [[nodiscard]] Result<std::uint64_t> surroundings();
  /// The keeper holds them no longer: the next call says them again.
  void forget_surroundings(std::uint64_t id);

  /// Ids of the threads that the program's static constructors start; empty: forking is sound.
  [[nodiscard]] const std::string& threads_at_start() const noexcept { return threads_at_start_; }
  [[nodiscard]] int keeper_pid() const noexcept { return keeper_pid_; }
  /// Readable once the keeper has ended; -1 in a child, which ends with it.
  [[nodiscard]] int keeper_descriptor() const noexcept { return keeper_pidfd_.get(); }

 private:
  KeeperLink() = default;
  static void forked();
  static Result<std::unique_ptr<KeeperLink>> create();
  Result<void> attach();
  [[nodiscard]] const SocketChannel& channel() const noexcept;
  [[nodiscard]] Result<SocketChannel::Packet> exchange(std::span<const std::byte> request,
                                                       std::span<const std::byte> tail,
                                                       std::span<const int> descriptors,
                                                       std::span<std::byte> answer);

  static inline std::atomic<std::uint64_t> present_generation{0};
  static constexpr std::size_t answer_bytes_max = 16 * 1024;
  static_assert(sizeof(control::Answer) + sizeof(control::Transitions) <= answer_bytes_max);

  std::mutex asking_;
  std::uint64_t last_number_ = 0;
  SocketChannel own_{};  ///< the program's; a child's lies at its fixed descriptor
  OwnedFd keeper_pidfd_{};
  int keeper_pid_ = 0;
  std::string threads_at_start_{};
  control::Attached attached_{};
  OwnedFd bell_{};
  OwnedFd reader_file_{};
  OwnedFd state_file_{};
  MemoryMap notice_map_{};
  const lane::Word* notice_ = nullptr;
  std::uint64_t generation_ = 0;
  std::mutex surrounding_;
  std::string surroundings_key_{};
  std::uint64_t surroundings_id_ = 0;
  std::string environment_at_start_{};
};

[[nodiscard]] Error keeper_is_gone();
[[nodiscard]] Result<void> check_answer(std::span<const std::byte> packet, std::size_t record_bytes);

template <class Record, class Request>
Result<KeeperLink::Answered<Record>> KeeperLink::ask(const Request& request, std::span<const std::byte> tail,
                                                     std::span<const int> descriptors) {
  std::vector<std::byte> answer(answer_bytes_max);
  auto received = exchange(control::bytes_of(request), tail, descriptors, answer);
  if (!received) return failure(std::move(received));
  const std::span<const std::byte> bytes{answer.data(), received->bytes};
  if (auto sound = check_answer(bytes, sizeof(Record)); !sound) return failure(std::move(sound));
  const auto record = control::read<Record>(bytes.subspan(sizeof(control::Answer)));
  if (!record) return failure(ErrorKind::malformed, "keeper: an answer that is none");
  return Answered<Record>{*record, std::move(received->descriptors)};
}

template <class Request>
Result<void> KeeperLink::tell(const Request& request, std::span<const int> descriptors) {
  return channel().send(control::packet_of(control::Heading{}, control::bytes_of(request)), descriptors,
                        deadline_in(std::chrono::seconds{5}));
}

template <class Predicate>
Result<void> KeeperLink::wait_until(TimePoint deadline, Predicate done) {
  for (;;) {
    const std::uint64_t seen = notices();
    if (done()) return {};
    while (notices() == seen) {
      const Woken woken = wait_bell(deadline);
      if (woken == Woken::keeper_gone) return tl::unexpected<Error>{keeper_is_gone()};
      if (woken == Woken::deadline) {
        if (done()) return {};
        return failure(ErrorKind::timed_out, "wait: not within its deadline");
      }
    }
  }
}

}  // namespace troupe::detail
