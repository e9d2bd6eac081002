// SPDX-License-Identifier: MIT
// Children as clients ask for them: added with what surrounds them, described, signalled, forgotten.
extern "C" {
#include <sys/pidfd.h>
}
#include <sys/stat.h>

#include <algorithm>
#include <troupe/runtime/keeper.hpp>
#include <troupe/transport/syscall.hpp>

namespace troupe::detail {
namespace {

constexpr std::uint64_t mailbox_bytes_default = std::uint64_t{16} << 20U;
constexpr RoleId made_up_role = RoleId{1} << 63U;

/// Whether somebody may wait for the moment when nobody holds it any more.
bool is_stream(const OwnedFd& fd) {
  struct stat status {};
  return ::fstat(fd.get(), &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

}  // namespace

Result<control::Id> Keeper::add_surroundings(Client& client, std::span<const std::byte> packet,
                                             std::vector<OwnedFd> descriptors) {
  const auto request = control::read<control::Surroundings>(packet);
  if (!request || descriptors.size() != (request->own_environment ? 5U : 4U))
    return failure(ErrorKind::malformed, "surroundings: folder, 0, 1, 2 and perhaps an environment");
  const std::uint64_t id = next_id_++;
  const bool end_is_awaited = std::ranges::any_of(descriptors, is_stream);
  client.surroundings =
      std::make_shared<const Surroundings>(Surroundings{*request, std::move(descriptors), end_is_awaited});
  std::erase_if(surroundings_, [](const auto& one) { return one.second.expired(); });
  surroundings_[id] = client.surroundings;
  return control::Id{id};
}

Result<control::Id> Keeper::add_supervisor(const Client& client) {
  const std::uint64_t id = next_id_++;
  apply(supervision::AddSupervisor{id, client.child, supervision::Lifetime::until_stopped});
  return control::Id{id};
}

Result<control::Id> Keeper::add_child(Client& client, std::span<const std::byte> packet,
                                      std::vector<OwnedFd> descriptors) {
  const auto request = control::read<control::AddChild>(packet);
  if (!request || packet.size() != sizeof *request + request->argument_bytes ||
      request->argument_bytes > control::start_bytes_max ||
      descriptors.size() > control::start_descriptors_max)
    return failure(ErrorKind::malformed, "start: a request of the wrong size");
  if (const double jitter = request->policy.backoff.jitter; !(jitter >= 0 && jitter < 1))
    return failure(ErrorKind::invalid, "start: the jitter of a back-off is at least 0 and less than 1");
  const auto held = surroundings_.find(request->surroundings);
  const auto surroundings = held == surroundings_.end() ? nullptr : held->second.lock();
  if (!surroundings) return control::Id{};
  if (!tree_.supervisors.contains(request->supervisor))
    return failure(ErrorKind::closed, "start: its supervisor has ended");
  const supervision::ChildId id = next_id_++;
  const RoleId role = request->role != 0 ? request->role : made_up_role | id;
  const auto arguments = packet.subspan(sizeof *request);
  auto added =
      board_.add({.role = role,
                  .kept_bytes = request->kept_bytes,
                  .mailbox_bytes_max =
                      request->mailbox_bytes_max != 0 ? request->mailbox_bytes_max : mailbox_bytes_default,
                  .message_bytes_max = request->message_bytes_max != 0 ? request->message_bytes_max
                                                                       : control::message_bytes_default});
  if (!added) return failure(std::move(added));
  if (client.surroundings == surroundings && surroundings->end_is_awaited) client.surroundings.reset();
  Process process{.request = *request,
                  .surroundings = surroundings,
                  .arguments = {arguments.begin(), arguments.end()},
                  .argument_descriptors = std::move(descriptors),
                  .role = role,
                  .parent = client.child};
  processes_.emplace(id, std::move(process));
  apply(supervision::AddChild{
      {.id = id, .supervisor = request->supervisor, .parent = client.child, .policy = request->policy}});
  return control::Id{id};
}

Result<control::ChildRecord> Keeper::describe(supervision::ChildId id, int& pidfd) const {
  const auto at = processes_.find(id);
  const auto child = tree_.children.find(id);
  if (at == processes_.end() || child == tree_.children.end())
    return failure(ErrorKind::closed, "child: unknown, or removed");
  control::ChildRecord record{.id = id,
                              .state = child->second.state,
                              .incarnation = at->second.incarnation,
                              .pid = at->second.pid,
                              .daemon = child->second.policy.daemon,
                              .name = at->second.request.name,
                              .reason = control::Reason::of(child->second.reason),
                              .usage = at->second.usage};
  board_.describe(at->second.role, record);
  if (at->second.pidfd) pidfd = at->second.pidfd.get();
  return record;
}

Result<control::ChildRecord> Keeper::list(const control::OfSupervisor& request, int& pidfd) const {
  const auto at = tree_.supervisors.find(request.id);
  if (at == tree_.supervisors.end() || request.index >= at->second.children.size())
    return control::ChildRecord{};
  return describe(at->second.children[request.index], pidfd);
}

Result<void> Keeper::signal_child(const control::OfChild& request) {
  const auto at = processes_.find(request.id);
  if (at == processes_.end() || !at->second.pidfd)
    return failure(ErrorKind::down, "signal: there is no process at the moment");
  if (::pidfd_send_signal(at->second.pidfd.get(), request.signal, nullptr, 0) == -1)
    return system_failure("signal a process");
  return {};
}

void Keeper::remove_child(supervision::ChildId id) {
  apply(supervision::RemoveChild{id});
  if (tree_.children.contains(id)) return;
  board_.remove(role_of(id));
  processes_.erase(id);
}

void Keeper::remove_supervisor(supervision::SupervisorId id) {
  const auto at = tree_.supervisors.find(id);
  if (at == tree_.supervisors.end()) return;
  const auto children = at->second.children;
  apply(supervision::RemoveSupervisor{id});
  if (tree_.supervisors.contains(id)) return;
  for (const auto child : children) {
    board_.remove(role_of(child));
    processes_.erase(child);
  }
}

void Keeper::keep_aside(const Client& client, const control::Quarantine& what,
                        std::vector<OwnedFd>& descriptors) {
  const auto at = processes_.find(client.child);
  if (at == processes_.end()) return;
  const control::AddChild& child = at->second.request;
  chronicle_.set_aside(child.supervisor, {.role = child.name, .what = what},
                       descriptors.empty() ? OwnedFd{} : std::move(descriptors.front()));
}

}  // namespace troupe::detail
