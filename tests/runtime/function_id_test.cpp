// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <limits>
#include <troupe/runtime/function_id.hpp>

#include "printing.hpp"

namespace troupe {
namespace {

int answer() { return 42; }
const int data = 1;

const void* address_of(int (*function)()) {
  return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(function));
}

TEST(FunctionIdTest, LeadsBackToItsFunction) {
  const auto id = function_id(address_of(&answer)).value();
  const void* const found = resolve(id).value();
  EXPECT_EQ(found, address_of(&answer));
  EXPECT_EQ(reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(found))(), 42);
}

TEST(FunctionIdTest, BelongsToTheBuildOfTheProgram) {
  EXPECT_EQ(function_id(address_of(&answer)).value().module, program_build_id().value());
  EXPECT_NE(program_build_id().value(), BuildId{});
}

TEST(FunctionIdTest, NamesAFunctionOfASharedLibraryToo) {
  const void* const function = ::dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
  ASSERT_NE(function, nullptr);
  const auto id = function_id(function).value();
  EXPECT_NE(id.module, program_build_id().value());
  EXPECT_EQ(resolve(id).value(), function);
}

TEST(FunctionIdTest, AnAddressThatIsNoCodeHasNone) {
  const int local = 0;
  EXPECT_EQ(function_id(&local).error().kind, ErrorKind::invalid);
  EXPECT_EQ(function_id(&data).error().kind, ErrorKind::invalid);
  EXPECT_EQ(function_id(nullptr).error().kind, ErrorKind::invalid);
}

TEST(FunctionIdTest, OfAnotherBuildIsRefused) {
  auto id = function_id(address_of(&answer)).value();
  id.module[0] ^= 1U;
  EXPECT_EQ(resolve(id).error().kind, ErrorKind::refused);
  EXPECT_EQ(resolve(FunctionId{}).error().kind, ErrorKind::refused);
}

TEST(FunctionIdTest, WithAnOffsetThatIsNoCodeIsRefused) {
  const auto good = function_id(address_of(&answer)).value();
  const auto data_offset = good.offset + (reinterpret_cast<std::uintptr_t>(&data) -
                                          reinterpret_cast<std::uintptr_t>(address_of(&answer)));
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{data_offset}, std::uint64_t{1} << 40U,
                                     std::numeric_limits<std::uint64_t>::max()}) {
    auto id = good;
    id.offset = offset;
    EXPECT_EQ(resolve(id).error().kind, ErrorKind::refused) << offset;
  }
}

}  // namespace
}  // namespace troupe
