// Finding and loading the runtime backends, each a shared library libsaccade_NAME.so (see backend.h).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "saccade/contract.h"
#include "saccade/error.h"

namespace saccade {

/// Where backends are looked for, in this order: `folder` alone if it is given; $SACCADE_BACKENDS alone if it is set;
/// the folder of the library or program that this code is in, and saccade/, ../lib/saccade/ and ../lib64/saccade/
/// beside it.
std::vector<std::string> backend_folders(const std::string& folder);

/// A loaded backend, which stays loaded for as long as the process.
class Backend {
  public:
    /// Throws Error, kUnavailable: there is none of that name, it cannot be loaded or is of another version.
    explicit Backend(const std::string& name, const std::string& folder = {});

    /// Whether it loads files of that format.
    bool loads(Format format) const { return (table_->formats >> static_cast<unsigned>(format) & 1u) != 0; }
    const char* name() const { return table_->name; }
    const saccade_backend_table& table() const { return *table_; }

  private:
    const saccade_backend_table* table_;
};

/// One program in a runtime, shared by all threads.
class BackendModel {
  public:
    /// Throws Error as the backend says it, std::bad_alloc where memory is short.
    BackendModel(const Backend& backend, const saccade_load_request& request);
    ~BackendModel() { table_->unload(model_); }
    BackendModel(const BackendModel&) = delete;
    BackendModel& operator=(const BackendModel&) = delete;

    /// The runtime's own name and version: "ONNX Runtime 1.31.1".
    std::string runtime() const { return table_->describe(model_); }

  private:
    friend class BackendContext;
    const saccade_backend_table* table_;
    saccade_model* model_ = nullptr;
};

/// One thread's use of a model.
class BackendContext {
  public:
    /// Throws Error, std::bad_alloc.
    explicit BackendContext(std::shared_ptr<const BackendModel> model);
    ~BackendContext() { model_->table_->close(context_); }
    BackendContext(const BackendContext&) = delete;
    BackendContext& operator=(const BackendContext&) = delete;

    /// Runs once and waits; see saccade_backend_table. `timeout` 0 is for any time, one below 0 has passed.
    /// Throws Error, std::bad_alloc.
    void run(const std::vector<saccade_tensor>& inputs, const std::vector<saccade_tensor>& outputs,
             std::chrono::microseconds timeout = std::chrono::microseconds{0});

  private:
    std::shared_ptr<const BackendModel> model_;
    saccade_context* context_ = nullptr;
};

}  // namespace saccade
