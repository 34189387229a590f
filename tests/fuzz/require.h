// What has to hold for every input: where it does not, the process ends as libFuzzer expects of a bug.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "saccade/error.h"

#define REQUIRE(condition)                                                               \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                \
        }                                                                                \
    } while (false)

/// A refusal is one line that says something, and it is the file's fault.
inline void require_good(const saccade::Error& error) {
    REQUIRE(error.status() == saccade::Status::kDamaged);
    REQUIRE(std::strlen(error.what()) > 10 && std::strlen(error.what()) < 800);
    REQUIRE(std::strchr(error.what(), '\n') == nullptr);
}
