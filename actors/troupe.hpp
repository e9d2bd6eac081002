// SPDX-License-Identifier: MIT
#pragma once
// What programs use.

#include <troupe/actors/message.hpp>
#include <troupe/actors/node.hpp>
#include <troupe/actors/ref.hpp>
#include <troupe/actors/reply.hpp>
#include <troupe/actors/self.hpp>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/runtime/pipeline.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/runtime/subprocess.hpp>
