// Explains one frame in several threads, which must agree, and writes what it found as JSON.
//   in_cpp PROGRAM BACKEND BACKENDS LIBRARY FRAME HEIGHT WIDTH
// BACKENDS and LIBRARY may be "": the installed ones, and where the system looks. FRAME is of raw RGB bytes.
#include <saccade/render.h>
#include <saccade/session.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Found {
    std::vector<float> logits, map;
    int64_t prediction = -1;
    float confidence = 0.0f, score = 0.0f;
    saccade::Region region{};
    std::vector<uint8_t> picture;

    bool operator==(const Found& other) const {
        return logits == other.logits && map == other.map && prediction == other.prediction && score == other.score &&
               region.area == other.region.area && picture == other.picture;
    }
};

Found explain(const std::shared_ptr<const saccade::Program>& program, const saccade::Frame& frame) {
    const saccade::Contract& contract = program->contract();
    const saccade::Preprocessing& input = contract.preprocessing;
    saccade::Session session(program);
    Found found;
    for (int i = 0; i < 3; ++i) {
        const saccade::Result result = session.run(frame);
        const saccade::Maps map = result.map(contract, 0, 0);
        found.logits.assign(result.logits, result.logits + contract.num_outputs);
        found.map.assign(map.data, map.data + map.h * map.w);
        found.prediction = result.prediction[0];
        found.confidence = result.confidence[0];
        found.score = result.score[0];

        const saccade::MapStack stack{map.data, 1, 1, map.h, map.w, 0, 0, map.stride_h, map.stride_w};
        saccade::RangeOptions from_zero;
        from_zero.zero = true;
        saccade::Range range;
        saccade::value_ranges(stack, from_zero, &range);
        found.region = saccade::find_region(map, range.high / 2, {input.height, input.width}, result.views[0]);

        found.picture.resize(static_cast<size_t>(frame.height * frame.width * 3));
        const saccade::Canvas canvas{found.picture.data(), frame.height, frame.width, 3, frame.width * 3};
        const saccade::Images photo{frame.data, 1, frame.height, frame.width, 3, 0, frame.width * 3, 3, 1};
        const saccade::Place corner{0, 0};
        saccade::Style style;
        style.colours = &saccade::colormap("viridis");
        saccade::overlay(canvas, map, &range, &photo, {frame.height, frame.width}, &corner, &result.views[0], style);
    }
    return found;
}

void write(const char* name, const std::vector<float>& values) {
    std::cout << '"' << name << "\": [";
    for (size_t i = 0; i < values.size(); ++i) std::cout << (i > 0 ? ", " : "") << values[i];
    std::cout << "], ";
}

int run(char** words) {
    std::ifstream file(words[5], std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    const saccade::Frame frame{reinterpret_cast<const uint8_t*>(bytes.data()), std::atoll(words[6]),
                               std::atoll(words[7])};
    saccade::OpenOptions options;
    options.backend = words[2];
    options.backends = *words[3] != '\0' ? words[3] : BACKENDS;
    options.library = words[4];
    const auto program = saccade::Program::open(words[1], options);

    std::vector<Found> found(3);
    std::vector<std::thread> threads;
    for (Found& one : found) threads.emplace_back([&] { one = explain(program, frame); });
    for (std::thread& thread : threads) thread.join();
    if (!(found[0] == found[1]) || !(found[0] == found[2])) {
        std::cerr << "the threads do not agree\n";
        return 1;
    }
    unsigned long sum = 0;
    for (const uint8_t byte : found[0].picture) sum = (sum * 31 + byte) % 1000000007;
    const saccade::Box& box = found[0].region.box;
    std::cout.precision(9);
    std::cout << "{\"runtime\": \"" << program->runtime() << "\", ";
    write("logits", found[0].logits);
    write("map", found[0].map);
    std::cout << "\"prediction\": " << found[0].prediction << ", \"confidence\": " << found[0].confidence
              << ", \"score\": " << found[0].score << ", \"area\": " << found[0].region.area << ", \"box\": ["
              << box.left << ", " << box.top << ", " << box.right << ", " << box.bottom << "], \"picture\": " << sum
              << "}\n";
    return 0;
}

}  // namespace

int main(int count, char** words) {
    if (count != 8) {
        std::cerr << "expected 7 arguments\n";
        return 2;
    }
    try {
        return run(words);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
