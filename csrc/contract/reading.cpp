#include "reading.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "json.h"
#include "saccade/error.h"
#include "text.h"

// The rules are those of engine/contract/reading.py, field by field; tests/embedding/test_contract.py holds both to the
// same verdicts.

namespace saccade::contract {
namespace {

constexpr std::string_view kSchema = "3";
constexpr int64_t kMaxSide = 16384;
constexpr size_t kMaxText = 1000;  // code points
constexpr double kMaxNumber = 1e300;

template <typename... Parts>
[[noreturn]] void damaged(const Parts&... parts) {
    fail_with(Status::kDamaged, "the contract is damaged (", parts..., "); compile the program again");
}

template <typename... Parts>
void need(bool holds, const Parts&... parts) {
    if (!holds) damaged(parts...);
}

/// A table that has exactly the fields that are asked for, in the order of their names, in which check_json saw them.
class Fields {
  public:
    Fields(Value table, const char* what) : items_(table) {
        need(table.kind() == Value::Kind::kTable, what, " must be a table");
    }

    Value next(const char* name) {
        const bool any = items_.next();
        const std::string found = any ? *items_.key().string() : "";
        need(!any || found >= name, "unknown field ", quoted(found));
        need(any && found == name, "missing field ", quoted(name));
        return items_.value();
    }

    void end() {
        if (items_.next()) damaged("unknown field ", quoted(*items_.key().string()));
    }

