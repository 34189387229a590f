#include "frames.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <istream>

namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 27;  // 134 megapixels: a header may say anything
constexpr size_t kAhead = 4;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

/// A number of a PNM header, behind spaces and comments; -1 where there is none.
int64_t header_number(std::istream& in) {
    int c = in.get();
    while (c == '#' || std::isspace(c)) {
        if (c == '#') {
            while (c != '\n' && c != EOF) c = in.get();
        }
        c = in.get();
    }
    int64_t value = -1;
    for (; std::isdigit(c); c = in.get()) {
        value = std::max<int64_t>(value, 0) * 10 + (c - '0');
        if (value > kMaxPixels) return -1;
    }
    return std::isspace(c) ? value : -1;
}

void read_rows(std::istream& in, size_t bytes, Taken& taken) {
    // In pieces: a header that claims more than comes takes no memory.
    constexpr size_t kPiece = size_t{1} << 22;
    while (taken.pixels.size() < bytes) {
        const size_t have = taken.pixels.size(), piece = std::min(kPiece, bytes - have);
        taken.pixels.resize(have + piece);
        in.read(reinterpret_cast<char*>(taken.pixels.data() + have), static_cast<std::streamsize>(piece));
        if (static_cast<size_t>(in.gcount()) < piece) {
            taken.error = "cut short: " + std::to_string(have + static_cast<size_t>(in.gcount())) + " of " +
                          std::to_string(bytes) + " bytes of pixels";
            return;
        }
    }
}

/// Portable pixmaps and graymaps of 8 bits (P6, P5), behind their magic.
void read_pnm(std::istream& in, bool colour, Taken& taken) {
    taken.width = header_number(in);
    taken.height = header_number(in);
    const int64_t most = header_number(in);
    if (taken.width < 1 || taken.height < 1 || most != 255 || taken.width > kMaxPixels / taken.height) {
        taken.error = "expected a PPM or PGM header with a size of at most 134 megapixels and 255 levels";
        return;
    }
    taken.kind = colour ? saccade::Pixels::kRgb : saccade::Pixels::kGray;
    taken.stride = taken.width * (colour ? 3 : 1);
    read_rows(in, static_cast<size_t>(taken.stride * taken.height), taken);
}

uint32_t little(const uint8_t* bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) value |= static_cast<uint32_t>(bytes[i]) << (8 * i);
    return value;
}

/// Windows bitmaps of 24 or 32 bits, not compressed, behind their magic.
void read_bmp(std::istream& in, Taken& taken) {
    uint8_t header[52];
    in.read(reinterpret_cast<char*>(header), sizeof header);
    const auto height = static_cast<int32_t>(little(header + 20, 4));
    const uint32_t bits = little(header + 26, 2), compression = little(header + 28, 4), start = little(header + 8, 4);
    taken.width = static_cast<int32_t>(little(header + 16, 4));
    taken.height = height < 0 ? -static_cast<int64_t>(height) : height;
    const bool masks = compression == 3 && bits == 32;  // BITFIELDS, as GIMP and ImageMagick write 32 bits
    if (in.gcount() < static_cast<std::streamsize>(sizeof header) || (bits != 24 && bits != 32) ||
        (compression != 0 && !masks) || taken.width < 1 || taken.height < 1 ||
        taken.width > kMaxPixels / taken.height || start < 54 || start > 4096) {
        taken.error = "expected a BMP of 24 or 32 bits, not compressed";
        return;
    }
    in.ignore(start - 54);
    taken.kind = bits == 24 ? saccade::Pixels::kBgr : saccade::Pixels::kBgra;
    taken.stride = (taken.width * bits / 8 + 3) / 4 * 4;
    read_rows(in, static_cast<size_t>(taken.stride * taken.height), taken);
    if (height > 0) taken.stride = -taken.stride;
}

