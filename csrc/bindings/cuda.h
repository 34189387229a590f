#pragma once

#include <pybind11/pybind11.h>

namespace saccade::bindings {

/// Adds the functions for a GPU's memory to the module.
void bind_cuda(pybind11::module_& m);

}  // namespace saccade::bindings
