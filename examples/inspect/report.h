// What is kept of an inspection: a line for each frame, a picture for each that is not ok, and a summary.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "frames.h"
#include "saccade/session.h"

/// ok; fail: its class is one that must not be; doubt: too little confidence, or the network looked elsewhere; late:
/// not done in its budget; bad: it could not be read or explained.
enum class Standing { kOk, kFail, kDoubt, kLate, kBad };
constexpr int kStandings = 5;
const char* name_of(Standing standing);

struct Verdict {
    int64_t number = 0;
    std::string name;
    Standing standing = Standing::kBad;
    std::string class_name, message;
    double confidence = 0, score = 0, inside = 0, milliseconds = 0;
    saccade::Region region{};
};

/// What is drawn of a frame, apart from the line.
struct Picture {
    std::string path;
    Taken taken;
    std::vector<float> map;
    int64_t map_height = 0, map_width = 0;
    saccade::Range limits{};
    saccade::Box view{}, region{};
};

/// Draws and writes on a thread of its own, so that no picture makes a frame late. At most a few pictures wait: one
/// more is left out and counted.
class Report {
  public:
    /// Throws std::runtime_error where the folder cannot be written.
    Report(const std::string& folder, double budget_ms);
    ~Report();
    void add(const Verdict& verdict);
    void add(Picture picture);
    /// Ends writing, and prints the summary; whether 99 % of the frames had their verdict within the budget.
    bool finish();

  private:
    void write();

    std::string folder_;
    double budget_ms_;
    std::ofstream table_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> lines_;
    std::deque<Picture> pictures_;
    bool ended_ = false;
    std::string problem_;
    std::vector<int64_t> histogram_;
    int64_t counts_[kStandings] = {};
    int64_t left_out_ = 0, timed_ = 0, over_ = 0;
    double slowest_ = 0;
    int64_t resident_early_ = 0;
    double machine_busy_ = 0, own_ = 0, began_ = 0;
    std::thread thread_;
};
