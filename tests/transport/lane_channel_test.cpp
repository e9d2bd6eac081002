// SPDX-License-Identifier: MIT
// What a peer may do to a channel in shared memory.
#include <troupe/transport/lane_channel.hpp>

#include <unistd.h>

#include <optional>

#include "transport/channel_cases/fixture.hpp"

namespace troupe {
namespace {

using test::kind_of;
using test::pattern;
using test::soon;
using namespace std::chrono_literals;

constexpr std::size_t frame_bytes_max = 1000;

/// A peer that has its own P-file mapped twice: once as LaneWriter does, once to write what it likes.
class HostileLane : public test::NothingLeft {
 protected:
  HostileLane() {
    auto ends = create_channel({.frame_bytes_max = frame_bytes_max}).value();
    near = std::move(ends.first);
    far = ends.second->take_parts().value().descriptors;
    page = MemoryMap::create(far[1].get(), lane::page_bytes + lane::capacity_min, Access::read_write).value();
    writer.emplace(LaneWriter::create(far[1].get(), {.id = 1, .capacity = lane::capacity_min}).value());
  }
  lane::WriterPage& words() { return *reinterpret_cast<lane::WriterPage*>(page.data()); }
  Result<Channel::Frame> receive() { return near->receive(buffer, soon()); }

  std::unique_ptr<Channel> near;
  std::vector<OwnedFd> far;
  MemoryMap page;
  std::optional<LaneWriter> writer;
  std::vector<std::byte> buffer;
};

TEST_F(HostileLane, IsReadAsDocsLaneSays) {
  ASSERT_TRUE(test::send(*writer, pattern(5, 100), {}));
  EXPECT_TRUE(test::is_numbered(receive().value().bytes, 5, 100));
}

TEST_F(HostileLane, IsRefusedForAnImpossibleTail) {
  words().tail.store(lane::capacity_min + 8);
  EXPECT_EQ(kind_of(receive()), "malformed");
  words().tail.store(0);
  EXPECT_EQ(kind_of(receive()), "malformed") << "and of no further use";
}

TEST_F(HostileLane, IsRefusedForAFrameThatIsLongerThanAgreed) {
  ASSERT_TRUE(test::send(*writer, pattern(5, frame_bytes_max + 1), {}));
  EXPECT_EQ(kind_of(receive()), "malformed");
  EXPECT_EQ(buffer.capacity(), 0U) << "before anything is allocated for it";
}

TEST_F(HostileLane, IsRefusedForAnImpossibleHead) {
  const auto map = MemoryMap::create(far[2].get(), lane::reader_file_bytes(1), Access::read_write).value();
  const auto own = ReaderFile::create(far[2].get(), 1).value();
  own.slot(0).head.store(1U << 20U);
  auto sent = Result<void>{};
  for (int i = 0; i < 20 && sent; ++i) sent = near->send(pattern(1, frame_bytes_max), {}, Clock::now());
  EXPECT_EQ(kind_of(sent), "malformed");
}

TEST_F(HostileLane, IsNotBelievedBeforeItIsSealed) {
  auto ends = create_channel({.frame_bytes_max = frame_bytes_max}).value();
  near = std::move(ends.first);
  far = ends.second->take_parts().value().descriptors;
  page = MemoryMap::create(far[1].get(), lane::page_bytes + lane::capacity_min, Access::read_write).value();
  words().tail.store(64);
  EXPECT_EQ(kind_of(near->receive(buffer, deadline_in(1ms))), "timed_out");
}

TEST_F(HostileLane, CannotCutItsFilesShort) {
  EXPECT_EQ(::ftruncate(far[1].get(), 0), -1) << "its own";
  auto ends = create_channel({.frame_bytes_max = frame_bytes_max}).value();
  far = ends.second->take_parts().value().descriptors;
  for (const std::size_t file : {1U, 2U, 4U, 5U})
    EXPECT_EQ(::ftruncate(far[file].get(), 0), -1) << "also before anybody has mapped them";
}

TEST_F(HostileLane, OfAnotherSizeThanAgreedIsRefused) {
  for (const std::size_t said : {std::size_t{10}, channel::frame_bytes_limit}) {
    auto ends = create_channel({.frame_bytes_max = 100'000}).value();
    auto parts = ends.second->take_parts().value();
    parts.frame_bytes_max = said;
    EXPECT_EQ(kind_of(channel_from(std::move(parts))), "refused");
  }
}

TEST_F(HostileLane, WithFilesThatCouldBeCutShortIsRefused) {
  for (const std::size_t file : {1U, 2U}) {
    auto ends = create_channel({.frame_bytes_max = frame_bytes_max}).value();
    auto parts = ends.second->take_parts().value();
    const auto bytes = file == 1 ? lane::writer_file_bytes(lane::capacity_min) : lane::reader_file_bytes(1);
    parts.descriptors[file] = create_memory("unsealed", bytes).value();
    EXPECT_EQ(kind_of(channel_from(std::move(parts))), "refused");
  }
}

}  // namespace
}  // namespace troupe
