#include "line.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "frames.h"
#include "pictures.h"
#include "report.h"
#include "saccade/render.h"
#include "saccade/session.h"

namespace {

constexpr auto kNever = std::chrono::microseconds{0};

int64_t class_index(const saccade::Contract& contract, const std::string& text) {
    const auto found = std::find(contract.classes.begin(), contract.classes.end(), text);
    if (found != contract.classes.end()) return found - contract.classes.begin();
    char* end = nullptr;
    const long long index = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end || index < 0 || index >= contract.num_outputs) {
        throw UsageError("--fail-class " + text + ": " + contract.model +
                         " has no such class; expected a name or 0 to " + std::to_string(contract.num_outputs - 1));
    }
    return index;
}

/// The share of the map's positive evidence that lies in a part of the frame; NaN where there is none at all. A cell
/// that lies across the border counts by the share of it that is inside.
double evidence_inside(const saccade::Maps& map, const saccade::Box& view, const saccade::Box& part) {
    const double cell_w = (view.right - view.left) / static_cast<double>(map.w);
    const double cell_h = (view.bottom - view.top) / static_cast<double>(map.h);
    const auto share = [](double from, double size, double low, double high) {
        return std::max(0.0, std::min(from + size, high) - std::max(from, low)) / size;
    };
    double all = 0, inside = 0;
    for (int64_t y = 0; y < map.h; ++y) {
        const double rows = share(view.top + static_cast<double>(y) * cell_h, cell_h, part.top, part.bottom);
        for (int64_t x = 0; x < map.w; ++x) {
            const double value = map.data[y * map.w + x];
            if (!(value > 0) || !std::isfinite(value)) continue;
            all += value;
            inside += value * rows * share(view.left + static_cast<double>(x) * cell_w, cell_w, part.left, part.right);
        }
    }
    return all > 0 ? inside / all : std::numeric_limits<double>::quiet_NaN();
}

class Inspector {
  public:
    explicit Inspector(const Options& options) : options_(options), program_(open(options)), session_(program_) {
        const saccade::Contract& contract = program_->contract();
        if (contract.target != saccade::TargetKind::kClass || contract.target_count != 1 || contract.maps.size() != 1 ||
            contract.maps[0].shape.size() != 2) {
            throw UsageError(options.program +
                             ": expected a program of one class and one map; compile it with --method "
                             "grad-cam");
        }
        if (!options.fail_class.empty()) fails_ = class_index(contract, options.fail_class);
        if (options.min_confidence > 0 && !(contract.softmax && contract.num_outputs > 1)) {
            throw UsageError("--min-confidence: " + contract.model + " has no softmax over classes; leave it out");
        }
        warm_up();
    }

    /// The verdict; `picture` is what is to be drawn, and takes the frame along.
    Verdict look(Taken& taken, std::optional<Picture>& picture) {
        Verdict verdict;
        verdict.number = number_++;
        verdict.name = taken.name;
        if (!taken.error.empty()) {
            verdict.message = taken.error;
            return verdict;
        }
        const Clock::time_point arrived = taken.arrived;
        try {
            explain(taken, verdict, picture);
        } catch (const saccade::Error& error) {
            verdict.standing = error.status() == saccade::Status::kLate ? Standing::kLate : Standing::kBad;
            verdict.message = error.what();
        } catch (const std::bad_alloc&) {
            verdict.message = "not enough memory for the frame";
        }
        verdict.milliseconds = since(arrived) * 1e3;
        if (options_.budget > kNever && verdict.standing != Standing::kBad &&
            since(arrived) > std::chrono::duration<double>(options_.budget).count()) {
            verdict.standing = Standing::kLate;
            if (verdict.message.empty()) verdict.message = "the verdict came after the budget";
            picture.reset();
        }
        return verdict;
    }

  private:
    static std::shared_ptr<const saccade::Program> open(const Options& options) {
        saccade::OpenOptions how;
        how.backend = options.backend;
        how.backends = options.backends;
        how.library = options.library;
        how.threads = options.threads;
        return saccade::Program::open(options.program, how);
    }

    static double since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

    /// The first call takes the memory that all others use again.
    void warm_up() {
        const saccade::Preprocessing& p = program_->contract().preprocessing;
        const std::vector<uint8_t> grey(static_cast<size_t>(p.height * p.width), 128);
        session_.run({grey.data(), p.height, p.width, 0, saccade::Pixels::kGray});
    }

