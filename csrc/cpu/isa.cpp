#include "saccade/isa.h"

#include <array>
#include <cstdlib>
#include <string>

#include "rows.h"
#include "saccade/error.h"

namespace saccade {
namespace {

struct Path {
    const char* name;
    const Rows* rows;  // null: not in this build
    bool runs;         // on this CPU
};

/// From the plainest to the fastest.
std::array<Path, 3> paths() {
#if defined(SACCADE_X86_PATHS)
    __builtin_cpu_init();
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return {Path{"baseline", &baseline::kRows, true}, Path{"avx2", &avx2::kRows, __builtin_cpu_supports("avx2") != 0},
            Path{"avx512", &avx512::kRows, wide}};
#else
    return {Path{"baseline", &baseline::kRows, true}, Path{"avx2", nullptr, false}, Path{"avx512", nullptr, false}};
#endif
}

const Rows& choose() {
    const char* forced = std::getenv("SACCADE_ISA");
    const bool free = forced == nullptr || *forced == '\0';
    const Rows* best = nullptr;
    std::string usable;
    for (const Path& path : paths()) {
        const bool good = path.rows != nullptr && path.runs;
        if (good) usable += (usable.empty() ? "" : ", ") + std::string(path.name);
        if (good && (free || path.name == std::string(forced))) best = path.rows;
    }
    if (best != nullptr) return *best;
    const std::string word = std::string(forced).substr(0, 40);
    for (const Path& path : paths()) {
        if (path.name != word) continue;
        fail("render: SACCADE_ISA=", word, ": this ", path.rows == nullptr ? "build" : "CPU", " has no ", word,
             "; unset it or choose one of ", usable);
    }
    fail("render: SACCADE_ISA='", word, "' is not a path; unset it or choose one of ", usable);
}

}  // namespace

const Rows& rows() {
    static const Rows& chosen = choose();
    return chosen;
}

const char* isa() { return rows().isa; }

}  // namespace saccade
