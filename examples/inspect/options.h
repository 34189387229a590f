// What the command line says.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

struct Options {
    std::string program;
    /// A folder of pictures, or "-" for pictures one after another on standard input.
    std::string frames;
    std::string out = "inspected";
    /// The classes that a frame must not have; empty: none fails for its class.
    std::string fail_class;
    /// Below it a frame is doubtful.
    double min_confidence = 0.0;
    /// Where the part lies, left, top, right, bottom in 0..1 of the frame: less than `min_inside` of the evidence in
    /// it, and the network looks at something else.
    std::optional<std::array<double, 4>> part;
    double min_inside = 0.5;
    /// Of the map's largest value, or of the program's calibrated limit.
    double threshold = 0.5;
    /// From a frame's arrival to its verdict.
    std::chrono::microseconds budget{0};
    /// Frames per second, as a camera gives them; 0: the next one when the last one is done.
    double rate = 0.0;
    /// Go through the folder again and again for so long; 0: once.
    double seconds = 0.0;
    std::string backend, backends, library;
    int threads = 0;
};

/// A command line that cannot be followed; the message is one line.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Throws UsageError. `--help` leaves the program empty.
Options read_options(int count, char** words);

extern const char* const kHelp;
