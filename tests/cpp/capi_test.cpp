// The C API against the fake backend, through libsaccade as a program loads it.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "programs.h"
#include "saccade/saccade.h"

namespace {

constexpr int64_t kBytes = 4 * 6 * 3;  // of the network's input in programs.h

struct Opened {
    std::string file;
    saccade_program* program = nullptr;
    saccade_session* session = nullptr;
    saccade_error error{};

    explicit Opened(const programs::Fields& fields = {}, const std::string& orders = "")
        : file(programs::onnx(fields, orders)) {
        saccade_open_options options{};
        options.size = sizeof(options);
        options.backend = "fake";
        options.backends = FAKE_FOLDER;
        saccade_program_open_memory(file.data(), file.size(), &options, &program, &error);
        if (program != nullptr) saccade_session_open(program, &session, &error);
    }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    ~Opened() {
        saccade_program_close(program);  // before its session
        saccade_session_close(session);
    }
};

saccade_result empty_result() {
    saccade_result result{};
    result.size = sizeof(result);
    return result;
}

/// Whether a call failed with this status and this in its one line.
bool says(saccade_status status, const saccade_error& error, saccade_status wanted, const char* part) {
    const std::string message = error.message;
    const bool fits = status == wanted && error.status == wanted && message.find(part) != std::string::npos &&
                      message.find('\n') == std::string::npos;
    if (!fits)
        std::cerr << "status " << status << ", expected " << wanted << " with '" << part << "': " << message << "\n";
    return fits;
}
#define REFUSED(call, wanted, part) HOLDS(says(call, error, wanted, part))

}  // namespace

TEST(the_c_api_explains_a_frame) {
    Opened opened;
    const saccade_contract* contract = saccade_program_contract(opened.program);
    EQUAL(contract->size, sizeof(saccade_contract));
    EQUAL(contract->width, 6);
    EQUAL(contract->num_maps, 1U);
    HOLDS(std::string(contract->maps[0].name) == "grad_cam" && contract->maps[0].dimensions == 2);
    HOLDS(std::string(contract->runtime) == "Fake 1.0" && std::string(contract->format) == "onnx");
    HOLDS(contract->target_layer == nullptr && contract->num_classes == 0);

    std::vector<uint8_t> pixels(kBytes);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 3);
    const saccade_image frame{pixels.data(), 4, 6, 0, SACCADE_RGB8};
    saccade_result result = empty_result();
    saccade_error error;
    EQUAL(saccade_session_run(opened.session, &frame, 1, nullptr, &result, &error), SACCADE_OK);
    EQUAL(std::strlen(error.message), 0U);
    EQUAL(result.prediction[0], 4);
    EQUAL(result.maps[0][1], 3.5f);
    EQUAL(result.views[0].bottom, 4.0);
    EQUAL(saccade_session_run(opened.session, &frame, 1, nullptr, nullptr, nullptr), SACCADE_OK);
}

TEST(the_check_of_refusals_can_fail) {
    saccade_error error{SACCADE_INVALID, "one\nline"};
    std::cerr.setstate(std::ios::failbit);
    HOLDS(!says(SACCADE_INVALID, error, SACCADE_INVALID, "one"));
    std::strcpy(error.message, "one line");
    HOLDS(!says(SACCADE_OK, error, SACCADE_INVALID, "one"));
    HOLDS(!says(SACCADE_INVALID, error, SACCADE_LATE, "one"));
    HOLDS(!says(SACCADE_INVALID, error, SACCADE_INVALID, "two"));
    std::cerr.clear();
    HOLDS(says(SACCADE_INVALID, error, SACCADE_INVALID, "one"));
}

TEST(versions_are_told) {
    HOLDS(std::string(saccade_version()).find('.') != std::string::npos);
    EQUAL(saccade_api_version(), 1U);
}

