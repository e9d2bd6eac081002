// SPDX-License-Identifier: MIT
// Any bytes over the records of a live queue. Its ends are of one trust: who does that spoils the queue, but
// nobody's memory.

#include <troupe/transport/shared_queue.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

using detail::Settlement;

const QueueOptions options{.items_max = 16, .bytes_max = 4096, .senders_max = 2, .ends_max = 8};
constexpr std::size_t takes_max = 64;

void put(detail::QueueSender& out, std::size_t bytes) {
  Deadline now{Duration::zero()};
  if (const auto room = out.reserve(bytes, now)) {
    std::ranges::fill(*room, std::byte{1});
    if (!room->empty()) [[maybe_unused]]
      const auto put = out.commit(1, bytes, now);
  }
}

void take(detail::QueueReceiver& in, Input& input) {
  Deadline now{Duration::zero()};
  const auto taken = in.take(now);
  if (!taken) return;
  TROUPE_ASSERT(taken->bytes.size() <= options.bytes_max);
  Bytes copy{taken->bytes.begin(), taken->bytes.end()};
  const auto how = static_cast<Settlement>(input.take<std::uint8_t>() % 4);
  [[maybe_unused]] const auto settled = in.settle(taken->ticket, how);
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  const auto queue = detail::SharedQueue::create(options).value();
  const auto spoilt = detail::QueueFile::open(queue->descriptors().value(), "spoilt").value();
  const auto out = queue->sender().value();
  const auto in = queue->receiver().value();
  for (std::size_t i = 0; i < 8; ++i) put(*out, 1 + 40 * i);
  Input input{bytes};
  for (std::size_t i = 0; i < takes_max && !input.rest().empty(); ++i) {
    const auto where = input.take<std::uint16_t>();
    const auto content = input.take_bytes(where >> 8U);
    const std::size_t records = spoilt->bounds().lanes() * spoilt->bounds().items * sizeof(queue::Record);
    const std::size_t at = where % 256U * sizeof(queue::Record) % (records - 256);
    auto* const first = reinterpret_cast<std::byte*>(&spoilt->record(0, 0));
    std::ranges::copy(content, first + at);
    take(*in, input);
    put(*out, where % 1000U);
  }
  TROUPE_ASSERT(queue->size() <= 2 * spoilt->bounds().items);
  [[maybe_unused]] const auto kept = queue->quarantine();
  [[maybe_unused]] const auto holders = queue->holders();
}

std::vector<Bytes> seeds() {
  const auto seed = [](const queue::Record& record, std::uint8_t at, Settlement settlement) {
    return bytes_of(at, std::uint8_t{sizeof record}, record, settlement, std::uint16_t{0}, settlement);
  };
  const auto lease = [](queue::Lease::State state, std::uint32_t attempts) {
    return queue::Lease{.state = state, .attempts = attempts, .owner = 0, .lap = 0}.word();
  };
  using State = queue::Lease::State;
  return {seed({lease(State::ready, 0), 0, 1, 4096, 0}, 0, Settlement::give_up),
          seed({lease(State::ready, 63), 4000, 1, 64, 0}, 0, Settlement::acknowledge),
          seed({lease(State::leased, 1), 0, 1, 64, 0}, 1, Settlement::malformed)};
}

}  // namespace troupe::fuzz
