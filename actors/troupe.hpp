// SPDX-License-Identifier: MIT
#pragma once
// What programs use.

#include <troupe/runtime/init.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/runtime/process.hpp>
