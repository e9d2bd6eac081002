// SPDX-License-Identifier: MIT
#pragma once
// The conformance suite of queues: what Queue<T> promises (transport/queue.hpp), whatever carries it.
//
// A test program includes this file once and names the queues that are to pass:
//
//   INSTANTIATE_TEST_SUITE_P(My, QueueConformance, testing::Values(QueueKind{…}), queue_name);
//
// sh scripts/conformance prints the table of docs/queue.md.

#include "transport/queue_cases/bounds.hpp"     // IWYU pragma: export
#include "transport/queue_cases/ends.hpp"       // IWYU pragma: export
#include "transport/queue_cases/fixture.hpp"    // IWYU pragma: export
#include "transport/queue_cases/items.hpp"      // IWYU pragma: export
#include "transport/queue_cases/processes.hpp"  // IWYU pragma: export
#include "transport/queue_cases/settling.hpp"   // IWYU pragma: export
