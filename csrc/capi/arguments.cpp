#include "arguments.h"

#include "../runtime/guard.h"

namespace saccade::capi {
namespace {

/// No structure of any version is longer; what claims to be was never set.
constexpr size_t kLongest = 4096;

/// Bytes of the UTF-8 character that begins here, 0 where none does: not too long for its number, no surrogate.
size_t character_at(const std::string& text, size_t at) {
    const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) return 0;
    const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) < low || byte(1) > high) return 0;
    for (size_t i = 2; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return 0;
    }
    return length;
}

/// What is no UTF-8, such as the bytes of a file's name, as question marks.
std::string as_utf8(const std::string& text) {
    std::string valid;
    for (size_t at = 0; at < text.size();) {
        const size_t length = character_at(text, at);
        valid += length > 0 ? text.substr(at, length) : "?";
        at += std::max<size_t>(length, 1);
    }
    return valid;
}

}  // namespace

saccade_status report(saccade_error* error, saccade_status status, const char* message) noexcept {
    if (error == nullptr) return status;
    error->status = status;
    error->message[0] = '\0';
    try {
        const std::string line = one_line(as_utf8(message), sizeof(error->message) - 1);
        std::memcpy(error->message, line.c_str(), line.size() + 1);
    } catch (...) {  // no memory for the message
    }
    return status;
}

void check_size(size_t given, size_t known, const char* name) {
    if (given >= sizeof(size_t) && given <= kLongest) return;
    fail(name, ": size is ", given, "; set it to sizeof, ", known, " in this version");
}

void check_rest(const void* given, size_t size, size_t known, const char* name) {
    const auto* bytes = static_cast<const unsigned char*>(given);
    for (size_t i = known; i < size; ++i) {
        if (bytes[i] != 0) fail(name, " has fields that this version does not know; install a newer libsaccade");
    }
}

Frame frame_of(const saccade_image& image) {
    return {image.data, image.height, image.width, image.stride, static_cast<Pixels>(image.pixels)};
}

saccade_box box_of(const Box& box) { return {box.left, box.top, box.right, box.bottom}; }
Box box_of(const saccade_box& box) { return {box.left, box.top, box.right, box.bottom}; }

}  // namespace saccade::capi
