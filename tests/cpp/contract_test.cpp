#include "saccade/contract.h"

#include <functional>
#include <utility>

#include "check.h"
#include "container.h"
#include "program_bytes.h"

using namespace saccade;
using namespace bytes;

namespace {

Contract read(const std::string& file) { return read_contract(file.data(), file.size(), "tiny.bin"); }

/// What the reader says of a file that it must refuse; empty where it takes it.
std::string refusal(const std::string& file) {
    try {
        read(file);
    } catch (const Error& error) {
        const std::string message = error.what();
        HOLDS(error.status() == Status::kDamaged);
        HOLDS(message.find("load: tiny.bin: ") == 0 && message.size() > 30 && message.size() < 600);
        HOLDS(message.find('\n') == std::string::npos);
        return message;
    }
    return "";
}

bool refuses(const std::string& file, const std::string& part) {
    const std::string message = refusal(file);
    const bool fits = !message.empty() && message.find(part) != std::string::npos;
    if (!fits) std::cerr << "expected '" << part << "': " << (message.empty() ? "it was taken" : message) << "\n";
    return fits;
}

/// The contract with some of it replaced, in a file whose hash fits: what stops it are the checks of its fields.
bool refuses_with(std::string_view from, std::string_view to, const std::string& part) {
    return refuses(onnx(with(kContract, from, to)), part);
}

void check_fields(const Contract& c) {
    HOLDS(c.model == "tiny" && c.weights_hash == "sha256:0" && c.precision == "float32");
    HOLDS(c.hash.size() == 135 && c.json.find(c.hash) != std::string::npos);
    const Preprocessing& p = c.preprocessing;
    HOLDS(p.height == 30 && p.width == 45 && p.channels == 3 && p.crop && p.shorter == 50);
    HOLDS(p.filter == Filter::kBicubic);
    HOLDS((p.mean == std::vector<double>{0.5, 0.25, 0}) && (p.std == std::vector<double>{1, 2, 0.225}));
    EQUAL(c.maps.size(), 2U);
    const MapInfo &cam = c.maps[0], &channels = c.maps[1];
    HOLDS(cam.name == "grad_cam" && cam.method == "grad-cam" && cam.layer == "layer4" && cam.kind == MapKind::kCam);
    HOLDS((cam.shape == std::vector<int64_t>{2, 3}) && cam.rank == 1);
    HOLDS(cam.calibration.low == 0.0F && cam.calibration.high == 1.5F);
    HOLDS((channels.kind == MapKind::kActivations && channels.shape == std::vector<int64_t>{5, 3, 2}));
    HOLDS(channels.calibration.low == 0.0F && channels.calibration.high == 0.0F);
    HOLDS(c.features == 5 && !c.float_pixels && c.num_outputs == 2 && c.output_height == 0 && c.output_width == 0);
    HOLDS(c.softmax && c.target == TargetKind::kClass && c.target_count == 1);
    HOLDS(c.target_layer.empty() && c.target_shape.empty());
    HOLDS((c.classes == std::vector<std::string>{"Wörter", "\"x\"\n"}));
    HOLDS(c.versions.size() == 2 && c.versions[1].first == "torch" && c.versions[1].second == "2.14.1");
}

const std::vector<std::pair<const char*, std::string>> kFiles = {
    {"ONNX", onnx()},
    {"TorchScript", torchscript()},
    {"ZIP64, as torch writes it", archive(kOfTorch, kContract, End::kZip64)},
    {"with a comment", archive(kOfTorch, kContract, End::kComment)}};

}  // namespace

TEST(the_checker_of_refusals_is_no_yes_man) {
    HOLDS(refusal(onnx()).empty());
    std::cerr.setstate(std::ios::failbit);
    HOLDS(!refuses(onnx(), ""));
    HOLDS(!refuses("", "another message"));
    std::cerr.clear();
}

TEST(every_field_of_a_program_is_read) {
    for (const auto& [kind, file] : kFiles) {
        const Contract c = read(file);
        check_fields(c);
        HOLDS(c.format == (file[0] == 'P' ? Format::kTorchScript : Format::kOnnx));
    }
    auto native = kOfTorch;
    native.push_back({"tiny/data/aotinductor/model/a.so", "code"});
    HOLDS(read(archive(native)).format == Format::kAotInductor);
}

