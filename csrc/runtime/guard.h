// What every backend does at its border: exceptions become codes, and messages one line of the caller's memory.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "backend.h"
#include "saccade/error.h"

namespace saccade {

/// The text in one line: what controls a terminal becomes a space, spaces in a row one. At most `limit` bytes, cut at a
/// whole UTF-8 character.
inline std::string one_line(const std::string& text, size_t limit) {
    std::string line;
    for (const char c : text) {
        const bool gap = static_cast<unsigned char>(c) <= ' ' || c == 127;
        if (gap && (line.empty() || line.back() == ' ')) continue;
        line += gap ? ' ' : c;
    }
    if (line.size() > limit) {
        // A byte 10xxxxxx goes on with a character that began before it.
        while (limit > 0 && (static_cast<unsigned char>(line[limit]) & 0xC0u) == 0x80u) --limit;
        line.resize(limit);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
}

inline void write_message(const std::string& text, char* message, size_t size) {
    if (message == nullptr || size == 0) return;
    const std::string line = one_line(text, size - 1);
    std::memcpy(message, line.c_str(), line.size() + 1);
}

/// Runs `body`; what it throws becomes a code of backend.h and a message.
template <typename Body>
int guarded(char* message, size_t size, const Body& body) noexcept {
    try {
        try {
            body();
            return SACCADE_BACKEND_OK;
        } catch (const Error& error) {
            write_message(error.what(), message, size);
            return static_cast<int>(error.status());
        } catch (const std::bad_alloc&) {
            write_message("out of memory; try a smaller batch", message, size);
            return SACCADE_BACKEND_NO_MEMORY;
        } catch (const std::exception& error) {
            write_message(error.what(), message, size);
            return SACCADE_BACKEND_FAILED;
        }
    } catch (...) {  // thrown by the runtime, or no memory for the message
        if (message != nullptr && size > 0) message[0] = '\0';
        return SACCADE_BACKEND_FAILED;
    }
}

}  // namespace saccade
