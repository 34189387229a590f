// Shared libraries as the system loads them, and its environment: the one part that is the system's own (here
// Linux, and what is like it).
#pragma once

#include <string>

namespace saccade {

/// The file name of a shared library: "onnxruntime" → "libonnxruntime.so".
std::string library_name(const std::string& stem);

/// Loads a library, null and a `reason` of one line where that fails. A name without a slash is looked for where the
/// system looks. It stays for as long as the process: runtimes leave threads and handlers behind that would run on.
void* open_library(const std::string& path, std::string& reason);

/// The address of what a library calls `name`, null where it has none.
void* find_symbol(void* library, const char* name);

/// The folder of the library or program that holds this address, empty where the system does not say.
std::string folder_of(const void* address);

/// Sets an environment variable that is not set yet. Not while another thread reads or changes the environment.
void set_if_unset(const char* name, const char* value);

}  // namespace saccade
