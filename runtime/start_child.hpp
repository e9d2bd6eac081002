// SPDX-License-Identifier: MIT
#pragma once
// Internal. What Process and Node have in common.

#include <troupe/runtime/entry.hpp>
#include <troupe/runtime/keeper_link.hpp>

namespace troupe::detail {

/// Adds a child and waits until it is ready. When it ends or is given up before, it is removed and the error
/// says why, with the child's own words. Fills in the surroundings, the entry and the arguments' size of
/// `request`.
[[nodiscard]] Result<KeeperLink::Answered<control::ChildRecord>> start_child(KeeperLink& link,
                                                                             control::AddChild request,
                                                                             const PackedCall& call);

}  // namespace troupe::detail
