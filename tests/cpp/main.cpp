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

int main() {
    if (!checks_can_fail()) {
        std::cerr << "the checks themselves do not work\n";
        return 1;
    }
    for (const check::Test& test : check::tests()) {
        const int before = check::failures();
        test.body();
        std::cout << (check::failures() == before ? "ok     " : "FAILED ") << test.name << "\n";
    }
    return check::failures() == 0 ? 0 : 1;
}