TEST(null_pointers_are_refused) {
    Opened opened;
    saccade_error error;
    saccade_program* program = reinterpret_cast<saccade_program*>(8);
    saccade_session* session = nullptr;
    saccade_result result = empty_result();
    const saccade_image frame{};
    REFUSED(saccade_program_open(nullptr, nullptr, &program, &error), SACCADE_INVALID, "load: path is a null pointer");
    HOLDS(program == nullptr);
    REFUSED(saccade_program_open("x", nullptr, nullptr, &error), SACCADE_INVALID, "load: program is a null pointer");
    REFUSED(saccade_program_open_memory(nullptr, 4, nullptr, &program, &error), SACCADE_INVALID, "null pointer");
    REFUSED(saccade_session_open(nullptr, &session, &error), SACCADE_INVALID, "session: program is a null pointer");
    REFUSED(saccade_session_open(opened.program, nullptr, &error), SACCADE_INVALID, "session: session");
    REFUSED(saccade_session_run(nullptr, &frame, 1, nullptr, &result, &error), SACCADE_INVALID, "run: session");
    REFUSED(saccade_session_run(opened.session, nullptr, 1, nullptr, &result, &error), SACCADE_INVALID, "the frames");
    REFUSED(saccade_session_run(opened.session, &frame, 1, nullptr, &result, &error), SACCADE_INVALID, "frame 0");
    REFUSED(saccade_session_run(opened.session, &frame, SIZE_MAX, nullptr, &result, &error), SACCADE_INVALID, "images");
    REFUSED(saccade_session_run_batch(opened.session, nullptr, nullptr, &result, &error), SACCADE_INVALID,
            "run: batch");
    REFUSED(saccade_prepare(nullptr, &frame, nullptr, nullptr, &error), SACCADE_INVALID, "prepare: program");
    REFUSED(saccade_prepare(opened.program, nullptr, nullptr, nullptr, &error), SACCADE_INVALID, "prepare: frame");
    REFUSED(saccade_map_range(nullptr, 0, nullptr, nullptr, &error), SACCADE_INVALID, "range: the map");
    REFUSED(saccade_find_region(nullptr, 0, 1, 1, nullptr, nullptr, &error), SACCADE_INVALID, "region: region");
    REFUSED(saccade_draw_overlay(nullptr, nullptr, nullptr, nullptr, nullptr, &error), SACCADE_INVALID, "overlay: the");
    REFUSED(saccade_sheet_size(1, nullptr, nullptr, nullptr, &error), SACCADE_INVALID, "sheet: grid");
    REFUSED(saccade_draw_sheet(nullptr, 1, 1, 1, nullptr, nullptr, nullptr, &error), SACCADE_INVALID, "sheet: the map");
    HOLDS(saccade_program_contract(nullptr) == nullptr);
    saccade_program_close(nullptr);
    saccade_session_close(nullptr);
    EQUAL(saccade_session_open(nullptr, &session, nullptr), SACCADE_INVALID);
}

TEST(a_size_says_which_fields_there_are) {
    Opened opened;
    const std::vector<uint8_t> pixels(kBytes, 5);
    const saccade_image frame{pixels.data(), 4, 6, 0, SACCADE_RGB8};
    saccade_error error;
    saccade_request request{};
    saccade_result result = empty_result();
    const auto run = [&] { return saccade_session_run(opened.session, &frame, 1, &request, &result, &error); };
    REFUSED(run(), SACCADE_INVALID, "request: size is 0; set it to sizeof, ");
    const int64_t wrong[] = {99};
    request.target = wrong;
    request.size = offsetof(saccade_request, target);  // of a version before it had targets
    EQUAL(run(), SACCADE_OK);
    request.size = sizeof(request);
    REFUSED(run(), SACCADE_INVALID, "target 99 is out of range");

    struct Later {
        saccade_request request;
        int64_t more;
    } later{};
    later.request.size = sizeof(later);
    EQUAL(saccade_session_run(opened.session, &frame, 1, &later.request, &result, &error), SACCADE_OK);
    later.more = 1;
    REFUSED(saccade_session_run(opened.session, &frame, 1, &later.request, &result, &error), SACCADE_INVALID,
            "request has fields that this version does not know");

    request = {sizeof(request), nullptr, nullptr, nullptr, 0, nullptr, nullptr, nullptr};
    result.size = offsetof(saccade_result, maps);
    result.maps = nullptr;
    EQUAL(run(), SACCADE_OK);
    HOLDS(result.logits != nullptr && result.maps == nullptr);
    result.size = 1 << 30;
    REFUSED(run(), SACCADE_INVALID, "result: size is 1073741824");
}

