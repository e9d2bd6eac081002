// SPDX-License-Identifier: MIT
#pragma once
// Internal. Faults to be noticed: a build with -DTROUPE_MUTANTS (preset `mutants`) has one of them, chosen by
// its number in the variable TROUPE_MUTANT. No other build has any: there the conditions are constants.

#include <atomic>
#include <type_traits>
#ifdef TROUPE_MUTANTS
#include <cstdlib>
#endif

namespace troupe::detail {

/// One fault each, with the stage of docs/proof.md that has to notice it, or `unit`: a test of just that
/// rule. scripts/check-mutants reads this list, and knows the tests.
enum class Mutant {
  none,
  // Lanes.
  commit_before_payload,       ///< S0: a frame is published when its room is reserved
  commit_in_two_stores,        ///< S0: the tail moves over the header first, then over the payload
  acknowledge_before_handler,  ///< S0: the head moves when the frame is looked at
  no_ring_at_attach,           ///< S0: a new reader is not woken for what waits already
  unordered_publish,           ///< S9: the look at the reader's counter may overtake the store of the tail
  unordered_sleep,             ///< S9: the last look at the tail may overtake the announcement
  unordered_settle,            ///< S9: the same of the head and the sender's counter
  unordered_wait,              ///< S9: and of a sender that waits for room
  offset_unchecked,            ///< S11: a frame that says it lies elsewhere is taken
  length_read_twice,           ///< S11: what is used is read anew from the ring, behind the checks
  reader_head_unchecked,       ///< S11: a reader's impossible head is believed
  // Kept state.
  version_before_slot,  ///< S0: a commit counts before its length and check are there
  // Queues.
  queue_commit_before_record,        ///< S0: the tail moves before the record is written
  queue_acknowledge_before_handler,  ///< S0: a claimed record is done at once
  queue_head_over_unfinished,        ///< S0: the head moves over what is not done
  queue_hints_believed,              ///< S0: also the last look before sleep goes by the hints
  queue_place_freed_first,           ///< S0: a dead end's place is free before its leases are put back
  queue_no_ring_for_room,            ///< S0: who makes room does not wake the sender that waits for it
  queue_claim_without_compare,       ///< S4: a lease is stored, whoever else has just done so
  queue_attempt_not_counted,         ///< S1: a claim leaves the attempts as they are
  queue_generation_kept,             ///< S1: a place's next end goes by its predecessor's name
  queue_reclaim_on_timeout,  ///< S4: who has waited for nothing puts back what the living have in hand
  queue_wake_one,            ///< S4: a ring wakes one sleeper, which may stay busy or be stopped
  queue_unordered_publish,   ///< S9: as unordered_publish
  queue_unordered_sleep,     ///< S9: as unordered_sleep
  queue_seals_unchecked,     ///< S11: a file that can be cut short is mapped
  // Over ZeroMQ.
  zmq_end_unacknowledged,  ///< unit: close() waits for no word of the peer, and an exit takes the rest
  zmq_resend_forgotten,    ///< unit: what a broken connection lost is not sent again
  zmq_duplicate_taken,     ///< unit: a frame that comes twice is received twice
  zmq_skip_uncounted,      ///< unit: what at most once has lost is not counted
  zmq_leave_unanswered,    ///< unit: a queue's end leaves before its last puts have come
  zmq_put_repeated,        ///< unit: a put that is told again over a new connection is done again
  zmq_doubt_forgotten,     ///< S1: of what lay ahead of a dead receiver it is taken to have begun nothing
  zmq_ahead_counted,       ///< S1: what lay ahead of a receiver that goes counts as an attempt
  // What all stand on.
  no_death_knock,            ///< S1: nobody is woken by a death
  interruption_not_retried,  ///< S6: a signal makes a call fail
  lost_descriptors_ignored,  ///< S8: a packet that lost its descriptors (MSG_CTRUNC) is taken as it is
  lost_batch_ignored,        ///< S8: so is a frame of a stream
  size_limit_unchecked,      ///< S8: memory beyond RLIMIT_FSIZE is asked for, which kills
  seals_unchecked,           ///< S11: a file that can be cut short, or changed, is mapped
  write_seal_missing,        ///< unit: a blob's maker can go on writing to it
  start_unchecked,           ///< unit: a process is known by its number alone
  stream_length_unchecked,   ///< S11: a frame that is longer than agreed is waited for
  stream_rest_forgotten,     ///< unit: a frame that was cut by a deadline is not filled up
  fork_unnoticed,            ///< unit: a plain fork's child may use its parent's ends
};

#ifdef TROUPE_MUTANTS
inline const auto chosen_mutant = [] {
  const char* const number = std::getenv("TROUPE_MUTANT");
  return static_cast<Mutant>(number == nullptr ? 0 : std::atoi(number));
}();
[[nodiscard]] inline bool is_mutant(Mutant mutant) noexcept { return mutant == chosen_mutant; }
#else
[[nodiscard]] constexpr bool is_mutant(Mutant /*mutant*/) noexcept { return false; }
#endif

#define TROUPE_MUTANT(name) (::troupe::detail::is_mutant(::troupe::detail::Mutant::name))

/// A sequentially consistent store, but in the mutant: that only releases. (An order chosen at run time
/// would be compiled as the strictest.)
template <class T>
void store_in_order(std::atomic<T>& word, std::type_identity_t<T> value, bool is_mutant) noexcept {
  if (is_mutant)
    word.store(value, std::memory_order_release);
  else
    word.store(value, std::memory_order_seq_cst);
}

}  // namespace troupe::detail
