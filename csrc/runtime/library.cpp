#include "library.h"

#include <dlfcn.h>
#if defined(__linux__)
#include <link.h>
#endif

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace saccade {

std::string library_name(const std::string& stem) { return "lib" + stem + ".so"; }

void* open_library(const std::string& path, std::string& reason) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == nullptr) {
        const char* said = dlerror();  // of this thread
        reason = said != nullptr ? said : "no reason given";
    }
    return library;
}

void* find_symbol(void* library, const char* name) { return dlsym(library, name); }

std::string folder_of(const void* address) {
    std::error_code none;
    std::filesystem::path file;
#if defined(__linux__)
    // A program's own name is what it was called by, which may be relative or found in PATH; the system knows better.
    Dl_info info{};
    link_map* map = nullptr;
    if (dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return {};
    if (map == nullptr || map->l_name == nullptr || map->l_name[0] == '\0') {
        file = std::filesystem::read_symlink("/proc/self/exe", none);
    }
#else
    Dl_info info{};
    if (dladdr(address, &info) == 0) return {};
#endif
    if (file.empty() && info.dli_fname != nullptr) file = info.dli_fname;
    return std::filesystem::absolute(file, none).parent_path().string();
}

void set_if_unset(const char* name, const char* value) { setenv(name, value, 0); }

}  // namespace saccade
