// SPDX-License-Identifier: MIT
#include <troupe/transport/memory_map.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <troupe/transport/clock.hpp>

#include "transport/forked.hpp"
#include "transport/nothing_left.hpp"
#include "transport/signal_storm.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t page = 4096;

/// A file as its writer leaves it to others: mapped once for writing, then sealed.
struct SealedFile {
  SealedFile() { seal_against_writers(file.get()).value(); }
  OwnedFd file = create_memory("test", 2 * page).value();
  MemoryMap map = MemoryMap::create(file.get(), 2 * page, Access::read_write).value();
};

class Memory : public test::NothingLeft {};

TEST_F(Memory, IsZeroAndExactlyAsLargeAsAsked) {
  const auto file = create_memory("test", 10'000).value();
  struct stat status {};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_size, 10'000);
  EXPECT_GE(status.st_blocks * 512, 10'000) << "allocated, not promised";
  std::vector<std::byte> bytes(10'000, std::byte{1});
  ASSERT_EQ(::pread(file.get(), bytes.data(), bytes.size(), 0), 10'000);
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0}), 10'000);
}

TEST_F(Memory, HasADescriptorThatNoOtherProgramInherits) {
  const auto file = create_memory("test", page).value();
  EXPECT_EQ(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(Memory, ThatCannotBeHadIsExhausted) {
  test::Forked child{[] {
    const rlimit limit{16 * page, 16 * page};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const auto file = create_memory("test", 17 * page);
    if (file) return 2;
    if (file.error().kind != ErrorKind::exhausted) return 3;
    return create_memory("test", 16 * page) ? 0 : 4;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(10s)), 0);
}

TEST_F(Memory, IsAllocatedThoughSignalsInterruptItAgainAndAgain) {
  const test::SignalStorm storm{500us};  // far shorter than it takes to allocate all of it
  constexpr std::size_t bytes = std::size_t{64} << 20U;
  const auto file = create_memory("test", bytes).value();
  struct stat status {};
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(bytes));
  EXPECT_GE(status.st_blocks * 512, static_cast<off_t>(bytes));
}

TEST_F(Memory, WithoutADescriptorLeftIsExhausted) {
  test::Forked child{[] {
    const rlimit limit{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const auto file = create_memory("test", page);
    return !file && file.error().kind == ErrorKind::exhausted ? 0 : 2;
  }};
  EXPECT_EQ(child.exit_code(deadline_in(10s)), 0);
}

TEST_F(Memory, OnceSealedIsStillWrittenByItsOwnerAlone) {
  SealedFile sealed;
  const auto reader = MemoryMap::create(sealed.file.get(), 2 * page, Access::read).value();
  sealed.map.data()[5] = std::byte{7};
  EXPECT_EQ(reader.data()[5], std::byte{7});
}

TEST_F(Memory, OnceSealedCannotBeWrittenAnew) {
  SealedFile sealed;
  EXPECT_FALSE(MemoryMap::create(sealed.file.get(), 2 * page, Access::read_write));
  EXPECT_FALSE(MemoryMap::create_ring(sealed.file.get(), page, page, Access::read_write));
  EXPECT_EQ(::pwrite(sealed.file.get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);

  const auto reader = MemoryMap::create(sealed.file.get(), 2 * page, Access::read).value();
  EXPECT_EQ(::mprotect(reader.data(), page, PROT_READ | PROT_WRITE), -1) << "a reader's mapping stays one";

  const auto path = "/proc/self/fd/" + std::to_string(sealed.file.get());
  const OwnedFd again{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  ASSERT_TRUE(again);
  EXPECT_FALSE(MemoryMap::create(again.get(), page, Access::read_write)) << "nor through a fresh descriptor";
}

TEST_F(Memory, OnceSealedKeepsItsSizeAndItsPages) {
  SealedFile sealed;
  EXPECT_EQ(::ftruncate(sealed.file.get(), 0), -1);
  EXPECT_EQ(::ftruncate(sealed.file.get(), 4 * page), -1);
  EXPECT_EQ(::fallocate(sealed.file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page), -1);
  EXPECT_EQ(::fcntl(sealed.file.get(), F_ADD_SEALS, F_SEAL_WRITE), -1) << "its owner could be shut out";
  EXPECT_TRUE(check_sealed(sealed.file.get(), 2 * page));
}

TEST_F(Memory, IsRefusedUnlessSealedAndOfTheRightSize) {
  const auto kind = [](const Result<void>& result) {
    return result ? "accepted" : std::string{to_string(result.error().kind)};
  };
  SealedFile sealed;
  EXPECT_EQ(kind(check_sealed(sealed.file.get(), 2 * page)), "accepted");
  EXPECT_EQ(kind(check_sealed(sealed.file.get(), page)), "refused");
  EXPECT_EQ(kind(check_sealed(sealed.file.get(), 3 * page)), "refused");
  EXPECT_EQ(kind(check_sealed(sealed.file.get(), 0)), "refused");

  constexpr int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL};
  for (const int missing : seals) {
    const auto file = create_memory("test", page).value();
    for (const int seal : seals) {
      ASSERT_EQ(seal == missing ? 0 : ::fcntl(file.get(), F_ADD_SEALS, seal), 0);
    }
    EXPECT_EQ(kind(check_sealed(file.get(), page)), "refused") << "without seal " << missing;
  }
}

TEST_F(Memory, ThatIsNoMemoryFileIsAnError) {
  const OwnedFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  EXPECT_FALSE(check_sealed(null.get(), 0));
  EXPECT_FALSE(check_sealed(-1, 0));
  EXPECT_FALSE(seal_against_writers(-1));
  EXPECT_FALSE(MemoryMap::create(-1, page, Access::read));
  EXPECT_FALSE(MemoryMap::create_ring(-1, page, page, Access::read));
}

TEST_F(Memory, MappedAsARingRepeatsItselfBehindItsEnd) {
  const auto file = create_memory("test", page + 2 * page).value();
  const auto ring = MemoryMap::create_ring(file.get(), page, 2 * page, Access::read_write).value();
  ASSERT_EQ(ring.size(), page + 4 * page);
  std::memcpy(ring.data() + page + 2 * page - 3, "abcdef", 6);
  EXPECT_EQ(std::memcmp(ring.data() + page, "def", 3), 0);
  EXPECT_EQ(std::memcmp(ring.data() + page + 4 * page - 3, "abc", 3), 0);
  EXPECT_EQ(ring.data()[0], std::byte{0}) << "the header is not part of the ring";
}

TEST_F(Memory, IsNotMappedInAFork) {
  const auto file = create_memory("test", page).value();
  const auto map = MemoryMap::create(file.get(), page, Access::read_write).value();
  const auto mapped = [&] {
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
      if (line.find("/memfd:test") != std::string::npos) return 1;
    }
    return 0;
  };
  EXPECT_EQ(mapped(), 1);
  EXPECT_EQ(test::Forked{mapped}.exit_code(deadline_in(10s)), 0);
}

TEST_F(Memory, IsUnmappedOnceWhenItsOwnerChanges) {
  const auto file = create_memory("test", page).value();
  auto first = MemoryMap::create(file.get(), page, Access::read_write).value();
  auto* const data = first.data();
  MemoryMap second{std::move(first)};
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that it is empty is promised
  EXPECT_EQ(second.data(), data);
  second = MemoryMap::create(file.get(), page, Access::read).value();
  EXPECT_NE(second.data(), data);
  MemoryMap none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.size(), 0U);
}

TEST_F(Memory, LeftBehindIsNoticedByTheFixture) {
  const auto before = test::Holdings::now();
  EXPECT_TRUE(left_over(before, test::Holdings::now()).empty());
  const auto file = create_memory("left", page).value();
  const auto map = MemoryMap::create(file.get(), page, Access::read).value();
  const test::Forked child{[] { return ::pause(); }};
  const auto lines = left_over(before, test::Holdings::now());
  const auto mentions = [&](const std::string& what) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const auto& line) { return line.find(what) != std::string::npos; });
  };
  EXPECT_TRUE(mentions("descriptor " + std::to_string(file.get())));
  EXPECT_TRUE(mentions("mapping of /memfd:left"));
  EXPECT_TRUE(mentions("child " + std::to_string(child.pid())));
  EXPECT_EQ(lines.size(), 4U) << "file, mapping, child, and the child's pidfd";
}

}  // namespace
}  // namespace troupe