TEST(a_result_of_a_call_that_failed_is_empty) {
    Opened opened({}, "fail=4");
    const std::vector<uint8_t> pixels(kBytes, 5);
    const saccade_batch batch{sizeof(batch), pixels.data(), 1, SACCADE_DEVICE_CPU, 0};
    saccade_result result = empty_result();
    result.num_images = 7;
    result.logits = reinterpret_cast<const float*>(8);
    saccade_error error;
    REFUSED(saccade_session_run_batch(opened.session, &batch, nullptr, &result, &error), SACCADE_FAILED,
            "the fake fails");
    HOLDS(result.num_images == 0 && result.logits == nullptr && result.prediction == nullptr);
}

TEST(each_kind_of_failure_has_its_status) {
    const std::vector<uint8_t> pixels(kBytes, 5);
    const saccade_batch batch{sizeof(batch), pixels.data(), 1, SACCADE_DEVICE_CPU, 0};
    saccade_error error;
    Opened slow({}, "sleep=2000"), poor({}, "fail=6");
    saccade_request request{};
    request.size = sizeof(request);
    request.timeout_us = 500;
    REFUSED(saccade_session_run_batch(slow.session, &batch, &request, nullptr, &error), SACCADE_LATE, "late");
    REFUSED(saccade_session_run_batch(poor.session, &batch, nullptr, nullptr, &error), SACCADE_NO_MEMORY, "memory");
    saccade_program* program = nullptr;
    REFUSED(saccade_program_open("no/such/file", nullptr, &program, &error), SACCADE_UNAVAILABLE, "no/such/file");
    REFUSED(saccade_program_open_memory("damaged", 7, nullptr, &program, &error), SACCADE_DAMAGED, "in memory");
    Opened refused_by_its_backend({}, "refuse=2");
    EQUAL(refused_by_its_backend.error.status, SACCADE_DAMAGED);
}

TEST(messages_are_whole_characters_of_one_line) {
    saccade_error error;
    saccade_program* program = nullptr;
    // Bytes that are no UTF-8, a line break, and characters of three bytes across the end of the message.
    std::string path = "a\xff\xc0\x80\xed\xa0\x80\nb";
    REFUSED(saccade_program_open(path.c_str(), nullptr, &program, &error), SACCADE_UNAVAILABLE, "a?????? b");
    std::string name;
    while (name.size() < 1200) name += "\xe2\x82\xac";
    programs::Fields fields;
    fields.target = R"("unit")";
    fields.target_layer = '"' + name.substr(0, 900) + '"';
    fields.target_shape = "[1]";
    for (size_t shift = 0; shift < 4; ++shift) {
        fields.target_layer = '"' + std::string(shift, 'x') + name.substr(0, 900) + '"';
        Opened opened(fields);
        const std::vector<uint8_t> pixels(kBytes, 5);
        const saccade_batch batch{sizeof(batch), pixels.data(), 1, SACCADE_DEVICE_CPU, 0};
        EQUAL(saccade_session_run_batch(opened.session, &batch, nullptr, nullptr, &error), SACCADE_INVALID);
        const size_t length = std::strlen(error.message);
        HOLDS(length > 500 && length < sizeof(error.message));
        HOLDS(std::string(error.message).substr(length - 3) == "\xe2\x82\xac");
    }
}

