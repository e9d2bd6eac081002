// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <troupe/transport/owned_fd.hpp>
#include <troupe/transport/queue.hpp>
#include <utility>
#include <vector>

#include "transport/conformance.hpp"
#include "transport/forked.hpp"
#include "transport/lane_ends.hpp"
#include "transport/nothing_left.hpp"

namespace troupe::test {

using namespace std::chrono_literals;

/// A queue as the suite sees it.
struct QueueKind {
  using Access = std::unique_ptr<detail::QueueAccess>;
  /// By which another process finds a queue: a forked one, or one that is sent this.
  struct Way {
    std::string text{};
    std::vector<OwnedFd> descriptors{};
  };

  std::string name;
  std::function<Result<Access>(const QueueOptions&)> create{};
  std::function<Way(detail::QueueAccess&)> way_to{};
  std::function<Access(const Way&)> find{};
  Exempt exempt{};

  friend std::ostream& operator<<(std::ostream& out, const QueueKind& kind) { return out << kind.name; }
};

/// The name of a parameter, for INSTANTIATE_TEST_SUITE_P.
inline std::string queue_name(const testing::TestParamInfo<QueueKind>& info) { return info.param.name; }

class QueueConformance : public NothingLeft, public testing::WithParamInterface<QueueKind> {
 protected:
  /// Far longer than anything here takes.
  static constexpr auto patience = 20s;

  void SetUp() override {
    if (const auto reason = exempt_from(GetParam().exempt); !reason.empty()) GTEST_SKIP() << reason;
  }

  /// A queue of this process; way() leads to the last one.
  template <class T = int>
  Queue<T> make(const QueueOptions& options = {}) {
    auto access = GetParam().create(options).value();
    way_ = GetParam().way_to(*access);
    return Queue<T>::over(std::move(access));
  }
  [[nodiscard]] QueueKind::Way& way() { return way_; }
  /// The same queue again, in another process or as another type.
  template <class T = int>
  static Queue<T> found(const QueueKind::Way& way) {
    return Queue<T>::over(GetParam().find(way));
  }
  template <class T = int>
  Queue<T> found() const {
    return found<T>(way_);
  }

  /// Takes and acknowledges all that there is.
  static std::vector<int> drained(Receiver<int>& in) {
    std::vector<int> all;
    while (auto item = in.get_nowait()) {
      all.push_back(**item);
      item->acknowledge();
    }
    return all;
  }

 private:
  QueueKind::Way way_{};
};

struct Job {
  int number = 0;
  std::string text{};
};

}  // namespace troupe::test