  private:
    Items items_;
};

std::string text(Value value, const char* what, size_t limit = kMaxText) {
    std::optional<std::string> found = value.string();
    need(found && length_of(*found) <= limit, what, " must be a text of at most ", limit, " characters");
    return *std::move(found);
}

std::string name(Value value, const char* what) {
    std::string found = text(value, what);
    need(is_printable(found), what, " must be a name, not ", quoted(found));
    return found;
}

int64_t size(Value value, const char* what, int64_t limit) {
    const std::optional<int64_t> found = value.integer();
    need(found && *found >= 1 && *found <= limit, what, " must be 1 to ", limit);
    return *found;
}

/// The value that goes with one of a few words.
template <typename Meaning>
Meaning word(Value value, const char* what, std::initializer_list<std::pair<const char*, Meaning>> words) {
    const std::optional<std::string> found = value.string();
    std::string known;
    for (const auto& [spelling, meaning] : words) {
        if (found == spelling) return meaning;
        known += (known.empty() ? "" : ", ") + std::string(spelling);
    }
    damaged(what, " must be one of ", known, ", not ", quoted(found.value_or(std::string(value.text().substr(0, 40)))));
}

Items list(Value value, const char* what) {
    need(value.kind() == Value::Kind::kList, what, " must be a list");
    return Items(value);
}

std::vector<int64_t> sizes(Value value, const char* what, int64_t limit, size_t most) {
    std::vector<int64_t> out;
    for (Items items = list(value, what); items.next();) {
        need(out.size() < most, what, " has too many numbers");
        out.push_back(size(items.value(), what, limit));
    }
    return out;
}

std::vector<double> numbers(Value value, const char* what, size_t most) {
    std::vector<double> out;
    for (Items items = list(value, what); items.next();) {
        const std::optional<double> found = items.value().number();
        need(out.size() < most && found && std::abs(*found) < kMaxNumber, what, " must be ", most, " numbers");
        out.push_back(*found);
    }
    need(out.size() == most, what, " must be ", most, " numbers");
    return out;
}

Preprocessing preprocessing(Value value) {
    Fields fields(value, "preprocessing");
    Preprocessing p{};
    p.channels = size(fields.next("channels"), "channels", 3);
    need(p.channels != 2, "channels must be 1 or 3");
    p.height = size(fields.next("height"), "the input's height", kMaxSide);
    p.filter = word<Filter>(fields.next("interpolation"), "interpolation",
                            {{"bilinear", Filter::kBilinear}, {"bicubic", Filter::kBicubic}});
    p.mean = numbers(fields.next("mean"), "mean", static_cast<size_t>(p.channels));
    p.crop = word<bool>(fields.next("resize"), "resize", {{"crop", true}, {"stretch", false}});
    const Value shorter = fields.next("shorter");
    need(p.crop != shorter.is_null(), "shorter must go with resize crop");
    if (p.crop) p.shorter = size(shorter, "shorter", kMaxSide);
    p.std = numbers(fields.next("std"), "std", static_cast<size_t>(p.channels));
    need(*std::min_element(p.std.begin(), p.std.end()) > 0, "std must be above 0");
    p.width = size(fields.next("width"), "the input's width", kMaxSide);
    fields.end();
    return p;
}

MapInfo map_info(Value value) {
    Fields fields(value, "a map");
    MapInfo m{};
    m.kind = word<MapKind>(fields.next("kind"), "a map's kind",
                           {{"cam", MapKind::kCam},
                            {"gradient", MapKind::kGradient},
                            {"signed", MapKind::kSigned},
                            {"activations", MapKind::kActivations},
                            {"ascent", MapKind::kAscent}});
    m.layer = name(fields.next("layer"), "a map's layer");
    m.method = name(fields.next("method"), "a map's method");
    m.name = text(fields.next("name"), "a map's name");
    need(is_identifier(m.name) && m.name != "logits" && m.name != "features", "map name ", quoted(m.name));
    m.rank = size(fields.next("rank"), "a map's rank", 64);
    const size_t dimensions = m.kind == MapKind::kActivations || m.kind == MapKind::kAscent ? 3 : 2;
    m.shape = sizes(fields.next("shape"), "a map's shape", 65536, dimensions);
    fields.end();
    double elements = 1;
    for (const int64_t side : m.shape) elements *= static_cast<double>(side);
    need(m.shape.size() == dimensions && elements <= 0x1p28, "shape of ", quoted(m.name));
    return m;
}

/// Fixed limits low < high as float32, in which they may fall together.
Range range(double low, double high) {
    constexpr float kLargest = std::numeric_limits<float>::max();
    const auto rounded = [](double v) { return static_cast<float>(std::clamp<double>(v, -kLargest, kLargest)); };
    Range out{rounded(low), rounded(high)};
    if (out.low < out.high) return out;
    if (out.high < kLargest) {
        out.high = std::nextafter(out.high, kLargest);
    } else {
        out.low = std::nextafter(out.low, 0.0F);
    }
    return out;
}

void calibrate(Value value, std::vector<MapInfo>& maps) {
    if (value.is_null()) return;
    need(value.kind() == Value::Kind::kTable, "calibration must be a table");
    for (Items items(value); items.next();) {
        const std::string of = *items.key().string();
        const auto map = std::find_if(maps.begin(), maps.end(), [&](const MapInfo& m) { return m.name == of; });
        need(map != maps.end(), "calibration of ", quoted(of), ", which is no map");
        const std::vector<double> limits = numbers(items.value(), "calibration", 2);
        need(limits[0] < limits[1], "calibration must be low < high");
        map->calibration = range(limits[0], limits[1]);
    }
}

std::vector<MapInfo> map_infos(Value value) {
    std::vector<MapInfo> maps;
    for (Items items = list(value, "maps"); items.next();) {
        need(maps.size() < 64, "maps must have 1 to 64 entries");
        maps.push_back(map_info(items.value()));
        const auto same = [&](const MapInfo& m) { return m.name == maps.back().name; };
        need(std::count_if(maps.begin(), maps.end(), same) == 1, "map names must differ");
    }
    need(!maps.empty(), "maps must have 1 to 64 entries");
    return maps;
}

std::vector<std::string> class_names(Value value, int64_t num_outputs) {
    std::vector<std::string> names;
    if (value.is_null()) return names;
    Items items = list(value, "classes");
    const size_t count = items.count();  // before any memory is taken for them
    need(static_cast<int64_t>(count) == num_outputs, count, " classes for ", num_outputs, " outputs");
    names.reserve(count);
    while (items.next()) names.push_back(text(items.value(), "a class name"));
    return names;
}

/// What the fields have to do with one another.
void check(const Contract& c) {
    const Preprocessing& p = c.preprocessing;
    bool ascends = false;
    for (const MapInfo& m : c.maps) {
        need(m.rank <= c.target_count, "a map's rank must be 1 to target_count");
        if (m.kind != MapKind::kAscent) continue;
        ascends = true;
        need(c.maps.size() == 1, "an ascent has one map");
        const bool fits = m.shape == std::vector<int64_t>{p.height, p.width, p.channels};
        need(fits, "an ascent has the pictures' shape");
    }
    need(c.float_pixels == ascends, "pixels must fit the maps");
    const bool segments = c.output_height > 0;
    need(!(c.softmax && segments), "a segmentation has no softmax");
    need(c.target_count <= c.num_outputs, "target_count must be at most num_outputs");
    need(c.target_count == 1 || c.target == TargetKind::kClass, "target_count goes with classes");
    need(c.target != TargetKind::kRegion || segments, "a region needs the output_size of a segmentation");
    const bool whole = c.target == TargetKind::kClass || c.target == TargetKind::kOutputs;
    need(!(whole && segments), "a segmentation's target is a region or a unit");
}

void check_schema(Value contract) {
    std::string_view schema;
    for (Items items(contract); items.next();) {
        const bool found = items.key().text() == "\"schema\"" && items.value().kind() == Value::Kind::kInteger;
        if (found) schema = items.value().text();
    }
    if (schema.empty() || contract.kind() != Value::Kind::kTable) {
        fail_with(Status::kDamaged, "the contract names no schema; expected a saccade program; compile it again");
    }
    if (schema != kSchema) {
        fail_with(Status::kDamaged, "the contract has schema ", schema.substr(0, 20), ", this saccade reads schema ",
                  kSchema, "; compile the program again with this version, or install the version that made it");
    }
}

}  // namespace

Parsed parse_contract(std::string_view json) {
    try {
        check_json(json);
    } catch (const Error& error) {
        fail_with(Status::kDamaged, "the contract is not the JSON that saccade writes (", error.what(),
                  "); copy the file or compile the program again");
    }
    const Value whole(json);
    check_schema(whole);

    Fields fields(whole, "the contract");
    Contract c{};
    c.json = json;
    const Value calibration = fields.next("calibration");
    const Value classes = fields.next("classes");
    const Value features = fields.next("features");
    if (!features.is_null()) c.features = size(features, "features", 1 << 20);
    const Value hash = fields.next("hash");
    c.hash = text(hash, "hash", 200);
    c.maps = map_infos(fields.next("maps"));
    c.model = name(fields.next("model"), "model");
    c.num_outputs = size(fields.next("num_outputs"), "num_outputs", 1 << 24);
    const Value output_size = fields.next("output_size");
    if (!output_size.is_null()) {
        const std::vector<int64_t> found = sizes(output_size, "output_size", kMaxSide, 2);
        need(found.size() == 2, "output_size must be (h, w)");
        c.output_height = found[0];
        c.output_width = found[1];
    }
    c.float_pixels = word<bool>(fields.next("pixels"), "pixels", {{"uint8", false}, {"float32", true}});
    c.precision = word<const char*>(fields.next("precision"), "precision",
                                    {{"float32", "float32"}, {"float16", "float16"}, {"bfloat16", "bfloat16"}});
    c.preprocessing = preprocessing(fields.next("preprocessing"));
    need(fields.next("proof").kind() == Value::Kind::kTable, "proof must be a table");
    fields.next("schema");
    const Value softmax = fields.next("softmax");
    need(softmax.kind() == Value::Kind::kBool, "softmax must be true or false");
    c.softmax = softmax.text() == "true";
    c.target = word<TargetKind>(fields.next("target"), "target",
                                {{"class", TargetKind::kClass},
                                 {"region", TargetKind::kRegion},
                                 {"outputs", TargetKind::kOutputs},
                                 {"unit", TargetKind::kUnit}});
    c.target_count = size(fields.next("target_count"), "target_count", 64);
    const Value layer = fields.next("target_layer"), shape = fields.next("target_shape");
    const bool unit = c.target == TargetKind::kUnit;
    need(layer.is_null() != unit && shape.is_null() != unit, "a unit, and nothing else, needs its layer and shape");
    if (unit) {
        c.target_layer = name(layer, "target_layer");
        c.target_shape = sizes(shape, "target_shape", 1 << 20, 3);
        need(c.target_shape.size() == 1 || c.target_shape.size() == 3, "target_shape must be (C, h, w) or (C)");
    }
    const Value versions = fields.next("versions");
    need(versions.kind() == Value::Kind::kTable, "versions must be a table");
    for (Items items(versions); items.next();) {
        c.versions.emplace_back(*items.key().string(), text(items.value(), "a version"));
    }
    c.weights_hash = text(fields.next("weights_hash"), "weights_hash", 200);
    fields.end();

    c.classes = class_names(classes, c.num_outputs);
    calibrate(calibration, c.maps);
    check(c);
    return {std::move(c), hash.text().substr(1, hash.text().size() - 2)};
}

}  // namespace saccade::contract
