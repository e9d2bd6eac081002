# SPDX-License-Identifier: MIT
# How a folder of this project becomes targets.

set(CMAKE_CXX_EXTENSIONS OFF)

# Warnings are ours to fix, so they are errors here and absent in a project that includes us.
add_library(troupe_warnings INTERFACE)
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(troupe_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Werror
    # g++ 12 sees overflows in std::string and memcpy that cannot happen once it optimises (its bugs 105329,
    # 105651): what is an error is what both compilers can be trusted with.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>)
endif()

# Makes <build>/include/<view>/troupe/<name> lead to `source`, so that an include line reads the same
# in the tree and after installation while each view holds only what its target may see.
function(troupe_link_headers view name source)
  set(folder ${PROJECT_BINARY_DIR}/include/${view}/troupe)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${source} ${folder}/${name} SYMBOLIC)
endfunction()

# troupe_layer(<layer> [PUBLIC <target>…] [PRIVATE <target>…]): the folder becomes troupe::<layer>.
function(troupe_layer layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "PUBLIC;PRIVATE")
  set(target troupe_${layer})
  # A glob, because here a folder is a target: a file put into it belongs to the layer.
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE troupe_warnings ${arg_PRIVATE})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(troupe::${layer} ALIAS ${target})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_link_libraries(${target} ${scope} ${arg_PUBLIC})
  target_include_directories(${target} ${scope} $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include/${layer}>)
  troupe_link_headers(${layer} ${layer} ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()

# troupe_program(<name> SOURCES <file>… [LINK <target>…]): an executable of our own.
function(troupe_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  add_executable(${name} ${arg_SOURCES})
  target_compile_features(${name} PRIVATE cxx_std_20)
  target_link_libraries(${name} PRIVATE ${arg_LINK} troupe_warnings)
endfunction()
