#include "text.h"

#include <algorithm>
#include <cstdio>

namespace saccade::contract {
namespace {

struct Range {
    uint32_t first, last;
};

// The categories Cc, Cf, Co, Zl, Zp and, but for the space, Zs of Unicode 14 to 16. Non-characters are added below.
constexpr Range kUnprintable[] = {{0x0, 0x1f},        {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},
                                  {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
                                  {0x8e2, 0x8e2},     {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},
                                  {0x2028, 0x202f},   {0x205f, 0x2064},   {0x2066, 0x206f},   {0x3000, 0x3000},
                                  {0xe000, 0xf8ff},   {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},
                                  {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
                                  {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xf0000, 0x10ffff}};

bool is_printable(uint32_t point) {
    if ((point & 0xfffe) == 0xfffe) return false;
    const Range* range = std::lower_bound(std::begin(kUnprintable), std::end(kUnprintable), point,
                                          [](const Range& r, uint32_t p) { return r.last < p; });
    return range == std::end(kUnprintable) || point < range->first;
}

}  // namespace

CodePoint first_code_point(std::string_view text) {
    constexpr CodePoint none{0, 0};
    if (text.empty()) return none;
    const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(0);
    if (first < 0x80) return {first, 1};
    const size_t bytes = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return none;
    uint32_t value = first & (0xffU >> (bytes + 1));
    for (size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return none;
        value = value << 6 | (byte(i) & 0x3f);
    }
    const bool longer = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
    const bool surrogate = value >= 0xd800 && value < 0xe000;
    return longer || surrogate || value > 0x10ffff ? none : CodePoint{value, bytes};
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const CodePoint point = first_code_point(text);
        if (point.bytes == 0) return false;
        text.remove_prefix(point.bytes);
    }
    return true;
}

size_t length_of(std::string_view text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

bool is_printable(std::string_view text) {
    while (!text.empty()) {
        const CodePoint point = first_code_point(text);
        if (point.bytes == 0 || !is_printable(point.value)) return false;
        text.remove_prefix(point.bytes);
    }
    return true;
}

bool is_identifier(std::string_view text) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    const auto fits = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
    return !text.empty() && is_letter(text[0]) && std::all_of(text.begin(), text.end(), fits);
}

std::string quoted(std::string_view text) {
    std::string shown = "'";
    for (int i = 0; i < 40 && !text.empty(); ++i) {
        const CodePoint point = first_code_point(text);
        const size_t bytes = std::max<size_t>(point.bytes, 1);
        if (point.bytes > 0 && is_printable(point.value)) {
            shown += text.substr(0, bytes);
        } else {
            for (const char c : text.substr(0, bytes)) {
                char escape[5];
                std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned>(static_cast<uint8_t>(c)));
                shown += escape;
            }
        }
        text.remove_prefix(bytes);
    }
    return shown + (text.empty() ? "'" : "…'");
}

}  // namespace saccade::contract
