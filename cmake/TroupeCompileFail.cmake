# SPDX-License-Identifier: MIT
# Tests of what must not compile, and of the sentence a user then reads.
#
# Each tests/compile_fail/<name>.cpp begins with `// expect: <sentence>`; control_<name>.cpp must compile.
# A file sees the headers of the highest layer it includes, or of the one that a line `// layer: transport`
# names.
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})  # the lines read below decide
foreach(file IN LISTS files)
  cmake_path(GET file STEM name)
  file(STRINGS ${file} lines ENCODING UTF-8 REGEX "^// layer: |^#include <troupe/")
  if(lines MATCHES "// layer: ([a-z]+)")
    set(layer ${CMAKE_MATCH_1})
  elseif(lines MATCHES "<troupe/troupe.hpp>")
    set(layer troupe)
  elseif(lines MATCHES "<troupe/foreign/")
    set(layer foreign)
  elseif(lines MATCHES "<troupe/actors/")
    set(layer actors)
  elseif(lines MATCHES "<troupe/runtime/")
    set(layer runtime)
  else()
    set(layer transport)
  endif()
  if(NOT TARGET troupe::${layer})
    continue()
  endif()
  add_test(NAME compile_fail/${name} COMMAND ${CMAKE_COMMAND}
    -D COMPILER=${CMAKE_CXX_COMPILER}
    -D "FLAGS=${CMAKE_CXX20_STANDARD_COMPILE_OPTION} ${CMAKE_CXX_FLAGS}"
    -D "INCLUDES=$<REMOVE_DUPLICATES:$<TARGET_PROPERTY:troupe_${layer},INTERFACE_INCLUDE_DIRECTORIES>>"
    -D "IMPLICIT_INCLUDES=${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES}"
    -D SOURCE=${file}
    -P ${PROJECT_SOURCE_DIR}/cmake/expect_compile_error.cmake)
  set_tests_properties(compile_fail/${name} PROPERTIES LABELS compile_fail TIMEOUT 120)
endforeach()
