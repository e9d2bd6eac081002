// SPDX-License-Identifier: MIT
// Control packets and envelopes from a hostile process: every record is bounded, whatever its bytes say.

#include <troupe/runtime/control_lanes.hpp>
#include <troupe/transport/envelope.hpp>

#include "target.hpp"

namespace troupe::fuzz {
namespace {

using namespace control;

template <std::size_t bytes_max>
void look(const Text<bytes_max>& text) {
  TROUPE_ASSERT(text.view().size() <= bytes_max);
  TROUPE_ASSERT(Text<bytes_max>{text.view()}.view() == text.view());
}
void look(const Failed& record) { look(record.text); }
void look(const Quarantine& record) { look(record.text); }
void look(const Start& record) { look(record.name); }
void look(const Attached& record) { look(record.name); }
void look(const AddChild& record) { look(record.name); }
void look(const Answer& record) { look(record.text); }
void look(const QuarantinedRecord& record) { look(record.role), look(record.what); }
void look(const ChildRecord& record) { look(record.name), look(record.note), look(record.reason.detail); }
void look(const Connection& record) { look(record.reason.detail); }
void look(const Change& record) { look(record.reason.detail); }
void look(const envelope::Reply& record) {
  const auto error = envelope::error_of(record.outcome);
  TROUPE_ASSERT(error == ErrorKind::malformed || envelope::outcome_of(error) == record.outcome);
}
void look(const Connect& record) {
  const auto sequence = record.payload_bytes;
  TROUPE_ASSERT(envelope::number_of(sequence) <= envelope::number_mask);
  const auto again = envelope::sequence(envelope::kind_of(sequence), envelope::number_of(sequence));
  TROUPE_ASSERT(again == (sequence & ~(envelope::with_descriptors | envelope::apart)));
}

/// Every flag is one: looked at as bytes, since the sanitizer looks at bools in its own way.
template <class T>
void look_at_flags(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    std::uint8_t byte = 0;
    std::memcpy(&byte, &value, sizeof byte);
    TROUPE_ASSERT(byte <= 1 && (value || byte == 0));
  } else if constexpr (troupe::detail::is_array<T>) {
    for (const auto& element : value) look_at_flags(element);
  } else if constexpr (troupe::detail::Aggregate<T>) {
    troupe::detail::with_fields(value, [](const auto&... fields) { (look_at_flags(fields), ...); });
  }
}
template <class Record>
void look(const Record& /*nothing but flags and numbers*/) {}

/// The packet as each of these records, and what follows it as the keeper takes it for the next.
template <class... Record>
void read_each(std::span<const std::byte> packet) {
  const auto one = [&]<class R>(std::type_identity<R>) {
    const auto record = read<R>(packet);
    TROUPE_ASSERT(!record || packet.size() >= sizeof(R));
    if (!record) return;
    look(*record);
    look_at_flags(*record);
  };
  (one(std::type_identity<Record>{}), ...);
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  const auto heading = read<Heading>(bytes);
  if (!heading) return;
  read_each<Failed, Quarantine, Start, Attached, AddChild, Answer, QuarantinedRecord, ChildRecord, Connection,
            Change, envelope::Reply, Connect, Hello, Pull, Surroundings, SupervisorState, Transitions>(
      bytes.subspan(sizeof *heading));
}

std::vector<Bytes> seeds() {
  const auto packet = [](const auto& record) {
    return packet_of(Heading{.number = 5}, control::bytes_of(record));
  };
  Answer refused{};
  refused.text = Line{"no such child"};
  AddChild child{};
  child.name = Name{"worker"};
  Transitions transitions{};
  transitions.records.back().reason.signaled = true;
  return {packet(Hello{.ready = true}),
          packet(Pull{.took = true}),
          packet(Surroundings{.own_environment = true}),
          packet(transitions),
          packet(Failed{.text = Line{"its main threw"}}),
          packet(child),
          packet(refused),
          packet(envelope::Reply{.token = 3, .outcome = 4})};
}

}  // namespace troupe::fuzz
