// A contract's text. What passes as JSON is taken apart and written again, and must give the same bytes; what passes as
// a contract must have sizes that a host can take memory for.
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "json.h"
#include "program_bytes.h"
#include "reading.h"
#include "require.h"
#include "text.h"

namespace {

using namespace saccade;
using contract::Items;
using contract::Value;

std::string written(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        const size_t escape = std::string_view("\"\\\b\f\n\r\t").find(c);
        if (escape != std::string_view::npos) {
            out += {'\\', "\"\\bfnrt"[escape]};
        } else if (static_cast<uint8_t>(c) < 0x20) {
            out += std::string("\\u00") + "01"[c >> 4] + "0123456789abcdef"[c & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string written(Value value, int depth = 0) {
    REQUIRE(depth < 16);  // the outermost is at 0
    const std::string text(value.text());
    switch (value.kind()) {
        case Value::Kind::kNull:
        case Value::Kind::kBool:
            REQUIRE(text == "null" || text == "true" || text == "false");
            return text;
        case Value::Kind::kInteger: {
            const std::optional<int64_t> number = value.integer();
            REQUIRE(number || text.size() > 18);
            return number ? std::to_string(*number) : text;
        }
        case Value::Kind::kReal:
            REQUIRE(std::strtod(text.c_str(), nullptr) == *value.number());
            return contract::shortest(*value.number());
        case Value::Kind::kString:
            REQUIRE(contract::is_utf8(*value.string()));
            return written(*value.string());
        default:
            break;
    }
    const bool table = value.kind() == Value::Kind::kTable;
    std::string out(1, table ? '{' : '[');
    size_t count = 0;
    std::string last;
    for (Items items(value); items.next(); ++count) {
        if (count > 0) out += ", ";
        if (table) {
            const std::string key = *items.key().string();
            REQUIRE(count == 0 || last < key);
            last = key;
            out += written(items.key(), depth) + ": ";
        }
        const bool inner = items.value().kind() == Value::Kind::kTable || items.value().kind() == Value::Kind::kList;
        out += written(items.value(), depth + inner);
    }
    REQUIRE(Items(value).count() == count);
    return out + (table ? '}' : ']');
}

bool is_json(std::string_view text) {
    try {
        contract::check_json(text);
    } catch (const Error& error) {
        require_good(error);
        return false;
    }
    REQUIRE(written(Value(text)) == text);
    return true;
}

bool is_contract(std::string_view text) {
    try {
        const Contract c = contract::parse_contract(text).contract;
        REQUIRE(c.json == text && contract::is_printable(c.model));
        REQUIRE(!c.maps.empty() && c.maps.size() <= 64);
        for (const MapInfo& map : c.maps) {
            int64_t elements = 1;
            for (const int64_t side : map.shape) elements *= side;
            REQUIRE(elements >= 1 && elements <= 1 << 28 && (map.shape.size() == 2 || map.shape.size() == 3));
            REQUIRE(map.rank >= 1 && map.rank <= c.target_count && contract::is_identifier(map.name));
            const auto [low, high] = map.calibration;
            REQUIRE(low < high || (low == 0 && high == 0));
        }
        const Preprocessing& p = c.preprocessing;
        REQUIRE(p.height >= 1 && p.height <= 16384 && p.width >= 1 && p.width <= 16384);
        REQUIRE((p.channels == 1 || p.channels == 3) && p.crop == (p.shorter > 0));
        REQUIRE(p.mean.size() == static_cast<size_t>(p.channels) && p.std.size() == p.mean.size());
        REQUIRE(c.num_outputs >= 1 && c.num_outputs <= 1 << 24 && (c.output_height > 0) == (c.output_width > 0));
        REQUIRE(c.classes.empty() || static_cast<int64_t>(c.classes.size()) == c.num_outputs);
        REQUIRE((c.target == TargetKind::kUnit) == !c.target_shape.empty());
        return true;
    } catch (const Error& error) {
        require_good(error);
        return false;
    }
}

/// What the checks above stand on: a fuzzer that refuses everything finds nothing.
bool self_test() {
    REQUIRE(is_json(bytes::kContract) && is_contract(bytes::kContract));
    REQUIRE(is_json("[1, 2.5]") && !is_json("[1,2.5]") && !is_contract("[1, 2.5]"));
    REQUIRE(written(Value("[1.0, {}]")) == "[1.0, {}]" && written(Value("[1.50]")) != "[1.50]");
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const bool tested = self_test();
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    REQUIRE(tested && (is_json(text) || !is_contract(text)));
    is_contract(text);
    return 0;
}
