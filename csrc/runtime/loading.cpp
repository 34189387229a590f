#include "loading.h"

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "guard.h"
#include "library.h"

namespace saccade {
namespace {

/// Held while this library reads the environment, and while a backend's entry may set a variable of it: the system's
/// own getenv and setenv do not wait for each other. Every other reader of the process is the program's to keep apart.
std::mutex environment;

/// Names are file names: nothing that leads out of the folder.
bool is_name(const std::string& name) {
    return !name.empty() && name.size() <= 40 &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

const saccade_backend_table* load_table(const std::string& name, const std::string& file) {
    std::string reason;
    void* library = open_library(file, reason);
    if (library == nullptr) {
        fail_with(Status::kUnavailable, "load: backend ", file, " cannot be loaded: ", one_line(reason, 300));
    }
    const auto function = reinterpret_cast<saccade_backend_function>(find_symbol(library, SACCADE_BACKEND_SYMBOL));
    const saccade_backend_table* table = nullptr;
    if (function != nullptr) {
        const std::lock_guard<std::mutex> held(environment);
        table = function();
    }
    if (table == nullptr) {
        fail_with(Status::kUnavailable, "load: ", file,
                  " is no backend of Saccade: it gives no " SACCADE_BACKEND_SYMBOL);
    }
    if (table->version != SACCADE_BACKEND_VERSION) {
        fail_with(Status::kUnavailable, "load: backend ", file, " is of version ", table->version,
                  ", this library needs version ", SACCADE_BACKEND_VERSION, "; install both from one build");
    }
    const bool whole = table->name != nullptr && table->describe != nullptr && table->load != nullptr &&
                       table->unload != nullptr && table->open != nullptr && table->close != nullptr &&
                       table->run != nullptr;
    if (!whole || table->name != name) {
        fail_with(Status::kUnavailable, "load: ", file, " is not the backend ", name, ": its table has ",
                  whole ? one_line(table->name, 40) : "null pointers");
    }
    return table;
}

/// What a backend returned, as an exception.
void check(int code, const char* backend, const char (&message)[SACCADE_MESSAGE_SIZE]) {
    if (code == SACCADE_BACKEND_OK) return;
    if (code == SACCADE_BACKEND_NO_MEMORY) throw std::bad_alloc();
    std::string text = one_line(std::string(message, strnlen(message, sizeof(message))), sizeof(message));
    if (text.empty()) text = std::string("load: backend ") + backend + " fails and gives no reason";
    const bool known = code >= SACCADE_BACKEND_INVALID && code <= SACCADE_BACKEND_LATE;
    throw Error(text, known ? static_cast<Status>(code) : Status::kFailed);
}

}  // namespace

std::vector<std::string> backend_folders(const std::string& folder) {
    if (!folder.empty()) return {folder};
    {
        const std::lock_guard<std::mutex> held(environment);
        const char* asked = std::getenv("SACCADE_BACKENDS");
        if (asked != nullptr && *asked != '\0') return {asked};
    }
    static const char here = 0;
    const std::string own = folder_of(&here);
    if (own.empty()) return {};
    return {own, own + "/saccade", own + "/../lib/saccade", own + "/../lib64/saccade"};
}

Backend::Backend(const std::string& name, const std::string& folder) : table_(nullptr) {
    if (!is_name(name)) {
        fail("load: backend '", one_line(name, 40), "' is not a name; use onnxruntime, openvino or torch");
    }
    std::string looked;
    for (const std::string& place : backend_folders(folder)) {
        // With a slash in it, so that the system does not look elsewhere.
        const std::string file = (std::filesystem::path(place) / library_name("saccade_" + name)).string();
        std::error_code none;
        if (std::filesystem::exists(file, none)) {
            table_ = load_table(name, file);
            return;
        }
        looked += (looked.empty() ? "" : ", ") + place;
    }
    fail_with(Status::kUnavailable, "load: no backend ", library_name("saccade_" + name), " in ",
              looked.empty() ? "any folder" : looked, "; install it, or say its folder in SACCADE_BACKENDS");
}

BackendModel::BackendModel(const Backend& backend, const saccade_load_request& request) : table_(&backend.table()) {
    char message[SACCADE_MESSAGE_SIZE] = "";
    check(table_->load(&request, &model_, message, sizeof(message)), table_->name, message);
}

BackendContext::BackendContext(std::shared_ptr<const BackendModel> model) : model_(std::move(model)) {
    char message[SACCADE_MESSAGE_SIZE] = "";
    check(model_->table_->open(model_->model_, &context_, message, sizeof(message)), model_->table_->name, message);
}

void BackendContext::run(const std::vector<saccade_tensor>& inputs, const std::vector<saccade_tensor>& outputs,
                         std::chrono::microseconds timeout) {
    if (timeout.count() < 0) fail_with(Status::kLate, "run: the deadline came before the program was run");
    char message[SACCADE_MESSAGE_SIZE] = "";
    check(model_->table_->run(context_, inputs.data(), inputs.size(), outputs.data(), outputs.size(), timeout.count(),
                              message, sizeof(message)),
          model_->table_->name, message);
}

}  // namespace saccade
