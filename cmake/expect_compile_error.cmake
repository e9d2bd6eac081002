# SPDX-License-Identifier: MIT
# cmake -D COMPILER= -D FLAGS= -D INCLUDES= -D IMPLICIT_INCLUDES= -D SOURCE= -P expect_compile_error.cmake
# Passes if SOURCE does not compile and says its expected sentence early; a control_* passes if it compiles.
cmake_minimum_required(VERSION 3.25)
set(lines_max 15)

file(READ ${SOURCE} text)
cmake_path(GET SOURCE STEM name)
string(REGEX MATCH "^control_" control ${name})
if(NOT control AND NOT text MATCHES "^// expect: ([^\n]+)")
  message(FATAL_ERROR "${SOURCE}: the first line must read `// expect: <sentence>`")
endif()
set(sentence "${CMAKE_MATCH_1}")

list(REMOVE_ITEM INCLUDES ${IMPLICIT_INCLUDES})  # naming /usr/include again breaks #include_next
list(TRANSFORM INCLUDES PREPEND -I)
separate_arguments(FLAGS UNIX_COMMAND "${FLAGS}")
set(ENV{LC_ALL} C)
execute_process(
  COMMAND ${COMPILER} ${FLAGS} ${INCLUDES} -fsyntax-only ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(control)
  if(NOT status EQUAL 0)
    message(NOTICE "${output}")
    message(FATAL_ERROR "${SOURCE} must compile, and does not")
  endif()
  return()
endif()

if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, and must not: expected “${sentence}”")
endif()
set(rest "${output}")
set(early "")
foreach(line RANGE 1 ${lines_max})
  string(FIND "${rest}" "\n" end)
  if(end EQUAL -1)
    string(APPEND early "${rest}")
    break()
  endif()
  math(EXPR end "${end} + 1")
  string(SUBSTRING "${rest}" 0 ${end} head)
  string(SUBSTRING "${rest}" ${end} -1 rest)
  string(APPEND early "${head}")
endforeach()
string(FIND "${early}" "${sentence}" at)
if(at EQUAL -1)
  message(NOTICE "${output}")
  message(FATAL_ERROR "The first ${lines_max} lines of the compiler do not say “${sentence}”")
endif()
