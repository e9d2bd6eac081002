// SPDX-License-Identifier: MIT
#include "target.hpp"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

// libFuzzer looks for these two names. With TROUPE_FUZZ_SEEDS=<folder> a target writes its seeds there and
// ends.

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  const char* const folder = std::getenv("TROUPE_FUZZ_SEEDS");
  if (folder == nullptr) return 0;
  int number = 0;
  for (const auto& seed : troupe::fuzz::seeds()) {
    std::ofstream file{std::string{folder} + "/seed-" + std::to_string(number++), std::ios::binary};
    file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    if (!file.flush()) std::exit(1);
  }
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  troupe::fuzz::run(std::as_bytes(std::span{data, size}));
  return 0;
}
