// The program file as engine/contract/program_file.py describes it: its container, its contract, its hash.
#include <string>
#include <string_view>

#include "container.h"
#include "reading.h"
#include "saccade/contract.h"
#include "saccade/error.h"
#include "sha256.h"
#include "text.h"

namespace saccade {
namespace {

using namespace contract;

/// SHA-256 of all bytes that are in none of `unhashed`, which are in order of their begin.
std::string hash_around(std::string_view file, const std::vector<Span>& unhashed) {
    Sha256 hash;
    size_t at = 0;
    for (const Span& span : unhashed) {
        if (span.begin > at) hash.update(file.substr(at, span.begin - at));
        at = span.end;
    }
    hash.update(file.substr(at));
    return hash.hex();
}

/// SHA-256 of a contract's text as it was before it had a hash.
std::string hash_without(std::string_view text, std::string_view value) {
    const size_t begin = static_cast<size_t>(value.data() - text.data());
    Sha256 hash;
    hash.update(text.substr(0, begin));
    hash.update(text.substr(begin + value.size()));
    return hash.hex();
}

Contract read(std::string_view file) {
    if (file.empty()) fail_with(Status::kDamaged, "empty (0 bytes); compile the program again");
    const Container container = file.substr(0, 4) == "PK\3\4" ? read_archive(file) : read_onnx(file);
    if (!container.text) {
        fail_with(Status::kDamaged,
                  "it carries no saccade contract; it is a model, not a program, or not a whole file (see: saccade "
                  "compile --help)");
    }
    // check_json has seen that the text is the only one that says this, so its own hash stands for what it says.
    Parsed parsed = parse_contract(*container.text);
    if (parsed.contract.hash !=
        "sha256:" + hash_around(file, container.unhashed) + hash_without(*container.text, parsed.hash)) {
        fail_with(Status::kDamaged,
                  "damaged or changed: its bytes no longer have the hash in its contract; copy or compile it again");
    }
    parsed.contract.format = container.format;
    return std::move(parsed.contract);
}

}  // namespace

Contract read_contract(const void* data, size_t size, const std::string& name) {
    try {
        return read({static_cast<const char*>(data), size});
    } catch (const Error& error) {
        fail_with(error.status(), "load: ", name, ": ", error.what());
    }
}

}  // namespace saccade
