// SPDX-License-Identifier: MIT
#include "witness.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace troupe::test {

WitnessSum::WitnessSum(std::span<const Witness> rows) {
  for (const Witness& row : rows) {
    messages += row.last;
    repeated += row.repeated;
    unmarked += row.unmarked;
    skipped += row.skipped;
    reordered += row.reordered;
    torn += row.torn;
    idle += row.last == 0 ? 1 : 0;
  }
}

void WitnessSum::print(const char* what, std::size_t kills) const {
  std::printf("%-12s %6zu times, %9lu messages: %lu lost, %lu torn, %lu out of order, %lu repeated\n", what,
              kills, messages, skipped, torn, reordered, repeated);
  std::fflush(stdout);
}

void WitnessSum::expect_sound(std::uint64_t repeats_max) const {
  EXPECT_EQ(idle, 0U);
  EXPECT_EQ(skipped, 0U);
  EXPECT_EQ(torn, 0U);
  EXPECT_EQ(reordered, 0U);
  EXPECT_EQ(unmarked, 0U) << "a message came again as if for the first time";
  EXPECT_LE(repeated, repeats_max);
}

}  // namespace troupe::test