TEST(cut_at_every_length) {
    for (const auto& [kind, file] : kFiles) {
        for (size_t length = 0; length < file.size(); ++length) {
            const std::string cut(file.data(), length);  // of its own, so that a read past its end is seen
            if (refusal(cut).empty()) std::cerr << kind << " of " << length << " bytes\n";
            HOLDS(!refusal(cut).empty());
        }
    }
}

TEST(every_byte_changed) {
    for (const auto& [kind, file] : kFiles) {
        for (size_t i = 0; i < file.size(); ++i) {
            for (const int change : {0x01, 0x80, 0x2a, 0xff}) {
                std::string changed = file;
                changed[i] = static_cast<char>(changed[i] ^ change);
                if (refusal(changed).empty()) std::cerr << kind << ", byte " << i << " changed by " << change << "\n";
                HOLDS(!refusal(changed).empty());
            }
        }
        HOLDS(refuses(file + '\0', ""));
    }
}

TEST(what_is_no_program) {
    HOLDS(refuses("", "empty (0 bytes)"));
    HOLDS(refuses("Dear all,\nplease find attached\n", "no ONNX file and no archive of torch"));
    HOLDS(refuses(kModel, "carries no saccade contract; it is a model, not a program"));
    HOLDS(refuses(zip(kOfTorch), "carries no saccade contract"));
    HOLDS(refuses("PK\3\4", "not a zip file"));
    HOLDS(refuses("PK\3\4" + std::string(100, '\0'), "not a zip file"));
}

