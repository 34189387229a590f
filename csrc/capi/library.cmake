# What other programs embed, and a wheel does not need. To the core comes what runs programs:
target_sources(saccade_core PRIVATE
  csrc/contract/archive.cpp
  csrc/contract/json.cpp
  csrc/contract/onnx.cpp
  csrc/contract/program_file.cpp
  csrc/contract/reading.cpp
  csrc/contract/sha256.cpp
  csrc/contract/text.cpp
  csrc/runtime/library.cpp
  csrc/runtime/loading.cpp
  csrc/runtime/prepare.cpp
  csrc/runtime/program.cpp
  csrc/runtime/region.cpp
  csrc/runtime/session.cpp
  csrc/runtime/targets.cpp
  csrc/runtime/verdict.cpp)

# libsaccade is the core and the C API in one shared library, which shows saccade_* and nothing else.
add_library(saccade_shared SHARED
  csrc/capi/arguments.cpp
  csrc/capi/drawing.cpp
  csrc/capi/programs.cpp
  csrc/capi/sessions.cpp)
add_library(saccade::saccade ALIAS saccade_shared)
target_include_directories(saccade_shared PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/csrc/include>
                                                 $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_definitions(saccade_shared PRIVATE SACCADE_BUILDING SACCADE_VERSION="${PROJECT_VERSION}")
target_link_libraries(saccade_shared PRIVATE $<BUILD_INTERFACE:saccade_core> $<BUILD_INTERFACE:saccade_flags>)
set_target_properties(saccade_shared PROPERTIES
  OUTPUT_NAME saccade VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME saccade)
if(UNIX AND NOT APPLE)
  # The C++ library's templates have default visibility; only a version script keeps them, and what the static core
  # brings along, from the table of symbols.
  set(saccade_symbols ${PROJECT_SOURCE_DIR}/csrc/capi/saccade.map)
  target_link_options(saccade_shared PRIVATE LINKER:--version-script=${saccade_symbols} LINKER:--gc-sections
                                             LINKER:--as-needed)
  set_target_properties(saccade_shared PROPERTIES LINK_DEPENDS ${saccade_symbols})
endif()
