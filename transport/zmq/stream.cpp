// SPDX-License-Identifier: MIT
#include <troupe/zmq/stream.hpp>

#include <algorithm>
#include <troupe/transport/mutant.hpp>
#include <troupe/transport/result.hpp>

namespace troupe::zmq::detail {

void Outbox::push(std::span<const std::byte> frame) {
  frames_.push_back({Bytes{frame.begin(), frame.end()}, frame.size(), false});
  bytes_ += frame.size();
}

void Outbox::end() {
  if (ended_) return;
  frames_.push_back({{}, 0, true});
  ended_ = true;
}

bool Outbox::has_next() const noexcept {
  if (transmitted_ == last()) return false;
  const Frame& frame = frames_[transmitted_ - consumed_];
  return frame.end || peer_.has_room(transmitted_ - consumed_, on_its_way_, frame.size);
}

Outbox::Next Outbox::next() const {
  const Frame& frame = frames_[transmitted_ - consumed_];
  return {transmitted_ + 1, frame.end, frame.bytes};
}

void Outbox::transmitted() {
  on_its_way_ += at(++transmitted_).size;
  if (delivery_ == Delivery::at_most_once) forget_bytes(transmitted_);
}

void Outbox::forget_bytes(std::uint64_t upto) {
  for (forgotten_ = std::max(forgotten_, consumed_); forgotten_ < upto;) Bytes{}.swap(at(++forgotten_).bytes);
}

bool Outbox::on_progress(std::uint64_t received, std::uint64_t consumed) {
  if (received > transmitted_ || consumed > received) return false;
  received_ = std::max(received_, received);  // an older message may come later, over an older connection
  forget_bytes(received_);
  for (; consumed_ < consumed; ++consumed_) {
    bytes_ -= frames_.front().size;
    on_its_way_ -= frames_.front().size;
    frames_.pop_front();
  }
  return true;
}

std::uint64_t Outbox::on_reconnect(std::uint64_t received) {
  received_ = std::max(received_, std::min(received, transmitted_));
  if (TROUPE_MUTANT(zmq_resend_forgotten)) return 0;
  if (delivery_ == Delivery::at_least_once) {
    for (; transmitted_ > received_; --transmitted_) on_its_way_ -= at(transmitted_).size;
    return 0;
  }
  // An end is never lost: it is sent again, and the peer skips to the frame before.
  if (ended_ && transmitted_ == last() && received_ < transmitted_) --transmitted_;
  return received_ < transmitted_ ? transmitted_ : 0;
}

Inbox::Verdict Inbox::check(std::uint64_t sequence) {
  if (sequence <= received_) {
    ++duplicates_;
    return TROUPE_MUTANT(zmq_duplicate_taken) ? Verdict::taken : Verdict::duplicate;
  }
  if (ended_) return Verdict::malformed;
  if (sequence == received_ + 1) return Verdict::taken;
  // Behind a gap: what is missing is under way once more.
  if (delivery_ == Delivery::at_least_once) return Verdict::gap;
  lost_ += sequence - received_ - 1;
  return Verdict::taken;
}

Inbox::Verdict Inbox::accept(std::uint64_t sequence, std::span<const std::byte> frame) {
  if (const auto verdict = check(sequence); verdict != Verdict::taken) return verdict;
  if (!window_.has_room(frames_.size(), bytes_, frame.size())) return Verdict::malformed;
  received_ = sequence;
  bytes_ += frame.size();
  frames_.push_back({sequence, Bytes{frame.begin(), frame.end()}});
  return Verdict::taken;
}

Inbox::Verdict Inbox::accept_end(std::uint64_t sequence) {
  const auto verdict = check(sequence);
  if (verdict != Verdict::taken) return verdict;
  received_ = sequence;
  ended_ = true;
  if (frames_.empty()) consumed_ = received_;
  return verdict;
}

Inbox::Verdict Inbox::skip(std::uint64_t sequence) {
  if (delivery_ == Delivery::at_least_once || (ended_ && sequence > received_)) return Verdict::malformed;
  if (sequence <= received_) return Verdict::duplicate;
  if (!TROUPE_MUTANT(zmq_skip_uncounted)) lost_ += sequence - received_;
  received_ = sequence;
  if (frames_.empty()) consumed_ = received_;
  return Verdict::taken;
}

Bytes Inbox::pop() {
  TROUPE_ASSERT(!frames_.empty());
  Bytes bytes = std::move(frames_.front().bytes);
  bytes_ -= bytes.size();
  consumed_ = frames_.front().sequence;
  frames_.pop_front();
  if (frames_.empty()) consumed_ = received_;
  return bytes;
}

bool Inbox::worth_telling(std::uint64_t told) const noexcept {
  if (consumed_ == told) return false;
  return frames_.empty() || consumed_ - told >= std::max<std::uint64_t>(1, window_.frames_max / 4);
}

}  // namespace troupe::zmq::detail
