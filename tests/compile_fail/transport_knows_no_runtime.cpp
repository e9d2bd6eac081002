// expect: troupe/runtime/
// layer: transport
#include <troupe/runtime/init.hpp>
