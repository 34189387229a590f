// Program files of a few hundred bytes, made byte by byte: what the compiler writes, and what it never would.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reading.h"
#include "sha256.h"

namespace bytes {

/// The contract of a network that tells bright from dark, with an empty hash. Fields in the order of their names.
inline const std::string kContract =
    R"({"calibration": {"grad_cam": [0.0, 1.5]}, "classes": ["Wörter", "\"x\"\n"], "features": 5, "hash": "", )"
    R"("maps": [{"kind": "cam", "layer": "layer4", "method": "grad-cam", "name": "grad_cam", "rank": 1, "shape": [2, 3]}, )"
    R"({"kind": "activations", "layer": "layer1", "method": "activations", "name": "activations", "rank": 1, "shape": [5, 3, 2]}], )"
    R"("model": "tiny", "num_outputs": 2, "output_size": null, "pixels": "uint8", "precision": "float32", )"
    R"("preprocessing": {"channels": 3, "height": 30, "interpolation": "bicubic", "mean": [0.5, 0.25, 0], "resize": "crop", )"
    R"("shorter": 50, "std": [1.0, 2, 0.225], "width": 45}, "proof": {"batches": [1, 3], "grad_cam": {"max": 1e-12}}, )"
    R"("schema": 3, "softmax": true, "target": "class", "target_count": 1, "target_layer": null, "target_shape": null, )"
    R"("versions": {"saccade": "0.1.0", "torch": "2.14.1"}, "weights_hash": "sha256:0"})";

/// The text with its first `from` replaced; the text must have it.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
    const size_t at = text.find(from);
    if (at == std::string::npos) throw std::logic_error("there is no " + std::string(from) + " in the text");
    return text.replace(at, from.size(), to);
}

inline std::string sha256(std::string_view text) {
    saccade::contract::Sha256 hash;
    hash.update(text);
    return hash.hex();
}

inline std::string with_hash(const std::string& text, const std::string& hash) {
    return with(text, "\"hash\": \"\"", "\"hash\": \"" + hash + "\"");
}

/// `bytes` bytes of a little-endian number.
inline std::string number(uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i);
    return out;
}

// ---- ONNX --------------------------------------------------------------------------------------------------------

inline std::string varint(uint64_t value) {
    std::string out;
    for (; value > 0x7f; value >>= 7) out += static_cast<char>(value | 0x80);
    return out + static_cast<char>(value);
}

/// A field of a protobuf message that has bytes.
inline std::string field(uint64_t number, const std::string& payload) {
    return varint(number << 3 | 2) + varint(payload.size()) + payload;
}

inline std::string metadata(const std::string& key, const std::string& value) {
    return field(14, field(1, key) + field(2, value));
}

/// ModelProto with an ir_version, a producer and a graph that nobody looks at.
inline const std::string kModel = "\x08\x0a" + field(2, "pytorch") + field(7, "the graph") + metadata("other", "1");

inline std::string onnx(const std::string& contract = kContract) {
    return kModel + metadata("saccade", with_hash(contract, "sha256:" + sha256(kModel) + sha256(contract)));
}

// ---- zip ---------------------------------------------------------------------------------------------------------

inline uint32_t crc32(std::string_view text) {
    uint32_t crc = ~0U;
    for (const char c : text) {
        crc ^= static_cast<uint8_t>(c);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

struct Entry {
    std::string name, content;
    uint64_t method = 0;                   // 8: packed
    uint64_t claimed = 0;                  // the size that it claims to unpack to; 0: what it has
    std::string extra = {}, comment = {};  // in the directory
};

/// What an archive's end is like.
enum class End { kPlain, kZip64, kComment };

/// An archive of entries that lie as they are.
inline std::string zip(const std::vector<Entry>& entries, End end = End::kPlain) {
    std::string out, directory;
    for (const Entry& e : entries) {
        const uint64_t size = e.claimed > 0 ? e.claimed : e.content.size();
        const std::string shared = number(e.method, 2) + number(0, 4) + number(crc32(e.content), 4) +
                                   number(e.content.size(), 4) + number(size, 4) + number(e.name.size(), 2);
        const std::string padding(out.size() % 7, 'Z');  // torch aligns its entries by an extra field
        directory += "PK\1\2" + number(20, 2) + number(20, 2) + number(0, 2) + shared + number(e.extra.size(), 2) +
                     number(e.comment.size(), 2) + number(0, 8) + number(out.size(), 4) + e.name + e.extra + e.comment;
        out += "PK\3\4" + number(20, 2) + number(0, 2) + shared + number(padding.size(), 2) + e.name + padding;
        out += e.content;
    }
    const size_t begin = out.size(), count = entries.size();
    out += directory;
    const size_t end64 = out.size();
    const bool wide = end == End::kZip64;
    if (wide) {
        out += "PK\6\6" + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 8) + number(count, 8) +
               number(count, 8) + number(directory.size(), 8) + number(begin, 8);
        out += "PK\6\7" + number(0, 4) + number(end64, 8) + number(1, 4);
    }
    const std::string comment = end == End::kComment ? "made by a test" : "";
    return out + "PK\5\6" + number(0, 4) + number(count, 2) + number(count, 2) +
           number(wide ? 0xffffffff : directory.size(), 4) + number(wide ? 0xffffffff : begin, 4) +
           number(comment.size(), 2) + comment;
}

inline const std::string kOwnEntry = "tiny/extra/saccade";

/// An archive of torch with a contract behind `others`, its hash and both checksums made to fit.
inline std::string archive(std::vector<Entry> others, const std::string& contract = kContract, End end = End::kPlain) {
    const std::string space(7 + 2 * 64, '0');  // as long as the hash
    const std::string blank = with_hash(contract, space);
    others.push_back({kOwnEntry, blank});
    const std::string whole = zip(others, end);
    // What is hashed is everything but the contract and its two checksums, each of which stands before it or after it.
    const std::string crc = number(crc32(blank), 4);
    const size_t text = whole.find(blank);
    const size_t local = whole.rfind(crc, text), record = whole.find(crc, text + blank.size());
    const std::string rest = whole.substr(0, local) + whole.substr(local + 4, text - local - 4) +
                             whole.substr(text + blank.size(), record - text - blank.size()) + whole.substr(record + 4);
    others.back().content = with_hash(contract, "sha256:" + sha256(rest) + sha256(contract));
    return zip(others, end);
}

inline const std::vector<Entry> kOfTorch = {{"tiny/data.pkl", "weights weights weights"},
                                            {"tiny/code/model.py", "packed code", 8, 4000},
                                            {"tiny/version", "3\n"}};

inline std::string torchscript(const std::string& contract = kContract) { return archive(kOfTorch, contract); }

}  // namespace bytes
