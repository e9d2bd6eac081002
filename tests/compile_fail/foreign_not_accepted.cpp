// expect: troupe: this actor does not accept that message
// SPDX-License-Identifier: MIT
#include <troupe/foreign/endpoint.hpp>

struct Add {
  int amount = 0;
};
struct Other {};
struct Actor {
  using accepts = troupe::messages<Add>;
  void on(const Add&);
};

void expose(troupe::foreign::Endpoint& endpoint, const troupe::Ref<Actor>& actor) {
  static_cast<void>(endpoint.expose<Other>("actor", actor));
}
