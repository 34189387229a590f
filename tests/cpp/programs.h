// Program files made in memory, for the backend of fake_backend.cpp.
#pragma once

#include <string>

#include "program_bytes.h"

namespace programs {

/// What a test may say of a program; the JSON of each field.
struct Fields {
    std::string maps =
        R"([{"kind": "cam", "layer": "body", "method": "grad-cam", "name": "grad_cam", "rank": 1, "shape": [2, 3]}])";
    std::string features = "3";
    std::string num_outputs = "5";
    std::string output_size = "null";
    std::string pixels = R"("uint8")";
    std::string preprocessing =
        R"({"channels": 3, "height": 4, "interpolation": "bilinear", "mean": [0.0, 0.0, 0.0], "resize": "stretch", )"
        R"("shorter": null, "std": [1.0, 1.0, 1.0], "width": 6})";
    std::string softmax = "true";
    std::string target = R"("class")";
    std::string target_count = "1";
    std::string target_layer = "null";
    std::string target_shape = "null";
};

inline std::string contract_text(const Fields& f, const std::string& hash) {
    return R"({"calibration": null, "classes": null, "features": )" + f.features + R"(, "hash": ")" + hash +
           R"(", "maps": )" + f.maps + R"(, "model": "net", "num_outputs": )" + f.num_outputs + R"(, "output_size": )" +
           f.output_size + R"(, "pixels": )" + f.pixels + R"(, "precision": "float32", "preprocessing": )" +
           f.preprocessing + R"(, "proof": {}, "schema": 3, "softmax": )" + f.softmax + R"(, "target": )" + f.target +
           R"(, "target_count": )" + f.target_count + R"(, "target_layer": )" + f.target_layer +
           R"(, "target_shape": )" + f.target_shape + R"(, "versions": {}, "weights_hash": ""})";
}

/// An ONNX program whose graph is what the fake backend is told, such as "sleep=2000" (see fake_backend.cpp).
inline std::string onnx(const Fields& fields = {}, const std::string& orders = "") {
    const std::string body = bytes::field(2, "fake:" + orders + ";");
    const std::string hash = "sha256:" + bytes::sha256(body) + bytes::sha256(contract_text(fields, ""));
    return body + bytes::metadata("saccade", contract_text(fields, hash));
}

}  // namespace programs
