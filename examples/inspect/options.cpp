#include "options.h"

#include <cmath>
#include <cstdlib>
#include <sstream>

const char* const kHelp =
    R"(saccade-inspect PROGRAM FRAMES [options]: classify each frame, say where the network looked, draw what fails.

  PROGRAM               made by `saccade compile`, with one map
  FRAMES                a folder of .ppm, .pgm or .bmp pictures, or - for PPM or PGM pictures on standard input
                        (ffmpeg … -f image2pipe -vcodec ppm - | saccade-inspect PROGRAM -)
  --out FOLDER          verdicts.csv, and a picture of every frame that is not ok (inspected)
  --fail-class NAME     a frame of this class, by its name or index, fails
  --min-confidence P    below it a frame is doubtful (0)
  --part L,T,R,B        where the part lies, in 0..1 of the frame
  --min-inside S        with less than this share of the evidence in the part a frame is doubtful (0.5)
  --threshold T         of the map's largest value: where the region begins (0.5)
  --budget-ms MS        from arrival to verdict: a frame that is not done by then is `late` and not waited for
  --rate HZ             take frames at this rate, as a camera gives them
  --seconds S           go through the folder again and again for so long
  --backend NAME        onnxruntime, openvino or torch
  --backends FOLDER     where libsaccade_NAME.so lies
  --library PATH        ONNX Runtime's library or its folder
  --threads N           of the runtime

Exit code: 0; 1 where a frame was not ok; 2 for a wrong command line; 3 where the 99th percentile is over the budget;
4 where nothing can be inspected.
)";

namespace {

double number(const std::string& name, const std::string& text, double low, double high) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end || !(value >= low && value <= high)) {
        std::ostringstream message;
        message << name << " " << text << ": expected a number from " << low << " to " << high;
        throw UsageError(message.str());
    }
    return value;
}

std::array<double, 4> part(const std::string& text) {
    std::array<double, 4> sides{};
    std::istringstream words(text);
    std::string word;
    size_t found = 0;
    for (; std::getline(words, word, ','); ++found) {
        if (found < 4) sides[found] = number("--part", word, 0, 1);
    }
    if (found != 4 || !(sides[0] < sides[2] && sides[1] < sides[3])) {
        throw UsageError("--part " + text + ": expected LEFT,TOP,RIGHT,BOTTOM in 0..1, left < right and top < bottom");
    }
    return sides;
}

}  // namespace

Options read_options(int count, char** words) {
    Options options;
    int places = 0;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word == "--help" || word == "-h") return {};
        if (word.size() < 2 || word.compare(0, 2, "--") != 0) {
            if (places++ > 1) throw UsageError("'" + word + "': expected one PROGRAM and one FRAMES (see --help)");
            (places == 1 ? options.program : options.frames) = word;
            continue;
        }
        if (i + 1 == count) throw UsageError(word + ": expected a value behind it (see --help)");
        const std::string value = words[++i];
        if (word == "--out")
            options.out = value;
        else if (word == "--fail-class")
            options.fail_class = value;
        else if (word == "--min-confidence")
            options.min_confidence = number(word, value, 0, 1);
        else if (word == "--part")
            options.part = part(value);
        else if (word == "--min-inside")
            options.min_inside = number(word, value, 0, 1);
        else if (word == "--threshold")
            options.threshold = number(word, value, 0, 1);
        else if (word == "--budget-ms")
            options.budget = std::chrono::microseconds(std::llround(number(word, value, 0.001, 1e6) * 1000));
        else if (word == "--rate")
            options.rate = number(word, value, 0.001, 1e5);
        else if (word == "--seconds")
            options.seconds = number(word, value, 0, 1e7);
        else if (word == "--backend")
            options.backend = value;
        else if (word == "--backends")
            options.backends = value;
        else if (word == "--library")
            options.library = value;
        else if (word == "--threads")
            options.threads = static_cast<int>(number(word, value, 1, 4096));
        else
            throw UsageError(word + ": there is no such option (see --help)");
    }
    if (places < 2) throw UsageError("expected PROGRAM and FRAMES (see --help)");
    if (options.frames == "-" && (options.seconds > 0 || options.rate > 0)) {
        throw UsageError("--rate and --seconds: frames of a pipe come when they come, and only once");
    }
    return options;
}
