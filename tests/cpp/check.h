// A test is a function with checks; a check that fails says where and with what, and the others go on.
#pragma once

#include <iostream>
#include <string>
#include <vector>

#include "saccade/error.h"

namespace check {

struct Test {
    const char* name;
    void (*body)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

struct Registered {
    Registered(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

template <typename A, typename B>
void equal(const A& got, const B& wanted, const char* text, const char* file, int line) {
    if (got == wanted) return;
    ++failures();
    std::cerr << file << ":" << line << ": " << text << ": got " << +got << ", expected " << +wanted << "\n";
}

inline void holds(bool condition, const char* text, const char* file, int line) {
    if (condition) return;
    ++failures();
    std::cerr << file << ":" << line << ": " << text << "\n";
}

/// The call must throw saccade::Error with `part` in its message.
template <typename Call>
void fails(const Call& call, const std::string& part, const char* file, int line) {
    std::string message = "nothing was thrown";
    try {
        call();
    } catch (const saccade::Error& error) {
        message = error.what();
        if (message.find(part) != std::string::npos) return;
    }
    ++failures();
    std::cerr << file << ":" << line << ": expected an error with '" << part << "': " << message << "\n";
}

}  // namespace check

#define TEST(name)                                                 \
    static void name();                                            \
    static const check::Registered registered_##name(#name, name); \
    static void name()
#define EQUAL(got, wanted) check::equal(got, wanted, #got, __FILE__, __LINE__)
#define HOLDS(condition) check::holds(condition, #condition, __FILE__, __LINE__)
#define FAILS(call, part) check::fails([&] { call; }, part, __FILE__, __LINE__)
