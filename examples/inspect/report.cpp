#include "report.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "pictures.h"

namespace {

constexpr size_t kPicturesWaiting = 8;
constexpr size_t kLinesWaiting = 1 << 20;  // of a disk that hangs; then the line has to wait
constexpr size_t kSteps = 4000;            // of the histogram: 50 microseconds to 20 minutes, 0.5 % apart
constexpr double kFirst = 0.05, kRatio = 1.005;
constexpr int64_t kEarly = 100;  // frames after which all memory that is kept has been taken

size_t step_of(double milliseconds) {
    const double at = std::log(std::max(milliseconds, kFirst) / kFirst) / std::log(kRatio);
    return std::min(static_cast<size_t>(at), kSteps - 1);
}

/// Kilobytes in memory; 0 where the system does not say.
int64_t resident() {
    std::ifstream in("/proc/self/statm");
    int64_t all = 0, pages = 0;
    in >> all >> pages;
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/// Seconds that all processors of the machine have worked, for anybody.
double machine_seconds() {
    std::ifstream in("/proc/stat");
    std::string word;
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
    in >> word >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
    return (user + nice + system + irq + soft + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string quoted(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string out = "\"";
    for (char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + '"';
}

}  // namespace

const char* name_of(Standing standing) {
    static const char* const names[] = {"ok", "fail", "doubt", "late", "bad"};
    return names[static_cast<int>(standing)];
}

Report::Report(const std::string& folder, double budget_ms)
    : folder_(folder), budget_ms_(budget_ms), histogram_(kSteps) {
    std::error_code problem;
    std::filesystem::create_directories(folder, problem);
    table_.open(folder + "/verdicts.csv", std::ios::trunc);
    table_ << "frame,name,verdict,class,confidence,score,left,top,right,bottom,area,evidence,inside,milliseconds,"
              "message\n";
    if (!table_.flush()) throw std::runtime_error(folder + "/verdicts.csv: cannot be written; choose another --out");
    machine_busy_ = machine_seconds();
    own_ = own_seconds();
    began_ = now();
    thread_ = std::thread([this] { write(); });
}

Report::~Report() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

void Report::add(const Verdict& v) {
    std::ostringstream line;
    line << v.number << ',' << quoted(v.name) << ',' << name_of(v.standing) << ',';
    if (v.standing == Standing::kLate || v.standing == Standing::kBad) {
        line << ",,,,,,,,,,";
    } else {
        line.precision(6);
        line << quoted(v.class_name) << ',';
        if (std::isfinite(v.confidence)) line << v.confidence;
        line << ',' << v.score << ',' << v.region.box.left << ',' << v.region.box.top << ',' << v.region.box.right
             << ',' << v.region.box.bottom << ',' << v.region.area << ',' << v.region.evidence << ',';
        if (std::isfinite(v.inside)) line << v.inside;
        line << ',';
    }
    line << v.milliseconds << ',' << quoted(v.message) << '\n';
    std::unique_lock<std::mutex> lock(mutex_);
    ++counts_[static_cast<int>(v.standing)];
    if (v.standing != Standing::kBad) {
        ++timed_;
        over_ += budget_ms_ > 0 && v.milliseconds > budget_ms_;
        ++histogram_[step_of(v.milliseconds)];
        slowest_ = std::max(slowest_, v.milliseconds);
    }
    if (v.number == kEarly) resident_early_ = resident();
    changed_.wait(lock, [this] { return lines_.size() < kLinesWaiting; });
    lines_.push_back(line.str());
    changed_.notify_all();
}

void Report::add(Picture picture) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (pictures_.size() >= kPicturesWaiting) {
        ++left_out_;
        return;
    }
    pictures_.push_back(std::move(picture));
    changed_.notify_all();
}

void Report::write() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return ended_ || !lines_.empty() || !pictures_.empty(); });
        if (lines_.empty() && pictures_.empty()) return;
        std::deque<std::string> lines;
        lines.swap(lines_);
        std::deque<Picture> picture;
        if (!pictures_.empty()) {
            picture.push_back(std::move(pictures_.front()));
            pictures_.pop_front();
        }
        lock.unlock();
        std::string problem;
        for (const std::string& line : lines) table_ << line;
        if (!table_.flush()) {
            problem = folder_ + "/verdicts.csv: cannot be written";
            table_.clear();
        }
        try {
            for (const Picture& p : picture) {
                const auto value = static_cast<int64_t>(sizeof(float));
                const int64_t h = p.map_height, w = p.map_width;
                const saccade::Maps map{p.map.data(), 1, h, w, h * w * value, w * value, value};
                const auto rgb = draw(p.taken.frame(), map, p.limits, p.view, p.region);
                write_bmp(p.path, rgb, p.taken.height, p.taken.width);
            }
        } catch (const std::exception& error) {
            problem = error.what();
        }
        lock.lock();
        changed_.notify_all();
        if (problem_.empty()) problem_ = problem;  // the line goes on; the first reason is said at the end
    }
}

bool Report::finish() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }
    thread_.join();
    int64_t all = 0;
    for (const int64_t count : counts_) all += count;
    const auto percentile = [&](double share) {
        int64_t seen = 0;
        for (size_t step = 0; step < kSteps; ++step) {
            seen += histogram_[step];
            if (timed_ > 0 && static_cast<double>(seen) >= share * static_cast<double>(timed_)) {
                return std::min(kFirst * std::pow(kRatio, static_cast<double>(step + 1)), slowest_);
            }
        }
        return 0.0;
    };
    const double seconds = now() - began_;
    const bool kept = static_cast<double>(over_) <= 0.01 * static_cast<double>(timed_);
    // The histogram's steps are 0.5 % wide; what was kept is counted.
    const double p99 = kept && budget_ms_ > 0 ? std::min(percentile(0.99), budget_ms_) : percentile(0.99);
    const double cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)) * seconds;
    const double others = (machine_seconds() - machine_busy_) - (own_seconds() - own_);
    std::fprintf(stderr, "%lld frames in %.1f s:", static_cast<long long>(all), seconds);
    for (int i = 0; i < kStandings; ++i) {
        std::fprintf(stderr, " %lld %s%s", static_cast<long long>(counts_[i]), name_of(static_cast<Standing>(i)),
                     i + 1 < kStandings ? "," : "\n");
    }
    std::fprintf(stderr, "arrival to verdict: p50 %.2f ms, p99 %.2f ms, slowest %.2f ms", percentile(0.5), p99,
                 slowest_);
    if (budget_ms_ > 0) std::fprintf(stderr, " (budget %.2f ms)", budget_ms_);
    std::fprintf(stderr, "\n");
    if (resident_early_) {
        std::fprintf(stderr, "memory: %.1f MB after %lld frames, %.1f MB at the end\n",
                     static_cast<double>(resident_early_) / 1024, static_cast<long long>(kEarly),
                     static_cast<double>(resident()) / 1024);
    }
    std::fprintf(stderr, "others took %.0f %% of the machine\n", 100 * std::max(0.0, others) / std::max(cores, 1e-9));
    if (left_out_)
        std::fprintf(stderr, "%lld pictures were left out: they came faster than they could be written\n",
                     static_cast<long long>(left_out_));
    if (!problem_.empty()) std::fprintf(stderr, "saccade-inspect: %s\n", problem_.c_str());
    return kept;
}
