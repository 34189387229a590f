# The runtime backends: shared libraries libsaccade_NAME.so, loaded by name at run time (csrc/runtime/backend.h); each
# needs its runtime and nothing else does. Included by the root file.
set(SACCADE_BACKENDS onnxruntime CACHE STRING
    "Runtime backends to build, of onnxruntime (needs nothing to build), openvino and torch (their packages for Python)")
option(SACCADE_RUNTIME_PATHS "Installed backends look for their runtime where it was when they were built" ON)

function(saccade_add_backend name)
  add_library(saccade_${name} MODULE ${ARGN} csrc/runtime/library.cpp)
  target_include_directories(saccade_${name} PRIVATE csrc/include)
  target_link_libraries(saccade_${name} PRIVATE saccade_flags Threads::Threads ${CMAKE_DL_LIBS})
  # One symbol goes out, so that two backends in one process share no inline function or type.
  if(NOT APPLE AND NOT MSVC)
    set(script ${CMAKE_CURRENT_SOURCE_DIR}/csrc/runtime/backend.map)
    target_link_options(saccade_${name} PRIVATE -Wl,--version-script=${script})
    set_target_properties(saccade_${name} PROPERTIES LINK_DEPENDS ${script})
  endif()
  # A runtime may be shipped beside its backend.
  set_target_properties(saccade_${name} PROPERTIES INSTALL_RPATH $ORIGIN
                                                   INSTALL_RPATH_USE_LINK_PATH ${SACCADE_RUNTIME_PATHS})
  install(TARGETS saccade_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/saccade COMPONENT library)
endfunction()

# The folder of a package of the Python that is used; empty where it has none. Nothing of it is imported.
function(saccade_find_package_folder name result)
  find_package(Python COMPONENTS Interpreter)
  set(folder)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
              "import importlib.util as u; s = u.find_spec('${name}'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  set(${result} "${folder}" PARENT_SCOPE)
endfunction()

function(saccade_add_onnxruntime)
  saccade_add_backend(onnxruntime csrc/runtime/onnxruntime/api.cpp csrc/runtime/onnxruntime/backend.cpp)
endfunction()

function(saccade_add_openvino)
  find_package(OpenVINO COMPONENTS Runtime QUIET)
  if(NOT OpenVINO_FOUND)
    saccade_find_package_folder(openvino folder)
    find_package(OpenVINO COMPONENTS Runtime QUIET PATHS "${folder}/cmake" NO_DEFAULT_PATH)
  endif()
  if(NOT OpenVINO_FOUND)
    message(FATAL_ERROR "saccade: no OpenVINO for SACCADE_BACKENDS=openvino: set OpenVINO_DIR to the folder of its "
                        "OpenVINOConfig.cmake, or Python_EXECUTABLE to a Python that has the package openvino")
  endif()
  saccade_add_backend(openvino csrc/runtime/openvino/backend.cpp)
  target_link_libraries(saccade_openvino PRIVATE openvino::runtime)
endfunction()

function(saccade_add_torch)
  # Not its own CMake files: those of a CUDA build want CUDA's compiler.
  set(SACCADE_TORCH "" CACHE PATH "The folder of the package torch for Python, or of libtorch; empty asks Python")
  set(folder "${SACCADE_TORCH}")
  if(NOT folder)
    saccade_find_package_folder(torch folder)
  endif()
  foreach(needed include/torch/csrc/jit/api/module.h lib/libtorch_cpu.so lib/libc10.so)
    if(NOT EXISTS ${folder}/${needed})
      message(FATAL_ERROR "saccade: no ${needed} in '${folder}' for SACCADE_BACKENDS=torch: set SACCADE_TORCH to the "
                          "folder of the package torch, or Python_EXECUTABLE to a Python that has it")
    endif()
  endforeach()
  saccade_add_backend(torch csrc/runtime/torch/backend.cpp)
  set_target_properties(saccade_torch PROPERTIES CXX_STANDARD 20)  # what its headers need
  target_compile_definitions(saccade_torch PRIVATE _GLIBCXX_USE_CXX11_ABI=1)
  target_include_directories(saccade_torch SYSTEM PRIVATE ${folder}/include
                                                          ${folder}/include/torch/csrc/api/include)
  target_link_libraries(saccade_torch PRIVATE ${folder}/lib/libtorch_cpu.so ${folder}/lib/libc10.so)
endfunction()

foreach(name IN LISTS SACCADE_BACKENDS)
  if(name STREQUAL "onnxruntime")
    saccade_add_onnxruntime()
  elseif(name STREQUAL "openvino")
    saccade_add_openvino()
  elseif(name STREQUAL "torch")
    saccade_add_torch()
  else()
    message(FATAL_ERROR "saccade: SACCADE_BACKENDS has '${name}'; it takes a list of onnxruntime, openvino and torch")
  endif()
endforeach()
