// SPDX-License-Identifier: MIT
// Control packets and envelopes from a hostile process: every record is bounded, whatever its bytes say.

#include <troupe/runtime/control.hpp>
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
  TROUPE_ASSERT(again == (sequence & ~envelope::with_descriptors));
}

/// The packet as each of these records, and what follows it as the keeper takes it for the next.
template <class... Record>
void read_each(std::span<const std::byte> packet) {
  const auto one = [&]<class R>(std::type_identity<R>) {
    const auto record = read<R>(packet);
    TROUPE_ASSERT(record.has_value() == (packet.size() >= sizeof(R)));
    if (record) look(*record);
  };
  (one(std::type_identity<Record>{}), ...);
}

}  // namespace

void run(std::span<const std::byte> bytes) {
  const auto heading = read<Heading>(bytes);
  if (!heading) return;
  read_each<Failed, Quarantine, Start, Attached, AddChild, Answer, QuarantinedRecord, ChildRecord, Connection,
            Change, envelope::Reply, Connect>(bytes.subspan(sizeof *heading));
}

std::vector<Bytes> seeds() {
  const auto packet = [](const auto& record) {
    return packet_of(Heading{.number = 5}, control::bytes_of(record));
  };
  Answer refused{};
  refused.text = Line{"no such child"};
  AddChild child{};
  child.name = Name{"worker"};
  return {packet(Failed{.text = Line{"its main threw"}}), packet(child), packet(refused),
          packet(envelope::Reply{.token = 3, .outcome = 4})};
}

}  // namespace troupe::fuzz
