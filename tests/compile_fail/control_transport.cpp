// layer: transport
#include <troupe/transport/result.hpp>

troupe::Result<int> one() { return 1; }
