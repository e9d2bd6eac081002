// SPDX-License-Identifier: MIT
#pragma once

#include "options.hpp"
#include "report.hpp"

namespace verify {

/// Runs the whole job: starts the actors under one node, draws the view, deals the deaths, repeats passes,
/// and judges. Everything that was started is gone when it returns. `Outcome::failure` says why it could not
/// be done.
[[nodiscard]] Outcome run_job(const Options& options);

}  // namespace verify
