#include "saccade/session.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "check.h"
#include "programs.h"

using namespace saccade;

namespace {

constexpr int64_t kBytes = 4 * 6 * 3;  // of the network's input in programs.h

OpenOptions with_fake() {
    OpenOptions options;
    options.backend = "fake";
    options.backends = FAKE_FOLDER;
    return options;
}

/// A program, the memory of its file, and a session.
struct Opened {
    std::string file;
    std::shared_ptr<const Program> program;
    Session session;

    explicit Opened(const programs::Fields& fields = {}, const std::string& orders = "")
        : file(programs::onnx(fields, orders)),
          program(Program::open(file.data(), file.size(), with_fake())),
          session(program) {}
};

/// Images whose byte i is (first + i · step) mod 251.
std::vector<uint8_t> bytes_of(int64_t images, int step = 7) {
    std::vector<uint8_t> bytes(static_cast<size_t>(images * kBytes));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((i * static_cast<size_t>(step)) % 251);
    return bytes;
}

Frame frame_of(const std::vector<uint8_t>& bytes) { return {bytes.data(), 4, 6}; }

programs::Fields segmentation(const std::string& num_outputs, const std::string& output_size) {
    programs::Fields fields;
    fields.softmax = "false";
    fields.target = R"("region")";
    fields.num_outputs = num_outputs;
    fields.output_size = output_size;
    return fields;
}

}  // namespace

TEST(a_frame_is_explained) {
    Opened opened;
    const auto bytes = bytes_of(1);  // 0, 7, 14, 21, 28, …
    const Result result = opened.session.run(frame_of(bytes));
    EQUAL(result.num_images, 1);
    for (int i = 0; i < 5; ++i) EQUAL(result.logits[i], 7.0f * static_cast<float>(i));
    EQUAL(result.prediction[0], 4);
    EQUAL(result.explained[0], 4);
    EQUAL(result.score[0], 28.0f);
    // 1 / (1 + e^-7 + e^-14 + …)
    HOLDS(std::abs(result.confidence[0] - 0.99908811f) < 1e-7f);
    EQUAL(result.maps[0][5], 35.5f);
    EQUAL(result.features[0], -1.0f);  // what the backend was asked for: its own prediction
    EQUAL(result.views[0].right, 6.0);
    const Maps map = result.map(opened.program->contract(), 0, 0);
    EQUAL(map.h, 2);
    EQUAL(map.w, 3);
    HOLDS(map.data == result.maps[0]);
    FAILS(result.map(opened.program->contract(), 1, 0), "no map 1");
    FAILS(result.map(opened.program->contract(), 0, 1), "of image 1");
    EQUAL(opened.program->runtime() == "Fake 1.0", true);
}

TEST(results_go_where_the_caller_wants_them) {
    Opened opened;
    const auto bytes = bytes_of(3);
    std::vector<float> logits(15, -1.0f), map(18, -1.0f), features(9, -1.0f);
    float* maps[] = {map.data()};
    const int64_t target[] = {0, -1, 3};
    Request request;
    request.target = target;
    request.logits = logits.data();
    request.maps = maps;
    request.features = features.data();
    const Result result = opened.session.run(Batch{bytes.data(), 3}, request);
    HOLDS(result.logits == logits.data() && result.maps[0] == map.data() && result.features == features.data());
    EQUAL(logits[5], static_cast<float>(bytes[kBytes]));
    EQUAL(result.explained[0], 0);
    EQUAL(result.explained[1], result.prediction[1]);
    EQUAL(result.explained[2], 3);
    EQUAL(result.score[2], logits[13]);
    EQUAL(features[6], 3.0f);
}

TEST(a_session_forgets_the_call_before) {
    Opened opened;
    const auto bytes = bytes_of(3);
    const int64_t target[] = {1, 1, 1};
    Request request;
    request.target = target;
    opened.session.run(Batch{bytes.data(), 3}, request);
    const Result result = opened.session.run(Batch{bytes.data(), 1});
    EQUAL(result.num_images, 1);
    EQUAL(result.explained[0], 4);
}

TEST(the_likeliest_classes_come_in_order) {
    programs::Fields fields;
    fields.target_count = "3";
    Opened opened(fields);
    std::vector<uint8_t> bytes(kBytes, 0);
    const uint8_t logits[] = {9, 30, 9, 200, 30};
    std::copy_n(logits, 5, bytes.begin());
    Result result = opened.session.run(frame_of(bytes));
    EQUAL(result.explained[0], 3);
    EQUAL(result.explained[1], 1);  // the first of equals
    EQUAL(result.explained[2], 4);
    const int64_t target[] = {-1, 0, -1};
    Request request;
    request.target = target;
    result = opened.session.run(frame_of(bytes), request);
    EQUAL(result.explained[1], 0);
    EQUAL(result.explained[2], 4);
    EQUAL(result.score[1], 9.0f);
}

