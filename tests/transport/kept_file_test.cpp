// SPDX-License-Identifier: MIT
#include <troupe/transport/kept_file.hpp>

#include <unistd.h>

#include <algorithm>
#include <string>

#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe {
namespace {

using test::pattern;

class Kept : public test::NothingLeft {
 protected:
  static constexpr std::size_t slot_bytes = 4096;

  KeptFile open() { return KeptFile::create(file.get(), slot_bytes).value(); }
  static void commit(KeptFile& kept, std::span<const std::byte> bytes) {
    std::copy(bytes.begin(), bytes.end(), kept.next().begin());
    kept.commit(bytes.size());
  }
  static std::vector<std::byte> committed(const KeptFile& kept) {
    return {kept.committed().begin(), kept.committed().end()};
  }

  OwnedFd file = create_memory("test", KeptFile::file_bytes(slot_bytes)).value();
};

TEST_F(Kept, BeginsWithNothing) {
  const auto kept = open();
  EXPECT_EQ(kept.version(), 0U);
  EXPECT_TRUE(kept.committed().empty());
  EXPECT_EQ(kept.next().size(), slot_bytes);
}

TEST_F(Kept, IsThereForTheNextIncarnation) {
  {
    auto kept = open();
    commit(kept, pattern(1, 64));
    EXPECT_EQ(committed(kept), pattern(1, 64));
  }
  const auto kept = open();
  EXPECT_EQ(kept.version(), 1U);
  EXPECT_EQ(committed(kept), pattern(1, 64));
}

TEST_F(Kept, IsWhatTheLastCommitSaidWhateverItsLength) {
  auto kept = open();
  std::uint64_t version = 0;
  for (const std::size_t bytes :
       {std::size_t{64}, std::size_t{3000}, std::size_t{0}, std::size_t{1}, slot_bytes}) {
    commit(kept, pattern(bytes, bytes));
    EXPECT_EQ(kept.version(), ++version);
    EXPECT_EQ(committed(kept), pattern(bytes, bytes));
    EXPECT_EQ(committed(open()), pattern(bytes, bytes));
  }
}

TEST_F(Kept, NothingCountsAsACommitToo) {
  auto kept = open();
  kept.commit(0);
  EXPECT_EQ(kept.version(), 1U);
  EXPECT_TRUE(kept.committed().empty());
  EXPECT_EQ(open().version(), 1U);
}

TEST_F(Kept, IgnoresWhatWasWrittenAndNotCommitted) {
  {
    auto kept = open();
    commit(kept, pattern(1, 100));
    const auto next = kept.next();
    std::fill(next.begin(), next.begin() + 50, std::byte{0xEE});
  }
  auto kept = open();
  EXPECT_EQ(kept.version(), 1U);
  EXPECT_EQ(committed(kept), pattern(1, 100));
  commit(kept, pattern(2, 100));
  EXPECT_EQ(committed(open()), pattern(2, 100));
}

TEST_F(Kept, NeverGivesRoomInWhatIsCommitted) {
  auto kept = open();
  for (std::uint64_t n = 1; n <= 5; ++n) {
    const auto before = kept.committed();
    const auto next = kept.next();
    EXPECT_TRUE(before.empty() || next.data() + next.size() <= before.data() ||
                before.data() + before.size() <= next.data());
    std::fill(next.begin(), next.end(), std::byte{0xEE});
    EXPECT_EQ(committed(kept), n == 1 ? std::vector<std::byte>{} : pattern(n - 1, 200));
    commit(kept, pattern(n, 200));
  }
}

TEST_F(Kept, AlternatesBetweenTwoSlots) {
  auto kept = open();
  commit(kept, pattern(1, 8));
  const auto* const first = kept.committed().data();
  commit(kept, pattern(2, 8));
  const auto* const second = kept.committed().data();
  commit(kept, pattern(3, 8));
  EXPECT_NE(first, second);
  EXPECT_EQ(kept.committed().data(), first);
}

TEST_F(Kept, NoticesAStrayWriteIntoWhatIsCommitted) {
  {
    auto kept = open();
    commit(kept, pattern(1, 100));
    commit(kept, pattern(2, 100));
  }
  const auto genuine = open();
  const auto content = static_cast<off_t>(genuine.committed().data() - genuine.next().data() > 0
                                              ? lane::page_bytes + slot_bytes
                                              : lane::page_bytes);
  for (const off_t at : {off_t{0}, off_t{50}, off_t{99}}) {
    std::byte byte{};
    ASSERT_EQ(::pread(file.get(), &byte, 1, content + at), 1);
    const auto damaged = byte ^ std::byte{4};
    ASSERT_EQ(::pwrite(file.get(), &damaged, 1, content + at), 1);
    const auto kept = KeptFile::create(file.get(), slot_bytes);
    ASSERT_FALSE(kept) << "byte " << at;
    EXPECT_EQ(kept.error().kind, ErrorKind::malformed);
    ASSERT_EQ(::pwrite(file.get(), &byte, 1, content + at), 1);
  }
  EXPECT_EQ(committed(open()), pattern(2, 100)) << "the file is whole again";

  const std::byte damaged{0xEE};
  ASSERT_EQ(::pwrite(file.get(), &damaged, 1, content + 100), 1);
  EXPECT_TRUE(KeptFile::create(file.get(), slot_bytes)) << "a byte that nobody committed";
}

TEST_F(Kept, IsMalformedIfAnythingInItsFirstPageIsImpossible) {
  auto kept = open();
  commit(kept, pattern(1, 100));
  std::vector<std::byte> page(lane::page_bytes);
  ASSERT_EQ(::pread(file.get(), page.data(), page.size(), 0), static_cast<ssize_t>(page.size()));
  // Whatever words the page consists of: each that is not zero is made huge in turn.
  std::size_t damaged = 0;
  for (std::size_t at = 0; at < page.size(); at += sizeof(std::uint64_t)) {
    constexpr std::uint64_t huge = ~std::uint64_t{0} - 8;
    if (std::all_of(page.begin() + static_cast<std::ptrdiff_t>(at),
                    page.begin() + static_cast<std::ptrdiff_t>(at + 8),
                    [](std::byte byte) { return byte == std::byte{0}; })) {
      continue;
    }
    ASSERT_EQ(::pwrite(file.get(), &huge, sizeof huge, static_cast<off_t>(at)), 8);
    const auto result = KeptFile::create(file.get(), slot_bytes);
    ASSERT_FALSE(result) << "word at " << at;
    EXPECT_EQ(result.error().kind, ErrorKind::malformed);
    ASSERT_EQ(::pwrite(file.get(), page.data() + at, 8, static_cast<off_t>(at)), 8);
    ++damaged;
  }
  EXPECT_GE(damaged, 3U) << "version, length, check";
}

TEST_F(Kept, HasRoomForTwoSlotsOfAnySize) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{70'000}}) {
    const auto other = create_memory("test", KeptFile::file_bytes(bytes)).value();
    auto kept = KeptFile::create(other.get(), bytes).value();
    for (std::uint64_t n = 1; n <= 3; ++n) {
      commit(kept, pattern(n, bytes));
      EXPECT_EQ(committed(kept), pattern(n, bytes));
    }
  }
}

TEST_F(Kept, WithoutAFileIsAnError) { EXPECT_FALSE(KeptFile::create(-1, slot_bytes)); }

}  // namespace
}  // namespace troupe
