// Where a program file keeps its contract. Both kinds of container are read without the runtime that they are for, and
// only as far as it takes to find the contract: the outermost fields of a protobuf message, a zip's directory.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "saccade/contract.h"

namespace saccade::contract {

/// Bytes of the longest contract that is read: a thousand times a usual one.
constexpr size_t kMaxContract = size_t{16} << 20;

/// Bytes `begin` to before `end` of a file.
struct Span {
    size_t begin, end;
};

struct Container {
    Format format;
    /// The contract's text, a part of the file; nothing where it carries none: it is a model, not a program.
    std::optional<std::string_view> text;
    /// What the hash of the file leaves out, in order.
    std::vector<Span> unhashed;
};

/// Throw Error: damaged, cut, or of sizes that no program has.
Container read_onnx(std::string_view file);
Container read_archive(std::string_view file);

}  // namespace saccade::contract
