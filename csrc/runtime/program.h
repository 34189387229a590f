// What a Program holds.
#pragma once

#include <memory>
#include <utility>

#include "loading.h"
#include "saccade/session.h"

namespace saccade {

struct Program::Loaded {
    Contract contract;
    Device device;
    int device_index;
    /// Of the runtime on the CPU and of the preparing; 0: all cores.
    int threads;
    /// Null where only the contract was read.
    std::shared_ptr<const BackendModel> model;

    Loaded(Contract read, const OpenOptions& options)
        : contract(std::move(read)),
          device(options.device),
          device_index(options.device_index),
          threads(options.threads) {}
};

}  // namespace saccade
