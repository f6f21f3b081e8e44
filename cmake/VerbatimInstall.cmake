# make install: libraries, headers, the CMake package (find_package(Verbatim)) and what a user reads.
# The program itself is installed by src/cli.
include(CMakePackageConfigHelpers)

# Everything that is installed, and nothing else (no tests, no benches).
get_property(libraries GLOBAL PROPERTY VERBATIM_LIBRARIES)
add_custom_target(installed DEPENDS verbatim verbatim_tensor ${libraries})

install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/verbatim
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/verbatim/configs
        FILES_MATCHING PATTERN "*.toml")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE ${PROJECT_SOURCE_DIR}/README.md
        ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Verbatim)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/VerbatimConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/VerbatimConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/VerbatimConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/VerbatimConfig.cmake ${PROJECT_BINARY_DIR}/VerbatimConfigVersion.cmake
        DESTINATION ${package_dir})

get_property(parts GLOBAL PROPERTY VERBATIM_PARTS)
list(REMOVE_DUPLICATES parts)
foreach(part ${parts})
  install(EXPORT Verbatim${part}Targets NAMESPACE Verbatim:: DESTINATION ${package_dir})
endforeach()