TEST(hostile_messages) {
    const std::string twice = metadata("saccade", kContract);
    HOLDS(refuses(kModel + twice + twice, "two contracts"));
    HOLDS(refuses(kModel + twice, "no longer have the hash"));
    HOLDS(refuses(metadata("saccade", std::string(contract::kMaxContract + 1, ' ')), "bytes of metadata; expected at"));
    HOLDS(refuses("\x72" + std::string(9, '\xff') + "\x01", "cut short"));        // a length of 2^64 - 1
    HOLDS(refuses("\x72" + std::string(9, '\xff') + "\x7f", "cut short"));        // of 2^70 - 1
    HOLDS(refuses("\x72" + std::string(20, '\xff'), "no ONNX"));                  // that never ends
    HOLDS(refuses("\xf2" + std::string(8, '\x80') + "\x02\x01\x30", "no ONNX"));  // field 14 + 2^64 / 8
    HOLDS(refuses("\x08" + std::string(20, '\x80'), "no ONNX"));
    HOLDS(refuses(std::string("\x73\x00", 2), "no ONNX"));  // a group
    HOLDS(refuses(std::string("\x02\x00", 2), "no ONNX"));  // field 0
    HOLDS(refuses(field(65, ""), "no ONNX"));
    HOLDS(refuses(field(14, std::string(200, '\x08')), "no ONNX"));  // an entry of a hundred fields
    std::string many;
    for (int i = 0; i < 100'001; ++i) many += std::string("\x08\x00", 2);
    HOLDS(refuses(many, "no ONNX"));
    HOLDS(!refusal(many.substr(2)).empty());
}

TEST(hostile_archives) {
    const std::string text = with_hash(kContract, std::string(135, '0'));
    HOLDS(refuses(zip({{kOwnEntry, text}}), "no longer have the hash"));
    HOLDS(refuses(zip({{kOwnEntry, text}, {"other/extra/saccade", text}}), "two contracts"));
    HOLDS(refuses(zip({{"a/b", "1"}, {"a/b", "2"}, {kOwnEntry, text}}), "repeated entries"));
    HOLDS(refuses(zip({{std::string("a/b\0c", 5), "1"}, {"a/b", "2"}}), "repeated entries"));
    HOLDS(refuses(zip({{kOwnEntry, text, 8}}), "expected fewer, unpacked"));
    HOLDS(refuses(zip({{kOwnEntry, std::string(contract::kMaxContract + 1, ' ')}}), "expected fewer, unpacked"));
    HOLDS(refuses(zip({{"a/code", "x", 8, (64 << 20) + 1}}), "unpacks to more"));
    HOLDS(refuses(zip({{"a/code", "x", 8, 40 << 20}, {"a/more", "x", 8, 40 << 20}}), "unpacks to more"));
    HOLDS(refuses(zip({{"a/data", "x", 0, 2}}), "unpacks to more"));
    HOLDS(refuses(zip({{"a/data", "x", 0, 0, "\1"}, {"a/b", "x", 0, 0, std::string("\1\0\x20\0", 4)}}), "extra field"));
    const std::string wide = std::string("\1\0\x10\0", 4) + std::string(16, '\xff');  // sizes of 2^64 - 1
    HOLDS(refuses(zip({{"a/data", "x", 8, 0xffffffff, wide}}), "unpacks to more"));
    HOLDS(refuses(zip({{"a/data", "x", 8, 0xffffffff, std::string("\1\0\4\0....", 8)}}), "ends too early"));
    HOLDS(refuses(zip({{"a\x80", "x", 0, 0}, {kOwnEntry, text}}), "no longer have the hash"));  // cp437, which is fine
    const std::string good = torchscript();
    for (const size_t at : {20, 24, 42}) {  // the sizes and the place that a record of the directory has
        for (const uint64_t value : {uint64_t{0}, uint64_t{5}, uint64_t{1} << 31, uint64_t{0xfffffffe}}) {
            for (const std::string& name : {std::string("tiny/data.pkl"), std::string("tiny/version"), kOwnEntry}) {
                std::string changed = good;
                changed.replace(changed.rfind(name) - 46 + at, 4, number(value, 4));
                HOLDS(changed == good || !refusal(changed).empty());
            }
        }
    }
    std::string elsewhere = good;  // a directory of 4 GB
    elsewhere.replace(good.size() - 10, 4, number(0xfffffff0, 4));
    HOLDS(refuses(elsewhere, "bad offset for central directory"));
}

TEST(hostile_texts) {
    HOLDS(refuses(metadata("saccade", "\xff\xfe{}"), "not the JSON that saccade writes"));
    HOLDS(refuses(metadata("saccade", std::string(1'000'000, '[')), "nested in more than 16 levels"));
    HOLDS(refuses(metadata("saccade", ""), "not the JSON that saccade writes"));
    HOLDS(refuses(metadata("saccade", R"({"schema": 999})"), "has schema 999, this saccade reads schema 3"));
    HOLDS(refuses(metadata("saccade", R"({"schema": )" + std::string(4000, '9') + "}"), "99999999999999999999, this"));
    for (const char* text :
         {R"({"schema": true})", R"({"schema": 3.0})", R"("schema")", "[]", R"({"a": {"schema": 3}})"}) {
        HOLDS(refuses(metadata("saccade", text), "names no schema"));
    }
    HOLDS(refuses(metadata("saccade", R"({"schema": 3})"), "missing field 'calibration'"));
    HOLDS(refuses_with("\"schema\": 3", "\"schema\": 3, \"so\\u001bx\": 1", "unknown field 'so\\x1bx'"));
    HOLDS(refuses_with("\"weights_hash\"", "\"z\"", "missing field 'weights_hash'"));
    HOLDS(refuses_with("\"sha256:0\"}", "\"sha256:0\", \"z\": 1}", "unknown field 'z'"));
    HOLDS(refuses_with(", \"target_shape\": null", "", "missing field 'target_shape'"));
    HOLDS(refuses_with("\"sha256:0\"}", "\"sha256:0\"} ", "expected the end"));
    HOLDS(refuses_with("[0.0, 1.5]", "[0.0,1.5]", "expected ', ' or ']'"));
}

TEST(fields_of_another_type_or_out_of_range) {
    HOLDS(refuses_with("\"tiny\"", "\"a\\nb\"", "model must be a name"));
    HOLDS(refuses_with("\"tiny\"", "3", "model must be a text"));
    HOLDS(refuses_with("\"tiny\"", "\"" + std::string(1001, 'x') + "\"", "model must be a text of at most 1000"));
    std::string umlauts;
    for (int i = 0; i < 1000; ++i) umlauts += "ü";
    HOLDS(read(onnx(with(kContract, "tiny", umlauts))).model == umlauts);  // characters, not bytes
    for (const char* value : {"0", "-1", "16385", "30.0", "true", "null", "\"30\"", "[30]", "99999999999999999999"}) {
        HOLDS(refuses_with("\"height\": 30", std::string("\"height\": ") + value,
                           "the input's height must be 1 to 16384"));
    }
    HOLDS(refuses_with("\"channels\": 3", "\"channels\": 2", "channels must be 1 or 3"));
    HOLDS(refuses_with("\"channels\": 3", "\"channels\": 1", "mean must be 1 numbers"));
    HOLDS(refuses_with("\"bicubic\"", "\"lanczos\"", "interpolation must be one of bilinear, bicubic, not 'lanczos'"));
    HOLDS(refuses_with("\"crop\"", "\"stretch\"", "shorter must go with resize crop"));
    HOLDS(refuses_with("50", "null", "shorter must go with resize crop"));
    HOLDS(refuses_with("0.225", "0.0", "std must be above 0"));
    HOLDS(refuses_with("0.225", "true", "std must be 3 numbers"));
    HOLDS(refuses_with("0.225", "1e+300", "std must be 3 numbers"));
    HOLDS(refuses_with("[0.5, 0.25, 0]", "[0.5, 0.25]", "mean must be 3 numbers"));
    HOLDS(refuses_with("[0.5, 0.25, 0]", "0.5", "mean must be a list"));
    HOLDS(refuses_with("\"layer4\"", "\"\\u001b[2J\"", "a map's layer must be a name"));
    HOLDS(refuses_with("\"name\": \"grad_cam\"", "\"name\": \"grad cam\"", "map name 'grad cam'"));
    HOLDS(refuses_with("\"name\": \"grad_cam\"", "\"name\": \"logits\"", "map name 'logits'"));
    HOLDS(refuses_with("\"name\": \"activations\"", "\"name\": \"grad_cam\"", "map names must differ"));
    HOLDS(refuses_with("\"kind\": \"cam\"", "\"kind\": \"x\"", "a map's kind must be one of cam, gradient"));
    HOLDS(refuses_with("[2, 3]", "[2, 3, 4]", "a map's shape has too many"));
    HOLDS(refuses_with("[2, 3]", "[2]", "shape of 'grad_cam'"));
    HOLDS(refuses_with("[2, 3]", "[65536, 65536]", "shape of 'grad_cam'"));
    HOLDS(refuses_with("[5, 3, 2]", "[5, 0, 2]", "a map's shape must be 1 to 65536"));
    HOLDS(refuses_with("\"rank\": 1", "\"rank\": 2", "a map's rank must be 1 to target_count"));
    HOLDS(refuses_with("\"features\": 5", "\"features\": 0", "features must be 1 to 1048576"));
    HOLDS(refuses_with("\"num_outputs\": 2", "\"num_outputs\": 3", "2 classes for 3 outputs"));
    HOLDS(refuses_with("\"Wörter\"", "3", "a class name must be a text"));
    HOLDS(refuses_with("{\"grad_cam\": [0.0, 1.5]}", "[]", "calibration must be a table"));
    HOLDS(refuses_with("{\"grad_cam\": [0.0, 1.5]}", "{\"a\": [0.0, 1.5]}", "calibration of 'a', which is no map"));
    HOLDS(refuses_with("[0.0, 1.5]", "[1.5, 1.5]", "calibration must be low < high"));
    HOLDS(refuses_with("[0.0, 1.5]", "[0.0, 1.5, 2.0]", "calibration must be 2 numbers"));
    HOLDS(refuses_with("\"uint8\"", "\"float32\"", "pixels must fit the maps"));
    HOLDS(refuses_with("\"precision\": \"float32\"", "\"precision\": \"int8\"", "precision must be one of float32"));
    HOLDS(refuses_with("\"softmax\": true", "\"softmax\": 1", "softmax must be true or false"));
    HOLDS(refuses_with("\"class\"", "\"pixel\"", "target must be one of class, region, outputs, unit, not 'pixel'"));
    HOLDS(refuses_with("\"target_count\": 1", "\"target_count\": 3", "target_count must be at most num_outputs"));
    HOLDS(refuses_with("\"class\", \"target_count\": 1", "\"outputs\", \"target_count\": 2", "goes with classes"));
    HOLDS(refuses_with("\"output_size\": null", "\"output_size\": [4, 4]", "a segmentation has no softmax"));
    HOLDS(refuses_with("\"class\"", "\"region\"", "a region needs the output_size"));
    HOLDS(refuses_with("\"class\"", "\"unit\"", "needs its layer and shape"));
    HOLDS(refuses_with("\"target_layer\": null", "\"target_layer\": \"a\"", "needs its layer and shape"));
    HOLDS(refuses_with("\"2.14.1\"", "2", "a version must be a text"));
    HOLDS(refuses_with("\"proof\": {", "\"proof\": [], \"schema\": 3}", "expected the end"));
}

TEST(every_kind_of_target_and_of_map) {
    const std::string region =
        with(with(with(kContract, "\"class\"", "\"region\""), "\"softmax\": true", "\"softmax\": false"),
             "\"output_size\": null", "\"output_size\": [7, 8]");
    Contract c = read(onnx(region));
    HOLDS(c.target == TargetKind::kRegion && c.output_height == 7 && c.output_width == 8 && !c.softmax);
    c = read(
        onnx(with(with(with(kContract, "\"class\"", "\"unit\""), "\"target_layer\": null", "\"target_layer\": \"a.b\""),
                  "\"target_shape\": null", "\"target_shape\": [512, 7, 7]")));
    HOLDS(c.target == TargetKind::kUnit && c.target_layer == "a.b" && c.target_shape.size() == 3);
    c = read(onnx(with(with(kContract, "\"target_count\": 1", "\"target_count\": 2"), "\"rank\": 1", "\"rank\": 2")));
    HOLDS(c.target_count == 2 && c.maps[0].rank == 2);
    const size_t maps = kContract.find("[{\"kind\""), end = kContract.find("}], \"model\"");
    const std::string ascent =
        R"([{"kind": "ascent", "layer": "input", "method": "ascent", "name": "ascent", "rank": 1, "shape": [30, 45, 3])";
    std::string changed = with(with(kContract, kContract.substr(maps, end - maps), ascent), "\"uint8\"", "\"float32\"");
    changed = with(changed, "{\"grad_cam\": [0.0, 1.5]}", "null");
    c = read(onnx(changed));
    HOLDS(c.float_pixels && c.maps.size() == 1 && c.maps[0].kind == MapKind::kAscent);
    HOLDS(refuses(onnx(with(changed, "[30, 45, 3]", "[30, 45, 1]")), "an ascent has the pictures' shape"));
    c = read(onnx(
        with(with(with(kContract, "\"features\": 5", "\"features\": null"), "[\"Wörter\", \"\\\"x\\\"\\n\"]", "null"),
             "{\"grad_cam\": [0.0, 1.5]}", "{}")));
    HOLDS(c.features == 0 && c.classes.empty() && c.maps[0].calibration.high == 0.0F);
    c = read(onnx(with(with(kContract, "\"crop\"", "\"stretch\""), "50", "null")));
    HOLDS(!c.preprocessing.crop && c.preprocessing.shorter == 0);
}

TEST(limits_that_fall_together_in_float32_stay_apart) {
    for (const char* limits :
         {"[1.0, 1.00000000001]", "[0.0, 1e-60]", "[1e+200, 2e+200]", "[-2e+200, -1e+200]", "[-1e+200, 1e+200]"}) {
        const Range range = read(onnx(with(kContract, "[0.0, 1.5]", limits))).maps[0].calibration;
        HOLDS(range.low < range.high && range.high <= 3.4028235e38F && range.low >= -3.4028235e38F);
    }
}
