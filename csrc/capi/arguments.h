// What every function of the C API does with its arguments and its errors.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "saccade/error.h"
#include "saccade/saccade.h"
#include "saccade/session.h"

struct saccade_program {
    std::shared_ptr<const saccade::Program> program;
    saccade_contract contract;
    std::vector<saccade_map_info> maps;
    std::vector<const char*> classes;
    std::string runtime;
};

namespace saccade::capi {

/// Writes what happened into the caller's error, if there is one: valid UTF-8, in one line.
saccade_status report(saccade_error* error, saccade_status status, const char* message) noexcept;

/// Runs `body`; what it throws becomes a status and a message.
template <typename Body>
saccade_status guarded(saccade_error* error, const Body& body) noexcept {
    try {
        body();
        return report(error, SACCADE_OK, "");
    } catch (const Error& thrown) {
        return report(error, static_cast<saccade_status>(thrown.status()), thrown.what());
    } catch (const std::bad_alloc&) {
        return report(error, SACCADE_NO_MEMORY, "out of memory; give fewer or smaller images");
    } catch (const std::exception& thrown) {
        return report(error, SACCADE_FAILED, thrown.what());
    } catch (...) {
        return report(error, SACCADE_FAILED, "an unknown exception");
    }
}

template <typename T>
const T& need(const T* given, const char* name) {
    if (given == nullptr) fail(name, " is a null pointer");
    return *given;
}

/// A caller's `size`: a structure that this version knows all or the beginning of.
void check_size(size_t given, size_t known, const char* name);
/// What a newer caller set beyond what this version knows would be left undone.
void check_rest(const void* given, size_t size, size_t known, const char* name);

/// A caller's structure as this version knows it; the fields that its `size` leaves out are 0, all of them where it is
/// null. Throws Error where the size cannot be one.
template <typename T>
T read(const T* given, const char* name) {
    T known{};
    if (given == nullptr) return known;
    check_size(given->size, sizeof(T), name);
    check_rest(given, given->size, sizeof(T), name);
    std::memcpy(&known, given, std::min(given->size, sizeof(T)));
    return known;
}

/// Gives the caller as much of a structure as it has room for.
template <typename T>
void write(T* given, T made, const char* name) {
    check_size(given->size, sizeof(T), name);
    const size_t size = made.size = given->size;
    std::memcpy(given, &made, std::min(size, sizeof(T)));
    // The fields of a newer caller that this version does not know.
    if (size > sizeof(T)) std::memset(reinterpret_cast<char*>(given) + sizeof(T), 0, size - sizeof(T));
}

Frame frame_of(const saccade_image& image);
saccade_box box_of(const Box& box);
Box box_of(const saccade_box& box);

}  // namespace saccade::capi
