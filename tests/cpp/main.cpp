#include "check.h"

namespace {

/// Each check is fed a wrong answer once: a check that cannot fail proves nothing.
bool checks_can_fail() {
    std::cerr.setstate(std::ios::failbit);
    EQUAL(1, 2);
    HOLDS(1 > 2);
    FAILS((void)0, "nothing");
    FAILS(saccade::fail("another message"), "this one");
    std::cerr.clear();
    const bool all = check::failures() == 4;
    check::failures() = 0;
    return all;
}

}  // namespace

/// With an argument only the tests whose names have it in them.
int main(int count, char** words) {
    const std::string part = count > 1 ? words[1] : "";
    int run = 0;
    if (!checks_can_fail()) {
        std::cerr << "the checks themselves do not work\n";
        return 1;
    }
    for (const check::Test& test : check::tests()) {
        if (std::string(test.name).find(part) == std::string::npos) continue;
        ++run;
        const int before = check::failures();
        test.body();
        std::cout << (check::failures() == before ? "ok     " : "FAILED ") << test.name << "\n";
    }
    if (run == 0) std::cerr << "no test has '" << part << "' in its name\n";
    return check::failures() == 0 && run > 0 ? 0 : 1;
}
