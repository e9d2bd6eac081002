// SPDX-License-Identifier: MIT
#pragma once
// What programs use.

#include <troupe/actors/message.hpp>
#include <troupe/actors/node.hpp>
#include <troupe/actors/ref.hpp>
#include <troupe/actors/reply.hpp>
#include <troupe/actors/self.hpp>
#include <troupe/runtime/barrier.hpp>
#include <troupe/runtime/condition.hpp>
#include <troupe/runtime/event.hpp>
#include <troupe/runtime/fork.hpp>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/log.hpp>
#include <troupe/runtime/mutex.hpp>
#include <troupe/runtime/pipeline.hpp>
#include <troupe/runtime/process.hpp>
#include <troupe/runtime/processes.hpp>
#include <troupe/runtime/semaphore.hpp>
#include <troupe/runtime/shared.hpp>
#include <troupe/runtime/shared_array.hpp>
#include <troupe/runtime/subprocess.hpp>
#include <troupe/runtime/task.hpp>
