// SPDX-License-Identifier: MIT
#include <troupe/runtime/chronicle.hpp>

#include <algorithm>

namespace troupe::detail {
namespace {

constexpr std::size_t steps_max = 4096;
constexpr std::size_t asides_max = 256;
constexpr std::uint64_t aside_bytes_max = std::uint64_t{256} << 20U;

template <class Entry>
void append(std::deque<Entry>& entries, std::uint64_t& first, Entry entry, std::size_t most) {
  entries.push_back(std::move(entry));
  if (entries.size() <= most) return;
  entries.pop_front();
  ++first;
}

}  // namespace

void Chronicle::record(supervision::SupervisorId supervisor, const control::TransitionRecord& step) {
  append(steps_, first_step_, {supervisor, step}, steps_max);
}

void Chronicle::set_aside(supervision::SupervisorId supervisor, const control::QuarantinedRecord& what,
                          OwnedFd payload) {
  append(asides_, first_aside_, {supervisor, what, std::move(payload)}, asides_max);
  // Some are large: then the oldest are remembered without their bytes.
  std::uint64_t bytes = 0;
  for (auto aside = asides_.rbegin(); aside != asides_.rend(); ++aside) {
    bytes += aside->record.what.bytes;
    if (bytes > aside_bytes_max && aside != asides_.rbegin()) aside->payload.reset();
  }
}

control::Transitions Chronicle::transitions(const control::SinceIndex& since) const {
  const std::uint64_t end = first_step_ + steps_.size();
  std::uint64_t index = std::max(since.index, first_step_);
  control::Transitions answer{.forgotten = index - since.index};
  for (; index < end && answer.count < control::transitions_per_packet; ++index) {
    const Step& step = steps_[index - first_step_];
    if (step.supervisor == since.supervisor) answer.records[answer.count++] = step.record;
  }
  answer.next = index;
  return answer;
}

control::QuarantinedRecord Chronicle::quarantined(const control::SinceIndex& since, int& payload) const {
  const std::uint64_t end = first_aside_ + asides_.size();
  for (std::uint64_t index = std::max(since.index, first_aside_); index < end; ++index) {
    const Aside& aside = asides_[index - first_aside_];
    if (aside.supervisor != since.supervisor) continue;
    control::QuarantinedRecord record = aside.record;
    record.next = index + 1;
    if (aside.payload) payload = aside.payload.get();
    return record;
  }
  return {};
}

}  // namespace troupe::detail
