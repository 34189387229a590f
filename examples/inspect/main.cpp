// An inspection line in C++: see kHelp, and README.md.
#include <cstdio>
#include <exception>

#include "line.h"
#include "options.h"

int main(int count, char** words) {
    try {
        const Options options = read_options(count, words);
        if (options.program.empty()) {
            std::fputs(kHelp, stdout);
            return 0;
        }
        return inspect(options);
    } catch (const UsageError& error) {
        std::fprintf(stderr, "saccade-inspect: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "saccade-inspect: %s\n", error.what());
        return 4;
    }
}