TEST(a_regression_has_a_weighted_score_and_no_confidence) {
    programs::Fields fields;
    fields.target = R"("outputs")";
    fields.softmax = "false";
    Opened opened(fields);
    const auto bytes = bytes_of(1);
    const float weights[] = {0.0f, 1.0f, 0.0f, -0.5f, 0.0f};
    Request request;
    request.weights = weights;
    Result result = opened.session.run(frame_of(bytes), request);
    EQUAL(result.score[0], 7.0f - 10.5f);
    HOLDS(std::isnan(result.confidence[0]));
    HOLDS(result.explained == nullptr);
    EQUAL(result.features[1], 1.0f);
    EQUAL(opened.session.run(frame_of(bytes)).score[0], 70.0f);
    const float bad[] = {0.0f, NAN, 0.0f, 0.0f, 0.0f};
    request.weights = bad;
    FAILS(opened.session.run(frame_of(bytes), request), "weights[1] is nan; expected finite numbers");
}

TEST(a_unit_is_named_and_has_no_score) {
    programs::Fields fields;
    fields.target = R"("unit")";
    fields.target_layer = R"("body")";
    fields.target_shape = "[8, 2, 3]";
    Opened opened(fields);
    const auto bytes = bytes_of(1);
    const int64_t target[] = {7, -1, 2};
    Request request;
    request.target = target;
    const Result result = opened.session.run(frame_of(bytes), request);
    EQUAL(result.features[0], 7.0f);
    EQUAL(result.features[1], -1.0f);
    HOLDS(result.explained == nullptr && result.score == nullptr);
    EQUAL(result.prediction[0], 4);
    FAILS(opened.session.run(frame_of(bytes)), "expected target as (channel, row, column) of body");
    const int64_t wrong[] = {7, 2, 0};
    request.target = wrong;
    FAILS(opened.session.run(frame_of(bytes), request), "unit (7, 2, 0) is out of range; body gives [8, 2, 3]");
}

TEST(a_segmentation_is_scored_in_its_region) {
    Opened opened(segmentation("2", "[2, 2]"));
    std::vector<uint8_t> bytes(kBytes, 0);
    const uint8_t logits[] = {9, 1, 1, 1, 3, 4, 5, 1};  // class 1 wins two places, class 0 wins one and a tie
    std::copy_n(logits, 8, bytes.begin());
    Result result = opened.session.run(frame_of(bytes));
    EQUAL(result.prediction[0], 0);
    EQUAL(result.explained[0], 0);
    EQUAL(result.score[0], 10.0f);
    EQUAL(result.features[1], 0.0f);  // no mask: the network's own region

    // The left half of the input, upside down and with rows apart: all of two places.
    std::vector<uint8_t> mask(4 * 8, 0);
    for (size_t y = 0; y < 4; ++y) std::fill_n(mask.begin() + static_cast<int64_t>(y) * 8, 3, uint8_t{200});
    const Frame region{mask.data() + 24, 4, 6, -8, Pixels::kGray};
    const int64_t target[] = {1};
    Request request;
    request.target = target;
    request.regions = &region;
    result = opened.session.run(frame_of(bytes), request);
    EQUAL(result.explained[0], 1);
    EQUAL(result.score[0], 8.0f);
    EQUAL(result.features[1], 12.0f);
    const Frame small{mask.data(), 2, 6, 8, Pixels::kGray};
    request.regions = &small;
    FAILS(opened.session.run(frame_of(bytes), request), "region 0 is 6x2 with 1 channels; expected a gray mask");
}

TEST(one_output_for_each_place_is_a_region_above_zero) {
    Opened opened(segmentation("1", "[2, 2]"));
    std::vector<uint8_t> bytes(kBytes, 0);
    bytes[1] = 9;
    bytes[2] = 5;
    const Result result = opened.session.run(frame_of(bytes));
    EQUAL(result.explained[0], 0);
    EQUAL(result.score[0], 14.0f);
}

TEST(a_deadline_is_kept) {
    Opened opened({}, "sleep=3000");
    const auto bytes = bytes_of(1);
    Request request;
    request.timeout = std::chrono::microseconds(1000);
    try {
        opened.session.run(frame_of(bytes), request);
        HOLDS(false);
    } catch (const Error& error) {
        HOLDS(error.status() == Status::kLate);
    }
    request.timeout = std::chrono::seconds(60);
    EQUAL(opened.session.run(frame_of(bytes), request).prediction[0], 4);
    request.timeout = std::chrono::microseconds::max();
    EQUAL(opened.session.run(frame_of(bytes), request).prediction[0], 4);
    request.timeout = std::chrono::microseconds(-1);
    FAILS(opened.session.run(frame_of(bytes), request), "the timeout is -1 us");
}

TEST(preparing_takes_from_the_deadline) {
    Opened opened;
    const std::vector<uint8_t> pixels(3000 * 4000 * 3, 7);
    const Frame large{pixels.data(), 3000, 4000};
    Request request;
    request.timeout = std::chrono::microseconds(1);
    FAILS(opened.session.run(large, request), "the deadline of 1 us came while the frames were prepared");
    EQUAL(opened.session.run(large).logits[0], 7.0f);
}