void read_picture(const std::string& path, Taken& taken) {
    std::ifstream in(path, std::ios::binary);
    char magic[2] = {};
    if (!in.read(magic, 2)) {
        taken.error = in.is_open() ? "empty" : "cannot be opened";
    } else if (magic[0] == 'P' && (magic[1] == '6' || magic[1] == '5')) {
        read_pnm(in, magic[1] == '6', taken);
    } else if (magic[0] == 'B' && magic[1] == 'M') {
        read_bmp(in, taken);
    } else {
        taken.error = "expected a PPM, PGM or BMP picture";
    }
}

Taken read_file(const std::string& path) {
    Taken taken;
    taken.name = std::filesystem::path(path).filename().string();
    try {
        read_picture(path, taken);
    } catch (const std::bad_alloc&) {
        taken.pixels = {};
        taken.error = "too large";  // for the memory that there is; short, so that it needs none
    }
    return taken;
}

}  // namespace

saccade::Frame Taken::frame() const {
    const uint8_t* first = stride < 0 ? pixels.data() - stride * (height - 1) : pixels.data();
    return {first, height, width, stride, kind};
}

Camera::Camera(const Options& options) : options_(options) {
    if (options.frames != "-") {
        std::error_code problem;
        for (std::filesystem::directory_iterator at(options.frames, problem), end; !problem && at != end;
             at.increment(problem)) {
            const std::string ending = lower(at->path().extension().string());
            if (ending == ".ppm" || ending == ".pgm" || ending == ".bmp") files_.push_back(at->path().string());
        }
        if (problem) throw UsageError(options.frames + ": cannot be listed: " + problem.message());
        if (files_.empty()) throw UsageError(options.frames + ": expected .ppm, .pgm or .bmp pictures, found none");
        std::sort(files_.begin(), files_.end());
    }
    first_ = due_ = Clock::now();
    thread_ = std::thread([this] {
        try {
            options_.frames == "-" ? read_pipe() : read_folder();
        } catch (const std::bad_alloc&) {
            // Not even for the queue: the line ends with what there is.
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    });
}

Camera::~Camera() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }
    thread_.join();
}

std::optional<Taken> Camera::next() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
    if (waiting_.empty()) return std::nullopt;
    Taken taken = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    if (options_.frames != "-" && options_.rate == 0) taken.arrived = Clock::now();  // it waited for us
    return taken;
}

/// False when nobody wants more.
bool Camera::hand_over(Taken taken) {
    taken.arrived = Clock::now();
    std::unique_lock<std::mutex> lock(mutex_);
    if (options_.rate > 0) {
        // A disk that is slower than the rate is a slower camera; a line that is slower is late.
        if (taken.arrived > due_ && !held_up_) due_ = taken.arrived;
        if (changed_.wait_until(lock, due_, [this] { return stopped_; })) return false;
        taken.arrived = due_;
        due_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / options_.rate));
    }
    held_up_ = waiting_.size() >= kAhead;
    changed_.wait(lock, [this] { return stopped_ || waiting_.size() < kAhead; });
    if (stopped_) return false;
    waiting_.push_back(std::move(taken));
    changed_.notify_all();
    return true;
}

void Camera::read_folder() {
    const auto over = [this] { return Clock::now() - first_ >= std::chrono::duration<double>(options_.seconds); };
    do {
        for (const std::string& file : files_) {
            if (options_.seconds > 0 && over()) return;
            if (!hand_over(read_file(file))) return;
        }
    } while (options_.seconds > 0);
}

void Camera::read_pipe() {
    for (int64_t number = 0;; ++number) {
        char magic[2];
        if (!std::cin.read(magic, 2)) return;
        Taken taken;
        taken.name = "frame-" + std::to_string(number);
        if (magic[0] == 'P' && (magic[1] == '6' || magic[1] == '5')) {
            read_pnm(std::cin, magic[1] == '6', taken);
        } else {
            taken.error = "expected PPM or PGM pictures, one right behind the other";
        }
        const bool lost = !taken.error.empty();  // where the next one begins, nobody knows
        if (!hand_over(std::move(taken)) || lost) return;
    }
}
