// SPDX-License-Identifier: MIT
// The daemon program: a daemon child is not waited for; it is stopped when its parent ends. The other child
// is joined.
#include <poll.h>

#include <iostream>
#include <troupe/runtime/init.hpp>
#include <troupe/runtime/process.hpp>

void work(const std::string& name, int milliseconds) {
  std::cout << name << " begins\n" << std::flush;
  ::poll(nullptr, 0, milliseconds);
  std::cout << name << " ends\n" << std::flush;
}

int main(int argc, char** argv) {
  troupe::init(argc, argv);
  troupe::Process background{{.name = "background", .daemon = true}, work, "the daemon", 60'000};
  troupe::Process job{{.name = "job"}, work, "the job", 200};
  background.start().value();
  job.start().value();
  std::cout << job.join().value().reason << '\n';
  std::cout << "main ends, and the daemon with it\n";
}