    void explain(Taken& taken, Verdict& verdict, std::optional<Picture>& picture) {
        const saccade::Contract& contract = program_->contract();
        saccade::Request request;
        if (options_.budget > kNever) {
            const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - taken.arrived);
            request.timeout = options_.budget - waited;
            if (request.timeout <= kNever) {
                verdict.standing = Standing::kLate;
                verdict.message = "waited for the frames before it";
                return;
            }
        }
        const saccade::Frame frame = taken.frame();
        const saccade::Result result = session_.run(frame, request);
        const saccade::Maps map = result.map(contract, 0, 0);
        const saccade::Box& view = result.views[0];
        saccade::Range limits = contract.maps[0].calibration;
        if (!(limits.low < limits.high)) {
            const saccade::MapStack stack{map.data, 1, 1, map.h, map.w, 0, 0, map.stride_h, map.stride_w};
            saccade::RangeOptions from_zero;
            from_zero.zero = true;
            saccade::value_ranges(stack, from_zero, &limits, 1);
        }
        const auto threshold = static_cast<float>(options_.threshold) * limits.high;
        const saccade::Preprocessing& p = contract.preprocessing;
        if (limits.high > 0) verdict.region = saccade::find_region(map, threshold, {p.height, p.width}, view);
        const int64_t found = result.prediction[0];
        verdict.class_name =
            contract.classes.empty() ? std::to_string(found) : contract.classes[static_cast<size_t>(found)];
        verdict.confidence = result.confidence[0];
        verdict.score = result.score[0];
        verdict.inside = inside(frame, map, view);
        judge(verdict, found);
        if (verdict.standing == Standing::kOk || verdict.standing == Standing::kBad) return;
        picture.emplace();
        picture->path = options_.out + "/" + stem(verdict) + ".bmp";
        picture->map.assign(map.data, map.data + map.h * map.w);  // contiguous, as the session gives it
        picture->map_height = map.h;
        picture->map_width = map.w;
        picture->limits = limits;
        picture->view = view;
        picture->region = verdict.region.box;
        picture->taken = std::move(taken);
    }

    double inside(const saccade::Frame& frame, const saccade::Maps& map, const saccade::Box& view) const {
        if (!options_.part) return std::numeric_limits<double>::quiet_NaN();
        const auto h = static_cast<double>(frame.height), w = static_cast<double>(frame.width);
        const auto& part = *options_.part;
        return evidence_inside(map, view, {part[0] * w, part[1] * h, part[2] * w, part[3] * h});
    }

    void judge(Verdict& verdict, int64_t found) const {
        if (!std::isfinite(verdict.score)) {
            verdict.message = "the network's output is no number";
            return;
        }
        verdict.standing = Standing::kOk;
        if (options_.part && !(verdict.inside >= options_.min_inside)) {
            verdict.standing = Standing::kDoubt;
            verdict.message =
                std::isfinite(verdict.inside) ? "the network looked beside the part" : "no evidence anywhere";
        }
        if (options_.min_confidence > 0 && !(verdict.confidence >= options_.min_confidence)) {
            verdict.standing = Standing::kDoubt;
            verdict.message = "confidence below " + std::to_string(options_.min_confidence).substr(0, 5);
        }
        if (found == fails_) {
            verdict.standing = Standing::kFail;
        }
    }

    /// Numbered, so that two frames of one name stay apart; without anything that leaves the folder.
    static std::string stem(const Verdict& verdict) {
        std::string name = verdict.name.substr(0, verdict.name.rfind('.'));
        std::replace(name.begin(), name.end(), '/', '_');
        return std::to_string(verdict.number) + "-" + name;
    }

    const Options& options_;
    std::shared_ptr<const saccade::Program> program_;
    saccade::Session session_;
    int64_t fails_ = -1, number_ = 0;
};

}  // namespace

int inspect(const Options& options) {
    Inspector inspector(options);
    Report report(options.out, static_cast<double>(options.budget.count()) / 1e3);
    bool all_ok = true;
    {
        Camera camera(options);
        while (std::optional<Taken> taken = camera.next()) {
            std::optional<Picture> picture;
            const Verdict verdict = inspector.look(*taken, picture);
            all_ok = all_ok && verdict.standing == Standing::kOk;
            report.add(verdict);
            if (picture) report.add(std::move(*picture));
        }
    }
    if (!report.finish()) return 3;
    return all_ok ? 0 : 1;
}
