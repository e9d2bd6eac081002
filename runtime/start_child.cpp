// SPDX-License-Identifier: MIT
#include <troupe/runtime/start_child.hpp>

namespace troupe::detail {
namespace {

using supervision::ChildState;

/// Ready, or past it. A child that is between two attempts has not been ready yet.
bool is_settled(const control::ChildRecord& record) {
  switch (record.state) {
    case ChildState::starting:
    case ChildState::stopping:
    case ChildState::backing_off: return false;
    case ChildState::clearing: return record.reason.cause != ExitCause::init_failed;
    case ChildState::running:
    case ChildState::stopped: return true;
  }
  std::abort();
}

bool never_ran(const control::ChildRecord& record) {
  return record.state == ChildState::stopped &&
         (record.incarnation == 0 || record.reason.cause == ExitCause::init_failed ||
          record.reason.cause == ExitCause::restart_limit);
}

/// The keeper may have let the surroundings go between two starts; other threads' children may end between
/// two tries.
Result<supervision::ChildId> add_child(KeeperLink& link, control::AddChild& request, const PackedCall& call) {
  constexpr int tries_max = 100;
  std::vector<int> descriptors;
  for (const OwnedFd& fd : call.descriptors) descriptors.push_back(fd.get());
  for (int tries = 0; tries < tries_max; ++tries) {
    auto surroundings = link.surroundings();
    if (!surroundings) return failure(std::move(surroundings));
    request.surroundings = *surroundings;
    auto added = link.ask<control::Id>(request, call.arguments, descriptors);
    if (!added) return failure(std::move(added));
    if (added->record.id != 0) return added->record.id;
    link.forget_surroundings(*surroundings);
  }
  return failure(ErrorKind::refused, "start: what surrounds this process changes faster than it can be said");
}

}  // namespace

Result<KeeperLink::Answered<control::ChildRecord>> start_child(KeeperLink& link, control::AddChild request,
                                                               const PackedCall& call) {
  request.entry = call.entry;
  request.argument_bytes = static_cast<std::uint32_t>(call.arguments.size());
  auto added = add_child(link, request, call);
  if (!added) return failure(std::move(added));
  const control::OfChild of{.id = *added};

  Result<KeeperLink::Answered<control::ChildRecord>> answer{};
  const auto settled = [&] {
    answer = link.ask<control::ChildRecord>(of);
    return !answer || is_settled(answer->record);
  };
  // No deadline of its own: the keeper bounds each attempt by ready_within, and their number by restarts_max.
  if (auto waited = link.wait_until(never, settled); !waited) return failure(std::move(waited));
  if (!answer || !never_ran(answer->record)) return answer;
  const std::string why = to_string(answer->record.reason.value());
  [[maybe_unused]] const auto removed =
      link.ask<control::Id>(control::OfChild{.kind = control::Kind::remove_child, .id = of.id});
  return failure(ErrorKind::refused, "start of " + std::string{request.name.view()} + ": " + why);
}

}  // namespace troupe::detail
