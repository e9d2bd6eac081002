// SPDX-License-Identifier: MIT
#include <troupe/actors/lanes_out.hpp>

namespace troupe::detail {
namespace {

constexpr std::uint64_t busy_capacity_max =
    128 * 1024;  ///< a lane that is often full grows up to here; only large frames need more

Error has_ended(const ExitReason& reason) {
  return {ErrorKind::closed, 0, "send: the receiver has ended (" + to_string(reason) + ")"};
}

}  // namespace

Result<void> LanesOut::connect(const Address& to, Lane& lane, std::size_t bytes) {
  const control::Connect request{.lane_class = to.lane_class,
                                 .to = to.to,
                                 .payload_bytes = bytes,
                                 .replaces = lane.writer ? lane.writer->spec().id : 0};
  auto answer = link_.ask<control::Connection>(request);
  if (!answer) return failure(std::move(answer));
  const control::Connection& made = answer->record;
  switch (made.outcome) {
    case control::ConnectOutcome::made: break;
    case control::ConnectOutcome::later:
      return failure(ErrorKind::full, std::string{made.reason.detail.view()});
    case control::ConnectOutcome::exhausted:
      return failure(ErrorKind::exhausted, std::string{made.reason.detail.view()});
    case control::ConnectOutcome::closed: return tl::unexpected<Error>{has_ended(made.reason.value())};
  }
  if (answer->descriptors.size() < 2)
    return failure(ErrorKind::malformed, "connect: an answer without its descriptors");
  auto writer = LaneWriter::create(answer->descriptors[0].get(), made.lane);
  if (!writer) return failure(std::move(writer));
  OwnedFd bell = std::move(answer->descriptors[1]);
  if (answer->descriptors.size() == 3) {
    auto view = ReaderView::create(answer->descriptors[2].get(), made.slots);
    if (!view) return failure(std::move(view));
    writer->attach_reader(std::make_shared<const ReaderView>(std::move(*view)), bell.get());
  }
  if (auto told = link_.tell(control::Connected{.lane = made.lane.id}); !told) return told;
  lane.bell = std::move(bell);
  lane.message_bytes_max = made.message_bytes_max;
  lane.writer = std::move(*writer);  // until now the old one was in use; from now on it gets no more frames
  return {};
}

Result<LanesOut::Lane*> LanesOut::open(const Address& to, std::size_t bytes) {
  if (last_ == nullptr || last_to_ != to) {
    last_ = &lanes_[to];
    last_to_ = to;
  }
  Lane& lane = *last_;
  lane.ended = false;  // ask the keeper again: the role may have been added anew
  if (!lane.writer || lane.writer->payload_bytes_max() < bytes)
    if (auto connected = connect(to, lane, bytes); !connected) return failure(std::move(connected));
  return &lane;
}

Result<std::span<std::byte>> LanesOut::reserve(const Address& to, Lane& lane, std::size_t bytes) {
  auto room = lane.writer->reserve(bytes);
  while (room && room->empty() && lane.writer->spec().capacity < busy_capacity_max &&
         connect(to, lane, lane.writer->payload_bytes_max() + 1))
    room = lane.writer->reserve(bytes);
  return room;
}

Result<void> LanesOut::set_reader(const control::Change& change, std::vector<OwnedFd> descriptors) {
  const auto at = lanes_.find({change.peer, change.lane_class});
  const bool mine = at != lanes_.end() && at->second.writer && at->second.writer->spec().id == change.lane.id;
  if (!mine) return {};
  if (descriptors.size() != 1) return failure(ErrorKind::exhausted, "a reader's file has not arrived");
  auto view = ReaderView::create(descriptors.front().get(), change.slots);
  if (!view) return failure(std::move(view));
  at->second.writer->attach_reader(std::make_shared<const ReaderView>(std::move(*view)),
                                   at->second.bell.get());
  return {};
}

void LanesOut::set_ended(const control::Change& change) {
  Lane& lane = lanes_[{change.peer, change.lane_class}];
  lane.ended = true;
  ++lane.ends;
  lane.reason = change.reason.value();
  if (lane.writer) {
    lane.last_head = lane.writer->head();
    lane.last_attempt = lane.writer->attempt();
  }
  lane.writer.reset();
  lane.bell.reset();
}

}  // namespace troupe::detail
