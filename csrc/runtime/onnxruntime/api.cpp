#include "api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "../guard.h"
#include "../library.h"

namespace saccade::onnxruntime {
namespace {

/// The oldest version with all of the functions: 1.11 brought options of the CUDA provider by name.
constexpr int kOldest = 11;

using Function = void (*)();

struct ApiBase {
    const Function* (*GetApi)(uint32_t version);
    const char* (*GetVersionString)();
};

Api read_table(const Function* table) {
    Api api{};
    const auto read = [&](auto& function, size_t place) {
        function = reinterpret_cast<std::decay_t<decltype(function)>>(table[place]);
    };
    read(api.GetErrorCode, 1);
    read(api.GetErrorMessage, 2);
    read(api.CreateEnv, 3);
    read(api.CreateSession, 7);
    read(api.CreateSessionFromArray, 8);
    read(api.Run, 9);
    read(api.CreateSessionOptions, 10);
    read(api.SetSessionLogSeverityLevel, 22);
    read(api.SetIntraOpNumThreads, 24);
    read(api.SessionGetInputCount, 30);
    read(api.SessionGetOutputCount, 31);
    read(api.SessionGetInputTypeInfo, 33);
    read(api.SessionGetOutputTypeInfo, 34);
    read(api.SessionGetInputName, 36);
    read(api.SessionGetOutputName, 37);
    read(api.CreateRunOptions, 39);
    read(api.RunOptionsSetRunLogSeverityLevel, 41);
    read(api.RunOptionsSetTerminate, 46);
    read(api.RunOptionsUnsetTerminate, 47);
    read(api.CreateTensorWithDataAsOrtValue, 49);
    read(api.CastTypeInfoToTensorInfo, 55);
    read(api.GetTensorElementType, 60);
    read(api.GetDimensionsCount, 61);
    read(api.GetDimensions, 62);
    read(api.CreateMemoryInfo, 68);
    read(api.AllocatorFree, 76);
    read(api.GetAllocatorWithDefaultOptions, 78);
    read(api.ReleaseEnv, 92);
    read(api.ReleaseStatus, 93);
    read(api.ReleaseMemoryInfo, 94);
    read(api.ReleaseSession, 95);
    read(api.ReleaseValue, 96);
    read(api.ReleaseRunOptions, 97);
    read(api.ReleaseTypeInfo, 98);
    read(api.ReleaseSessionOptions, 100);
    read(api.AddSessionConfigEntry, 130);
    read(api.AppendCuda, 204);
    read(api.CreateCUDAProviderOptions, 205);
    read(api.UpdateCUDAProviderOptions, 206);
    read(api.ReleaseCUDAProviderOptions, 208);
    return api;
}

/// The minor number of "1.31.1"; 0 for what is no version 1.
int minor_of(const std::string& version) {
    int minor = 0;
    if (version.rfind("1.", 0) == 0) std::from_chars(version.data() + 2, version.data() + version.size(), minor);
    return minor;
}

/// The files of a folder that may be the library, the newest of several versions first.
std::vector<std::string> libraries_in(const std::filesystem::path& folder) {
    const std::string plain = library_name("onnxruntime");
    std::vector<std::string> found;
    std::error_code none;
    for (std::filesystem::directory_iterator file(folder, none), end; !none && file != end; file.increment(none)) {
        const std::string name = file->path().filename().string();
        // libonnxruntime.so, libonnxruntime.so.1 and, all that a Python package has, libonnxruntime.so.1.31.1.
        if (name == plain || name.rfind(plain + ".1", 0) == 0) found.push_back(file->path().string());
    }
    const auto newest_first = [&](const std::string& a, const std::string& b) {
        const auto minor = [&](const std::string& path) {
            return minor_of(path.substr(std::min(path.rfind(plain) + plain.size() + 1, path.size())));
        };
        return minor(a) != minor(b) ? minor(a) > minor(b) : a < b;
    };
    std::sort(found.begin(), found.end(), newest_first);
    return found;
}

/// What to try, in order.
std::vector<std::string> candidates(const std::string& where) {
    std::string place = where;
    const char* asked = std::getenv("SACCADE_ONNXRUNTIME");
    if (place.empty() && asked != nullptr) place = asked;
    const std::string plain = library_name("onnxruntime");
    if (place.empty()) return {plain + ".1", plain};
    std::error_code none;
    if (!std::filesystem::exists(place, none)) {
        fail_with(Status::kUnavailable, "load: there is no ", one_line(place, 200),
                  "; say the file of ONNX Runtime's library or its folder");
    }
    if (!std::filesystem::is_directory(place, none)) return {std::filesystem::absolute(place, none).string()};
    const std::vector<std::string> found = libraries_in(std::filesystem::absolute(place, none));
    if (found.empty()) {
        fail_with(Status::kUnavailable, "load: folder ", one_line(place, 200), " has no ", plain,
                  "; say the file of ONNX Runtime's library or its folder");
    }
    return found;
}

}  // namespace

void Runtime::check(Result result, Status status, const std::string& place) const {
    if (result == nullptr) return;
    const Owned<OrtStatus> owned(result, api.ReleaseStatus);
    std::string reason = api.GetErrorMessage(result);
    // It has no code for it.
    for (const char* sign : {"bad_alloc", "Failed to allocate memory"}) {
        if (reason.find(sign) != std::string::npos) throw std::bad_alloc();
    }
    // What comes before these is its own source files and functions.
    for (const char* sign : {"Status Message: ", "[ONNXRuntimeError] : "}) {
        const size_t found = reason.rfind(sign);
        if (found != std::string::npos) reason.erase(0, found + std::char_traits<char>::length(sign));
    }
    fail_with(status, place, " (", one_line(reason, 250), ")");
}

Runtime open_runtime(const std::string& where) {
    void* library = nullptr;
    std::string reason, path, tried;
    for (const std::string& candidate : candidates(where)) {
        path = candidate;
        library = open_library(path, reason);
        if (library != nullptr) break;
        tried += (tried.empty() ? "" : "; ") + one_line(reason, 150);
    }
    if (library == nullptr) {
        fail_with(Status::kUnavailable, "load: ONNX Runtime's library cannot be loaded (", tried,
                  "); say where it lies in SACCADE_ONNXRUNTIME");
    }
    const auto base_of = reinterpret_cast<const ApiBase* (*)()>(find_symbol(library, "OrtGetApiBase"));
    const ApiBase* base = base_of != nullptr ? base_of() : nullptr;
    if (base == nullptr) fail_with(Status::kUnavailable, "load: ", path, " is not ONNX Runtime's library");
    const std::string version = base->GetVersionString();
    // Asked for what it does not have, it prints.
    const Function* table = minor_of(version) >= kOldest ? base->GetApi(kOldest) : nullptr;
    if (table == nullptr) {
        fail_with(Status::kUnavailable, "load: ", path, " is ONNX Runtime ", one_line(version, 20), ", not 1.", kOldest,
                  " or later; install a newer one");
    }
    return {read_table(table), version, path};
}

}  // namespace saccade::onnxruntime
