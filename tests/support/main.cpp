// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <troupe/runtime/init.hpp>

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  const rlimit no_cores{};
  ::setrlimit(RLIMIT_CORE, &no_cores);  // many tests crash on purpose, and their processes inherit this
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