TEST(drawing_checks_what_it_is_given) {
    const std::vector<float> values(6, 1.0f);
    const saccade_map map{values.data(), 2, 3};
    std::vector<uint8_t> pixels(8 * 9 * 3, 1);
    const saccade_image frame{pixels.data(), 8, 9, 0, SACCADE_RGB8};
    saccade_canvas canvas{pixels.data(), 8, 9, 0};
    saccade_error error;
    EQUAL(saccade_draw_overlay(&frame, &map, nullptr, nullptr, &canvas, &error), SACCADE_OK);  // in place
    saccade_style style{};
    style.size = sizeof(style);
    const auto draw = [&] { return saccade_draw_overlay(&frame, &map, nullptr, &style, &canvas, &error); };
    style.opacity = NAN;
    REFUSED(draw(), SACCADE_INVALID, "opacity must be 0 to 1");
    style = {sizeof(style), "pink", 0, 0, 0, 0};
    REFUSED(draw(), SACCADE_INVALID, "pink");
    style = {sizeof(style), nullptr, 0, 0, 2, 1};
    REFUSED(draw(), SACCADE_INVALID, "the limits must be low < high");
    style = {sizeof(style), nullptr, 0, 0, 0, 0};
    canvas.width = 8;
    REFUSED(draw(), SACCADE_INVALID, "9x8");
    canvas = {pixels.data(), 8, 9, 26};
    REFUSED(draw(), SACCADE_INVALID, "a stride of 26 bytes, but its rows have 27");
    const saccade_box view{3, 3, 3, 5};
    canvas.stride = 0;
    REFUSED(saccade_draw_overlay(&frame, &map, &view, nullptr, &canvas, &error), SACCADE_INVALID, "has no area");
    const saccade_map huge{values.data(), INT64_MAX, INT64_MAX};
    REFUSED(saccade_map_range(&huge, 0, nullptr, nullptr, &error), SACCADE_INVALID, "expected maps with");
    saccade_grid grid{sizeof(grid), INT64_MAX, 5, 1, 0, {0, 0, 0}};
    REFUSED(saccade_sheet_size(3, &grid, nullptr, nullptr, &error), SACCADE_INVALID, "sides of 1 to");
    grid.height = 4;
    grid.columns = 0;
    REFUSED(saccade_sheet_size(3, &grid, nullptr, nullptr, &error), SACCADE_INVALID, "at least 1 column");
    grid.columns = 2;
    int64_t height = 0, width = 0;
    EQUAL(saccade_sheet_size(3, &grid, &height, &width, &error), SACCADE_OK);
    EQUAL(height, 8);
    EQUAL(width, 10);
    REFUSED(saccade_draw_sheet(values.data(), 3, 1, 2, &grid, nullptr, &canvas, &error), SACCADE_INVALID,
            "10x8 canvas");
}

TEST(sessions_of_one_program_run_side_by_side) {
    Opened opened;
    std::vector<int> wrong(3, 0);
    std::vector<std::thread> threads;
    for (size_t t = 0; t < wrong.size(); ++t) {
        threads.emplace_back([&, t] {
            saccade_session* session = nullptr;
            wrong[t] += saccade_session_open(opened.program, &session, nullptr) != SACCADE_OK;
            const std::vector<uint8_t> pixels(50 * 70 * 3, static_cast<uint8_t>(t + 1));
            const saccade_image frame{pixels.data(), 50, 70, 0, SACCADE_BGR8};
            for (int i = 0; i < 50; ++i) {
                saccade_result result = empty_result();
                saccade_error error;
                wrong[t] += saccade_session_run(session, &frame, 1, nullptr, &result, &error) != SACCADE_OK;
                wrong[t] += result.logits == nullptr || result.logits[4] != static_cast<float>(t + 1);
            }
            saccade_session_close(session);
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int count : wrong) EQUAL(count, 0);
}
