# Everything comes from Debian packages (scripts/install-dependencies lists them); nothing is downloaded here.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(PkgConfig REQUIRED)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(sentencepiece REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(edit IMPORTED_TARGET libedit)
find_package(Torch REQUIRED)

# Flags that decide whether GCC accepts the precompiled header: the same for every target that includes LibTorch.
function(verbatim_torch_options target)
  target_include_directories(${target} SYSTEM PUBLIC ${TORCH_INCLUDE_DIRS})
  if(Torch_VERSION VERSION_LESS 2)
    # Stand-ins for two headers that bring most of LibTorch along.
    target_include_directories(${target} BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/cmake/light_headers)
  endif()
  target_link_libraries(${target} PUBLIC ${TORCH_LIBRARIES})
  if(TORCH_CXX_FLAGS)
    separate_arguments(flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
    target_compile_options(${target} PUBLIC ${flags})
  endif()
  target_compile_options(${target} PRIVATE -fopenmp)
  target_link_options(${target} PUBLIC -fopenmp)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Lets ccache hash the header instead of giving up on files that use it.
    target_compile_options(${target} PRIVATE -fpch-preprocess)
    if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
      # GCC 14 sees writes behind the end of a std::vector<bool> in LibTorch 2's custom_function.h, where there are none.
      target_compile_options(${target} PRIVATE -Wno-array-bounds)
    endif()
  endif()
endfunction()

# The precompiled header (src/nn/torch.h) saves about 20 s per file that includes LibTorch: one target builds it, all others
# reuse it.
# A source with code generation flags of its own must set the property SKIP_PRECOMPILE_HEADERS.
function(verbatim_use_torch target)
  verbatim_torch_options(${target})
  target_precompile_headers(${target} REUSE_FROM verbatim_torch_header)
endfunction()

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/torch_header.cc CONTENT "// Holds the precompiled header.\n")
add_library(verbatim_torch_header STATIC ${CMAKE_BINARY_DIR}/torch_header.cc)
verbatim_compile_options(verbatim_torch_header)
verbatim_torch_options(verbatim_torch_header)
target_precompile_headers(verbatim_torch_header PRIVATE ${PROJECT_SOURCE_DIR}/src/nn/torch.h)
