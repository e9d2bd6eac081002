// SPDX-License-Identifier: MIT
#pragma once
// What it costs to hand over a Blob.

#include <memory>
#include <troupe/troupe.hpp>

namespace troupe::bench {

/// An actor that is asked about blobs, and a ready blob of each size that is asked for.
class BlobSubject {
 public:
  explicit BlobSubject(Node& node);

  /// Median nanoseconds of an ask whose question holds a ready blob: it is passed, its receiver opens and
  /// maps it, returns what the view's size is, and touches nothing.
  [[nodiscard]] std::function<double()> pass(std::size_t bytes, std::size_t rounds) const;

 private:
  struct Look {
    using reply = std::uint64_t;
    Blob blob{};
  };
  struct Viewer {
    using accepts = messages<Look>;
    std::uint64_t on(const Look& look) { return look.blob.bytes().value().size(); }
  };
  Ref<Viewer> viewer_;
};

}  // namespace troupe::bench
