# What `cmake --install` leaves: headers, libraries, find_package(saccade) and pkg-config's saccade.pc.
include(CMakePackageConfigHelpers)
install(TARGETS saccade_core saccade_shared EXPORT saccade_targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT library)
install(DIRECTORY csrc/include/saccade DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/saccade)
set_target_properties(saccade_core PROPERTIES EXPORT_NAME core)
install(EXPORT saccade_targets NAMESPACE saccade:: DESTINATION ${package_dir} COMPONENT library)
set(saccade_backends ${CMAKE_INSTALL_LIBDIR}/saccade)
install(DIRECTORY DESTINATION ${saccade_backends} COMPONENT library)  # there even where no backend is built
configure_package_config_file(csrc/saccade-config.cmake.in saccade-config.cmake INSTALL_DESTINATION ${package_dir}
                              PATH_VARS saccade_backends)
write_basic_package_version_file(saccade-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/saccade-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/saccade-config-version.cmake
        DESTINATION ${package_dir} COMPONENT library)

# The prefix follows the file, so that an installed tree may be moved. The way up from the file to the prefix:
string(REGEX REPLACE "[^/]+" ".." saccade_up ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_file(csrc/capi/saccade.pc.in saccade.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/saccade.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
