// SPDX-License-Identifier: MIT
// What processes are told of the switchboard, and what it tells of them.
#include <algorithm>
#include <troupe/runtime/switchboard.hpp>

namespace troupe {

// ---- telling: one pull, one change ---------------------------------------------------------------

/// The process has mapped its reader file and sealed it behind itself. Its senders learn of it before it can
/// go to sleep for the first time: whoever publishes without having seen this notice is seen by its first
/// look round.
void Switchboard::publish_reader_file(Role& role) {
  if (!check_sealed(role.reader_file.get(), lane::reader_file_bytes(lane::slots_max))) return;
  role.sealed = true;
  for (const auto lane : role.in)
    if (Role* const sender = find(find_lane(lane)->from)) notify(*sender);
}

control::Change Switchboard::pull(RoleId id, bool took, Given& given) {
  Role* const role = find(id);
  if (role == nullptr) return {};
  if (role->attached && !role->sealed) publish_reader_file(*role);
  if (took) confirm(*role);
  role->offered = next_change(*role, given);
  return role->offered;
}

/// What the last pull offered has arrived: it is not offered again.
void Switchboard::confirm(Role& role) {
  using control::ChangeKind;
  const control::Change offered = std::exchange(role.offered, {});
  if (offered.kind == ChangeKind::stop) role.stop_told = true;
  Lane* const lane = find_lane(offered.lane.id);
  if (lane == nullptr) return;
  if (offered.kind == ChangeKind::lane_added) lane->reader_has_it = true;
  if (offered.kind == ChangeKind::lane_added || offered.kind == ChangeKind::lane_final)
    lane->final_told = offered.final;
  if (offered.kind == ChangeKind::reader_changed) lane->reader_told = offered.reader;
  if (offered.kind == ChangeKind::role_ended) free_lane(lane->id);  // once told, the sender uses it no more
}

control::Change Switchboard::next_change(Role& role, Given& given) {
  using control::Change;
  using control::ChangeKind;
  if (role.stop && !role.stop_told) return Change{.kind = ChangeKind::stop};
  for (const auto lane_id : role.in) {
    const Lane& lane = *find_lane(lane_id);
    if (!lane.connected) continue;
    Change change{.kind = ChangeKind::lane_added,
                  .lane_class = lane.lane_class,
                  .lane = lane.spec,
                  .peer = lane.from,
                  .epoch = lane.epoch,
                  .final = lane.final};
    if (!lane.reader_has_it) {
      const Role* const sender = find(lane.from);  // none: forgotten since, and waits for no credit
      given.descriptors = {lane.file.get(), (sender == nullptr ? &role : sender)->bell.get()};
      return change;
    }
    if (lane.final && !lane.final_told) {
      change.kind = ChangeKind::lane_final;
      return change;
    }
  }
  for (const auto lane_id : role.out) {
    const Lane& lane = *find_lane(lane_id);
    const Role* const reader = find(lane.to);
    if (reader == nullptr || lane.final) continue;
    Change change{.lane_class = lane.lane_class,
                  .lane = lane.spec,
                  .peer = lane.to,
                  .slots = static_cast<std::uint32_t>(lane::slots_max),
                  .reader = reader->incarnation};
    if (lane.reader_told != reader->incarnation && reader->sealed) {
      change.kind = ChangeKind::reader_changed;
      given.descriptors = {reader->reader_file.get()};
      return change;
    }
    if (reader->ended) {
      change.kind = ChangeKind::role_ended;
      change.reason = reader->reason;
      return change;
    }
  }
  return {};
}

// ---- judging from outside --------------------------------------------------------------------------

std::uint64_t Switchboard::steps(RoleId id) const {
  const Role* const role = find(id);
  return role == nullptr ? 0 : role->view->page().progress.steps.load(std::memory_order_acquire);
}

bool Switchboard::has_mail(RoleId id) const {
  const Role* const role = find(id);
  return role != nullptr && std::ranges::any_of(role->in, [&](std::uint64_t lane_id) {
           const Lane& lane = lanes_.at(lane_id);
           return lane.connected && !lane.broken && lane.lane_class == control::LaneClass::mail &&
                  !is_drained(lane, *role);
         });
}

lane::Activity Switchboard::activity(RoleId id) const {
  const Role* const role = find(id);
  return role == nullptr ? lane::Activity::idle
                         : static_cast<lane::Activity>(
                               role->view->page().progress.activity.load(std::memory_order_acquire));
}

bool Switchboard::made_progress(RoleId id) const { return steps(id) != 0; }

void Switchboard::describe(RoleId id, control::ChildRecord& record) const {
  const Role* const role = find(id);
  if (role == nullptr) return;
  record.acknowledged = role->view->page().progress.acknowledged.load(std::memory_order_relaxed);
  record.duplicates = role->view->page().progress.duplicates.load(std::memory_order_relaxed);
  record.note = control::Text<lane::note_bytes_max>{role->view->note()};
}

}  // namespace troupe
