// expect: troupe: other languages name a message by its type's own name
// SPDX-License-Identifier: MIT
#include <troupe/foreign/endpoint.hpp>

namespace one {
struct Add {
  int amount = 0;
};
}  // namespace one
namespace two {
struct Add {
  double amount = 0;
};
}  // namespace two
struct Actor {
  using accepts = troupe::messages<one::Add, two::Add>;
  void on(const one::Add&);
  void on(const two::Add&);
};

void expose(troupe::foreign::Endpoint& endpoint, const troupe::Ref<Actor>& actor) {
  static_cast<void>(endpoint.expose<one::Add, two::Add>("actor", actor));
}
