// A whole file. Whatever its bytes are, it is a program or is refused in one line. So that the hash does not stop
// everything behind it, a file whose container and contract can be read is given a hash and checksums that fit: then it
// must be taken, and with one byte changed be refused.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>

#include "container.h"
#include "program_bytes.h"
#include "reading.h"
#include "require.h"
#include "saccade/contract.h"

namespace {

using namespace saccade;
using contract::Container;
using contract::Span;

constexpr size_t kHashLength = 7 + 2 * 64;

bool is_taken(std::string_view file) {
    try {
        const Contract c = read_contract(file.data(), file.size(), "fuzzed");
        REQUIRE(file.find(c.json) != std::string_view::npos && c.hash.size() == kHashLength);
        return true;
    } catch (const Error& error) {
        require_good(error);
        return false;
    }
}

struct Resealed {
    std::string file;
    std::vector<Span> watched;  // where a changed byte must be found: everywhere, but for what a protobuf entry may
                                // have around our key and value
};

/// The same file with a hash and checksums that fit; nothing where it cannot be read or has no room for them.
std::optional<Resealed> reseal(std::string_view file) {
    try {
        const Container container =
            file.substr(0, 4) == "PK\3\4" ? contract::read_archive(file) : contract::read_onnx(file);
        if (!container.text) return std::nullopt;
        const std::string_view text = *container.text;
        const std::string_view hash = contract::parse_contract(text).hash;
        if (hash.size() != kHashLength) return std::nullopt;
        Resealed out{std::string(file), {}};
        std::string rest;
        size_t at = 0;
        for (const Span& span : container.unhashed) {
            if (span.begin < at) return std::nullopt;  // a checksum inside of the text: no text fits that
            out.watched.push_back({at, span.begin});
            at = span.end;
        }
        out.watched.push_back({at, file.size()});
        for (const Span& span : out.watched) rest += file.substr(span.begin, span.end - span.begin);
        if (container.format != Format::kOnnx) out.watched = {{0, file.size()}};
        const auto place = [&](std::string_view part) { return static_cast<size_t>(part.data() - file.data()); };
        std::string plain(text);
        plain.erase(place(hash) - place(text), hash.size());
        out.file.replace(place(hash), hash.size(), "sha256:" + bytes::sha256(rest) + bytes::sha256(plain));
        const std::string crc =
            bytes::number(bytes::crc32(std::string_view(out.file).substr(place(text), text.size())), 4);
        for (const Span& span : container.unhashed) {
            const bool is_checksum = container.format != Format::kOnnx && span.begin != place(text);
            if (is_checksum) out.file.replace(span.begin, 4, crc);
        }
        return out;
    } catch (const Error& error) {
        require_good(error);
        return std::nullopt;
    }
}

void check(std::string_view file) {
    is_taken(file);
    std::optional<Resealed> fits = reseal(file);
    if (!fits) return;
    REQUIRE(is_taken(fits->file));
    const size_t any = std::accumulate(file.begin(), file.end(), file.size());  // as good as chance, and repeatable
    const Span& span = fits->watched[any % fits->watched.size()];
    if (span.begin == span.end) return;
    char& byte = fits->file[span.begin + any % (span.end - span.begin)];
    byte = static_cast<char>(byte ^ (1 << any % 8));
    REQUIRE(!is_taken(fits->file));
}

/// What the checks above stand on: a fuzzer that refuses everything finds nothing.
bool self_test() {
    for (const std::string& good : {bytes::onnx(), bytes::torchscript()}) {
        REQUIRE(is_taken(good));
        std::string changed = good;
        changed[good.find("45, 2") == std::string::npos ? 20 : good.find("45, 2")] ^= 1;
        REQUIRE(!is_taken(changed));
        const std::optional<Resealed> same = reseal(good);
        REQUIRE(same && same->file == good);
    }
    const std::string other = bytes::with(bytes::onnx(), "\"tiny\"", "\"vast\"");
    REQUIRE(!is_taken(other) && is_taken(reseal(other)->file));
    REQUIRE(!reseal(bytes::kModel));
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const bool tested = self_test();
    if (tested) check({reinterpret_cast<const char*>(data), size});
    return 0;
}
