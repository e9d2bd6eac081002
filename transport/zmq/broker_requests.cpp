// SPDX-License-Identifier: MIT
// What ends ask of the owner of a queue.
#include <troupe/transport/codec.hpp>
#include <troupe/transport/mutant.hpp>
#include <troupe/zmq/broker.hpp>
#include <troupe/zmq/passing.hpp>

namespace troupe::zmq::detail {
namespace {

using wire::QueueHeader;
using wire::QueueKind;
using wire::QueueRole;
using wire::QueueStatus;

}  // namespace

bool Broker::on_request(EndId id, End& end, const QueueHeader& header, std::span<const std::byte> body) {
  if (header.number == 0) return false;
  switch (header.kind) {
    case QueueKind::leave: {
      const End left = end;
      drop(id, header.a);
      answer(id, left, header.number, QueueStatus::ok);
      return true;
    }
    case QueueKind::put:
    case QueueKind::want:
    case QueueKind::settle:
    case QueueKind::dropped:
    case QueueKind::unwant:
      if (header.number <= end.done && !TROUPE_MUTANT(zmq_put_repeated)) return true;  // told again
      end.done = header.number;
      return on_told(id, end, header, body);
    case QueueKind::room:
      if (end.role != QueueRole::sender || !body.empty()) return false;
      ledger_.make_room(id, header.a, header.b == 1);
      end.told = ledger_.freed(id);
      answer(id, end, header.number, QueueStatus::ok, end.told.items, end.told.bytes);
      return true;
    default:  // of another process: may be anything
      return end.role == QueueRole::access && body.empty() && on_access(id, end, header);
  }
}

bool Broker::on_told(EndId id, End& end, const QueueHeader& header, std::span<const std::byte> body) {
  switch (end.role) {
    case QueueRole::sender: return on_sender(id, header, body);
    case QueueRole::receiver: return body.empty() && on_receiver(id, end, header);
    case QueueRole::access:
      if (header.kind != QueueKind::unwant || !body.empty()) return false;
      if (end.empty != 0) answer(id, end, std::exchange(end.empty, 0), QueueStatus::nothing);
      return true;
  }
  return false;
}

bool Broker::on_sender(EndId id, const QueueHeader& header, std::span<const std::byte> body) {
  if (header.kind == QueueKind::put) return ledger_.put(id, header.a, body);
  if (header.kind != QueueKind::dropped || !body.empty()) return false;
  ledger_.note_dropped(id, header.a, header.b);
  return true;
}

bool Broker::on_receiver(EndId id, End& end, const QueueHeader& header) {
  switch (header.kind) {
    case QueueKind::want: return on_want(id, end, header);
    case QueueKind::unwant: return on_unwant(id, end, header);
    case QueueKind::settle:
      if (header.b > 3) return false;
      ledger_.settle(id, header.a, static_cast<troupe::detail::Settlement>(header.b));
      return true;
    default: return false;
  }
}

bool Broker::on_want(EndId id, End& end, const QueueHeader& header) {
  if (header.b > options_.ahead_items_max || !ledger_.begin(id, header.a)) return false;
  end.want = header.number;
  end.window = header.b;
  return true;
}

bool Broker::on_unwant(EndId id, End& end, const QueueHeader& header) {
  if (!ledger_.begin(id, header.a)) return false;
  if (header.b == 0) {
    serve();  // it is to have what there is, in its turn, or to hear that nothing will come
    tell_ended(id, end);
  } else {
    ledger_.give_back_ahead(id);
    end.sent = std::min(end.sent, header.a);
  }
  end.want = 0;
  return true;
}

bool Broker::on_access(EndId id, End& end, const QueueHeader& header) {
  if (header.kind == QueueKind::empty) {
    end.empty = header.number;
    return true;
  }
  if (header.kind == QueueKind::query) {
    on_query(end, id, header);
    return true;
  }
  if (header.kind != QueueKind::expect) return false;
  const std::uint64_t token = random_number();
  const auto expected = ledger_.expect_sender(id, token);
  if (expected)
    answer(id, end, header.number, QueueStatus::ok, token);
  else
    answer(id, end, header.number, QueueStatus::refused, static_cast<std::uint64_t>(expected.error().kind));
  return true;
}

void Broker::on_query(End& end, EndId id, const QueueHeader& header) {
  std::vector<std::byte> body;
  switch (static_cast<wire::Query>(header.a)) {
    case wire::Query::size: break;
    case wire::Query::counts: body = encoded(ledger_.counts()); break;
    case wire::Query::holders: body = encoded(ledger_.holders()); break;
    case wire::Query::quarantine: body = encoded(plain(ledger_.quarantine())); break;
  }
  answer(id, end, header.number, QueueStatus::ok, ledger_.size(), 0, body);
}

}  // namespace troupe::zmq::detail
