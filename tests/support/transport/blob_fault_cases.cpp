// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <troupe/transport/blob.hpp>
#include <troupe/transport/codec.hpp>
#include <troupe/transport/frozen.hpp>
#include <vector>

#include "transport/fault_case.hpp"
#include "transport/lane_ends.hpp"

namespace troupe::test {
namespace {

constexpr std::size_t blob_bytes = 20'000;

/// As a message carries it.
template <class T>
T passed(const T& value) {
  std::vector<std::byte> bytes(encoded_size(value));
  DescriptorList list{4};
  encode(value, bytes, &list).value();
  DescriptorList arrived{std::move(list).take()};
  return decode<T>(bytes, &arrived).value();
}

void check(const Blob& blob) {
  const auto sent = pattern(1, blob_bytes);
  const auto bytes = blob.bytes().value();
  require(std::ranges::equal(bytes, sent), "other bytes");
}

Result<void> use_a_blob() {
  const auto sent = pattern(1, blob_bytes);
  const auto copied = Blob::create(sent).value();
  check(copied);
  check(passed(copied));
  auto writer = BlobWriter::create(blob_bytes).value();
  std::ranges::copy(sent, writer.bytes().begin());
  check(passed(std::move(writer).seal().value()));
  return {};
}

Result<void> use_frozen_values() {
  const std::vector<int> numbers(5'000, 7);
  const auto in_place = passed(Frozen<std::vector<int>>::create(numbers).value());
  require(std::ranges::equal(in_place.get(), numbers), "other numbers");
  const std::vector<std::string> texts(100, "seven");
  const auto encoded = passed(Frozen<std::vector<std::string>>::create(texts).value());
  require(encoded.get() == texts, "other texts");
  return {};
}

}  // namespace

std::vector<NamedCase> blob_fault_cases() {
  return {simple_case("Blob", use_a_blob), simple_case("Frozen", use_frozen_values)};
}

}  // namespace troupe::test
