// For tests/embedding/test_contract.py: reads the names of files from standard input, one a line, and writes for each
// what `read_contract` finds in it, one line: JSON with the fields of saccade/contract.h, or {"error": message}.
#include <fstream>
#include <iostream>
#include <iterator>

#include "saccade/contract.h"
#include "saccade/error.h"

using namespace saccade;

namespace {

void write(const std::string& text) {
    std::cout << '"';
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20) {
            std::cout << "\\u00" << "01"[c >> 4] << "0123456789abcdef"[c & 15];
        } else {
            std::cout << (c == '"' || c == '\\' ? "\\" : "") << c;
        }
    }
    std::cout << '"';
}
void write(int64_t number) { std::cout << number; }
void write(double number) { std::cout << number; }
void write(const std::pair<std::string, std::string>& entry);
void write(const MapInfo& map);

template <typename Item>
void write(const std::vector<Item>& items) {
    const char* separator = "";
    std::cout << '[';
    for (const Item& item : items) {
        std::cout << separator;
        write(item);
        separator = ", ";
    }
    std::cout << ']';
}

template <typename Item>
void field(const char* name, const Item& item) {
    std::cout << ", \"" << name << "\": ";
    write(item);
}

void write(const std::pair<std::string, std::string>& entry) {
    write(std::vector<std::string>{entry.first, entry.second});
}

void write(const MapInfo& map) {
    std::cout << "{\"kind\": " << static_cast<int>(map.kind);
    field("name", map.name);
    field("method", map.method);
    field("layer", map.layer);
    field("shape", map.shape);
    field("rank", map.rank);
    field("low", double{map.calibration.low});
    field("high", double{map.calibration.high});
    std::cout << '}';
}

void write(const Contract& c) {
    const Preprocessing& p = c.preprocessing;
    std::cout << "{\"format\": " << static_cast<int>(c.format);
    field("json", c.json);
    field("model", c.model);
    field("weights_hash", c.weights_hash);
    field("hash", c.hash);
    field("precision", c.precision);
    field("height", p.height);
    field("width", p.width);
    field("channels", p.channels);
    field("crop", int64_t{p.crop});
    field("shorter", p.shorter);
    field("bicubic", int64_t{p.filter == Filter::kBicubic});
    field("mean", p.mean);
    field("std", p.std);
    field("maps", c.maps);
    field("features", c.features);
    field("float_pixels", int64_t{c.float_pixels});
    field("num_outputs", c.num_outputs);
    field("output_height", c.output_height);
    field("output_width", c.output_width);
    field("softmax", int64_t{c.softmax});
    field("target", static_cast<int64_t>(c.target));
    field("target_count", c.target_count);
    field("target_layer", c.target_layer);
    field("target_shape", c.target_shape);
    field("classes", c.classes);
    field("versions", c.versions);
    std::cout << '}';
}

}  // namespace

int main() {
    std::cout.precision(17);
    for (std::string path; std::getline(std::cin, path);) {
        std::ifstream file(path, std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        try {
            write(read_contract(bytes.data(), bytes.size(), path));
        } catch (const Error& error) {
            std::cout << "{\"status\": " << static_cast<int>(error.status());
            field("error", std::string(error.what()));
            std::cout << '}';
        }
        std::cout << std::endl;
    }
}
