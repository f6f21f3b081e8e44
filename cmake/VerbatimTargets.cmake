# The functions that every folder uses: one place for standard, warnings, sanitizers, precompiled header and export.
include(GNUInstallDirs)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Libraries that are opened at run time lie there (libverbatim_tensor.so, libverbatim_sentencepiece.so).
set(CMAKE_BUILD_RPATH ${CMAKE_BINARY_DIR})
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# ccache trusts a precompiled header only with this sloppiness; given here so that it does not depend on the user's setup.
# It takes the included files from the compiler's list instead of preprocessing first, a tenth of the time.
# Paths below the checkout count as relative: a second checkout finds the objects of the first.
find_program(VERBATIM_CCACHE ccache)
if(VERBATIM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_INODECACHE=true
      CCACHE_DEPEND=true CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=true
      ${VERBATIM_CCACHE})
endif()

find_program(VERBATIM_MOLD mold)
if(VERBATIM_MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  add_link_options(-fuse-ld=mold)
endif()

function(verbatim_compile_options target)
  # -fPIC for programs too (instead of -fPIE): GCC accepts a precompiled header only from identical code generation.
  target_compile_options(${target} PRIVATE -fPIC -Wall -Wextra -Wno-unused-parameter -Wno-psabi
                                           -fno-math-errno -fno-trapping-math)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12
     AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 sees overlapping copies in "(" + text + ")" with std::string, where there are none (GCC bug 105329).
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(VERBATIM_NATIVE)
    target_compile_options(${target} PRIVATE -march=native)
  endif()
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${target} PRIVATE -O3)
  endif()
  if(VERBATIM_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(VERBATIM_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${VERBATIM_SANITIZE} -fno-omit-frame-pointer)
    # The address sanitizer opens libraries in the program's place: of the program's search paths it knows those of the
    # older kind only.
    target_link_options(${target} PUBLIC -fsanitize=${VERBATIM_SANITIZE}
                        $<$<NOT:$<PLATFORM_ID:Darwin>>:LINKER:--disable-new-dtags>)
  endif()
  if(VERBATIM_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# verbatim_complete(TARGET): a shared library that may need nothing but the libraries it names. Without this, a source that
# is missing from its list shows only when a command opens the library. Sanitizers leave symbols to the program.
function(verbatim_complete target)
  if(NOT VERBATIM_SANITIZE AND NOT VERBATIM_FUZZ AND NOT APPLE)
    target_link_options(${target} PRIVATE LINKER:-z,defs)
  endif()
endfunction()

# verbatim_plain_sources(TARGET c.cc ...): sources of a target with LibTorch that do not include it. Compiled without the
# precompiled header, in a third of the time.
function(verbatim_plain_sources target)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
  target_sources(${target} PRIVATE ${sources})
  set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# verbatim_library(NAME SOURCES a.cc b.cc LINKS verbatim_base ... [TORCH [PLAIN c.cc ...]])
# A static library of one folder under src/. TORCH marks those that may include LibTorch; PLAIN are their sources
# that do not (verbatim_plain_sources). Installed and exported as
# Verbatim::NAME, in component Tensors with TORCH and in component Text without.
function(verbatim_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;PLAIN;LINKS;PRIVATE_LINKS")
  add_library(${name} STATIC ${arg_SOURCES})
  verbatim_plain_sources(${name} ${arg_PLAIN})
  add_library(Verbatim::${name} ALIAS ${name})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                                            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/verbatim>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
  verbatim_compile_options(${name})
  set(part Text)
  if(arg_TORCH)
    verbatim_use_torch(${name})
    set(part Tensors)
  endif()
  install(TARGETS ${name} EXPORT Verbatim${part}Targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set_property(GLOBAL APPEND PROPERTY VERBATIM_LIBRARIES ${name})
  set_property(GLOBAL APPEND PROPERTY VERBATIM_PARTS ${part})
endfunction()

function(verbatim_print_summary)
  message(STATUS "Verbatim ${PROJECT_VERSION}: ${CMAKE_BUILD_TYPE}, native=${VERBATIM_NATIVE}, LibTorch ${Torch_VERSION}, "
                 "tests=${VERBATIM_TESTS}, sanitize='${VERBATIM_SANITIZE}', ccache='${VERBATIM_CCACHE}'")
endfunction()
