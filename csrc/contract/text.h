// Text from someone else: whether it is UTF-8, whether it may be shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace saccade::contract {

/// A code point, and the bytes that it took; 0 bytes where the text does not begin with one (Unicode's table 3-7: no
/// surrogates, no longer form than needed, nothing above U+10FFFF).
struct CodePoint {
    uint32_t value;
    size_t bytes;
};
CodePoint first_code_point(std::string_view text);

/// Whether all of it is UTF-8.
bool is_utf8(std::string_view text);

/// Code points of a text that is UTF-8.
size_t length_of(std::string_view text);

/// Whether a text that is UTF-8 has nothing in it that a terminal could obey or that looks like nothing: controls,
/// formats, separators but the space, private use. As Python's str.isprintable, but for code points that Unicode has
/// not assigned, which are others in each version of it: those pass.
bool is_printable(std::string_view text);

/// Whether it may be the name of a variable: ASCII letters, digits and underscores, no digit first, not empty.
bool is_identifier(std::string_view text);

/// Some of it in quotes, for a message of one line: its first 40 code points, with \x1b for what is not printable or
/// not UTF-8.
std::string quoted(std::string_view text);

}  // namespace saccade::contract
