// SPDX-License-Identifier: MIT
#include "blob_subject.hpp"

#include "machine.hpp"

namespace troupe::bench {

using namespace std::chrono_literals;

BlobSubject::BlobSubject(Node& node) : viewer_{node.spawn<Viewer>("viewer").value()} {}

std::function<double()> BlobSubject::pass(std::size_t bytes, std::size_t rounds) const {
  return [=, viewer = viewer_, blob = Blob{}]() mutable {
    if (blob.size() == 0) blob = Blob::create(bytes, [](std::span<std::byte>) {}).value();
    std::vector<double> all;
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::int64_t before = now_ns();
      const std::uint64_t seen = viewer.ask(Look{blob}, 10s).value();
      all.push_back(static_cast<double>(now_ns() - before));
      TROUPE_ASSERT(seen == bytes);
    }
    return median(std::move(all));
  };
}

}  // namespace troupe::bench
