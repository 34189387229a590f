// A contract read from JSON that anybody may have written: every field is checked for its type and range.
#pragma once

#include <string_view>

#include "saccade/contract.h"

namespace saccade::contract {

/// What a contract's text says, and where in it the value of its `hash` stands without the quotes. What the file itself
/// tells (its format, whether the hash fits) is not looked at. Throws Error: not the JSON that saccade writes, another
/// schema, a field that is missing, unknown or out of range, or fields that contradict each other.
struct Parsed {
    Contract contract;
    std::string_view hash;  // a part of the text
};
Parsed parse_contract(std::string_view text);

}  // namespace saccade::contract