TEST(what_the_backend_says_is_handed_on) {
    const auto bytes = bytes_of(1);
    Opened failing({}, "fail=4");
    FAILS(failing.session.run(frame_of(bytes)), "run: the fake fails as it was told");
    Opened poor({}, "fail=6");
    bool short_of_memory = false;
    try {
        poor.session.run(frame_of(bytes));
    } catch (const std::bad_alloc&) {
        short_of_memory = true;
    }
    HOLDS(short_of_memory);
    FAILS(Opened({}, "refuse=2"), "load: the fake refuses this file");
}

TEST(wrong_requests_are_refused) {
    Opened opened;
    const auto bytes = bytes_of(1);
    const Frame frame = frame_of(bytes);
    Session& session = opened.session;
    const int64_t target[] = {5};
    const float weights[] = {1, 1, 1, 1, 1};
    Request request;
    request.target = target;
    FAILS(session.run(frame, request), "target 5 is out of range; net has classes 0 to 4 (-1: the predicted one)");
    request = {};
    request.weights = weights;
    FAILS(session.run(frame, request), "net was compiled for target class; it takes no weights");
    request = {};
    request.regions = &frame;
    FAILS(session.run(frame, request), "it takes no regions");
    FAILS(session.run(&frame, 0), "expected 1 to 1048576 images, got 0");
    FAILS(session.run(nullptr, 1), "the frames are a null pointer");
    FAILS(session.run(Batch{bytes.data(), -1}), "got -1");
    FAILS(session.run(Batch{nullptr, 1}), "the batch is a null pointer");
    FAILS(session.run(Batch{bytes.data(), 1, Device::kCuda}), "the batch is on CUDA and the program on the CPU");
    FAILS(session.run(Frame{nullptr, 4, 6}), "frame 0 is a null pointer");
    FAILS(session.run(Frame{bytes.data(), 0, 6}), "frame 0 is 6x0 pixels; expected sides of 1 to 16777216");
    FAILS(session.run(Frame{bytes.data(), 4, 6, 17}), "a stride of 17 bytes, but its rows have 18");
    FAILS(session.run(Frame{bytes.data(), 4, 6, -17}), "a stride of -17 bytes");
    FAILS(session.run(Frame{bytes.data(), 4, 6, 0, static_cast<Pixels>(9)}), "pixels of kind 9");
    EQUAL(session.run(frame).prediction[0], 4);  // and it goes on
}

TEST(programs_that_cannot_be_opened_say_why) {
    OpenOptions options = with_fake();
    FAILS(Program::open("no/such/file.onnx", options), "load: cannot open program no/such/file.onnx: ");
    FAILS(Program::open("/dev/null", options), "is no ordinary file");
    FAILS(Program::open(nullptr, 3, options), "null pointer");
    FAILS(Program::open("abc", 3, options), "load: the program in memory: ");
    const std::string file = programs::onnx();
    options.backend = "absent";
    FAILS(Program::open(file.data(), file.size(), options), "no backend libsaccade_absent");
    options = with_fake();
    options.threads = -1;
    FAILS(Program::open(file.data(), file.size(), options), "threads must be 0");
    options.backend = "none";
    options.threads = 0;
    const auto unread = Program::open(file.data(), file.size(), options);
    EQUAL(unread->contract().num_outputs, 5);
    HOLDS(unread->runtime().empty());
    FAILS(Session{unread}, "opened with backend none");
    FAILS(Session{nullptr}, "the program is null");
    programs::Fields ascent;
    ascent.pixels = R"("float32")";
    ascent.maps = R"([{"kind": "ascent", "layer": "body", "method": "ascent", "name": "ascent", "rank": 1, )"
                  R"("shape": [4, 6, 3]}])";
    FAILS(Opened{ascent}, "takes float32 pixels (an ascent), which sessions do not run");
}

TEST(a_file_is_read_by_its_path) {
    const std::string path = "session_test.onnx", file = programs::onnx();
    std::ofstream(path, std::ios::binary) << file;
    auto program = Program::open(path, with_fake());
    Session session(program);
    program.reset();  // the session holds it
    const auto bytes = bytes_of(1);
    EQUAL(session.run(frame_of(bytes)).prediction[0], 4);
    std::ofstream(path, std::ios::binary) << file.substr(0, file.size() - 1);
    FAILS(Program::open(path, with_fake()), "load: session_test.onnx: ");
    std::remove(path.c_str());
}

TEST(a_program_is_shared_by_threads) {
    Opened opened;
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (size_t t = 0; t < wrong.size(); ++t) {
        threads.emplace_back([&, t] {
            Session session(opened.program);
            const auto bytes = bytes_of(2, static_cast<int>(t) + 1);
            const std::vector<uint8_t> large(static_cast<size_t>(60 * 90 * 3), static_cast<uint8_t>(t));
            for (int i = 0; i < 50; ++i) {
                const Result batch = session.run(Batch{bytes.data(), 2});
                if (batch.logits[1] != static_cast<float>(t + 1) || batch.prediction[0] != 4) ++wrong[t];
                const Result frame = session.run(Frame{large.data(), 60, 90});
                if (frame.logits[0] != static_cast<float>(t) || frame.explained[0] != 0) ++wrong[t];
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int count : wrong) EQUAL(count, 0);
}
