#include <vector>

#include "arguments.h"

namespace capi = saccade::capi;

struct saccade_session {
    std::shared_ptr<const saccade::Program> program;
    saccade::Session session;
    std::vector<saccade::Frame> frames, regions;
    std::vector<saccade_box> views;

    explicit saccade_session(const std::shared_ptr<const saccade::Program>& given) : program(given), session(given) {}
};

namespace {

saccade::Request request_of(saccade_session& session, const saccade_request* given, int64_t count) {
    const saccade_request known = capi::read(given, "request");
    saccade::Request request;
    request.target = known.target;
    request.weights = known.weights;
    request.timeout = std::chrono::microseconds{known.timeout_us};
    request.logits = known.logits;
    request.maps = known.maps;
    request.features = known.features;
    if (known.regions != nullptr) {
        session.regions.clear();
        for (int64_t i = 0; i < count; ++i) session.regions.push_back(capi::frame_of(known.regions[i]));
        request.regions = session.regions.data();
    }
    return request;
}

void show(saccade_session& session, const saccade::Result& found, saccade_result* result) {
    if (result == nullptr) return;
    session.views.clear();
    for (int64_t i = 0; found.views != nullptr && i < found.num_images; ++i) {
        session.views.push_back(capi::box_of(found.views[i]));
    }
    saccade_result shown{};
    shown.num_images = found.num_images;
    shown.logits = found.logits;
    shown.maps = found.maps;
    shown.features = found.features;
    shown.prediction = found.prediction;
    shown.confidence = found.confidence;
    shown.explained = found.explained;
    shown.score = found.score;
    shown.views = found.views != nullptr ? session.views.data() : nullptr;
    capi::write(result, shown, "result");
}

/// A result that nobody filled must not look like one: everything after `size` is 0 until there is one.
void clear(saccade_result* result) {
    if (result != nullptr) capi::write(result, saccade_result{}, "result");
}

}  // namespace

saccade_status saccade_session_open(saccade_program* program, saccade_session** session, saccade_error* error) {
    if (session != nullptr) *session = nullptr;
    return capi::guarded(error, [&] {
        capi::need(session, "session: session");
        *session = new saccade_session(capi::need(program, "session: program").program);
    });
}

void saccade_session_close(saccade_session* session) { delete session; }

saccade_status saccade_session_run(saccade_session* session, const saccade_image* frames, size_t num_frames,
                                   const saccade_request* request, saccade_result* result, saccade_error* error) {
    return capi::guarded(error, [&] {
        capi::need(session, "run: session");
        clear(result);
        constexpr size_t kMost = 1 << 20;  // the session says that it is too many, before anything is copied
        session->frames.clear();
        if (frames != nullptr && num_frames <= kMost) {
            for (size_t i = 0; i < num_frames; ++i) session->frames.push_back(capi::frame_of(frames[i]));
        }
        const bool all = session->frames.size() == num_frames;
        const saccade::Frame* given = all && frames != nullptr ? session->frames.data() : nullptr;
        const auto count = all ? static_cast<int64_t>(num_frames) : 0;
        show(*session, session->session.run(given, num_frames, request_of(*session, request, count)), result);
    });
}

saccade_status saccade_session_run_batch(saccade_session* session, const saccade_batch* batch,
                                         const saccade_request* request, saccade_result* result, saccade_error* error) {
    return capi::guarded(error, [&] {
        capi::need(session, "run: session");
        clear(result);
        const saccade_batch known = capi::read(&capi::need(batch, "run: batch"), "batch");
        const saccade::Batch given{known.data, known.num_images, static_cast<saccade::Device>(known.device),
                                   known.device_index};
        const int64_t count = std::min<int64_t>(known.num_images, 1 << 20);
        show(*session, session->session.run(given, request_of(*session, request, count)), result);
    });
}

saccade_status saccade_prepare(const saccade_program* program, const saccade_image* frame, uint8_t* pixels,
                               saccade_box* view, saccade_error* error) {
    return capi::guarded(error, [&] {
        const saccade::Program& known = *capi::need(program, "prepare: program").program;
        const saccade::Frame given = capi::frame_of(capi::need(frame, "prepare: frame"));
        const saccade::Box shown = saccade::prepare(known.contract().preprocessing, given, pixels, known.threads());
        if (view != nullptr) *view = capi::box_of(shown);
    });
}
